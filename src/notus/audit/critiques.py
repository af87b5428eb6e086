"""The rule over scores and the critiques they come with: do the words mean the number?

It needs a score and its critique only, so it finds the parser's bug (1 read as 10) in data without
aspect ratings. Only critiques with a score in the highest or the lowest quarter of its scale, and
those of the suspected fractions, are read; of 256,000 about half, in two to three seconds.
"""

import math

import polars as pl

from notus.audit.polarity import Measure, expected_scores, learn_polarity
from notus.audit.scores import FRACTIONS
from notus.audit.verdict import Finding, Subject, Verdict, make_issues
from notus.data.schema import OVERALL
from notus.stats import Z_95

QUARTER = 0.25
MARK_SPREADS = 3.0
"""Spreads between a score that a parser's slip would give and its critique."""
SPREADS = 4.0
"""Spreads between any other score and its critique for a warning ..."""
RARE_SPREADS = 3.0
"""... or so many if the critique is among the tenth at the other end."""
WEAK = 0.2
"""Rank correlation of scores and critiques below which something is wrong with all of them."""
EXCERPT = 120


def critique_conflict(subject: Subject) -> Verdict:
    """Find scores that contradict the words of the critique they come with.

    `notus.audit.polarity` estimates from a critique's words the score that was meant, and how far
    from it scores usually are (one *spread*). An error where the score is the highest of its
    scale and the critique is clearly negative: it means a score below the middle, and at least
    `MARK_SPREADS` away. That is the mark of UltraFeedback's parser, which read a critique's 1 as
    10. A warning where a score of the highest quarter has a critique that means one below the
    middle, or the reverse, at least `SPREADS` away - `RARE_SPREADS` if the critique is also under
    the 10th percentile (over the 90th) - or where 7.5 (5), ten times three quarters (one half),
    has a critique that means less than the middle (the lowest quarter). One finding says how well
    critiques and scores agree as a whole.

    Source: UltraFeedback issue 8. Flagging by the 10th percentile alone misses one flip in six
    where more than a tenth of the critiques are negative; spreads adapt to that.

    False alarms: critics who praise with reservations only, or who blame what the score was not
    about. Of GPT-4's 1,125 judgments of MT-Bench one is flagged, as a warning.
    """
    critiques = _critiques(subject)
    if critiques.is_empty():
        return Verdict(skipped="no overall score comes with a critique (a rationale)")
    share = critiques["share"].to_numpy()
    measure = learn_polarity(critiques["rationale"], critiques["prompt_id"], share)
    ends = critiques.filter(
        ~pl.col("share").is_between(QUARTER, 1 - QUARTER, closed="none") | pl.col("fraction")
    )
    read = ends.with_columns(
        expected=pl.Series(expected_scores(measure, ends["rationale"], ends["prompt_id"]))
    )
    found = _contradicting(read.lazy(), measure).sort(
        "completion_id", "distance", "rater", descending=[False, True, False]
    )
    issues = make_issues(
        found.unique("completion_id", keep="first", maintain_order=True),
        "critique_conflict",
        severity=pl.when("flip").then(pl.lit("error")).otherwise(pl.lit("warning")),
        score=pl.col("distance"),
        evidence=_evidence(),
    )
    findings = _agreement(measure, critiques.height)
    return Verdict(issues=issues, findings=findings, looked_at=critiques.height)


def _critiques(subject: Subject) -> pl.DataFrame:
    """Collect overall scores with a critique, in a fixed order, as shares of their scale."""
    span = pl.col("scale_max") - pl.col("scale_min")
    written = pl.col("rationale").str.strip_chars().str.len_bytes() > 0
    return (
        subject.feedback.ratings.filter(
            pl.col("aspect") == OVERALL,
            pl.col("value").is_between("scale_min", "scale_max"),
            written,
        )
        .join(subject.feedback.completions.select("completion_id", "prompt_id"), on="completion_id")
        .select(
            "prompt_id",
            "completion_id",
            "rater",
            "value",
            "scale_min",
            "rationale",
            span=span,
            share=((pl.col("value") - pl.col("scale_min")) / span).round(9),
            fraction=(pl.col("value") / pl.col("scale_max")).round(9).is_in(FRACTIONS),
        )
        .sort("completion_id", "rater")
        .collect(engine="streaming")
    )


def _contradicting(read: pl.LazyFrame, measure: Measure) -> pl.LazyFrame:
    """Keep the scores whose critiques mean another one; distance is in spreads."""
    share, expected, distance = pl.col("share"), pl.col("expected"), pl.col("distance")
    high, low = share >= 1 - QUARTER, share <= QUARTER
    across = (high & (expected < 0.5)) | (low & (expected > 0.5))
    rare = (high & (expected <= measure.low)) | (low & (expected >= measure.high))
    # Ten times one half may be an honest middle, so its critique has to mean the lowest quarter.
    bound = pl.when(share > 0.5).then(0.5).otherwise(QUARTER)
    misread = pl.col("fraction") & (expected < bound)
    flip = (share == 1) & (expected < 0.5)
    spread = max(measure.spread, 1e-3)
    return (
        read.with_columns(distance=((share - expected).abs() / spread).round(6))
        .with_columns(flip=flip & (distance >= MARK_SPREADS))
        .filter(
            pl.col("flip")
            | misread & (distance >= MARK_SPREADS)
            | across & (distance >= pl.when(rare).then(RARE_SPREADS).otherwise(SPREADS))
        )
    )


def _evidence() -> pl.Expr:
    meant = (pl.col("scale_min") + pl.col("expected") * pl.col("span")).round(1)
    text = pl.col("rationale").str.replace_all(r"\s+", " ").str.strip_chars()
    cut = text.str.len_chars() > EXCERPT
    return pl.format(
        'score {}, the critique means about {} ({} spreads apart): "{}{}"',
        pl.col("value"),
        meant,
        pl.col("distance").round(1),
        text.str.slice(0, EXCERPT),
        pl.when(cut).then(pl.lit(" ...")).otherwise(pl.lit("")),
    )


def _agreement(measure: Measure, critiques: int) -> tuple[Finding, ...]:
    """Say how well the words of critiques tell the scores, if it can be said.

    The interval is Fisher's, with Fieller's variance 1.06 / (n - 3) for ranks (Fieller, Hartley
    and Pearson 1957, "Tests for rank correlation coefficients").
    """
    r, n = measure.agreement, measure.sampled
    if not math.isfinite(r) or n < 10:
        return ()
    centre = math.atanh(max(-1 + 1e-9, min(1 - 1e-9, r)))
    half = Z_95 * math.sqrt(1.06 / (n - 3))
    how = f"learned from {measure.learned_from}" if measure.learned_from else "by the lexicon"
    return (
        Finding(
            "critique_conflict",
            "warning" if math.tanh(centre + half) < WEAK else "info",
            "agreement of scores and critiques",
            round(r, 6),
            round(math.tanh(centre - half), 6),
            round(math.tanh(centre + half), 6),
            n,
            f"rank correlation of the score with what the critique means ({how}), on {n} of "
            f"{critiques} critiques; robust spread {measure.spread:.3f} of the scale",
        ),
    )
