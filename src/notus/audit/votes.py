"""Preferences that other judgements of the same pair, taken together, contradict."""

import numpy as np
import polars as pl

from notus.audit.features import features
from notus.audit.logistic import fit, probability
from notus.audit.sides import NO_PAIRS, pair_issues, votes
from notus.audit.verdict import Finding, Subject, Verdict
from notus.data.schema import PREFERENCE
from notus.stats import wilson

VOTERS = 3
"""Votes on a pair from which they have a majority worth the name."""
FOLDS = 5
RIDGE = 1.0
"""On features of variance 1: keeps the weights finite where they separate the pairs."""
PAIRS = 200
"""Pairs under which nothing is fitted."""
UNLIKELY = 0.25
"""Probability of its label above which a pair is never an issue."""


def rm_vote(subject: Subject) -> Verdict:
    """Find pairs whose preference most votes contradict, where there are three or more.

    A vote is what one rater says by one kind of score (see `sides.votes`): several reward models,
    or judges of which each counts once for its overall score and once for its aspects. Where
    several raters state a preference of their own on the same pair, each of these is a vote, too.
    Equal scores abstain. Source: arXiv 2509.23564, where removing what several judges contradict
    helps more than turning it round.

    False alarms: reward models share their likings, for length above all, so their votes are not
    independent; on a pair that is nearly a tie a majority comes by chance.
    """
    if subject.preferences.is_empty():
        return Verdict(skipped=NO_PAIRS)
    said = votes(subject, stated=True)
    stated = pl.col("kind") == PREFERENCE
    # One stated preference is the label itself, not a second opinion.
    said = said.filter(~stated | (stated.sum().over("pair") > 1))
    counted = said.group_by("pair").agg(
        voters=pl.len(),
        against=(pl.col("delta") < 0).sum(),
        for_it=(pl.col("delta") > 0).sum(),
        who=pl.struct("rater", "kind").filter(pl.col("delta") < 0),
    )
    judged = counted.filter(pl.col("voters") >= VOTERS)
    if judged.is_empty():
        most = counted["voters"].max() or 0
        return Verdict(
            skipped=f"at most {most!s} votes on a pair; ratings by {VOTERS} raters would do"
        )
    voter = pl.element().struct
    names = pl.format("{} ({})", voter.field("rater"), voter.field("kind"))
    issues = pair_issues(
        subject,
        judged.filter(pl.col("against") > pl.col("voters") / 2),
        "rm_vote",
        severity="warning",
        score=pl.col("against") / pl.col("voters"),
        evidence=pl.format(
            "{} of {} votes against it, {} for it: {}",
            *(pl.col(name) for name in ("against", "voters", "for_it")),
            pl.col("who").list.eval(names).list.join(", "),
        ),
    )
    return Verdict(issues=issues, looked_at=judged.height)


def confident(subject: Subject) -> Verdict:
    """Find pairs whose label a model that has not seen them thinks wrong.

    Confident learning: a logistic model of what the sides differ in (their scores, length, marks
    of lists and refusals, words of the prompt; `audit.features`) is fitted to four fifths of the
    prompts and tells the rest. With t the mean probability of the given labels, a label is an issue
    if the reverse is at least as probable as t; never above `UNLIKELY`. Which fifth a prompt is in
    depends on its id alone.

    Source: Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset
    Labels", section 3; by symmetry both labels have one threshold here.

    False alarms: rightly surprising answers, such as a short one that beats a long one. Where the
    scores made the labels it repeats `inversion`.
    """
    if subject.preferences.height < PAIRS:
        return Verdict(
            skipped=f"{subject.preferences.height} pairs; {PAIRS} are needed for a model"
        )
    table = features(subject)
    likely = _held_out(table)
    threshold = float(likely.mean())
    found = table.select("pair").with_columns(likely=pl.Series(likely).round(9))
    flagged = found.filter(pl.col("likely") <= min(UNLIKELY, 1 - threshold))
    issues = pair_issues(
        subject,
        flagged,
        "confident",
        severity="warning",
        score=1 - pl.col("likely"),
        evidence=pl.format("the label has probability {}", pl.col("likely").round(3)),
    )
    share = wilson(int((likely > 0.5).sum()), likely.size)
    finding = Finding(
        "confident",
        "info",
        "labels that the model tells",
        *(share.value, share.low, share.high, share.n),
        f"a model of {', '.join(table.columns[2:])} tells {share.value:.1%} of the labels; "
        f"the given ones have mean probability {threshold:.3f}",
    )
    return Verdict(issues=issues, findings=(finding,), looked_at=likely.size)


def _held_out(table: pl.DataFrame) -> np.ndarray:
    """Probability of each label, by a model of the other folds' pairs."""
    fold = (table["prompt_id"].str.slice(0, 6).str.to_integer(base=16) % FOLDS).to_numpy()
    columns = table.drop("pair", "prompt_id").to_numpy()
    spread = np.sqrt((columns**2).mean(axis=0))
    columns = columns / np.where(spread > 0, spread, 1)
    likely = np.full(table.height, 0.5)
    weights = None
    for held in range(FOLDS):
        weights, _ = fit(columns[fold != held], ridge=RIDGE, start=weights)
        likely[fold == held] = probability(columns[fold == held], weights)
    return likely
