"""Rules over what was rated: scores that contradict, leave their scale, or are missing.

They look at the table of ratings alone, so 64,000 prompts with four completions take a fraction of
a second each. A mean rating is the mean of those of the four aspects that are present: N/A is
absent and never a number.
"""

import polars as pl

from notus.audit.verdict import Subject, Verdict, make_issues
from notus.data.schema import ASPECTS, OVERALL, Feedback

CONFLICT = 0.5
"""Distance of percentile ranks from which two scores of one completion contradict each other."""
CONFLICT_MEDIANS = 6.0
"""As many median distances must a contradiction be apart, too; see `score_conflict`."""
TIE = 1e-8
"""Distances are rounded at the ninth place and six of them are a bound: on it is not above it."""
FRACTIONS = (0.5, 0.75)
"""Shares of the scale's top that a judge may have written as "0.5" and "0.75"."""


def score_conflict(subject: Subject) -> Verdict:
    """Find completions whose overall score contradicts the mean of their aspect ratings.

    An error where the overall score is the highest of its scale and the mean rating in the lowest
    quarter of its own: the mark of UltraFeedback's parser, which read a critique's 1 as 10 (10
    and at most 2 on its scales). A warning where the score is ten times three quarters (7.5)
    although the mean rating is in the lowest quarter, or ten times one half (5) although all
    ratings are the lowest, or where the percentile ranks are more than `CONFLICT` and more than
    `CONFLICT_MEDIANS` median distances apart.

    Source: UltraFeedback issue 8 and its src/data_annotation/fix_overall_score_issue.py, which
    leaves the suspected fractions alone. The bound in medians is ours.

    False alarms: honest raters disagree, too. Where ranks correlate by .75, 2 % of the completions
    are more than .5 apart, where by .65, 4 %; more than the second bound, under 0.1 % of either.
    Where two scores hardly agree at all, it passes 1 and nothing is called a contradiction.
    """
    both = _overall_and_rating(subject.feedback)
    if both.is_empty():
        return Verdict(
            skipped="no completion has both an overall score and a rating of an aspect; "
            "critique_conflict needs the score and its critique only"
        )
    ranked = _ranked(both)
    bound = pl.max_horizontal(pl.lit(CONFLICT), CONFLICT_MEDIANS * pl.col("distance").median())
    found = ranked.filter((pl.col("distance") > bound + TIE) | pl.col("bug") | pl.col("fraction"))
    misread = pl.format("; {} may have been {}", pl.col("overall"), pl.col("share_of_top"))
    issues = make_issues(
        found.join(_prompts_of(subject.feedback), on="completion_id"),
        "score_conflict",
        severity=pl.when("bug").then(pl.lit("error")).otherwise(pl.lit("warning")),
        score=pl.col("distance"),
        evidence=pl.format(
            "overall {} (rank {}), mean rating {} (rank {}){}",
            pl.col("overall"),
            pl.col("overall_rank").round(3),
            pl.col("rating").round(3),
            pl.col("rating_rank").round(3),
            pl.when("fraction").then(misread).otherwise(pl.lit("")),
        ),
    )
    return Verdict(issues=issues, looked_at=both.height)


def scale(subject: Subject) -> Verdict:
    """Find ratings outside their scale (error), off its steps (warning) or N/A (info).

    Steps are whole points for the four aspects and half points for the overall score. A -1 is
    named as what it mostly is, an N/A that became a number, and a 0 below the scale as an answer
    that nobody could parse: both drag every mean down that they enter.

    Source: argilla/ultrafeedback-binarized-preferences (N/A averaged as -1); the published
    statistics of openbmb/UltraFeedback (three zeros in instruction_following, 5.3 % N/A in
    honesty).

    False alarms: a rater that grades in finer steps than UltraFeedback's; the steps of other
    aspects are not known, so they are never called off.
    """
    ratings = subject.feedback.ratings
    looked_at = _count(ratings)
    if looked_at == 0:
        return Verdict(skipped="nothing is rated; a scale needs ratings")
    aspect, value = pl.col("aspect"), pl.col("value")
    low, high = pl.col("scale_min"), pl.col("scale_max")
    # No step is known for other aspects: then the remainder is null, which is no issue.
    step = pl.when(aspect == OVERALL).then(0.5).when(aspect.is_in(ASPECTS)).then(1.0)
    outside, off_step = ~value.is_between(low, high), (value / step).round(9) % 1 != 0
    level = pl.when(outside).then(3).when(off_step).then(2).when(value.is_null()).then(1)
    found = (
        ratings.with_columns(level=level)
        .filter(pl.col("level").is_not_null())
        .with_columns(what=_off_scale())
        .group_by("completion_id")
        .agg(pl.col("level").max(), pl.col("what").sort().str.join("; "), n=pl.len())
        .join(_prompts_of(subject.feedback), on="completion_id")
    )
    issues = make_issues(
        found,
        "scale",
        severity=pl.col("level").replace_strict({1: "info", 2: "warning", 3: "error"}),
        score=pl.col("n"),
        evidence=pl.col("what"),
    )
    return Verdict(issues=issues, looked_at=looked_at)


def arity(subject: Subject) -> Verdict:
    """Find prompts with fewer than two completions and completions with ratings missing.

    A rating is missing if some other completion from the same source has one of its aspect (N/A
    counts as one). Blank texts never get here: ingest refuses them.

    Source: the statistics of openbmb/UltraFeedback (253 empty completions, rows with none or one).

    False alarms: a source in which only a sample was rated by a second rater's aspects.
    """
    feedback = subject.feedback
    prompts, completions = _count(feedback.prompts), _count(feedback.completions)
    if prompts == 0:
        return Verdict(skipped="there are no prompts; ingest a source first")
    counts = feedback.completions.group_by("prompt_id").agg(n=pl.len())
    lonely = (
        feedback.prompts.select("prompt_id")
        .join(counts, on="prompt_id", how="left")
        .with_columns(pl.col("n").fill_null(0), completion_id=pl.lit(None, pl.String))
        .filter(pl.col("n") < 2)
    )
    few = make_issues(
        lonely,
        "arity",
        severity="warning",
        score=2 - pl.col("n").cast(pl.Int64),
        evidence=pl.format("{} completions", pl.col("n")),
    )
    unrated = make_issues(
        _lacking(feedback),
        "arity",
        severity="warning",
        score=pl.col("missing").list.len(),
        evidence=pl.format("not rated: {}", pl.col("missing").list.join(", ")),
    )
    return Verdict(issues=pl.concat([few, unrated]), looked_at=prompts + completions)


def _prompts_of(feedback: Feedback) -> pl.LazyFrame:
    """Name the prompt of every completion."""
    return feedback.completions.select("completion_id", "prompt_id")


def _off_scale() -> pl.Expr:
    """Say what is wrong with a rating that is N/A, off its steps or outside its scale."""
    aspect, value = pl.col("aspect"), pl.col("value")
    low, high = pl.col("scale_min"), pl.col("scale_max")
    known = (
        pl.when((value == -1) & (low > -1))
        .then(pl.lit(" (N/A that became a number?)"))
        .when((value == 0) & (low > 0))
        .then(pl.lit(" (a rating that was not parsed?)"))
        .otherwise(pl.lit(""))
    )
    return (
        pl.when(value.is_null())
        .then(pl.format("{}: N/A", aspect))
        .otherwise(pl.format("{}: {} on a scale {}..{}{}", aspect, value, low, high, known))
    )


def _lacking(feedback: Feedback) -> pl.LazyFrame:
    """Find completions with missing ratings, and the names of the missing aspects."""
    rated = feedback.ratings.group_by("completion_id").agg(pl.col("aspect").unique())
    completions = (
        _prompts_of(feedback)
        .join(feedback.prompts.select("prompt_id", "source"), on="prompt_id")
        .join(rated, on="completion_id", how="left")
        .with_columns(pl.col("aspect").fill_null(pl.lit([], pl.List(pl.String))))
    )
    every = completions.group_by("source").agg(every=pl.col("aspect").explode().unique())
    return (
        completions.join(every, on="source")
        # Comparing lists is dear, and those that are as long as all aspects lack none.
        .filter(pl.col("aspect").list.len() < pl.col("every").list.drop_nulls().list.len())
        .with_columns(missing=pl.col("every").list.drop_nulls().list.set_difference("aspect"))
        .with_columns(pl.col("missing").list.sort())
        .filter(pl.col("missing").list.len() > 0)
    )


def _overall_and_rating(feedback: Feedback) -> pl.DataFrame:
    """Put the overall score beside the mean rating, for completions that have both."""
    rating = _mean(feedback, ASPECTS, "rating")
    both = _mean(feedback, (OVERALL,), "overall").join(rating, on="completion_id")
    return both.collect(engine="streaming")


def _ranked(both: pl.DataFrame) -> pl.LazyFrame:
    """Add percentile ranks, their distance, and the marks of a parser's slip."""
    overall, rating, lowest = pl.col("overall"), pl.col("rating"), pl.col("rating_min")
    top, span = pl.col("overall_max"), pl.col("rating_max") - lowest
    share_of_top = (overall / top).round(9)
    # Half of the top may be an honest middle: only the lowest ratings speak against it.
    very_low = rating <= lowest + span * (share_of_top - 0.5)
    return (
        both.lazy()
        .with_columns(
            share_of_top=share_of_top,
            overall_rank=_percentile("overall"),
            rating_rank=_percentile("rating"),
            bug=(overall == top) & (rating <= lowest + span / 4),
            fraction=share_of_top.is_in(FRACTIONS) & very_low,
        )
        .with_columns(distance=(pl.col("overall_rank") - pl.col("rating_rank")).abs().round(9))
    )


def _mean(feedback: Feedback, aspects: tuple[str, ...], name: str) -> pl.LazyFrame:
    """Average the present values of some aspects by completion, with the ends of their scale."""
    present = pl.col("aspect").is_in(aspects) & pl.col("value").is_not_null()
    return (
        feedback.ratings.filter(present)
        .group_by("completion_id")
        .agg(
            pl.col("value").mean().round(9).alias(name),
            pl.col("scale_min").min().alias(f"{name}_min"),
            pl.col("scale_max").max().alias(f"{name}_max"),
        )
    )


def _percentile(name: str) -> pl.Expr:
    """Percentile rank in 0..1; equal values share the middle of their ranks.

    Rounded, because the last bit of Polars' quotient depends on how it splits the column.
    """
    return ((pl.col(name).rank("average") - 0.5) / pl.len()).round(9)


def _count(frame: pl.LazyFrame) -> int:
    return int(frame.select(pl.len()).collect(engine="streaming").item())
