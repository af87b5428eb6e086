"""Pairs that their own scores, another rater or another strategy contradict.

A pair teaches DPO only what its two sides differ in, so a pair whose scores are equal, or the other
way round, is looked at before it is trained on.
"""

from itertools import combinations
from typing import NamedTuple

import polars as pl

from notus.audit.sides import (
    NO_PAIRS,
    NO_SCORES,
    base_rater,
    pair_issues,
    stated_pairs,
    staters,
    tied_pairs,
    votes,
)
from notus.audit.texts import text_keys
from notus.audit.verdict import Finding, Subject, Verdict, make_issues
from notus.data.schema import PREFERENCE
from notus.stats import wilson

CLEAR = 0.25
"""Share of its scale by which a score must be the other way round to be an error."""
MANY_TIES = 0.05
"""Share of ties from which the data set as a whole is warned of."""


class Agreement(NamedTuple):
    """How often two strategies choose the same completion of a prompt."""

    n: int
    """Prompts for which both choose one."""
    differ: int
    """Of these, prompts whose chosen completions differ."""
    expected: float
    """Share on which two strategies that draw at random would agree."""
    kappa: float
    """Agreement beyond chance: 1 always, 0 as often as by chance."""


def tie(subject: Subject) -> Verdict:
    """Find pairs whose two sides have the same score.

    The pair's margin is 0, or, for a preference that the source states, every kind of score that
    both sides have (`sides.KINDS`) is equal.

    Source: arXiv 2409.17431 (ties in plain DPO cost task performance); 111 of the first 1,000 pairs
    of a sample of HuggingFaceH4/ultrafeedback_binarized are ties.

    False alarms: coarse scores are equal for answers that people would still tell apart. The label
    of such a pair may be right, but the scores do not say so.
    """
    if subject.preferences.is_empty():
        return Verdict(skipped=NO_PAIRS)
    judged = tied_pairs(subject)
    if judged.is_empty():
        return Verdict(skipped=NO_SCORES)
    found = judged.filter("tied")
    issues = pair_issues(
        subject,
        found,
        "tie",
        severity="warning",
        score=pl.lit(1.0),
        evidence=pl.col("what"),
    )
    share = wilson(found.height, judged.height)
    finding = Finding(
        "tie",
        "warning" if share.low > MANY_TIES else "info",
        "pairs",
        *(share.value, share.low, share.high, share.n),
        f"{found.height} of {judged.height} pairs have equal scores on both sides",
    )
    return Verdict(issues=issues, findings=(finding,), looked_at=judged.height)


def inversion(subject: Subject) -> Verdict:
    """Find pairs whose chosen completion is rated below the rejected one.

    A warning where some score is lower and none is higher; an error where, besides, every score by
    the rater that states the preference is lower by a quarter of its scale: then the source
    contradicts itself. Info where the scores contradict each other.

    Source: arXiv 2404.09824 (10 points more of wrong labels can cost 30 points of win rate);
    open-instruct's `parse_preferences.py`, which attached completions to the wrong prompts.

    False alarms: a preference by people beside scores by a model may rightly differ, which is why
    that is no error; scores of quality say nothing of a preference for safety.
    """
    if subject.preferences.is_empty():
        return Verdict(skipped=NO_PAIRS)
    said = votes(subject).join(staters(subject), on="pair", how="left")
    if said.is_empty():
        return Verdict(skipped=NO_SCORES)
    delta = pl.col("delta")
    own = pl.col("staters").is_null() | pl.col("staters").list.contains(base_rater("rater"))
    what = pl.format(
        "{} {} {} < {}", "rater", "kind", pl.col("chosen").round(3), pl.col("rejected").round(3)
    )
    found = (
        said.group_by("pair")
        .agg(
            against=(delta < 0).any(),
            for_it=(delta > 0).any(),
            clear=own.any() & (delta <= -CLEAR).filter(own).all(),
            worst=delta.min().abs(),
            what=what.filter(delta < 0).str.join(", "),
        )
        .filter("against")
    )
    severity = (
        pl.when("for_it")
        .then(pl.lit("info"))
        .when("clear")
        .then(pl.lit("error"))
        .otherwise(pl.lit("warning"))
    )
    issues = pair_issues(
        subject,
        found,
        "inversion",
        severity=severity,
        score=pl.col("worst"),
        evidence=pl.col("what"),
    )
    return Verdict(issues=issues, looked_at=said["pair"].n_unique())


def contradiction(subject: Subject) -> Verdict:
    """Find prompts with a pair that one rater, or one row, states one way and another the reverse.

    A warning where two rows of one source do, info where two raters do. Sides are compared by text,
    as `texts.folded` writes it, so it does not matter what the models are called. DPO's gradients
    of the two cancel.

    Source: arXiv 2404.09824 on what wrong labels cost; that one of the two is wrong needs none.

    False alarms: people do disagree, and then both labels are honest; hence info. A pair of
    identical texts is no contradiction (see `identical`).
    """
    ratings = subject.feedback.ratings.filter(pl.col("aspect") == PREFERENCE)
    raters = ratings.join(
        subject.feedback.completions.select("completion_id", "prompt_id"), on="completion_id"
    ).select("prompt_id", "rater")
    counts = raters.group_by("prompt_id").agg(n=pl.col("rater").n_unique()).collect()
    if counts.is_empty():
        return Verdict(skipped="no source states preferences; an aspect 'preference' would")
    several = counts.lazy().filter(pl.col("n") > 1)
    completions = subject.feedback.completions.join(several, on="prompt_id", how="semi")
    keys = text_keys(completions).select("completion_id", "key")
    pairs = (
        stated_pairs(ratings, completions)
        .join(keys, left_on="chosen_id", right_on="completion_id")
        .join(keys, left_on="rejected_id", right_on="completion_id", suffix="_rejected")
        .filter(pl.col("key") != pl.col("key_rejected"))
    )
    reverse = pairs.select("prompt_id", "rater", key="key_rejected", key_rejected="key")
    evidence = pl.format(
        "{}: {} over {}; {}: the reverse",
        *("rater", "chosen_id", "rejected_id", "rater_right"),
    )
    found = (
        pairs.join(reverse, on=["prompt_id", "key", "key_rejected"])
        .filter(pl.col("rater") < pl.col("rater_right"))
        .with_columns(evidence=evidence, own=base_rater("rater") == base_rater("rater_right"))
        .sort("own", "evidence", descending=[True, False])
        .group_by("prompt_id", maintain_order=True)
        .agg(pl.col("evidence", "own").first(), n=pl.len(), completion_id=pl.lit(None, pl.String))
        .sort("prompt_id")
    )
    issues = make_issues(
        found.lazy(),
        "contradiction",
        severity=pl.when("own").then(pl.lit("warning")).otherwise(pl.lit("info")),
        score=pl.col("n"),
        evidence=pl.col("evidence"),
    )
    return Verdict(issues=issues, looked_at=counts.height)


def flip(subject: Subject) -> Verdict:
    """Say for each two strategies how often they choose different completions, and the kappa.

    Source: Ivison et al. 2024, arXiv 2406.09279, Table 1 (fine-grained against overall scores of
    UltraFeedback); kappa as `agreement_of_choices` has it.

    False alarms: none, it is a statement; ties for the best are drawn by each strategy on its own,
    so two good strategies flip wherever scores are coarse.
    """
    if len(subject.strategies) < 2:
        return Verdict(skipped="fewer than two strategies; name another one to compare with")
    findings = []
    looked_at = 0
    for first, second in combinations(subject.strategies, 2):
        found = agreement_of_choices(
            subject.strategies[first], subject.strategies[second], subject.feedback.completions
        )
        if found is None:
            continue
        looked_at += found.n
        findings += _flip_findings(f"{first} / {second}", found)
    if not findings:
        return Verdict(skipped="no prompt has a preference by two strategies")
    return Verdict(findings=tuple(findings), looked_at=looked_at)


def agreement_of_choices(
    first: pl.DataFrame, second: pl.DataFrame, completions: pl.LazyFrame
) -> Agreement | None:
    """Compare what two strategies choose, prompt by prompt.

    kappa = (p_o - p_e) / (1 - p_e), where p_o is the share of prompts with the same choice and p_e
    the mean of 1/n over prompts with n completions: chance takes each alike, since there are no
    categories whose frequencies could say otherwise.
    Source: Brennan and Prediger 1981, "Coefficient kappa: some uses, misuses, and alternatives".

    Args:
        first: Table `PREFERENCES`.
        second: The same of another strategy.
        completions: Table `COMPLETIONS`, for the number of choices there were.

    Returns:
        The agreement over prompts for which each chooses exactly one completion; None if there is
        no such prompt.
    """
    once = pl.col("chosen_id").n_unique() == 1
    chosen = [
        table.lazy()
        .group_by("prompt_id")
        .agg(pl.col("chosen_id").first(), once=once)
        .filter("once")
        for table in (first, second)
    ]
    choices = completions.group_by("prompt_id").agg(n=pl.len())
    n, differ, expected = (
        chosen[0]
        .join(chosen[1], on="prompt_id")
        .join(choices, on="prompt_id")
        .select(
            pl.len(),
            (pl.col("chosen_id") != pl.col("chosen_id_right")).sum(),
            (1 / pl.col("n")).mean().round(12),
        )
        .collect()
        .row(0)
    )
    if n == 0:
        return None
    # With one completion a prompt there is nothing to choose, hence nothing to disagree about.
    kappa = (1 - differ / n - expected) / (1 - expected) if expected < 1 else 1.0
    return Agreement(n, differ, expected, kappa)


def _flip_findings(name: str, found: Agreement) -> list[Finding]:
    share = wilson(found.differ, found.n)
    text = f"the chosen completions differ for {found.differ} of {found.n} prompts"
    flips = Finding("flip", "info", name, share.value, share.low, share.high, found.n, text)
    if found.expected == 1:
        return [flips]
    # Kappa is linear in the share, so its interval is the share's, turned round.
    low, high = (
        (1 - end - found.expected) / (1 - found.expected) for end in (share.high, share.low)
    )
    text = f"kappa {found.kappa:.3f}, where chance agrees on {found.expected:.1%} of the prompts"
    kappa = Finding("flip", "info", f"kappa of {name}", found.kappa, low, high, found.n, text)
    return [flips, kappa]
