"""The files of a source and their rows, a batch at a time, whatever the files are.

JSON Lines, a JSON array, Parquet, the Arrow files of a saved `datasets` directory, and CSV; text
may be gzipped. Nothing is ever read as a whole but a file that holds a single JSON object. A bad
row is a Refusal in its place; only what is damaged as a whole is an error.
"""

import codecs
import contextlib
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
import pyarrow as pa

from notus.data.files.json_array import LIMIT, elements
from notus.data.files.tabular import read_arrow, read_csv, read_parquet
from notus.data.parsed import Refusal
from notus.errors import DataError, explain

SUFFIXES = (
    ".jsonl",
    ".jsonl.gz",
    ".json",
    ".json.gz",
    ".parquet",
    ".arrow",
    ".csv",
    ".csv.gz",
)
ABOUT_FILES = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
"""What `datasets` writes beside its rows."""
BATCH_ROWS = 2000
MAX_DEPTH = 200
"""Of nesting: deeper rows could be read, but not written again wherever they must be."""

_PEEK = 1 << 16
_BUFFER = 1 << 18
"""Lines are longer than a usual buffer: with it, reading them took four times as long."""

Rows = list[tuple[int, object]]
Decode = Callable[[bytes], object]
"""Reads one row from its bytes, without the line's end, as `read_line` does."""


def source_files(source: Path) -> list[Path]:
    """List the files of a source, sorted by path; folders are searched to the bottom.

    Hidden files, a stage's manifest, and what `datasets` writes beside its rows are left out. A
    path with wildcards, as in `data/train-*.parquet`, stands for the files that fit.

    Raises:
        DataError: nothing there, or nothing that can be read.
    """
    if source.is_file():
        files = [source]
    elif source.is_dir():
        files = sorted(path for path in source.rglob("*") if _is_visible(path, source))
    else:
        files = _fitting(source)
    found = [path for path in files if path.is_file() and path.name.endswith(SUFFIXES)]
    if not found:
        kinds = ", ".join(path.name for path in files[:5])
        raise DataError(
            explain(
                found=f"no file of feedback ({kinds or 'nothing there'})",
                expected=f"a file that ends in {', '.join(SUFFIXES)}, or a directory of them",
                where=str(source),
                remedy="check the path; rewrite other formats as one JSON object a line",
            )
        )
    return found


def file_names(files: Sequence[Path]) -> list[str]:
    """Name files shortly and distinctly: by their paths below the folder that they share."""
    folders = {path.parent for path in files}
    while len(folders) > 1:
        deepest = max(len(folder.parts) for folder in folders)
        folders = {folder.parent if len(folder.parts) == deepest else folder for folder in folders}
    root = folders.pop()
    return [path.relative_to(root).as_posix() for path in files]


def read_batches(path: Path, decode: Decode | None = None) -> Iterator[tuple[Rows, int]]:
    """Read a file's rows with their line, element or row numbers, counted from 1.

    Args:
        path: The file.
        decode: What to read a JSON row with; by default `read_line`.

    Yields:
        Up to `BATCH_ROWS` numbered rows, each a JSON value or, where a row cannot be read, a
        Refusal; and how many bytes of the file have been read.

    Raises:
        DataError: the file is damaged as a whole, not only in a row.
    """
    try:
        yield from _batches(path, decode or read_line)
    except (pa.ArrowException, EOFError, zlib.error, ValueError, OverflowError) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        # Decompression and Arrow raise it without a number; with one the disk has failed.
        if error.errno is not None:
            raise
        raise _damaged(path, error) from error


def _batches(path: Path, decode: Decode) -> Iterator[tuple[Rows, int]]:
    if path.suffix == ".parquet":
        yield from read_parquet(path, BATCH_ROWS)
        return
    if path.suffix == ".arrow":
        yield from read_arrow(path, BATCH_ROWS)
        return
    with path.open("rb", buffering=_BUFFER) as file:
        unzipped = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
        content = cast(BinaryIO, unzipped)
        kind = path.name.removesuffix(".gz").rpartition(".")[2]
        batch: Rows = []
        rows = read_csv(content) if kind == "csv" else _JSON[kind](content, decode)
        for row in rows:
            batch.append(row)
            if len(batch) == BATCH_ROWS:
                yield batch, file.tell()
                batch = []
        yield batch, file.tell()


def _read_lines(file: Iterable[bytes], decode: Decode) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(file, start=1):
        # Without its end, so that a cut line is called that and not a stray control character.
        row = line.rstrip(b"\r\n")
        if row and not row.isspace():
            yield number, decode(row)


def _read_json(file: BinaryIO, decode: Decode) -> Iterator[tuple[int, object]]:
    """Read a JSON file: an array of rows, a single row, or JSON Lines with another ending."""
    begin = file.read(_PEEK).removeprefix(codecs.BOM_UTF8).lstrip()
    file.seek(0)
    if begin.startswith(b"["):
        for number, element in enumerate(elements(file), start=1):
            yield number, decode(element)
        return
    first = begin.partition(b"\n")[0]
    if b"\n" not in begin or isinstance(read_line(first), Refusal):
        whole = file.read(LIMIT + 1)
        if len(whole) <= LIMIT and not isinstance(row := decode(whole), Refusal):
            yield 1, row
            return
        file.seek(0)
    yield from _read_lines(file, decode)


def read_line(line: bytes) -> object:
    """Read one row from its bytes, without the line's end.

    Returns:
        Its JSON value, or a Refusal that says why it has none.
    """
    if line.count(b"[") + line.count(b"{") < MAX_DEPTH:
        # What msgspec reads it reads as json does; all in all that takes half as long.
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            return msgspec.json.decode(line)
    return _read_line_slowly(line)


def _read_line_slowly(line: bytes) -> object:
    """Read whatever a row may hold: NaN, long integers, damage, of which it gives the reason."""
    try:
        text = line.decode("utf-8-sig")
        # NaN and Infinity are no JSON; pandas writes the first for a missing value.
        row: object = json.loads(text, parse_constant=lambda _: None)
    except UnicodeDecodeError as error:
        return Refusal(
            "row", f"not UTF-8: {error.reason}", line.decode("utf-8", "backslashreplace")
        )
    except (ValueError, RecursionError) as error:
        return Refusal("row", f"not valid JSON: {error}", text)
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH and _is_deep(row):
        return Refusal("row", f"nested more than {MAX_DEPTH} deep", text)
    if (b"\\ud" in line or b"\\uD" in line) and not _encodable(row):
        return Refusal("row", "not valid Unicode: half of a surrogate pair", text)
    return row


def _encodable(row: object) -> bool:
    """Tell whether a value's texts can be written as UTF-8: an escape may be half a character."""
    try:
        json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_deep(row: object) -> bool:
    level = [row]
    for _ in range(MAX_DEPTH + 1):
        level = [
            item
            for value in level
            if isinstance(value, dict | list)
            for item in (value.values() if isinstance(value, dict) else value)
        ]
    return bool(level)


def _is_visible(path: Path, source: Path) -> bool:
    names = path.relative_to(source).parts
    return (
        not any(name.startswith(".") for name in names)
        and path.name not in (*ABOUT_FILES, "manifest.json")
        # Results that `datasets` keeps of functions once applied to the rows.
        and not (path.name.startswith("cache-") and path.suffix == ".arrow")
    )


def _fitting(source: Path) -> list[Path]:
    """List the files that fit a path with wildcards."""
    parts = source.parts
    first = next((i for i, part in enumerate(parts) if set(part) & set("*?[")), None)
    if first is None:
        return []
    return sorted(Path(*parts[:first]).glob("/".join(parts[first:])))


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        explain(
            found=f"a damaged file: {error}",
            expected="a complete file",
            where=path.name,
            remedy="fetch or write the file again",
        )
    )


_JSON = {"jsonl": _read_lines, "json": _read_json}
