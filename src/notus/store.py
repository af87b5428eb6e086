"""Stage directories that are either finished or not there.

    run_stage -> lock -> reuse what is finished and fits
                      -> build in .NAME.partial -> fsync -> manifest.json last -> rename to NAME

A reader believes a directory only by its manifest. A process may be killed at any moment: what was
finished before stays, what was half-written is wiped or, for a resumable stage, continued.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow.parquet as pq
from pydantic import ValidationError

from notus.data.schema import Feedback, Table, require_columns
from notus.directories import (
    fill,
    lock,
    partial_of,
    prepare,
    publish,
    recover,
    sync_tree,
    write_atomically,
)
from notus.errors import DataError, IncompleteError, UsageError, explain
from notus.manifest import (
    MANIFEST,
    Manifest,
    Timer,
    canonical_digest,
    file_digest,
    jsonable,
    make_manifest,
)

MODEL_MARKS = ("config.json", "adapter_config.json")
_COMPATIBLE = pl.CompatLevel.oldest()


@dataclass(frozen=True)
class StageResult:
    """A finished stage directory; `reused` if it was there already and nothing was built."""

    directory: Path
    manifest: Manifest
    reused: bool


def run_stage(  # long: one transaction, to be read as a whole
    out: Path,
    *,
    stage: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, Path | str],
    build: Callable[[Path], Mapping[str, object]],
    resumable: bool = False,
    determinism: Literal["bytes", "machine", "none"] = "bytes",
) -> StageResult:
    """Build a stage directory, or reuse it if the same stage, config and inputs made it.

    Another version of notus does not make a finished directory stale: remove it to rebuild.

    Args:
        out: The directory; an earlier result of the stage is replaced once the new one is complete.
        stage: Name of the stage.
        config: Everything but the inputs that the result depends on; JSON values.
        inputs: Name -> a file, a stage's or a model's directory, or a digest of 64 hex digits.
        build: Fills the directory that it is given and returns the facts for the manifest.
        resumable: Keep what a killed or failed `build` from the same key wrote, for the next one.
        determinism: What may be expected of a rerun, a key of `notus.manifest.DETERMINISM`.

    Raises:
        UsageError: `out` holds something else, or another process is writing it.
        IncompleteError: an input directory is not finished.
        StageError: the disk is full.
    """
    timer, out = Timer(), Path(os.path.abspath(out))  # noqa: PTH100 - keeps a link a link
    key: dict[str, Any] = {"stage": stage, "config": jsonable(config)}
    key["inputs"] = {name: _input_digest(name, path) for name, path in sorted(inputs.items())}
    out.parent.mkdir(parents=True, exist_ok=True)
    with lock(out):
        recover(out)
        finished = _finished(out, stage)
        if finished is not None and _key_of(finished) == key:
            return StageResult(out, finished, reused=True)
        prepare(partial_of(out), key, resumable=resumable)
        facts = fill(partial_of(out), build, resumable=resumable)
        manifest = make_manifest(
            partial_of(out), **key, facts=facts, determinism=determinism, timer=timer
        )
        sync_tree(partial_of(out))
        write_manifest(partial_of(out), manifest)
        publish(out)
    return StageResult(out, manifest, reused=False)


def read_manifest(directory: Path, stage: str | None = None) -> Manifest:
    """Read the manifest of a finished stage directory and see that its outputs are there.

    Args:
        directory: A stage directory.
        stage: The stage it must be of; None for any.

    Raises:
        IncompleteError: no directory, no manifest, an unreadable one, another stage's, or an output
            that is missing or has another size. Contents are not hashed again: that would cost as
            much as reading them.
    """
    manifest = _parse_manifest(directory, stage)
    for output in manifest.outputs:
        file = directory / output.path
        size = file.stat().st_size if file.is_file() else None
        if size != output.bytes:
            found = "no file" if size is None else f"{size} bytes"
            raise _incomplete(found, f"the {output.bytes} bytes that the manifest lists", file)
    return manifest


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write a manifest at once or not at all; from here on the directory is believed."""
    write_atomically(
        directory / MANIFEST,
        lambda path: path.write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8"),
    )


def read_feedback(directory: Path) -> Feedback:
    """Scan the prompts, completions and ratings of a finished directory.

    Raises:
        IncompleteError: see `read_manifest`; or one of the three tables is not among its outputs.
    """
    return Feedback(
        prompts=read_table(directory, "prompts"),
        completions=read_table(directory, "completions"),
        ratings=read_table(directory, "ratings"),
    )


def read_table(directory: Path, name: str) -> pl.LazyFrame:
    """Scan one table of a finished directory.

    Raises:
        IncompleteError: see `read_manifest`; or the table is not among its outputs.
    """
    manifest = read_manifest(directory)
    file = f"{name}.parquet"
    if file not in {output.path for output in manifest.outputs}:
        tables = ", ".join(o.path for o in manifest.outputs if o.path.endswith(".parquet"))
        found = f"no table {name!r}; {manifest.stage!r} wrote {tables or 'no tables'}"
        raise _incomplete(found, f"a directory with {file}", directory)
    return pl.scan_parquet(directory / file)


class TableWriter:
    """Appends frames to one Parquet file, a row group each, so that only one is in memory."""

    def __init__(self, directory: Path, table: Table) -> None:
        self.table = table
        self.rows = 0
        schema = pl.DataFrame(schema=table.schema).to_arrow(compat_level=_COMPATIBLE).schema
        # Without the Arrow schema the file depends on Parquet alone, and on nothing of the writer.
        self._file = pq.ParquetWriter(
            directory / f"{table.name}.parquet", schema, compression="zstd", store_schema=False
        )

    def write(self, frame: pl.DataFrame) -> None:
        """Append rows with the table's columns, in any column order.

        Raises:
            DataError: a column is missing, unknown or of another type.
        """
        require_columns(self.table, frame)
        if frame.height:
            frame = frame.select(self.table.schema.names())
            self._file.write_table(frame.to_arrow(compat_level=_COMPATIBLE))
            self.rows += frame.height

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def write_table(directory: Path, table: Table, frame: pl.DataFrame) -> None:
    """Write a frame as DIRECTORY/NAME.parquet: equal frames give equal bytes.

    Raises:
        DataError: a column is missing, unknown or of another type. Rules are not checked here:
            `notus.data.schema.check` separates the rows that break one.
    """
    with TableWriter(directory, table) as writer:
        writer.write(frame)


def write_frame(path: Path, frame: pl.DataFrame) -> None:
    """Write any frame as a Parquet file at once or not at all; it is on disk when this returns."""
    write_atomically(path, lambda partial: frame.write_parquet(partial, compression="zstd"))


def digest_path(path: Path) -> str:
    """SHA-256 of a file's bytes, or of the names and bytes of all files below a directory."""
    if path.is_file():
        return file_digest(path)
    if not path.is_dir():
        raise DataError(
            explain(
                found="nothing",
                expected="a file or a directory",
                where=str(path),
                remedy="check the path",
            )
        )
    files = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    return canonical_digest([[name, file_digest(path / name)] for name in files])


def _input_digest(name: str, source: Path | str) -> str:
    if isinstance(source, str):
        if re.fullmatch("[0-9a-f]{64}", source) is None:
            raise UsageError(
                explain(
                    found=f"the text {source!r}",
                    expected="a Path, or a digest of 64 hex digits",
                    where=f"input {name!r} of a stage",
                    remedy="pass pathlib.Path(...), or what digest_path returns",
                )
            )
        return source
    model = any((source / mark).is_file() for mark in MODEL_MARKS)
    if source.is_dir() and ((source / MANIFEST).is_file() or not model):
        return read_manifest(source).content_digest
    return digest_path(source)


def _finished(out: Path, stage: str) -> Manifest | None:
    """Read what stands at `out` if it is finished; refuse what this stage must not replace."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        _parse_manifest(out, stage)
    except IncompleteError as error:
        # Replacing it would delete files that notus may never have written.
        raise UsageError(
            explain(
                found=str(error).split("\n", maxsplit=1)[0],
                expected=f"no directory, an empty one, or an earlier result of stage {stage!r}",
                where=str(out),
                remedy="give another output directory, or remove this one if you do not need it",
            )
        ) from error
    try:
        return read_manifest(out, stage)
    except IncompleteError:
        # A result that lost files is built again.
        return None


def _key_of(manifest: Manifest) -> dict[str, Any]:
    return {"stage": manifest.stage, "config": manifest.config, "inputs": manifest.inputs}


def _parse_manifest(directory: Path, stage: str | None) -> Manifest:
    path = directory / MANIFEST
    if not path.is_file():
        what = "a directory without manifest.json" if directory.is_dir() else "no directory"
        raise _incomplete(what, f"a finished {stage or 'stage'} directory", directory)
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        found = f"a manifest that cannot be read: {error.errors()[0]['msg']}"
        raise _incomplete(found, "a manifest that notus wrote", path) from error
    if stage is not None and manifest.stage != stage:
        raise _incomplete(f"a result of stage {manifest.stage!r}", f"of stage {stage!r}", path)
    return manifest


def _incomplete(found: str, expected: str, where: Path) -> IncompleteError:
    remedy = "give another directory, or run the stage that makes this one again"
    return IncompleteError(explain(found=found, expected=expected, where=str(where), remedy=remedy))
