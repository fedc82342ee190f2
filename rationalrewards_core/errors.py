"""The error model: an error names the boundary that broke, and says what to do next.

* `ConfigError`: something the user wrote (an option, a rubric file, a config file) cannot be used.
* `StorageError`: a file or folder cannot be written or read (a full disk, a read-only folder).
* `RequestError`: the request or an image cannot be judged (too long, too large, not an image).
* `OutOfScopeError`: the request is sound, and of something that this judge knows nothing of.
* `BackendError`: the model or the server behind a backend failed; `status` is the HTTP status if any.
* `CritiqueParseError`: a reply came, and it is not a critique; `reason` is one of `critique.Reason`.
* `DownloadError`: what was to be fetched cannot be had, or is not what was promised.
* `Interrupted`: the user asked to stop. It is never turned into `Unscored`.

One place per loop (`Scorer.score_many`) turns `RequestError`, `BackendError` and `CritiqueParseError`
into `Unscored`. Nothing in the project turns a failure into a number.
"""

from __future__ import annotations


class RationalRewardsError(Exception):
    """Base of every error this project raises on purpose. `str(error)` is one readable sentence."""

    reason = "error"
    """A short stable code: what `Unscored.reason`, `/metrics` and reports count by."""


class ConfigError(RationalRewardsError):
    """The configuration names something unknown or impossible; the message names the key."""

    reason = "config"


class StorageError(RationalRewardsError):
    """The disk refused; the message names the file and says what to do."""

    reason = "storage"


class DownloadError(RationalRewardsError):
    """A released judge cannot be fetched, or what arrived is not what the hub stated."""

    reason = "download"


class RequestError(RationalRewardsError):
    """The request or one of its images cannot be judged as it is."""

    reason = "bad_request"


class OutOfScopeError(RequestError):
    """The judge, or the generator, knows nothing of what the request asks for; the message says which one does."""

    reason = "out_of_scope"


class BackendError(RationalRewardsError):
    """The model or server did not deliver a reply."""

    def __init__(self, message: str, *, reason: str = "backend", status: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status
        """HTTP status of the last answer, or None when there was no answer."""


class CritiqueParseError(RationalRewardsError):
    """The reply is not a critique under the rubric; it carries the whole reply."""

    def __init__(self, reason: str, message: str, raw: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.raw = raw


class Interrupted(RationalRewardsError):
    """The user asked to stop; work done so far has been kept."""

    reason = "interrupted"
