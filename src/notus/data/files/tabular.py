"""The rows of files with columns: Parquet, Arrow as `datasets` saves it, and CSV.

A row is a dict of column and value. Every column is in every row, so that what a row does not have
is null, and readers take null for missing. A CSV cell is text; an empty one is null.
"""

import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from notus.data.parsed import Refusal

Batch = tuple[list[tuple[int, object]], int]

_FILE_MAGIC = b"ARROW1"


def read_parquet(path: Path, size: int) -> Iterator[Batch]:
    """Read rows of a Parquet file, `size` at a time, with the share of its bytes that is done."""
    total_bytes = path.stat().st_size
    with pq.ParquetFile(path) as file:
        total, done = file.metadata.num_rows, 0
        for record in file.iter_batches(batch_size=size):
            done += record.num_rows
            yield _numbered(record, done), total_bytes * done // total


def read_arrow(path: Path, size: int) -> Iterator[Batch]:
    """Read rows of an Arrow stream, or of an Arrow file (Feather 2)."""
    with pa.OSFile(str(path), "rb") as file:
        magic = file.read(len(_FILE_MAGIC))
        file.seek(0)
        if magic == _FILE_MAGIC:
            whole = pa.ipc.open_file(file)
            records = (whole.get_batch(i) for i in range(whole.num_record_batches))
        else:
            records = iter(pa.ipc.open_stream(file))
        done = 0
        for record in records:
            # Reading past a damaged offset would end the process, not raise.
            record.validate(full=True)
            for start in range(0, record.num_rows, size):
                part = record.slice(start, size)
                done += part.num_rows
                yield _numbered(part, done), file.tell()
    yield [], path.stat().st_size


def read_csv(file: BinaryIO) -> Iterator[tuple[int, object]]:
    """Read the records of a CSV file with a header, numbered from 1."""
    # A field longer than 128 KiB is an answer, not an attack.
    csv.field_size_limit(sys.maxsize)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        for number, row in enumerate(csv.DictReader(text), start=1):
            yield number, _record(row)
    except csv.Error as error:
        raise ValueError(f"no CSV: {error}") from error
    finally:
        text.detach()


def _numbered(record: pa.RecordBatch, done: int) -> list[tuple[int, object]]:
    return list(enumerate(record.to_pylist(), start=done - record.num_rows + 1))


def _record(row: dict[str | None, object]) -> object:
    if None in row:
        return Refusal("row", "more fields than the header", {str(k): v for k, v in row.items()})
    texts = cast(dict[str, str | None], row)
    for place, (name, value) in enumerate(texts.items(), start=1):
        if any("\ud800" <= character <= "\udfff" for character in f"{name}{value}"):
            return Refusal("row", f"not UTF-8: column {place}", dict(texts))
    return {name: value or None for name, value in texts.items()}
