"""Reviewers beside each other: what each answered to the same question, and how far they agree."""

import json
import operator
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from notus.review.agreement import cohen_kappa, krippendorff_alpha
from notus.stats import Estimate, wilson

ANSWERS = pl.Schema(
    {
        **dict.fromkeys(("subject", "level", "item", "reviewer", "label"), pl.String()),
        "by_chance": pl.Boolean(),
    }
)
"""What was asked; a key of `LEVELS`; of what, by whom and what was answered (a number where the
level is "interval"); and whether it is known how often equal labels come by chance."""


def answers_of(current: pl.DataFrame, completions: pl.DataFrame | None = None) -> pl.DataFrame:
    """Bring rulings into the form in which reviewers are compared.

    Which of its answers a prompt was given is labelled by the answer's place among them in the
    order of ids, which says nothing of the answer: so equal labels come by chance as often as one
    picks the same of so many. N/A is no number and is left out of ratings.

    Args:
        current: What `notus.review.rulings.current` returns.
        completions: (prompt_id, completion_id) of the data set; None: not at hand.

    Returns:
        What `compare` takes.
    """
    places: dict[str, str] = {}
    if completions is not None:
        place = pl.col("completion_id").rank("ordinal").over("prompt_id")
        rows = completions.select("completion_id", place.cast(pl.String).alias("place"))
        places = dict(rows.iter_rows())
    made = []
    for row in current.iter_rows(named=True):
        value, is_rating = json.loads(row["value"]), row["action"] == "re-rate"
        if is_rating and value["value"] is None:
            continue
        is_choice = row["action"] == "choose"
        chosen = f"choose {places.get(value, value)}" if is_choice else row["action"]
        made.append(
            (
                row["question"] if is_rating else f"{row['question']} on {row['kind']}s",
                "interval" if is_rating else "nominal",
                row["item"],
                row["reviewer"],
                str(value["value"]) if is_rating else chosen,
                not is_choice or value in places,
            )
        )
    return pl.DataFrame(made, schema=ANSWERS, orient="row")


def compare(answers: pl.DataFrame, *, rng: np.random.Generator) -> dict[str, list[dict[str, Any]]]:
    """Compare reviewers on every subject that two of them have ruled on.

    Args:
        answers: Columns of `ANSWERS`, in any order.
        rng: Draws the resamples.

    Returns:
        "agreement": a row a subject; "pairs": a row a subject and pair of reviewers.
    """
    overall, pairs = [], []
    for (subject, level), part in answers.sort("subject", "item", "reviewer").group_by(
        "subject", "level", maintain_order=True
    ):
        units = part.group_by("item", maintain_order=True).agg("label", "reviewer")
        units = units.filter(pl.col("label").list.len() > 1)
        if units.is_empty():
            continue
        known = bool(part["by_chance"].all())
        values = units["label"].to_list()
        if level == "interval":
            values = [[float(value) for value in unit] for unit in values]
        alpha = krippendorff_alpha(values, str(level), rng=rng) if known else None
        couples = [pair for unit in values for pair in combinations(unit, 2)]
        overall.append(
            {
                "subject": subject,
                "items": units.height,
                "reviewers": part["reviewer"].n_unique(),
                "agree": sum(one == other for one, other in couples) / len(couples),
                **_named("alpha", alpha),
            }
        )
        pairs += _pairs(str(subject), units, rng, kappa=known and level == "nominal")
    return {"agreement": overall, "pairs": pairs}


def _pairs(
    subject: str, units: pl.DataFrame, rng: np.random.Generator, *, kappa: bool
) -> list[dict[str, Any]]:
    given: dict[str, dict[str, str]] = {}
    for item, labels, reviewers in units.select("item", "label", "reviewer").iter_rows():
        for label, reviewer in zip(labels, reviewers, strict=True):
            given.setdefault(reviewer, {})[item] = label
    rows = []
    for first, second in combinations(sorted(given), 2):
        both = sorted(given[first].keys() & given[second].keys())
        if not both:
            continue
        sides = [[given[name][item] for item in both] for name in (first, second)]
        row = {"subject": subject, "reviewers": f"{first}, {second}", "items": len(both)}
        estimate = cohen_kappa(*sides, rng=rng) if kappa else None
        equal = wilson(sum(map(operator.eq, *sides)), len(both))
        rows.append(row | _named("agree", equal) | _named("kappa", estimate))
    return rows


def _named(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    ends = (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
