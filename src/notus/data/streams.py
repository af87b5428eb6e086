"""The files of a source and their rows: JSONL, gzipped JSONL or Parquet, a batch at a time."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from notus.data.parsed import Refusal
from notus.errors import DataError, explain

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
BATCH_ROWS = 2000

Rows = list[tuple[int, object]]


def source_files(source: Path) -> list[Path]:
    """List the files of a source, sorted by name.

    Raises:
        DataError: nothing there, or nothing that can be read.
    """
    files = [source] if source.is_file() else sorted(source.glob("*"))
    found = [path for path in files if path.name.endswith(SUFFIXES)]
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


def read_batches(path: Path) -> Iterator[tuple[Rows, int]]:
    """Read a file's rows with their line (or row) numbers, counted from 1.

    Yields:
        Up to `BATCH_ROWS` numbered rows, each a JSON value or, where a line holds none, a Refusal;
        and how many bytes of the file have been read.

    Raises:
        DataError: the file is damaged as a whole, not only in a line.
    """
    try:
        yield from _read_parquet(path) if path.suffix == ".parquet" else _read_lines(path)
    except (pa.ArrowInvalid, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise DataError(
            explain(
                found=f"a damaged file: {error}",
                expected="a complete file",
                where=path.name,
                remedy="fetch or write the file again",
            )
        ) from error


def _read_lines(path: Path) -> Iterator[tuple[Rows, int]]:
    with path.open("rb") as file:
        lines = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
        batch: Rows = []
        for number, line in enumerate(cast(BinaryIO, lines), start=1):
            if not line.strip():
                continue
            # Without its end, so that a cut line is called that and not a stray control character.
            batch.append((number, _row(line.rstrip(b"\r\n"))))
            if len(batch) == BATCH_ROWS:
                yield batch, file.tell()
                batch = []
        yield batch, file.tell()


def _read_parquet(path: Path) -> Iterator[tuple[Rows, int]]:
    size = path.stat().st_size
    with pq.ParquetFile(path) as file:
        total, done = file.metadata.num_rows, 0
        for record in file.iter_batches(batch_size=BATCH_ROWS):
            yield (
                [(done + i, row) for i, row in enumerate(record.to_pylist(), start=1)],
                (size * (done + record.num_rows) // total),
            )
            done += record.num_rows


def _row(line: bytes) -> object:
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
