"""Ingest: stream a source of feedback into the four tables, refusing what cannot be believed.

Rows become tables in the main thread, and a second one compresses them meanwhile, which holds no
interpreter lock: two processes that share the reading were rejected, because two cores are busy
already and whoever merges must see the rows in their order. Three groups of rows are in memory at
most, beside what tells repetitions (`notus.data.known`), so a million completions need far less
than 4 GiB. Equal sources give equal bytes, whatever the machine.

Each refused item is a row of the table `refused`; too many of them stop the stage, because then the
source is not what it seems.
"""

import contextlib
import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl

from notus.data.files.hub import locate_source
from notus.data.files.streams import file_names, read_batches, source_files
from notus.data.formats.mapping import load_mapping, reader_of
from notus.data.formats.readers import READERS, detect
from notus.data.formats.regular import decoder
from notus.data.intake import TABLES, Intake
from notus.errors import UsageError, explain, explain_unknown
from notus.manifest import file_digest
from notus.store import StageResult, TableWriter, run_stage

STAGE = "ingest"
MAPPING = "mapping"
"""The mapping file among the inputs; a source file has an ending and so another name."""
GROUP_ROWS = 2000
"""Source rows whose table rows are written together, as a row group."""


def ingest(
    source: Path | str,
    out: Path,
    *,
    format: str = "auto",
    map: Path | None = None,
    max_refused: float = 0.01,
    progress: Callable[[int, int], None] | None = None,
) -> StageResult:
    """Read feedback into a stage directory of prompts, completions, ratings and refused.

    A prompt or a completion that occurs again is one, and later rows add what is new to it; the
    source and the metadata of a prompt, and the metadata of a completion, are those of the first.

    Args:
        source: A file or a folder of files (`streams.SUFFIXES`), or as text also an id of the hub.
        out: The stage directory to write.
        format: A key of `READERS`, or "auto" to look at the first rows.
        map: A YAML file that says which field means what (`formats.mapping`), instead of a format.
        max_refused: Largest share of the rows, of the completions and of the ratings that may be
            refused. Repetitions do not count: they lose nothing.
        progress: Called after each group of rows with (bytes read, bytes in all).

    Returns:
        The result; its manifest's facts hold the format and the counts, the refused by reason.

    Raises:
        UsageError: no such format, a mapping that cannot be used, or a share outside 0..1.
        DataError: no source, no rows of the format, or too many refused.
    """
    _require_usable(format, map, max_refused)
    mapping = None if map is None else load_mapping(map)
    files = source_files(locate_source(source) if isinstance(source, str) else source)
    names = file_names(files)
    digests = {name: file_digest(path) for name, path in zip(names, files, strict=True)}

    def build(directory: Path) -> Mapping[str, object]:
        if mapping is not None:
            name, intake = mapping.name, Intake(reader_of(mapping).parse)
        else:
            name = detect(files) if format == "auto" else format
            intake = Intake(READERS[name].parse, decoder(name))
        counts = _read(dict(zip(names, files, strict=True)), digests, directory, intake, progress)
        intake.judge(max_refused, " ".join(names))
        return {"format": name} | intake.facts() | counts

    # A mapping may take its name, and so its rater's, from its file.
    named = format if mapping is None else mapping.name
    config = {"format": named, "max_refused": max_refused}
    inputs = digests | ({} if map is None else {MAPPING: file_digest(map)})
    return run_stage(out, stage=STAGE, config=config, inputs=inputs, build=build)


def _require_usable(format: str, map: Path | None, max_refused: float) -> None:
    if format != "auto" and format not in READERS:
        raise UsageError(explain_unknown("format", format, ("auto", *READERS), where="--format"))
    if format != "auto" and map is not None:
        raise UsageError(
            explain(
                found=f"the format {format!r} and the mapping {map.name}",
                expected="one of the two: a mapping is a format of its own",
                where="--format and --map",
                remedy="leave one of them out",
            )
        )
    if not 0 <= max_refused <= 1:
        raise UsageError(
            explain(
                found=f"a share of {max_refused}",
                expected="a number from 0 to 1",
                where="--max-refused",
                remedy="0.05 lets one item in twenty be refused",
            )
        )


def _read(
    files: Mapping[str, Path],
    digests: Mapping[str, str],
    directory: Path,
    intake: Intake,
    progress: Callable[[int, int], None] | None,
) -> dict[str, int]:
    """Write every file's rows to the tables; count the rows of each but the refused."""
    sizes = {name: path.stat().st_size for name, path in files.items()}
    before = 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(_collector_paused())
        writers = [stack.enter_context(TableWriter(directory, table)) for table in TABLES]
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=1))
        written = pool.submit(_write, writers, [])
        for name, path in files.items():
            for position in _groups(path, name, intake):
                frames = intake.take(digests[name])
                written.result()
                written = pool.submit(_write, writers, frames)
                if progress is not None:
                    progress(before + position, sum(sizes.values()))
            before += sizes[name]
        written.result()
    return {writer.table.name: writer.rows for writer in writers[:3]}


def _groups(path: Path, name: str, intake: Intake) -> Iterator[int]:
    """Let an intake add a file's rows; after each group, yield how many bytes have been read."""
    taken, position = intake.rows, 0
    for rows, position in read_batches(path, intake.decode):
        for line, row in rows:
            intake.add(row, name, line)
        if intake.rows - taken >= GROUP_ROWS:
            taken = intake.rows
            yield position
    yield position


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the garbage collector, which would walk every row again and again.

    Rows are trees, so counting references frees them; that saves a third of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _write(writers: Sequence[TableWriter], frames: Sequence[pl.DataFrame]) -> None:
    for writer, frame in zip(writers, frames, strict=False):
        writer.write(frame)
