"""Named rules over feedback; an issue says what is suspicious, how strongly, and why.

A rule is a function from Feedback to the table `ISSUES`, with at most one row a completion (or a
prompt, where `completion_id` is null). What follows from an issue is a person's decision.
"""

from collections.abc import Callable, Mapping

import polars as pl

from notus.audit.texts import text_keys
from notus.data.schema import ASPECTS, ISSUES, OVERALL, SEVERITIES, Feedback

Rule = Callable[[Feedback], pl.DataFrame]

CONFLICT = 0.5
"""Distance of percentile ranks from which two scores of one completion contradict each other."""


def audit(feedback: Feedback, rules: Mapping[str, Rule] | None = None) -> pl.DataFrame:
    """Apply rules; return all issues, the strongest of each rule first.

    Args:
        feedback: The three tables.
        rules: Name -> rule; None for all of `RULES`.
    """
    chosen = RULES if rules is None else rules
    order = ["score", "prompt_id", "completion_id"]
    found = [
        rule(feedback).sort(order, descending=[True, False, False]) for rule in chosen.values()
    ]
    return pl.concat([pl.DataFrame(schema=ISSUES.schema), *found])


def count_issues(issues: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Count issues by rule and severity, the gravest first; a rule without any has no counts.

    Rules that this version does not know, of an older table, come last.
    """
    counted: dict[str, dict[str, int]] = {rule: {} for rule in RULES}
    order = pl.col("severity").replace_strict(SEVERITIES, range(len(SEVERITIES)))
    found = issues.group_by("rule", "severity").len().sort("rule", order, descending=[False, True])
    for rule, severity, number in found.iter_rows():
        counted.setdefault(rule, {})[severity] = number
    return counted


def score_conflict(feedback: Feedback) -> pl.DataFrame:
    """Find completions whose overall score contradicts the mean of their aspect ratings.

    A warning where the percentile ranks differ by more than 0.5; an error where the overall score
    is the highest and the mean rating in the lowest quarter of its scale. The latter is the mark of
    UltraFeedback's parser, which read a critique's 1 as 10 (UltraFeedback issue 8; 10 and 2 on its
    scales).
    """
    both = (
        _mean(feedback, (OVERALL,), "overall")
        .join(_mean(feedback, ASPECTS, "rating"), on="completion_id")
        .with_columns(
            overall_rank=_percentile("overall"),
            rating_rank=_percentile("rating"),
            bug=(pl.col("overall") == pl.col("overall_max"))
            & (pl.col("rating") <= 0.75 * pl.col("rating_min") + 0.25 * pl.col("rating_max")),
        )
        .with_columns(distance=(pl.col("overall_rank") - pl.col("rating_rank")).abs().round(9))
        .filter((pl.col("distance") > CONFLICT) | pl.col("bug"))
    )
    evidence = pl.format(
        "overall {} (rank {}), mean rating {} (rank {})",
        pl.col("overall"),
        pl.col("overall_rank").round(3),
        pl.col("rating").round(3),
        pl.col("rating_rank").round(3),
    )
    return _issues(
        both.join(feedback.completions.select("completion_id", "prompt_id"), on="completion_id"),
        "score_conflict",
        severity=pl.when("bug").then(pl.lit("error")).otherwise(pl.lit("warning")),
        score=pl.col("distance"),
        evidence=evidence,
    )


def scale(feedback: Feedback) -> pl.DataFrame:
    """Find ratings outside their scale (error), off its steps (warning) or N/A (info).

    Steps are whole points for the four aspects and half points for the overall score.
    """
    aspect, value = pl.col("aspect"), pl.col("value")
    low, high = pl.col("scale_min"), pl.col("scale_max")
    # No step is known for other aspects: then the remainder is null, which is no issue.
    step = pl.when(aspect == OVERALL).then(0.5).when(aspect.is_in(ASPECTS)).then(1.0)
    outside, off_step = ~value.is_between(low, high), (value / step).round(9) % 1 != 0
    level = pl.when(outside).then(3).when(off_step).then(2).when(value.is_null()).then(1)
    what = (
        pl.when(value.is_null())
        .then(pl.format("{}: N/A", aspect))
        .otherwise(pl.format("{}: {} on a scale {}..{}", aspect, value, low, high))
    )
    found = (
        feedback.ratings.with_columns(level=level, what=what)
        .filter(pl.col("level").is_not_null())
        .group_by("completion_id")
        .agg(pl.col("level").max(), pl.col("what").sort().str.join("; "), n=pl.len())
        .join(feedback.completions.select("completion_id", "prompt_id"), on="completion_id")
    )
    severity = pl.col("level").replace_strict({1: "info", 2: "warning", 3: "error"})
    return _issues(found, "scale", severity=severity, score=pl.col("n"), evidence=pl.col("what"))


def arity(feedback: Feedback) -> pl.DataFrame:
    """Find prompts with fewer than two completions and completions with ratings missing.

    A rating is missing if some other completion from the same source has one of its aspect (N/A
    counts as one).
    """
    counts = feedback.completions.group_by("prompt_id").agg(n=pl.len())
    lonely = (
        feedback.prompts.select("prompt_id")
        .join(counts, on="prompt_id", how="left")
        .with_columns(pl.col("n").fill_null(0), completion_id=pl.lit(None, pl.String))
        .filter(pl.col("n") < 2)
    )
    few = _issues(
        lonely,
        "arity",
        severity=pl.lit("warning"),
        score=2 - pl.col("n").cast(pl.Int64),
        evidence=pl.format("{} completions", pl.col("n")),
    )
    unrated = _issues(
        _lacking(feedback),
        "arity",
        severity=pl.lit("warning"),
        score=pl.col("missing").list.len(),
        evidence=pl.format("not rated: {}", pl.col("missing").list.join(", ")),
    )
    return pl.concat([few, unrated])


def identical(feedback: Feedback) -> pl.DataFrame:
    """Find completions of one prompt that read the same as another one.

    Texts are compared as `audit.texts.folded` writes them.
    """
    group = ["prompt_id", "key"]
    found = (
        text_keys(feedback.completions)
        .lazy()
        .with_columns(
            first=pl.col("completion_id").min().over(group),
            n=pl.len().over(group),
        )
        .filter(pl.col("completion_id") != pl.col("first"))
    )
    return _issues(
        found,
        "identical",
        severity=pl.lit("warning"),
        score=pl.col("n"),
        evidence=pl.format("same text as completion {}", pl.col("first")),
    )


def _lacking(feedback: Feedback) -> pl.LazyFrame:
    """Find completions with missing ratings, and the names of the missing aspects."""
    rated = feedback.ratings.group_by("completion_id").agg(pl.col("aspect").unique())
    completions = (
        feedback.completions.select("completion_id", "prompt_id")
        .join(feedback.prompts.select("prompt_id", "source"), on="prompt_id")
        .join(rated, on="completion_id", how="left")
        .with_columns(pl.col("aspect").fill_null(pl.lit([], pl.List(pl.String))))
    )
    every = completions.group_by("source").agg(every=pl.col("aspect").explode().unique())
    return (
        completions.join(every, on="source")
        .with_columns(missing=pl.col("every").list.drop_nulls().list.set_difference("aspect"))
        .with_columns(pl.col("missing").list.sort())
        .filter(pl.col("missing").list.len() > 0)
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


def _issues(
    found: pl.LazyFrame, rule: str, *, severity: pl.Expr, score: pl.Expr, evidence: pl.Expr
) -> pl.DataFrame:
    columns = found.select(
        "prompt_id",
        "completion_id",
        rule=pl.lit(rule),
        severity=severity,
        score=score.cast(pl.Float64),
        evidence=evidence,
    )
    return columns.select(ISSUES.schema.names()).collect(engine="streaming")


RULES: dict[str, Rule] = {
    "score_conflict": score_conflict,
    "scale": scale,
    "arity": arity,
    "identical": identical,
}
