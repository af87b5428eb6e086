"""What raters say of the two sides of each pair: the common ground of the rules about pairs.

A *vote* is what one rater says of both sides by one kind of score: the overall score, the mean of
the four aspects that are present, or a reward model's score. Other aspects (verbosity, safety) are
not votes: more of them is not better.
"""

import functools

import polars as pl

from notus.audit.verdict import Subject, make_issues
from notus.data.schema import ASPECTS, OVERALL, PREFERENCE, SEVERITIES

GIVEN = "given"
"""The strategy that takes what the source states; its margin says nothing about the scores."""
KINDS: dict[str, str] = {OVERALL: OVERALL, **dict.fromkeys(ASPECTS, "rating"), "reward": "reward"}
"""Aspect -> kind of score: those of which more is better."""
NO_PAIRS = "there are no preferences; binarize the feedback, or ingest pairs"
NO_SCORES = "no pair has scores on both sides; an overall score, aspect ratings or rewards would do"


def votes(subject: Subject, *, stated: bool = False) -> pl.DataFrame:
    """Collect what is said of both sides of each pair; several aspects of one kind are averaged.

    Args:
        subject: What is audited.
        stated: Whether the preferences that raters state are votes too, of kind `PREFERENCE`.

    Returns:
        pair (row of `subject.preferences`, from 0), rater, kind, the means chosen and rejected,
        and delta (chosen - rejected, as a share of the scale); sorted by the first three.
    """
    said = _said(subject)
    return said if stated else said.filter(pl.col("kind") != PREFERENCE)


@functools.lru_cache(maxsize=1)
def _said(subject: Subject) -> pl.DataFrame:
    """All votes; kept, because several rules ask for those of one subject."""
    kinds = {**KINDS, PREFERENCE: PREFERENCE}
    scored = subject.feedback.ratings.filter(
        pl.col("aspect").is_in(list(kinds)) & pl.col("value").is_finite()
    )
    means = scored.group_by(
        "completion_id", "rater", kind=pl.col("aspect").replace_strict(kinds, default=None)
    ).agg(
        # Rounded, so that equal ratings are equal in whatever order they were added up.
        value=pl.col("value").mean().round(9),
        span=(pl.col("scale_max") - pl.col("scale_min")).max(),
    )
    pairs = subject.preferences.lazy().select("chosen_id", "rejected_id").with_row_index("pair")
    rejected = pairs.join(means, left_on="rejected_id", right_on="completion_id")
    return (
        pairs.join(means, left_on="chosen_id", right_on="completion_id")
        .join(rejected.drop("chosen_id", "rejected_id"), on=["pair", "rater", "kind"])
        .select(
            "pair",
            "rater",
            "kind",
            chosen="value",
            rejected="value_right",
            delta=((pl.col("value") - pl.col("value_right")) / pl.col("span")).round(9),
        )
        .sort("pair", "rater", "kind")
        .collect(engine="streaming")
    )


def kinds_of_pairs(subject: Subject) -> pl.DataFrame:
    """Average the votes on each pair by kind of score.

    Returns:
        pair, kind, chosen, rejected and delta, sorted by the first two.
    """
    means = [pl.col(name).mean().round(9) for name in ("chosen", "rejected", "delta")]
    return votes(subject).group_by("pair", "kind").agg(means).sort("pair", "kind")


def tied_pairs(subject: Subject) -> pl.DataFrame:
    """Tell which pairs are ties: by their margin, or where the source states them by their scores.

    Returns:
        pair, tied and what (the equal scores in words), for those pairs of which it can be said,
        sorted.
    """
    pairs = subject.preferences.select("margin", "strategy").with_row_index("pair")
    made = pairs.filter(pl.col("strategy") != GIVEN).select(
        "pair",
        tied=pl.col("margin") == 0,
        what=pl.format("margin 0 by {}", pl.col("strategy")),
    )
    stated = pairs.filter(pl.col("strategy") == GIVEN).select("pair")
    if stated.is_empty():
        return made
    what = pl.format("{} {}", pl.col("kind"), pl.col("chosen").round(3))
    scored = (
        kinds_of_pairs(subject)
        .join(stated, on="pair", how="semi")
        .group_by("pair")
        .agg(
            tied=(pl.col("chosen") == pl.col("rejected")).all(),
            what=pl.format("equal scores: {}", what.str.join(", ")),
        )
    )
    return pl.concat([made, scored]).sort("pair")


def pair_issues(
    subject: Subject,
    found: pl.DataFrame,
    rule: str,
    *,
    severity: pl.Expr | str,
    score: pl.Expr,
    evidence: pl.Expr,
) -> pl.DataFrame:
    """Bring flagged pairs into the columns of `ISSUES`: a row for each chosen completion.

    Where several pairs of one chosen completion are flagged, the gravest speaks for them, and its
    evidence says how many there are.

    Args:
        subject: Its preferences are what `found` counts.
        found: Column pair (row of the preferences) and what the expressions need.
        rule: Name of the rule.
        severity: A member of `SEVERITIES`, or an expression that gives one.
        score: How strong the issue is.
        evidence: Why, in words; the rejected completion's id is put before it.
    """
    pairs = subject.preferences.select("prompt_id", "chosen_id", "rejected_id")
    grave = pl.lit(severity) if isinstance(severity, str) else severity
    gravity = pl.col("severity").replace_strict(SEVERITIES, range(len(SEVERITIES)))
    more = pl.col("n") - 1
    flagged = (
        pairs.with_row_index("pair")
        .join(found, on="pair")
        .with_columns(severity=grave, score=score.cast(pl.Float64), evidence=evidence)
        .sort(gravity, "score", "rejected_id", descending=[True, True, False])
        .group_by("prompt_id", "chosen_id", maintain_order=True)
        .agg(pl.col("rejected_id", "severity", "score", "evidence").first(), n=pl.len())
        .sort("prompt_id", "chosen_id")
    )
    text = pl.format("over {}: {}", pl.col("rejected_id"), pl.col("evidence"))
    others = pl.when(more > 0).then(pl.format(" (and {} more pairs)", more)).otherwise(pl.lit(""))
    return make_issues(
        flagged.lazy().rename({"chosen_id": "completion_id"}),
        rule,
        severity=pl.col("severity"),
        score=pl.col("score"),
        evidence=text + others,
    )


def base_rater(column: str) -> pl.Expr:
    """Name a rater without the place of the row: "pairs@train.jsonl:7" is "pairs"."""
    return pl.col(column).str.split("@").list.first()


def staters(subject: Subject) -> pl.DataFrame:
    """List who states the preference of each pair: pair, staters; no row where nobody does."""
    stated = subject.feedback.ratings.filter(pl.col("aspect") == PREFERENCE).select(
        "completion_id", staters=base_rater("rater")
    )
    return (
        subject.preferences.lazy()
        .select("chosen_id")
        .with_row_index("pair")
        .join(stated, left_on="chosen_id", right_on="completion_id")
        .group_by("pair")
        .agg(pl.col("staters").unique().sort())
        .collect(engine="streaming")
    )


def stated_pairs(ratings: pl.LazyFrame, completions: pl.LazyFrame) -> pl.DataFrame:
    """List every pair that the source itself states, whatever its texts.

    Args:
        ratings: Table `RATINGS`; values of the aspect `preference` are compared within one rater.
        completions: Table `COMPLETIONS`.

    Returns:
        prompt_id, rater, chosen_id, rejected_id, sorted.
    """
    stated = (
        ratings.filter((pl.col("aspect") == PREFERENCE) & pl.col("value").is_finite())
        .select("completion_id", "rater", "value")
        .join(completions.select("completion_id", "prompt_id"), on="completion_id")
    )
    return (
        stated.join(stated, on=["prompt_id", "rater"], suffix="_below")
        .filter(pl.col("value") > pl.col("value_below"))
        .select(
            "prompt_id",
            "rater",
            chosen_id="completion_id",
            rejected_id="completion_id_below",
        )
        .sort("prompt_id", "rater", "chosen_id", "rejected_id")
        .collect(engine="streaming")
    )
