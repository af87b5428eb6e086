"""Preferences from ratings, by named specification: the best completion against a lower one.

A completion's score is the mean of those of the specification's aspects that are present; N/A is
absent and never a number. Ties for the best and the choice of the rejected one are settled by a
draw that hashes (seed, completion id), so neither row order nor other prompts can change a pair.
Source of the published sets: argilla/ultrafeedback-binarized-preferences (argilla-v1) and
HuggingFaceH4/ultrafeedback_binarized (h4-v2). They break ties for the best by file order and draw
from a generator in row order; our draws differ from theirs, the distributions do not.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from notus.audit.texts import text_keys
from notus.data.schema import (
    ASPECTS,
    OVERALL,
    PREFERENCE,
    Feedback,
    preference_id,
)
from notus.errors import DataError, UsageError, explain, explain_unknown

TOO_FEW = "fewer than 2 rated completions"
ALL_EQUAL = "all ratings equal"
TIE = "equal ratings (tie)"
IDENTICAL = "identical text"


@dataclass(frozen=True, kw_only=True)
class Specification:
    """One way to turn ratings into preferences."""

    name: str
    aspects: tuple[str, ...]
    """Aspects whose present values are averaged into a completion's score."""
    rejected: str
    """Key of `REJECTED`: which completions may be drawn as the rejected one."""
    ties: Literal["drop", "keep"]
    """Whether a pair of equally rated completions is kept (margin 0)."""
    seed: int = 42
    """Of the draws."""
    note: str
    """What it stands for, for help and reports."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Binarized:
    """Preferences, the prompts that gave none, and counts."""

    preferences: pl.DataFrame
    """Table `PREFERENCES`, sorted by prompt_id; margin in points of the rating scale."""
    dropped: pl.DataFrame
    """Table `DROPPED`: every other prompt, with the reason."""
    summary: dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Flips:
    """How two sets of preferences differ in the completion that they choose."""

    n_both: int
    """Prompts with a preference in both."""
    n_flipped: int
    """Of these, prompts whose chosen completions differ."""
    share: float
    """n_flipped / n_both; 0 if n_both is 0."""
    only_a: int
    only_b: int


def binarize(feedback: Feedback, spec: Specification) -> Binarized:
    """Make at most one preference a prompt.

    Args:
        feedback: The three tables; row order does not matter.
        spec: How; see `SPECIFICATIONS`.

    Returns:
        Preferences and dropped prompts, together as many as the prompts that went in.

    Raises:
        DataError: No rating of the aspects at all, or ratings of different scales.
    """
    scores = _scores(feedback.ratings, spec)
    keys = text_keys(feedback.completions)
    frame = keys.join(scores, on="completion_id").rename({"key": "text"})
    frame = frame.with_columns(_draws(frame["completion_id"], spec.seed)).sort(
        "prompt_id", "score", "draw_chosen", descending=[False, True, False]
    )
    frame = frame.with_columns(chosen=pl.col("prompt_id").is_first_distinct())
    chosen = frame.filter("chosen").select(
        "prompt_id",
        chosen_id="completion_id",
        chosen_score="score",
        chosen_text="text",
    )
    rivals = frame.filter(~pl.col("chosen")).join(chosen, on="prompt_id")
    prompts = feedback.prompts.select("prompt_id").collect()
    pairs = _pairs(rivals, spec)
    dropped = _dropped(prompts, rivals, pairs, spec)
    return Binarized(
        preferences=pairs,
        dropped=dropped,
        summary=_summary(prompts.height, pairs, dropped, spec),
    )


def flips(a: pl.DataFrame, b: pl.DataFrame) -> Flips:
    """Count the prompts for which two preference tables choose different completions.

    Where a table has several preferences of a prompt, their sets of chosen ones are compared.
    """
    chosen = pl.col("chosen_id").unique().sort()
    left = a.group_by("prompt_id").agg(chosen)
    right = b.group_by("prompt_id").agg(chosen)
    both = left.join(right, on="prompt_id")
    flipped = both.filter(pl.col("chosen_id") != pl.col("chosen_id_right")).height
    return Flips(
        n_both=both.height,
        n_flipped=flipped,
        share=flipped / both.height if both.height else 0.0,
        only_a=left.height - both.height,
        only_b=right.height - both.height,
    )


def specification(name: str) -> Specification:
    """Find a specification by its name.

    Raises:
        UsageError: no such name.
    """
    if name not in SPECIFICATIONS:
        where = "--strategy, or binarize.strategy of a recipe"
        notes = {spec.name: spec.note for spec in SPECIFICATIONS.values()}
        raise UsageError(
            explain_unknown("strategy", name, SPECIFICATIONS, where=where, notes=notes)
        )
    return SPECIFICATIONS[name]


def _scores(ratings: pl.LazyFrame, spec: Specification) -> pl.DataFrame:
    """Score every completion that has a rating: (completion_id, score)."""
    named = ratings.filter(pl.col("aspect").is_in(spec.aspects) & pl.col("value").is_not_null())
    scales = named.select("scale_min", "scale_max").unique().sort("scale_min", "scale_max")
    found = [f"{low:g}..{high:g}" for low, high in scales.collect().iter_rows()]
    if len(found) != 1:
        aspects = ratings.select(pl.col("aspect").unique().sort()).collect()["aspect"]
        raise DataError(
            explain(
                found=f"scales {', '.join(found)}" if found else f"no value; {_listed(aspects)}",
                expected=f"ratings of {', '.join(spec.aspects)} on one scale",
                where=f"table ratings, specification {spec.name!r}",
                remedy="take a specification for the aspects that are rated, or mend the scales"
                f" (known: {', '.join(SPECIFICATIONS)})",
            )
        )
    # Rounded, so that equal ratings are equal in whatever order they were added up.
    mean = pl.col("value").mean().round(9)
    return named.group_by("completion_id").agg(score=mean).collect(engine="streaming")


def _listed(aspects: pl.Series) -> str:
    return f"rated are {', '.join(aspects)}" if aspects.len() else "nothing is rated"


def _draws(ids: pl.Series, seed: int) -> list[pl.Series]:
    """Draw two numbers for each completion, one for each decision, from its id and the seed.

    One number for both would tie them: the loser of a tie for the best would hardly be rejected.
    BLAKE2b and not Polars' own hash, which may change with its version.
    """
    key = f"{seed}:".encode()
    digests = [hashlib.blake2b(key + name.encode(), digest_size=16).digest() for name in ids]
    words = np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 2).astype(np.uint64)
    return [pl.Series("draw_chosen", words[:, 0]), pl.Series("draw_rejected", words[:, 1])]


def _pairs(rivals: pl.DataFrame, spec: Specification) -> pl.DataFrame:
    may = REJECTED[spec.rejected] & (pl.col("text") != pl.col("chosen_text"))
    drawn = rivals.filter(may).sort("draw_rejected").group_by("prompt_id").first()
    if spec.ties == "drop":
        drawn = drawn.filter(pl.col("score") < pl.col("chosen_score"))
    drawn = drawn.sort("prompt_id")
    ids = zip(drawn["prompt_id"], drawn["chosen_id"], drawn["completion_id"], strict=True)
    return drawn.select(
        pl.Series("preference_id", [preference_id(*row) for row in ids], dtype=pl.String),
        "prompt_id",
        "chosen_id",
        rejected_id="completion_id",
        margin=(pl.col("chosen_score") - pl.col("score")).round(9),
        strategy=pl.lit(spec.name),
    )


def _dropped(
    prompts: pl.DataFrame, rivals: pl.DataFrame, pairs: pl.DataFrame, spec: Specification
) -> pl.DataFrame:
    other_text = pl.col("text") != pl.col("chosen_text")
    may = REJECTED[spec.rejected]
    about = rivals.group_by("prompt_id").agg(
        equal=(pl.col("score") == pl.col("chosen_score")).all(),
        allowed=may.any(),
        distinct=(may & other_text).any(),
    )
    reason = (
        pl.when(pl.col("equal").is_null())
        .then(pl.lit(TOO_FEW))
        .when(pl.col("allowed") & ~pl.col("distinct"))
        .then(pl.lit(IDENTICAL))
        .when(pl.col("equal"))
        .then(pl.lit(ALL_EQUAL))
        .otherwise(pl.lit(TIE))
    )
    left = prompts.join(pairs, on="prompt_id", how="anti").join(about, on="prompt_id", how="left")
    return left.select("prompt_id", strategy=pl.lit(spec.name), reason=reason).sort("prompt_id")


def _summary(
    prompts: int, pairs: pl.DataFrame, dropped: pl.DataFrame, spec: Specification
) -> dict[str, object]:
    reasons = dropped.group_by("reason").len().sort("len", "reason", descending=[True, False])
    return {
        "strategy": spec.name,
        "prompts": prompts,
        "preferences": pairs.height,
        "dropped": dict(reasons.iter_rows()),
        "mean_margin": pairs["margin"].mean(),
        "ties": pairs.filter(pl.col("margin") == 0).height,
    }


REJECTED: dict[str, pl.Expr] = {
    "random_lower": pl.col("score") < pl.col("chosen_score"),
    "random_other": pl.col("score").is_not_null(),
}

SPECIFICATIONS: dict[str, Specification] = {
    spec.name: spec
    for spec in (
        Specification(
            name="argilla-v1",
            aspects=ASPECTS,
            rejected="random_lower",
            ties="drop",
            note="mean of the four ratings that are present; any lower one is rejected (Notus)",
        ),
        Specification(
            name="h4-v2",
            aspects=(OVERALL,),
            rejected="random_other",
            ties="keep",
            note="the critique's overall score; any other one is rejected (Zephyr)",
        ),
        Specification(
            name="given",
            aspects=(PREFERENCE,),
            rejected="random_lower",
            ties="drop",
            note="the preference that the source itself states",
        ),
    )
}
