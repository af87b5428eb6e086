"""Ingest: stream a source of feedback into the four tables, refusing what cannot be believed.

One batch of rows is in memory at a time, beside the ids so far that tell duplicates (about 100
bytes each), so a million completions need far less than 4 GiB. Each refused item is a row of the
table `refused`; too many of them stop the stage, because then the source is not what it seems.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from notus.data import pairs, ultrafeedback
from notus.data.parsed import Parsed, ParsedCompletion, Refusal, json_text
from notus.data.schema import (
    COMPLETIONS,
    PROMPTS,
    RATINGS,
    REFUSED,
    ROLES,
    Message,
    completion_id,
    prompt_id,
    raw_text,
)
from notus.data.streams import read_batches, source_files
from notus.errors import DataError, UsageError, explain, explain_unknown
from notus.manifest import file_digest
from notus.store import StageResult, TableWriter, run_stage

STAGE = "ingest"
DETECTION_ROWS = 20
DUPLICATE_COMPLETION = "duplicate completion"
_TABLES = (PROMPTS, COMPLETIONS, RATINGS, REFUSED)


class Reader(NamedTuple):
    """One source format."""

    recognises: Callable[[Mapping[str, object]], bool]
    parse: Callable[[Mapping[str, object]], Parsed]
    fields: str
    """What its rows must have, for messages."""


def ingest(
    source: Path,
    out: Path,
    *,
    format: str = "auto",
    max_refused: float = 0.01,
    progress: Callable[[int, int], None] | None = None,
) -> StageResult:
    """Read feedback into a stage directory of prompts, completions, ratings and refused.

    A prompt or a completion that occurs again is refused, and the first one stays.

    Args:
        source: A .jsonl, .jsonl.gz or .parquet file, or a directory of such files.
        out: The stage directory to write.
        format: A key of `READERS`, or "auto" to look at the first rows.
        max_refused: Largest share of the rows, of the completions and of the ratings that may be
            refused. Repeated completions do not count: they lose nothing.
        progress: Called after each batch with (bytes read, bytes in all).

    Returns:
        The result; its manifest's facts hold the format and the counts, the refused by reason.

    Raises:
        UsageError: no such format, or a share outside 0..1.
        DataError: no source, no rows of the format, or too many refused.
    """
    _require_usable(format, max_refused)
    files = source_files(source)
    digests = {path.name: file_digest(path) for path in files}

    def build(directory: Path) -> Mapping[str, object]:
        name = detect(files) if format == "auto" else format
        return {"format": name} | _read(
            files, digests, directory, READERS[name].parse, max_refused, progress
        )

    config = {"format": format, "max_refused": max_refused}
    return run_stage(out, stage=STAGE, config=config, inputs=dict(digests), build=build)


def detect(files: Sequence[Path]) -> str:
    """Name the format that recognises most of the first rows.

    Raises:
        DataError: none recognises any.
    """
    first = next(read_batches(files[0]), ([], 0))[0][:DETECTION_ROWS]
    rows = [row for _, row in first if isinstance(row, Mapping)]
    votes = {name: sum(map(reader.recognises, rows)) for name, reader in READERS.items()}
    best = max(votes, key=lambda name: votes[name])
    if votes[best] == 0:
        found = f"rows with the fields {', '.join(rows[0])}" if rows else "no JSON objects"
        raise DataError(
            explain(
                found=found,
                expected="; ".join(f"{name}: {reader.fields}" for name, reader in READERS.items()),
                where=f"the first {len(first)} rows of {files[0].name}",
                remedy="rename the fields, or name the format with --format to see each reason",
            )
        )
    return best


def _require_usable(format: str, max_refused: float) -> None:
    if format != "auto" and format not in READERS:
        raise UsageError(explain_unknown("format", format, ("auto", *READERS), where="--format"))
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
    files: Sequence[Path],
    digests: Mapping[str, str],
    directory: Path,
    parse: Callable[[Mapping[str, object]], Parsed],
    max_refused: float,
    progress: Callable[[int, int], None] | None,
) -> dict[str, object]:
    sizes = [path.stat().st_size for path in files]
    intake = _Intake(parse)
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(TableWriter(directory, table)) for table in _TABLES]
        for number, path in enumerate(files):
            for rows, position in read_batches(path):
                for line, row in rows:
                    intake.add(row, path.name, digests[path.name], line)
                for writer, frame in zip(writers, intake.take(), strict=True):
                    writer.write(frame)
                if progress is not None:
                    progress(sum(sizes[:number]) + position, sum(sizes))
    intake.judge(max_refused, " ".join(path.name for path in files))
    counts = {writer.table.name: writer.rows for writer in writers[:3]}
    return {"rows": intake.seen["row"], **counts, "refused": dict(intake.reasons.most_common())}


class _Intake:
    """Turns parsed rows into table rows, and keeps count of everything that came in."""

    def __init__(self, parse: Callable[[Mapping[str, object]], Parsed]) -> None:
        self.parse = parse
        self.seen: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.first_places: list[str] = []
        self.ids: set[bytes] = set()
        self.rows: tuple[list[tuple[object, ...]], ...] = tuple([] for _ in _TABLES)

    def add(self, row: object, file: str, digest: str, line: int) -> None:
        """Take one source row."""
        self.seen["row"] += 1
        place = f"{file}:{line}"
        if isinstance(row, Refusal):
            self._refuse(place, row)
            return
        if not isinstance(row, Mapping):
            self._refuse(place, Refusal("row", f"not an object: {type(row).__name__}", row))
            return
        parsed = self.parse(row)
        messages = parsed.messages
        problem = None if messages is None else _messages_problem(messages)
        if messages is not None and problem is None:
            key = prompt_id(messages)
            if self._again(key):
                problem = "duplicate prompt"
        if messages is None or problem is not None:
            for refusal in parsed.refusals if problem is None else [Refusal("row", problem, row)]:
                self._refuse(place, refusal)
            return
        origin = {"sha256": digest, "line": line}
        metadata = json_text(parsed.metadata)
        self.rows[0].append((key, messages, parsed.source, origin, metadata))
        for completion in parsed.completions:
            self._add_completion(place, key, completion)
        for refusal in parsed.refusals:
            self.seen[refusal.level] += 1
            self._refuse(place, refusal)

    def take(self) -> list[pl.DataFrame]:
        """Hand over the rows so far, a frame for each of `_TABLES`."""
        frames = []
        for table, rows in zip(_TABLES, self.rows, strict=True):
            columns = zip(*rows, strict=True) if rows else [[] for _ in table.schema]
            data = dict(zip(table.schema.names(), map(list, columns), strict=True))
            frames.append(pl.DataFrame(data, schema=table.schema))
            rows.clear()
        return frames

    def judge(self, max_refused: float, where: str) -> None:
        """Raise DataError if nothing is left, or more of any kind was refused than may be."""
        shares = {level: n / self.seen[level] for level, n in self.refused.items()}
        worst = max(shares.values(), default=0.0)
        if self.seen["row"] > self.refused["row"] and worst <= max_refused:
            return
        kinds = [f"{n} of {self.seen[level]} {level}s" for level, n in self.refused.items()]
        reasons = "; ".join(f"{reason}: {n}" for reason, n in self.reasons.most_common())
        nothing = self.seen["row"] == self.refused["row"]
        raise DataError(
            explain(
                found=f"{', '.join(kinds) or 'no rows'} refused ({reasons or 'empty source'})",
                expected="at least one good row"
                if nothing
                else f"at most {max_refused:.2%} of each refused",
                where=", ".join(self.first_places) or where,
                remedy="mend the source or name another --format"
                if nothing
                else f"mend the source, or accept the loss with --max-refused {_above(worst)}",
            )
        )

    def _add_completion(self, place: str, key: str, completion: ParsedCompletion) -> None:
        self.seen["completion"] += 1
        self.seen["rating"] += len(completion.ratings)
        model, text, metadata, ratings = completion
        identifier = completion_id(key, model, text)
        if self._again(identifier):
            raw = {"model": model, "response": text, "ratings": [r._asdict() for r in ratings]}
            self._refuse(place, Refusal("completion", DUPLICATE_COMPLETION, raw))
            return
        self.rows[1].append((identifier, key, model, text, origin, json_text(metadata)))
        self.rows[2].extend((identifier, *rating) for rating in ratings)

    def _again(self, identifier: str) -> bool:
        """Tell whether an id was here before; ids of prompts and completions never meet."""
        packed = bytes.fromhex(identifier)
        again = packed in self.ids
        self.ids.add(packed)
        return again

    def _refuse(self, place: str, refusal: Refusal) -> None:
        self.rows[3].append((place, refusal.reason, raw_text(refusal.raw)))
        self.reasons[refusal.reason.split(":")[0]] += 1
        if refusal.reason == DUPLICATE_COMPLETION:
            return
        self.refused[refusal.level] += 1
        if len(self.first_places) < 3:
            self.first_places.append(f"{place} ({refusal.reason})")


def _messages_problem(messages: Sequence[Message]) -> str | None:
    roles = [message["role"] for message in messages]
    unknown = [role for role in roles if role not in ROLES]
    if unknown:
        return f"unknown role: {unknown[0]!r}"
    if roles[-1] != "user":
        return f"last message is not the user's: {roles[-1]!r}"
    return None if messages[-1]["content"].strip() else "empty prompt"


def _above(share: float) -> str:
    """Round a share up to three digits, so that it is accepted when it is given back."""
    return f"{min(1.0, share + 0.0005):.3f}"


READERS: dict[str, Reader] = {
    ultrafeedback.NAME: Reader(
        ultrafeedback.recognises, ultrafeedback.parse, "instruction and completions"
    ),
    pairs.NAME: Reader(pairs.recognises, pairs.parse, "prompt, chosen and rejected"),
}
