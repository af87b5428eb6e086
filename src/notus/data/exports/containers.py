"""What exported rows are kept in: JSONL, gzipped JSONL, JSON, Parquet, each complete or not there.

Rows come as a stream and go to the disk as they come. Equal rows give equal bytes: gzip has no time
stamp, Parquet nothing of its writer.
"""

import gzip
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import polars as pl
import pyarrow.parquet as pq

from notus.directories import write_atomically
from notus.errors import UsageError, explain

FILES = (".jsonl", ".jsonl.gz", ".json", ".parquet")
DIRECTORY = "a directory"
MISTAKEN = (".gz", ".csv", ".tsv", ".txt", ".arrow", ".zip", ".yaml", ".md")
"""Endings of files that nobody means a directory by."""
_COMPATIBLE = pl.CompatLevel.oldest()


def container_of(out: Path) -> str:
    """Name what is written to a path: a member of `FILES`, or `DIRECTORY`."""
    return next((ending for ending in FILES if out.name.endswith(ending)), DIRECTORY)


def require_container(out: Path, allowed: Iterable[str], schema: str) -> str:
    """Name what is written to a path, which must be something that a schema can be kept in.

    Raises:
        UsageError: it cannot.
    """
    found, allowed = container_of(out), tuple(allowed)
    mistaken = out.name.endswith(MISTAKEN) if found == DIRECTORY else out.is_dir()
    if found in allowed and not mistaken:
        return found
    there = ", which is a directory," if out.is_dir() else ""
    raise UsageError(
        explain(
            found=f"{out.name!r}{there} for the schema {schema!r}",
            expected=" or ".join(
                one if one == DIRECTORY else f"a name that ends in {one}" for one in allowed
            ),
            where="--out",
            remedy="give another name",
        )
    )


def write_chunks(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file from its parts; gzipped if its name ends in .gz."""

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            if path.suffix != ".gz":
                file.writelines(chunks)
                return
            # Neither a name nor a time in the header.
            with gzip.GzipFile("", "wb", fileobj=cast(BinaryIO, file), mtime=0) as packed:
                packed.writelines(chunks)

    _complete(path, write)


def write_parquet(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    """Write a Parquet file, a row group for each frame; there is at least one frame."""

    def write(partial: Path) -> None:
        first = next(frames).to_arrow(compat_level=_COMPATIBLE)
        with pq.ParquetWriter(
            partial, first.schema, compression="zstd", store_schema=False
        ) as file:
            file.write_table(first)
            for frame in frames:
                file.write_table(frame.to_arrow(compat_level=_COMPATIBLE))

    _complete(path, write)


def json_lines(frames: Iterable[pl.DataFrame]) -> Iterator[bytes]:
    """Render frames as JSONL, a chunk a frame."""
    for frame in frames:
        yield frame.write_ndjson().encode()


def write_frames(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    """Write frames of equal columns to the kind of file that the path names."""
    if container_of(path) == ".parquet":
        write_parquet(path, frames)
    else:
        write_chunks(path, json_lines(frames))


def _complete(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file and give it its name; leave nothing behind that is half of it."""

    def attempt(partial: Path) -> None:
        try:
            write(partial)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, attempt)
