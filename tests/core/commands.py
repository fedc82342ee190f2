"""For the tests of the command line: a scripted judge in the engine's place, and commands that must fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from rationalrewards_core.__main__ import main
from rationalrewards_core.backends.scripted import ScriptedBackend
from rationalrewards_core.cli import judge_commands
from rationalrewards_core.memo import Memo
from rationalrewards_core.scorer import Scorer
from rationalrewards_core.scorer_settings import ScorerSettings

Script = Callable[[Iterable[Any]], ScriptedBackend]


def scripted_judge(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Puts a script in the engine's place; returns the backend, which knows what it was asked."""

    def make(script: Iterable[Any]) -> ScriptedBackend:
        backend = ScriptedBackend(script, concurrency=1)

        def scorer(*_: Any, settings: ScorerSettings, memo: Memo | None = None, **__: Any) -> Scorer:
            # Without a memo, unless one is asked for: the same picture may be judged differently by the next line.
            memo = Memo(limit=0) if memo is None else memo
            return Scorer(backend, settings=replace(settings, ask_again=0, guided=False), memo=memo)

        monkeypatch.setattr(judge_commands, "make_scorer", scorer)
        return backend

    return make


def wrong(arguments: list[str], capsys: pytest.CaptureFixture[str], status: int = 2) -> str:
    """Run a command that must fail; returns its one sentence, after checking that there is nothing else."""
    try:
        assert main(arguments) == status
    except SystemExit as ended:  # argparse's own way
        assert ended.code == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Traceback" not in shown.err
    last = shown.err.rstrip("\n").splitlines()[-1]
    assert last.startswith("rationalrewards")
    return last
