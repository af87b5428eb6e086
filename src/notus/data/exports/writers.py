"""Feedback and preferences in the forms that other tools load as they are.

    Export (tables, holdout) -> writer -> one file: JSONL, gzipped JSONL, JSON or Parquet
                                       -> a directory: data/SPLIT-00000-of-00001.parquet, ...

Rows are written as they are made, a batch at a time. Files appear at once or not at all; a
directory is the stage's business.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from notus.data.exports import argilla
from notus.data.exports.containers import DIRECTORY, write_chunks, write_frames
from notus.data.exports.pair_rows import hold_out, pair_batches, plan_pairs, scores
from notus.data.exports.pair_schemas import PAIR_SCHEMAS, PairSchema
from notus.data.exports.ultrafeedback_rows import to_ultrafeedback
from notus.data.formats.ultrafeedback import NAME as ULTRAFEEDBACK
from notus.data.schema import PREFERENCES, Feedback

SHARD_ROWS = 250_000
"""Rows of one Parquet file of a directory; about 1 GB of long answers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Export:
    """What is to be written."""

    feedback: Feedback
    preferences: pl.DataFrame | None
    """Table `PREFERENCES`; None: the feedback itself is written."""
    name: str
    """What the result is called: the last part of its path."""
    holdout: int = 0
    """Prompts whose pairs go to the second split of a directory."""
    seed: int = 42
    """Of the draw."""


class Column(NamedTuple):
    """A column that was written."""

    name: str
    type: str
    meaning: str


class Written(NamedTuple):
    """What a writer has written."""

    rows: int
    splits: Mapping[str, int] = {}
    """Split -> rows; empty for what has none."""
    columns: tuple[Column, ...] = ()
    """Of every split; empty for what is no table."""


class Writer(NamedTuple):
    """One form."""

    write: Callable[[Export, Path], Written]
    """Write to a path: one file, or into a directory that exists."""
    containers: tuple[str, ...]
    """Members of `notus.data.exports.containers.FILES`, and `DIRECTORY`."""
    pairs: bool | None
    """Whether it writes preferences; None: preferences if there are some, else feedback."""
    note: str
    """What it is, for help."""


def _pairs(schema: PairSchema, export: Export, out: Path) -> Written:
    scored = None
    if schema.overall_first is not None:
        scored = scores(export.feedback.ratings, overall_first=schema.overall_first)
    preferences = export.preferences
    if preferences is None:
        preferences = pl.DataFrame(schema=PREFERENCES.schema)
    plan = plan_pairs(export.feedback, preferences, scored and scored.frame)
    columns = _columns(schema, export, plan, scored.meaning if scored else "")
    if not out.is_dir():
        write_frames(out, map(schema.columns, pair_batches(export.feedback, plan)))
        return Written(plan.height, columns=columns)
    parts = dict(zip(schema.splits, hold_out(plan, export.holdout, export.seed), strict=True))
    splits = {name: part for name, part in parts.items() if part.height}
    for name, part in splits.items():
        shards = list(part.iter_slices(SHARD_ROWS))
        for number, shard in enumerate(shards):
            path = out / "data" / f"{name}-{number:05}-of-{len(shards):05}.parquet"
            write_frames(path, map(schema.columns, pair_batches(export.feedback, shard)))
    return Written(plan.height, {name: part.height for name, part in splits.items()}, columns)


def _columns(
    schema: PairSchema, export: Export, plan: pl.DataFrame, score: str
) -> tuple[Column, ...]:
    first = schema.columns(next(pair_batches(export.feedback, plan.head(1))))
    return tuple(
        Column(
            name,
            _type(dtype),
            schema.meaning[name] + (f": {score}" if name in schema.scored else ""),
        )
        for name, dtype in first.schema.items()
    )


def _type(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.List):
        return "list of {content, role}"
    return {pl.String(): "string", pl.Float64(): "float64"}[dtype]


def _ultrafeedback(export: Export, out: Path) -> Written:
    counted = _Counted(to_ultrafeedback(export.feedback))
    write_chunks(out, ((json.dumps(row, ensure_ascii=False) + "\n").encode() for row in counted))
    return Written(counted.number)


def _argilla_records(export: Export, out: Path) -> Written:
    feedback, agent = export.feedback, argilla.rater_name(export.feedback.ratings)
    overall = argilla.overall_ratings(feedback.ratings)
    if export.preferences is not None:
        kind, answers = argilla.PAIR, list(argilla.SIDES)
        plan = plan_pairs(feedback, export.preferences, overall)
        records = argilla.pair_records(pair_batches(feedback, plan), agent)
    else:
        kind, answers = argilla.PROMPT, argilla.answer_fields(argilla.most_completions(feedback))
        found = dict(overall.collect(engine="streaming").iter_rows())
        records = argilla.prompt_records(feedback, found, agent)
    counted = _Counted(records)
    if out.is_dir():
        for name, value in (
            ("settings.json", argilla.settings(kind, answers)),
            ("dataset.json", {"name": export.name, "guidelines": argilla.GUIDELINES}),
        ):
            text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
            write_chunks(out / ".argilla" / name, [text.encode()])
        out = out / "records.json"
    write_chunks(out, argilla.json_array(counted))
    return Written(counted.number)


class _Counted:
    """Passes rows on and counts them."""

    def __init__(self, rows: Iterable[dict[str, Any]]) -> None:
        self.rows = rows
        self.number = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in self.rows:
            self.number += 1
            yield row


_TABLES = (".jsonl", ".jsonl.gz", ".parquet", DIRECTORY)

WRITERS: dict[str, Writer] = {
    ULTRAFEEDBACK: Writer(
        _ultrafeedback, (".jsonl", ".jsonl.gz"), pairs=False, note="raw UltraFeedback rows"
    ),
    "trl": Writer(
        partial(_pairs, PAIR_SCHEMAS["trl"]),
        _TABLES,
        pairs=True,
        note="conversational pairs for TRL's DPOTrainer",
    ),
    "argilla": Writer(
        partial(_pairs, PAIR_SCHEMAS["argilla"]),
        _TABLES,
        pairs=True,
        note="columns of argilla/ultrafeedback-binarized-preferences-cleaned",
    ),
    "h4": Writer(
        partial(_pairs, PAIR_SCHEMAS["h4"]),
        _TABLES,
        pairs=True,
        note="columns of HuggingFaceH4/ultrafeedback_binarized",
    ),
    "argilla-records": Writer(
        _argilla_records,
        (".json", DIRECTORY),
        pairs=None,
        note="records of an Argilla 2 server, for review; a directory for Dataset.from_disk",
    ),
}
