"""Rows of tables, one at a time: Parquet, JSON, JSON lines and CSV files, folders and tars of them, and hub ids.

Nothing is held that is not being read: Parquet comes in batches of a few rows (images lie inside), a JSON array is
decoded element by element, a tar is read in place.

A line that is damaged costs itself alone: it comes as a `DamagedRow`, for importers to count. A document that is damaged
(a JSON array, Parquet, a tar) is refused, for where its next row begins is not known; so is a text in another encoding.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, TypeAlias, TypeVar

from rationalrewards_core.errors import ConfigError

T = TypeVar("T")
Row: TypeAlias = Mapping[str, Any]


class TableRow(dict[str, Any]):
    """A row that knows where it stood."""

    where: str = ""
    """File and line (or number of the row)."""


class DamagedRow(TableRow):
    """A line that holds no row; it is empty."""

    why: str = ""
    """As a reason that can be counted."""


def place_of(row: Row) -> str:
    """File and line of a row that came from a table; empty for any other."""
    return row.where if isinstance(row, TableRow) else ""


CheckColumns: TypeAlias = Callable[[list[str], str], None]
"""Called with the columns of each table and its name, before its rows; raises ConfigError for a wrong one."""

SUFFIXES: Final = (".parquet", ".jsonl", ".json", ".csv")
HUB: Final = "hub:"
BATCH_ROWS: Final = 16
"""Rows of Parquet decoded at once; a row may hold three images of a few megabytes."""
CHUNK: Final = 1 << 20
"""Characters of JSON read at once."""


def read_rows(source: str, check: CheckColumns, split: str = "") -> Iterator[Row]:
    """Every row behind a path or `hub:OWNER/NAME`. `split` keeps the files whose name has it in it.

    Raises ConfigError for what is missing, unreadable, or refused by `check`.
    """
    if source.startswith(HUB):
        yield from _hub_rows(source.removeprefix(HUB), check, split)
        return
    path = Path(source)
    if not path.exists():
        raise ConfigError(f"There is no file or folder {source!r}; a data set on the hub is written hub:OWNER/NAME.")
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if _is_table(f.name) and split in f.name)
    if not files:
        suffix = f" with {split!r} in its name" if split else ""
        raise ConfigError(f"{source} holds no {', '.join(SUFFIXES)} file{suffix}.")
    for file in files:
        yield from _file_rows(file, check)


def _is_table(name: str) -> bool:
    return name.endswith(SUFFIXES) and not name.rsplit("/", 1)[-1].startswith(".")


def _file_rows(path: Path, check: CheckColumns) -> Iterator[Row]:
    if path.suffix == ".tar":
        yield from _tar_rows(path, check)
        return
    if not _is_table(path.name):
        raise ConfigError(f"{path} is none of {', '.join(SUFFIXES)}, .tar.")
    with path.open("rb") as file:
        yield from _table_rows(file, str(path), check)


def _tar_rows(path: Path, check: CheckColumns) -> Iterator[Row]:
    """The tables in a tar; its pictures are found by `ImageRoots`."""
    any_table = False
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() and _is_table(member.name) else None
                if file is not None:
                    any_table = True
                    yield from _table_rows(file, f"{path}/{member.name}", check)
    except tarfile.TarError as error:
        raise ConfigError(f"{path} is no tar that can be read: {error}.") from error
    if not any_table:
        raise ConfigError(f"{path} holds no {', '.join(SUFFIXES)} file.")


def _table_rows(file: IO[bytes], name: str, check: CheckColumns) -> Iterator[Row]:
    reader = {".parquet": _parquet, ".jsonl": _json_lines, ".json": _json, ".csv": _csv}[Path(name).suffix]
    if not name.endswith(".parquet"):
        _check_encoding(file, name)
    return reader(file, name, check)


def _parquet(file: IO[bytes], name: str, check: CheckColumns) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError("Parquet files need pyarrow; `pip install pyarrow` (or the `training` extra).") from error
    try:
        table = pyarrow.parquet.ParquetFile(file)
        check(list(table.schema_arrow.names), name)
        number = 0
        for batch in table.iter_batches(batch_size=BATCH_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield _placed(row, f"{name}, row {number}")
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise ConfigError(f"{name} is no Parquet file that can be read: {error}.") from error


def _json_lines(file: IO[bytes], name: str, check: CheckColumns) -> Iterator[Row]:
    first = True
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except UnicodeDecodeError as error:
            raise _not_utf8(name, number, error) from error
        except (ValueError, RecursionError):
            yield _damaged("line that is no JSON", f"{name}, line {number}")
            continue
        if not isinstance(row, dict):
            yield _damaged("line that is no JSON object", f"{name}, line {number}")
            continue
        yield _placed(_checked(row, name, check, first), f"{name}, line {number}")
        first = False


def _json(file: IO[bytes], name: str, check: CheckColumns) -> Iterator[Row]:
    first = True
    for number, row in enumerate(json_elements(io.TextIOWrapper(file, encoding="utf-8"), name), 1):
        yield _placed(_checked(row, name, check, first), f"{name}, row {number}")
        first = False


def _csv(file: IO[bytes], name: str, check: CheckColumns) -> Iterator[Row]:
    # Strict: what else is made of `"a sign saying "OK" here",a.png` is a prompt that nobody wrote.
    reader = csv.DictReader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), strict=True)
    try:
        columns = list(reader.fieldnames or ())
        mark = next((mark for mark in ";\t|" if len(columns) == 1 and mark in columns[0]), None)
        if mark is not None:
            raise ConfigError(f"{name} parts its columns by {mark!r}; save it with commas.")
        twice = next((column for column in columns if columns.count(column) > 1), None)
        if twice is not None:
            raise ConfigError(f"{name} has two columns {twice!r}; delete or rename one.")
        check(columns, name)
        yield from _csv_rows(reader, name)
    except UnicodeDecodeError as error:
        raise _not_utf8(name, reader.line_num + 1, error) from error
    except csv.Error as error:
        raise ConfigError(f"{name}, line {reader.line_num + 1} is no CSV: {error}.") from error


def _csv_rows(reader: csv.DictReader[str], name: str) -> Iterator[Row]:
    while True:
        before = reader.reader.line_num
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            # An open quotation takes the lines behind it along.
            for number in range(before + 1, reader.reader.line_num + 1):
                yield _damaged("line that is no CSV", f"{name}, line {number}")
            continue
        where = f"{name}, line {reader.line_num}"
        # An unquoted comma has moved every cell behind it.
        yield _placed(row, where) if None not in row else _damaged("line with more cells than columns", where)


def _placed(row: Mapping[str, Any], where: str) -> TableRow:
    placed = TableRow(row)
    placed.where = where
    return placed


def _damaged(why: str, where: str) -> DamagedRow:
    damaged = DamagedRow()
    damaged.where, damaged.why = where, why
    return damaged


def _not_utf8(name: str, line: int, error: UnicodeDecodeError) -> ConfigError:
    byte = error.object[error.start] if error.start < len(error.object) else 0
    return ConfigError(
        f"{name} is not in UTF-8 (about line {line}, byte 0x{byte:02x}); save it as UTF-8 and try again."
    )


def _check_encoding(file: IO[bytes], name: str) -> None:
    """ConfigError for a text that says of itself that it is in another encoding."""
    beginning = file.read(4)
    file.seek(0)
    for mark, encoding in (
        (codecs.BOM_UTF32_LE, "UTF-32"),  # begins like UTF-16's
        (codecs.BOM_UTF32_BE, "UTF-32"),
        (codecs.BOM_UTF16_LE, "UTF-16"),
        (codecs.BOM_UTF16_BE, "UTF-16"),
        (b"\0", "UTF-16"),
    ):
        if beginning.startswith(mark) or (mark == b"\0" and mark in beginning):
            raise ConfigError(f"{name} is in {encoding}, not in UTF-8; save it as UTF-8 and try again.")


def _checked(row: Any, name: str, check: CheckColumns, first: bool) -> Row:
    if not isinstance(row, dict):
        raise ConfigError(f"{name} must hold JSON objects, one for each row.")
    if first:
        check(list(row), name)
    return row


@dataclass
class _Window:
    """The part of a JSON text that is being looked at."""

    file: IO[str]
    name: str
    text: str = ""
    place: int = 0
    ended: bool = False

    def more(self) -> None:
        try:
            chunk = self.file.read(CHUNK)
        except UnicodeDecodeError as error:
            raise ConfigError(f"{self.name} is not in UTF-8; save it as UTF-8 and try again.") from error
        self.ended = not chunk
        self.text, self.place = self.text[self.place :] + chunk, 0

    def next_mark(self) -> str:
        """The next character that is neither space nor comma; empty at the end."""
        while True:
            while self.place < len(self.text) and self.text[self.place] in " \t\r\n,\ufeff":
                self.place += 1
            if self.place < len(self.text) or self.ended:
                return self.text[self.place : self.place + 1]
            self.more()


def json_elements(file: IO[str], name: str) -> Iterator[Any]:
    """The elements of a JSON array, decoded one by one; an object alone is one element."""
    window, decoder = _Window(file, name), json.JSONDecoder()
    opening = window.next_mark()
    if opening == "[":
        window.place += 1
    elif opening != "{":
        raise ConfigError(f"{name} must be a JSON array of rows.")
    while (mark := window.next_mark()) not in ("", "]"):
        if mark != "{":
            raise ConfigError(f"{name} must hold JSON objects, one for each row.")
        while True:
            try:
                element, window.place = decoder.raw_decode(window.text, window.place)
                break
            except ValueError as error:
                if window.ended:
                    raise ConfigError(f"{name} ends in the middle of a row, or is damaged there.") from error
                window.more()
        yield element
    if opening == "[" and mark != "]":
        raise ConfigError(f"{name} ends in the middle of its array.")
    window.place += 1
    if opening == "[" and window.next_mark():
        raise ConfigError(f"{name} goes on behind its array; put all rows into one array.")


def _hub_rows(identity: str, check: CheckColumns, split: str) -> Iterator[Row]:
    """The tables of a data set on the hub, downloaded one file at a time into the hub's own cache."""
    try:
        from huggingface_hub import HfApi, hf_hub_download
    except ImportError as error:
        raise ConfigError("Data sets on the hub need huggingface_hub; `pip install huggingface_hub`.") from error
    files = _from_hub(identity, partial(HfApi().list_repo_files, identity, repo_type="dataset"))
    names = sorted(name for name in files if _is_table(name) and split in name)
    if not names:
        raise ConfigError(f"The data set {identity!r} holds no {', '.join(SUFFIXES)} file.")
    for name in names:
        path = _from_hub(identity, partial(hf_hub_download, identity, name, repo_type="dataset"))
        yield from _file_rows(Path(path), check)


def _from_hub(identity: str, ask: Callable[[], T]) -> T:
    """What the hub answers; ConfigError if it cannot be reached or has no such thing."""
    from huggingface_hub.errors import HfHubHTTPError

    # The hub's errors derive from its HTTP client's, which is another one from version to version.
    bases = (base for base in HfHubHTTPError.__mro__ if issubclass(base, Exception) and base is not Exception)
    expected: tuple[type[Exception], ...] = (OSError, ValueError, *bases)
    try:
        return ask()
    except expected as error:
        message = f"The data set {identity!r} cannot be had from the hub ({type(error).__name__}); is its name right?"
        raise ConfigError(message) from error
