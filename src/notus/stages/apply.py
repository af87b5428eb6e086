"""The verb apply: rulings replayed onto a rebuilt data set, and those that fit it no more."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from notus.data.schema import COMPLETIONS, DROPPED, PREFERENCES, PROMPTS, RATINGS
from notus.errors import DataError, explain
from notus.manifest import canonical_digest
from notus.review.decisions import Decisions
from notus.review.replay import FEEDBACK_KINDS, replay_on_feedback, replay_on_preferences
from notus.review.rulings import Settled, current, settle
from notus.review.tables import CONTESTED, OVERRIDDEN, UNMATCHED, WITHHELD
from notus.stages.files import write_json
from notus.store import (
    StageResult,
    TableWriter,
    read_feedback,
    read_manifest,
    read_table,
    run_stage,
    write_table,
)

STAGE = "apply"
CHUNK_ROWS = 50_000
"""Rows of feedback in memory at once: 100 MB of long answers."""


def apply(data: Path, out: Path, *, decisions: Path) -> StageResult:
    """Replay the rulings in force onto a Feedback directory, or onto one of preferences.

    The tables of the same name without the rulings' victims, and withheld, unmatched and contested;
    of feedback also overridden, of preferences also dropped. The rulings themselves are the input,
    not the bytes of their file: the same rulings on the same data give the same directory.

    Args:
        data: A finished directory with Feedback or preferences.
        out: Directory to write.
        decisions: The file of decisions.
    """
    held = {output.path for output in read_manifest(data).outputs}
    with Decisions(decisions, create=False) as file:
        in_force = current(file.rows())
    settled = settle(in_force)

    def build(directory: Path) -> Mapping[str, object]:
        to = _to_feedback if "ratings.parquet" in held else _to_preferences
        return to(data, directory, settled)

    if held.isdisjoint({"ratings.parquet", "preferences.parquet"}):
        raise DataError(
            explain(
                found=f"a directory with {', '.join(sorted(held)) or 'nothing'}",
                expected="Feedback (prompts, completions, ratings) or preferences",
                where=str(data),
                remedy="give what `notus ingest` or `notus binarize` wrote",
            )
        )
    inputs: dict[str, Path | str] = {"data": data, "decisions": canonical_digest(in_force.rows())}
    return run_stage(out, stage=STAGE, config={}, inputs=inputs, build=build)


def _to_feedback(data: Path, directory: Path, settled: Settled) -> Mapping[str, object]:
    before = read_feedback(data)
    after = replay_on_feedback(before, settled.rulings)
    counts: dict[str, object] = {}
    for table in (PROMPTS, COMPLETIONS, RATINGS):
        rows = getattr(after.feedback, table.name)
        with TableWriter(directory, table) as writer:
            for part in rows.collect_batches(chunk_size=CHUNK_ROWS, maintain_order=True):
                writer.write(part)
        counts[table.name] = writer.rows
    write_table(directory, WITHHELD, after.withheld)
    write_table(directory, OVERRIDDEN, after.overridden)
    counts |= {
        "withheld": _counts(after.withheld, "kind"),
        "overridden": after.overridden.height,
        "added": after.added.height,
    }
    return counts | _rest(directory, settled, after.unmatched, FEEDBACK_KINDS)


def _to_preferences(data: Path, directory: Path, settled: Settled) -> Mapping[str, object]:
    preferences, dropped = (read_table(data, name).collect() for name in ("preferences", "dropped"))
    after = replay_on_preferences(preferences, dropped, settled.rulings)
    write_table(directory, PREFERENCES, after.preferences)
    write_table(directory, DROPPED, after.dropped)
    write_table(directory, WITHHELD, after.withheld)
    facts = {"preferences": after.preferences.height, "withheld": after.withheld.height}
    rest = _rest(directory, settled, after.unmatched, ("preference",))
    write_json(directory / "summary.json", facts | rest)
    return facts | rest


def _rest(
    directory: Path, settled: Settled, unmatched: pl.DataFrame, kinds: tuple[str, ...]
) -> dict[str, object]:
    """Write what was not applied; say how many rulings were, and how many were not and why."""
    of_kinds = pl.col("kind").is_in(kinds)
    rulings, contested = settled.rulings.filter(of_kinds), settled.contested.filter(of_kinds)
    write_table(directory, UNMATCHED, unmatched)
    write_table(directory, CONTESTED, contested)
    applied = _counts(rulings, "action")
    for action, number in _counts(unmatched, "action").items():
        applied[action] -= number
    return {
        "applied": {action: number for action, number in applied.items() if number},
        "unmatched": _counts(unmatched, "reason"),
        "contested": contested.select("kind", "item", "question").n_unique(),
        "of_other_tables": settled.rulings.height - rulings.height,
    }


def _counts(frame: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(frame.group_by(column).len().sort(column).iter_rows())
