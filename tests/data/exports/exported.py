"""Small finished directories to export from, and what a reader finds in what was exported."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from notus.data.schema import (
    COMPLETIONS,
    DROPPED,
    PREFERENCES,
    PROMPTS,
    RATINGS,
    Feedback,
    preference_id,
)
from notus.data.sources import ingest
from notus.store import read_feedback, run_stage, write_table

Pairs = Sequence[tuple[int, int, int]]
"""(prompt, chosen, rejected), each the number of a row of its table."""


def save_feedback(folder: Path, feedback: Feedback) -> Path:
    """Write feedback as `ingest` would."""

    def build(directory: Path) -> dict[str, object]:
        for table, frame in (
            (PROMPTS, feedback.prompts),
            (COMPLETIONS, feedback.completions),
            (RATINGS, feedback.ratings),
        ):
            write_table(directory, table, frame.collect())
        return {"format": "pairs", "refused": {"identical pair": 2}}

    run_stage(folder, stage="ingest", config={}, inputs={"x.jsonl": "0" * 64}, build=build)
    return folder


def save_preferences(
    folder: Path,
    feedback: Path,
    pairs: Pairs,
    *,
    config: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    dropped: Mapping[str, str] | None = None,
) -> Path:
    """Write preferences as `binarize` would."""
    tables = read_feedback(feedback)
    prompts = tables.prompts.collect()["prompt_id"]
    completions = tables.completions.collect()["completion_id"]
    ids = [(prompts[p], completions[c], completions[r]) for p, c, r in pairs]
    frame = pl.DataFrame(
        [(preference_id(*row), *row, 1.5, "best") for row in ids],
        schema=PREFERENCES.schema,
        orient="row",
    ).sort("prompt_id")
    lost = [(prompt, "best", reason) for prompt, reason in (dropped or {}).items()]

    def build(directory: Path) -> Mapping[str, object]:
        write_table(directory, PREFERENCES, frame)
        write_table(directory, DROPPED, pl.DataFrame(lost, schema=DROPPED.schema, orient="row"))
        return facts or {}

    specification = {"specification": {"name": "best", "note": "the best one"}}
    run_stage(
        folder,
        stage="binarize",
        config=config or specification,
        inputs={"feedback": feedback},
        build=build,
    )
    return folder


def read_pairs(source: Path, out: Path) -> list[tuple[tuple[str, ...], str, str]]:
    """Ingest exported pairs; return (turns of the prompt, chosen text, rejected text), sorted."""
    ingest(source, out, format="pairs")
    tables = read_feedback(out)
    rows = (
        tables.ratings.filter(pl.col("aspect") == "preference")
        .join(tables.completions, on="completion_id")
        .join(tables.prompts, on="prompt_id")
        .collect()
    )
    sides: dict[tuple[str, str], dict[float, str]] = {}
    turns: dict[tuple[str, str], tuple[str, ...]] = {}
    for row in rows.iter_rows(named=True):
        key = (row["prompt_id"], row["rater"])
        sides.setdefault(key, {})[row["value"]] = row["text"]
        turns[key] = tuple(f"{m['role']}: {m['content']}" for m in row["messages"])
    return sorted((turns[key], texts[1.0], texts[0.0]) for key, texts in sides.items())
