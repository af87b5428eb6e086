"""What became of scores that are known to be wrong, their truth standing in a side file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from notus.binarize import Binarized
from notus.data.schema import PREFERENCES, Feedback


def find_planted(
    planted: Path, feedback: Feedback, issues: pl.DataFrame, pair: Sequence[Binarized | None]
) -> dict[str, Any]:
    """Say which planted scores the audit found, and what two strategies made of them.

    Args:
        planted: JSONL of completion_id and true_score.
        feedback: The three tables.
        issues: Table `ISSUES`.
        pair: What the first and the second strategy made; None where one could not.

    Returns:
        Counts, and a row for each planted completion.
    """
    empty = pl.DataFrame(schema=PREFERENCES.schema)
    tables = [empty if made is None else made.preferences for made in pair]
    first, second = [*tables, empty, empty][:2]
    known = pl.read_ndjson(planted).select("completion_id", "true_score")
    flagged = issues.filter(pl.col("rule") == "score_conflict")["completion_id"]
    one = first.select("prompt_id", first_chosen="chosen_id")
    both = one.join(second.select("prompt_id", second_chosen="chosen_id"), on="prompt_id")
    differ = both.filter(pl.col("first_chosen") != pl.col("second_chosen"))["prompt_id"]
    rows = (
        known.lazy()
        .join(
            feedback.completions.select("completion_id", "prompt_id", "model"), on="completion_id"
        )
        .collect()
        .with_columns(
            flagged=pl.col("completion_id").is_in(flagged.implode()),
            in_disagreement=pl.col("prompt_id").is_in(differ.implode()),
            chosen_by_second=pl.col("completion_id").is_in(second["chosen_id"].implode()),
            chosen_by_first=pl.col("completion_id").is_in(first["chosen_id"].implode()),
        )
        .sort("completion_id")
    )
    return {
        "num_planted": known.height,
        "num_found_in_feedback": rows.height,
        "num_flagged_by_score_conflict": int(rows["flagged"].sum()),
        "num_in_disagreement": int(rows["in_disagreement"].sum()),
        "num_chosen_by_first": int(rows["chosen_by_first"].sum()),
        "num_chosen_by_second": int(rows["chosen_by_second"].sum()),
        "rows": rows.to_dicts(),
    }
