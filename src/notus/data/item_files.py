"""Files that may hold evaluation items, read as rows whatever their kind.

A benchmark is small (the eight of the Open LLM Leaderboard and IFEval are 13 MB), so a file is read
as a whole.
"""

import ast
import csv
import gzip
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import polars as pl

from notus.data.parsed import Refusal
from notus.errors import DataError, explain

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt")
ARCHIVE = ".zip"
GENERIC = (
    *("test", "train", "dev", "val", "validation", "eval", "data", "input_data", "question"),
    *("questions", "prompts", "items"),
)
"""Names that say nothing about what a file holds; then its folder's name does."""
_SPLIT = re.compile(r"(?<![a-z0-9])(?:dev|valid|val|validation|train)(?![a-z0-9])")
_NO_ITEMS = re.compile(r"\.|(?:readme|licen[cs]e|provenance|copying)\b", re.IGNORECASE)
"""How names begin of files that lie beside a benchmark's."""
_LETTERS = frozenset("ABCDE")
_LIST_FIELDS = ("data", "rows", "examples", "instances", "questions", "items")


class ItemFile(NamedTuple):
    """A file on disk, and the benchmark that its items belong to."""

    benchmark: str
    place: str
    """How messages and items call it."""
    path: Path


class Contents(NamedTuple):
    """The bytes of one file or one member of an archive, unpacked."""

    name: str
    """With the suffix that says how to read it."""
    content: bytes


class ItemRow(NamedTuple):
    """One row of a file."""

    line: int
    """Line, row or list index, counted from 1."""
    value: Mapping[str, object] | str | Refusal
    """A string is an item's text as it is."""


def list_files(path: Path) -> list[ItemFile]:
    """List the files that may hold items, sorted by path.

    A file's benchmark is its name without suffixes, or its folder's if the name is one of
    `GENERIC`. In a folder that was named, it is the name of the folder right below it that holds
    the file; of files right in it, the named folder's. Text files count only in a folder without
    other kinds, where they are more than notes.

    Raises:
        DataError: nothing is there, or nothing that can be read.
    """
    known = (*SUFFIXES, *(f"{suffix}.gz" for suffix in SUFFIXES), ARCHIVE)
    if path.is_file() and path.name.endswith(known):
        stem = path.name.split(".")[0]
        generic = stem.lower() in GENERIC
        return [ItemFile(path.resolve().parent.name if generic else stem, path.name, path)]
    below = sorted(file for file in path.rglob("*") if file.is_file())
    kept = _holding_items([str(file) for file in below], known)
    below = [file for file in below if str(file) in kept]
    if not below:
        raise DataError(
            explain(
                found="a file of another kind" if path.is_file() else "no file of items",
                expected=f"a file that ends in {', '.join(known)}, or a folder of such files",
                where=str(path),
                remedy="check the path; write the items as JSONL, one {'question': ...} a line",
            )
        )
    files = []
    for file in below:
        parts = file.relative_to(path).parts
        benchmark = parts[0] if len(parts) > 1 else path.resolve().name
        files.append(ItemFile(benchmark, "/".join(parts), file))
    return files


def _holding_items(names: Sequence[str], suffixes: tuple[str, ...]) -> set[str]:
    """Keep the names of files that may hold items: text only where nothing else does."""
    kept = {
        name
        for name in names
        if name.endswith(suffixes) and not _NO_ITEMS.match(PurePosixPath(name).name)
    }
    others = {name for name in kept if not name.endswith((".txt", ".txt.gz"))}
    return others or kept


def contents(file: ItemFile) -> Iterator[tuple[str, Contents | Refusal]]:
    """Unpack a file: itself, or the members of an archive, each with its place.

    Of members that differ only in the split their path names, the test split alone is taken.
    """
    content = file.path.read_bytes()
    try:
        if not file.path.name.endswith(ARCHIVE):
            packed = file.path.suffix == ".gz"
            name = file.path.stem if packed else file.path.name
            yield file.place, Contents(name, gzip.decompress(content) if packed else content)
            return
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = sorted(_holding_items(archive.namelist(), SUFFIXES))
            tests = {name.lower() for name in names}
            for name in names:
                place = f"{file.place}/{name}"
                test = _SPLIT.sub("test", name.lower())
                if test != name.lower() and test in tests:
                    yield place, Refusal("file", "another split than the test split beside it", "")
                else:
                    yield place, Contents(PurePosixPath(name).name, archive.read(name))
    except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        yield file.place, Refusal("file", f"damaged: {error}", "")


def rows(file: Contents) -> Iterator[ItemRow]:
    """Read the rows of one file; what cannot be read is a row that holds a Refusal."""
    try:
        if file.name.endswith(".parquet"):
            yield from _numbered(pl.read_parquet(io.BytesIO(file.content)).iter_rows(named=True))
        else:
            text = file.content.decode("utf-8-sig")
            suffix = PurePosixPath(file.name).suffix
            yield from _TEXT_ROWS[suffix](text)
    except UnicodeDecodeError as error:
        yield ItemRow(1, Refusal("file", f"not UTF-8: {error.reason}", ""))
    except pl.exceptions.PolarsError as error:
        yield ItemRow(1, Refusal("file", f"damaged: {str(error).splitlines()[0]}", ""))


def _json_lines(text: str) -> Iterator[ItemRow]:
    # Not splitlines(): a JSON text may hold U+2028 and other breaks of lines as they are.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _checked(number, _parsed(line))


def _json(text: str) -> Iterator[ItemRow]:
    value = _parsed(text)
    if isinstance(value, Mapping):
        lists = [value[name] for name in _LIST_FIELDS if isinstance(value.get(name), list)]
        value = lists[0] if lists else [value]
    if isinstance(value, list):
        for number, row in enumerate(value, start=1):
            yield _checked(number, row)
    else:
        yield _checked(1, value)


def _lines(text: str) -> Iterator[ItemRow]:
    """Read one item a line; a line may be an object, in JSON or as a Python dict literal."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        value: object = line
        if line.startswith("{") and line.rstrip().endswith("}"):
            value = _literal(line)
        yield _checked(number, line if not isinstance(value, Mapping) else value)


def _comma_separated(text: str) -> Iterator[ItemRow]:
    return _separated(text, ",")


def _tab_separated(text: str) -> Iterator[ItemRow]:
    return _separated(text, "\t")


def _separated(text: str, delimiter: str) -> Iterator[ItemRow]:
    """Read rows under a header; MMLU's files have none and end each row with a letter."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header: Sequence[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            yield ItemRow(line, Refusal("row", f"not readable: {error}", ""))
            continue
        if row is None:
            return
        if header is None:
            mmlu = len(row) >= 4 and row[-1].strip() in _LETTERS
            header = ["question", *"ABCDE"[: len(row) - 2], "answer"] if mmlu else row
            if not mmlu:
                continue
        if not any(row):
            continue
        if len(row) != len(header):
            reason = f"{len(row)} columns instead of {len(header)}"
            yield ItemRow(line, Refusal("row", reason, delimiter.join(row)))
        else:
            yield _checked(line, dict(zip(header, row, strict=True)))


def _parsed(text: str) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Refusal("row", f"not valid JSON: {error}", text)
    return value


def _literal(line: str) -> object:
    value = _parsed(line)
    if not isinstance(value, Refusal):
        return value
    try:
        return ast.literal_eval(line)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return line


def _checked(number: int, value: object) -> ItemRow:
    """Let rows through that can hold items and be written as UTF-8."""
    if isinstance(value, Refusal):
        return ItemRow(number, value)
    if not isinstance(value, Mapping | str):
        return ItemRow(number, Refusal("row", f"not an object: {type(value).__name__}", value))
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError:
        reason = "not valid Unicode: half of a surrogate pair"
        return ItemRow(number, Refusal("row", reason, value))
    return ItemRow(number, value)


def _numbered(values: Iterator[dict[str, object]]) -> Iterator[ItemRow]:
    for number, value in enumerate(values, start=1):
        yield _checked(number, value)


_TEXT_ROWS = {
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _comma_separated,
    ".tsv": _tab_separated,
    ".txt": _lines,
}
