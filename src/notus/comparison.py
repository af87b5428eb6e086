"""Two strategies on the same feedback, prompt by prompt: how often they differ, and where."""

from dataclasses import dataclass

import polars as pl

from notus.audit.pairs import agreement_of_choices
from notus.binarize import Binarized
from notus.data.schema import Feedback
from notus.stats import wilson

REVERSED = "reversed"
FLIPPED = "another chosen"
REPLACED = "another rejected"
ONLY = "only {}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """How two strategies differ."""

    facts: dict[str, object]
    """Prompts with both (n_both), with different choices (n_flipped, their share with its 95 %
    interval), with exactly one's choice (only_a, only_b), kappa, and differences by kind and by
    source."""
    rows: pl.DataFrame
    """A row for each prompt that differs: prompt_id, source, kind, and of each strategy the ids of
    chosen and rejected and the margin (null where it has none)."""


def compare(feedback: Feedback, first: Binarized, second: Binarized) -> Comparison:
    """Compare what two strategies make of the same feedback.

    Where a strategy has several preferences of a prompt, the sets of its chosen and of its rejected
    completions are compared, and its first preference stands in the rows.

    Args:
        feedback: What both were made from.
        first: Called "a" in facts and rows.
        second: Called "b".
    """
    names = [str(made.summary["strategy"]) for made in (first, second)]
    left, right = (
        _by_prompt(made.preferences, side) for made, side in ((first, "a"), (second, "b"))
    )
    both = left.join(right, on="prompt_id", how="full", coalesce=True)
    rows = _marked(both, names)
    sources = feedback.prompts.select("prompt_id", "source").collect()
    rows = rows.join(sources, on="prompt_id", how="left").sort("prompt_id")
    n_both = left.join(right, on="prompt_id", how="semi").height
    flipped = rows.filter(pl.col("kind").is_in([REVERSED, FLIPPED]))
    share = wilson(flipped.height, n_both) if n_both else None
    agreement = agreement_of_choices(first.preferences, second.preferences, feedback.completions)
    facts: dict[str, object] = {
        "n_both": n_both,
        "n_flipped": flipped.height,
        "share": share.value if share else 0.0,
        "low": share.low if share else None,
        "high": share.high if share else None,
        "kappa": agreement.kappa if agreement else None,
        "only_a": left.height - n_both,
        "only_b": right.height - n_both,
        "kinds": _counts(rows, "kind"),
        "flipped_by_source": _counts(flipped, "source"),
    }
    columns = ["prompt_id", "source", "kind"]
    columns += [f"{name}_{side}" for side in "ab" for name in ("chosen", "rejected", "margin")]
    return Comparison(facts=facts, rows=rows.select(columns))


def _by_prompt(preferences: pl.DataFrame, side: str) -> pl.DataFrame:
    return preferences.group_by("prompt_id").agg(
        pl.col("chosen_id").first().alias(f"chosen_{side}"),
        pl.col("rejected_id").first().alias(f"rejected_{side}"),
        pl.col("margin").first().alias(f"margin_{side}"),
        pl.col("chosen_id").unique().sort().alias(f"all_chosen_{side}"),
        pl.col("rejected_id").unique().sort().alias(f"all_rejected_{side}"),
    )


def _marked(both: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Keep the prompts that differ and say how."""
    swapped = (pl.col("all_chosen_a") == pl.col("all_rejected_b")) & (
        pl.col("all_rejected_a") == pl.col("all_chosen_b")
    )
    kind = (
        pl.when(pl.col("chosen_b").is_null())
        .then(pl.lit(ONLY.format(names[0])))
        .when(pl.col("chosen_a").is_null())
        .then(pl.lit(ONLY.format(names[1])))
        .when(swapped)
        .then(pl.lit(REVERSED))
        .when(pl.col("all_chosen_a") != pl.col("all_chosen_b"))
        .then(pl.lit(FLIPPED))
        .when(pl.col("all_rejected_a") != pl.col("all_rejected_b"))
        .then(pl.lit(REPLACED))
    )
    return both.with_columns(kind=kind).filter(pl.col("kind").is_not_null())


def _counts(rows: pl.DataFrame, column: str) -> dict[str, int]:
    counted = rows.group_by(column).len().sort("len", column, descending=[True, False])
    return dict(counted.iter_rows())
