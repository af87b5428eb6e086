"""The rule over how often each score is given: a default score piles up where it does not belong.

A parser that cannot read a judge's answer and writes 5 (or 1) gives that score to good and bad
answers alike. Popular scores are no fault - raters love 7 and 8 - so a pile only counts as one if
what else was said of its items speaks for both ends of the scale.
"""

import math
from typing import NamedTuple

import polars as pl

from notus.audit.polarity import expected_scores, learn_polarity
from notus.audit.verdict import Finding, Subject, Verdict
from notus.data.schema import OVERALL, PREFERENCE

PILE = 3.0
"""Times the mean count of its neighbours from which a score is a pile."""
LEAST_ITEMS = 30
LEAST_SHARE = 0.0002
"""Scores that fewer of the ratings have are no neighbours."""
MOST_VALUES = 50
"""Aspects with more distinct values are measured, not given in steps."""
TAIL = 0.05
"""Share of a pile in the lowest and in the highest quarter that makes it bimodal."""
EXCESS = 1.5
"""Times the tail of the scores beside it from which a pile's tail is out of order ..."""
DEVIATIONS = 3.0
"""... if it is also so many standard errors larger."""
MOST_READ = 2000
"""Critiques that are read of each score."""
COMPARED = 100
"""Items beside a pile that it is compared with, at least."""


class Tails(NamedTuple):
    """What else was said of the items with some scores, as shares in the outer quarters."""

    low: float
    high: float
    n: int


class Pile(NamedTuple):
    """A score that many more items have than have the scores beside it."""

    aspect: str
    value: float
    items: int
    ratio: float


def pile_up(subject: Subject) -> Verdict:
    """Find scores that were given by default: piles whose items are good and bad alike.

    A score is a pile if its count is more than `PILE` times the mean of its neighbours' (the next
    scores below and above that at least one rating in 5,000 has). It is an error, as one finding a
    score, if it is bimodal - at least `TAIL` of its items in the lowest and in the highest quarter
    of the mean of their other ratings - and out of order: scores rise with ratings, so the share of
    good items may not be larger than at the scores above it, nor that of bad ones than at the
    scores below. Without other ratings the critiques' polarity stands for them. Without either
    there is a warning, where the count is also `PILE` times that of the scores one point away.

    The value of a finding is the ratio of the counts.

    Source: open-instruct's and UltraFeedback's parsers (unparsable read as 1, 1 read as 10, which
    shows as a bimodal pile at 10).

    False alarms: a score that a rubric gives for a reason of its own ("3 if the answer is empty")
    can be bimodal; ratings by checking programs pile up, but in order. Not found: defaults of an
    aspect that are rarer than a third of what its neighbours have by themselves.
    """
    given = _given(subject)
    counts = given.group_by("aspect", "value").len().sort("aspect", "value").collect()
    counts = counts.filter(pl.len().over("aspect") <= MOST_VALUES)
    if counts.is_empty():
        return Verdict(skipped="no aspect is rated in steps; a pile needs scores that recur")
    piles = [pile for part in counts.partition_by("aspect") for pile in _piles(part)]
    findings = []
    for aspect in sorted({pile.aspect for pile in piles}):
        said = _said(subject, given, aspect)
        values = counts.filter(pl.col("aspect") == aspect)
        for pile in (pile for pile in piles if pile.aspect == aspect):
            found = _judge(pile, said) if said is not None else _lonely(pile, values)
            findings += [found] if found is not None else []
    return Verdict(findings=tuple(findings), looked_at=int(counts["len"].sum()))


def _given(subject: Subject) -> pl.LazyFrame:
    """Ratings on their scale, with the share of the scale; not the choice between two answers."""
    span = pl.col("scale_max") - pl.col("scale_min")
    return subject.feedback.ratings.filter(
        pl.col("aspect") != PREFERENCE, pl.col("value").is_between("scale_min", "scale_max")
    ).select(
        "completion_id",
        "rater",
        "aspect",
        "value",
        share=(pl.col("value") - pl.col("scale_min")) / span,
    )


def _piles(counts: pl.DataFrame) -> list[Pile]:
    """Compare each score's count with those of the next ones that are given at all."""
    total = int(counts["len"].sum())
    rows = list(counts.select("aspect", "value", "len").iter_rows())
    piles = []
    for place, (aspect, value, count) in enumerate(rows):
        below = [n for _, _, n in rows[:place] if n >= LEAST_SHARE * total][-1:]
        above = [n for _, _, n in rows[place + 1 :] if n >= LEAST_SHARE * total][:1]
        beside = below + above
        mean = sum(beside) / len(beside) if beside else math.inf
        if count >= LEAST_ITEMS and count > PILE * mean:
            piles.append(Pile(aspect, value, count, count / mean))
    return piles


def _said(subject: Subject, given: pl.LazyFrame, aspect: str) -> pl.DataFrame | None:
    """Count by score what else was said of the items with a rating of an aspect.

    That is the mean of their other ratings, apart from the overall score, else the polarity of
    their critiques.

    Returns:
        value, and how many items it has in the lowest quarter (low), in the highest (high) and in
        all (n), sorted by value; None if nothing else is said.
    """
    others = given.filter(~pl.col("aspect").is_in([OVERALL, aspect]))
    means = others.group_by("completion_id").agg(other=pl.col("share").mean().round(9))
    mine = given.filter(pl.col("aspect") == aspect)
    said = mine.join(means, on="completion_id").select("value", "other").collect()
    if said.is_empty():
        critiques = _critiques(subject, mine)
        if critiques.is_empty():
            return None
        texts, prompts = critiques["rationale"], critiques["prompt_id"]
        measure = learn_polarity(texts, prompts, critiques["share"].to_numpy())
        # Ids are hashes: the first ones are a random sample.
        read = critiques.group_by("value", maintain_order=True).head(MOST_READ)
        other = expected_scores(measure, read["rationale"], read["prompt_id"])
        said = read.select("value", other=pl.Series(other))
    return (
        said.group_by("value")
        .agg(low=(pl.col("other") <= 0.25).sum(), high=(pl.col("other") >= 0.75).sum(), n=pl.len())
        .sort("value")
    )


def _critiques(subject: Subject, mine: pl.LazyFrame) -> pl.DataFrame:
    written = subject.feedback.ratings.filter(
        pl.col("rationale").str.strip_chars().str.len_bytes() > 0
    ).select("completion_id", "rater", "aspect", "rationale")
    prompts = subject.feedback.completions.select("completion_id", "prompt_id")
    return (
        mine.join(written, on=["completion_id", "rater", "aspect"])
        .join(prompts, on="completion_id")
        .sort("completion_id", "rater")
        .collect()
    )


def _judge(pile: Pile, said: pl.DataFrame) -> Finding | None:
    """Call a pile an error if it is bimodal and its tails are out of order."""
    here = _tails(said.filter(pl.col("value") == pile.value))
    if here.n < LEAST_ITEMS or min(here.low, here.high) < TAIL:
        return None
    below = _tails(said.filter(pl.col("value") < pile.value).reverse())
    above = _tails(said.filter(pl.col("value") > pile.value))
    too_good = _exceeds(here.high, here.n, above.high, above.n)
    too_bad = _exceeds(here.low, here.n, below.low, below.n)
    if not (too_good or too_bad):
        return None
    beside = [
        f"{where}: {tails.low:.1%} and {tails.high:.1%}"
        for where, tails in (("below", below), ("above", above))
        if tails.n
    ]
    return _finding(
        pile,
        "error",
        f"of its items {here.low:.1%} are in the lowest and {here.high:.1%} in the highest quarter "
        f"by what else is said of them (of the scores {', '.join(beside)})",
    )


def _tails(said: pl.DataFrame) -> Tails:
    """Tails of the first scores that together have `COMPARED` items."""
    before = said["n"].cum_sum().shift(1, fill_value=0)
    taken = said.filter(before < COMPARED).sum()
    low, high, n = taken.select("low", "high", "n").row(0)
    return Tails(low / max(n, 1), high / max(n, 1), n)


def _exceeds(share: float, n: int, beside: float, n_beside: int) -> bool:
    if not n_beside:
        return False
    pooled = (share * n + beside * n_beside) / (n + n_beside)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / n_beside))
    return share > EXCESS * beside and share - beside > DEVIATIONS * error


def _lonely(pile: Pile, counts: pl.DataFrame) -> Finding | None:
    """Warn of a pile beside the scores one point away, where nothing else is said of the items."""
    near = counts.filter((pl.col("value") - pile.value).abs() == 1)["len"].to_list()
    if len(near) < 2 or pile.items <= PILE * sum(near) / len(near):
        return None
    return _finding(pile, "warning", "nothing else is said of its items that could explain it")


def _finding(pile: Pile, severity: str, why: str) -> Finding:
    return Finding(
        "pile_up",
        severity,
        f"{pile.aspect} = {pile.value:g}",
        round(pile.ratio, 6),
        None,
        None,
        pile.items,
        f"{pile.items} ratings of {pile.aspect} are {pile.value:g}, {pile.ratio:.1f} times the "
        f"mean of the scores beside it; {why}",
    )
