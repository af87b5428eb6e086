"""The stage that rates completions: every rater turns (prompt, completion) into rating rows.

The one rater of this module needs nobody: `verifiable` checks the answer against the constraints
that the prompt's metadata carries (`feedback.families` writes such prompts).
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

import polars as pl

from notus.data.schema import OVERALL, RATINGS, Feedback
from notus.errors import DataError, UsageError, explain, explain_unknown
from notus.feedback.rubrics import rate


class Rater(Protocol):
    """Turns one completion into rating rows without ids."""

    def __call__(
        self, text: str, metadata: Mapping[str, Any], *, finished: bool
    ) -> list[dict[str, object]]:
        """Rate a completion; the arguments are those of `rate_verifiable`."""
        ...


def rate_verifiable(
    text: str, metadata: Mapping[str, Any], *, finished: bool
) -> list[dict[str, object]]:
    """Rate one completion on the four aspects and overall by checking it.

    Args:
        text: The completion.
        metadata: The prompt's metadata with `constraints` and `keywords`.
        finished: Whether the model ended it.

    Returns:
        Rating rows without ids; the overall row's rationale is the critique.
    """
    rated = rate(text, metadata, finished=finished)
    rows: list[dict[str, object]] = [
        {
            "aspect": aspect,
            "value": None if value is None else float(value),
            "scale_min": 1.0,
            "scale_max": 5.0,
            "rationale": rationale,
        }
        for aspect, (value, rationale) in rated.ratings.items()
    ]
    overall = {"aspect": OVERALL, "value": rated.overall, "scale_min": 1.0, "scale_max": 10.0}
    return [*rows, {**overall, "rationale": rated.critique}]


def rate_completions(feedback: Feedback, rater: str) -> pl.DataFrame:
    """Rate every completion; return the ratings table.

    Raises:
        UsageError: No such rater.
        DataError: A prompt that this rater cannot rate.
    """
    if rater not in RATERS:
        raise UsageError(explain_unknown("rater", rater, RATERS, where="--rater"))
    columns = ["completion_id", "prompt_id", "text", "metadata"]
    prompts = feedback.prompts.select("prompt_id", "messages", prompt_metadata=pl.col("metadata"))
    frame = feedback.completions.select(columns).join(
        prompts, on="prompt_id", how="left", maintain_order="left"
    )
    rows = []
    for row in frame.collect().iter_rows(named=True):
        metadata = _constraints(row["prompt_id"], row["prompt_metadata"])
        # A reader of another schema keeps the prompt's text in its messages alone.
        metadata = {"instruction": row["messages"][-1]["content"], **metadata}
        finished = bool(json.loads(row["metadata"] or "{}").get("finished", True))
        for rating in RATERS[rater](row["text"], metadata, finished=finished):
            rows.append({"completion_id": row["completion_id"], "rater": rater, **rating})
    return pl.DataFrame(rows, schema=RATINGS.schema)


def _constraints(prompt_id: str, metadata: str | None) -> Mapping[str, Any]:
    loaded = json.loads(metadata or "{}")
    if not loaded.get("constraints"):
        raise DataError(
            explain(
                found=f"prompt {prompt_id} has no constraints (metadata keys: {sorted(loaded)})",
                expected="metadata with a list 'constraints', not empty, that the rater checks",
                where="prompts.parquet, column metadata",
                remedy="rate prompts that `notus prompts` wrote, or add constraints to yours",
            )
        )
    return dict(loaded)


RATERS: dict[str, Rater] = {"verifiable": rate_verifiable}
