"""What decides a preference beside quality: the place in the row, the model, the judge itself.

Each rule compares what was taken with what `audit.choice` expects; a finding is an error only where
chance is out of the question (p < 1e-6) and the effect is large (`LARGE`).
"""

import math
import re

import numpy as np
import polars as pl

from notus.audit.choice import Candidates, candidates, luce
from notus.audit.sides import NO_PAIRS
from notus.audit.verdict import Finding, Subject, Verdict
from notus.data.schema import PREFERENCE, SEVERITIES
from notus.stats import Z_95, wilson

CHANCE = 1e-6
"""A p-value below which chance is out of the question."""
LARGE = 0.2
"""Share of choices that would have to be other ones, from which a bias is an error."""
NOTABLE = 0.05
"""The same, from which it is a warning."""
LABEL_ORDER = 0.99
"""Share of prompts with chosen before rejected (or behind), from which the label is the order."""
FEW = 20
"""Completions on each side under which a judge is not compared."""
SIDE_NAMES = frozenset({"chosen", "rejected"})
"""What the reader of pairs calls models that the source does not name."""
NO_CHOICE = "every prompt has two completions, so the rejected one is the other one"


def rejected_index(subject: Subject) -> Verdict:
    """Test whether the place of the rejected completion in its row is drawn as chance would.

    Chi-squared over (completions, place of the chosen, place of the rejected) against Luce's model
    on the completions that are not chosen, by their scores: a row that is sorted by score, or a
    strategy that takes the lowest, is expected and no bias. The value is the total variation
    distance: the share of prompts that would need another rejected completion.

    Source: HuggingFaceH4/ultrafeedback_binarized v1, whose generator was seeded again in each row,
    so that index 0 is rejected, or 2 where 0 is chosen.

    False alarms: rows in the order of something that the choice of the rejected rightly depends on
    and that the mean score is not, such as a pool that always ends with a weak model.
    """
    found = candidates(subject)
    problem = _problem(found)
    if problem is None and not (found.size > 2).any():
        problem = NO_CHOICE
    if problem is not None:
        return Verdict(skipped=problem)
    found = found.where(found.size > 2)
    at = np.zeros(found.rows, dtype=np.int64)
    at[found.row[found.chosen]] = found.index[found.chosen]
    stratum = found.size * found.size.max() + at[found.row]
    others = ~found.chosen
    left = found.where(others)
    expected = luce(left.row, left.standing + 1, left.rejected)
    finding = _index_finding("rejected_index", left, stratum[others], left.rejected, expected)
    return Verdict(findings=(finding,), looked_at=found.rows)


def position(subject: Subject) -> Verdict:
    """Test whether each place in the row is chosen as often as the models there explain.

    Chi-squared over (completions, place of the chosen) against Luce's model by model: where models
    have changing places, as in UltraFeedback, only the place is left.

    Source: Wang et al. 2023, arXiv 2305.17926 (judges that see answers side by side favour a
    place).

    False alarms: answers sorted by something good, such as a ranking by another judge. Where each
    model has a place of its own, place and model cannot be told apart, and nothing is found.
    """
    found = candidates(subject)
    problem = _problem(found)
    if problem is not None:
        return Verdict(skipped=problem)
    expected = luce(found.row, found.model, found.chosen)
    finding = _index_finding("position", found, found.size, found.chosen, expected)
    return Verdict(findings=(finding,), looked_at=found.rows)


def model_bias(subject: Subject) -> Verdict:
    """Say how often each model is chosen, and test whether that is more than its scores explain.

    A finding a model: the share of its pairs in which it is the chosen one. That a strong model
    wins is no fault, so the test is conditional: of the completions with the same standing by
    mean score, is this model's chosen, or rejected, more often? Where there are no scores, nothing
    is tested.

    Source: the strategies of OLMo 3 and H4 v1, whose rejected side depends on more than the score;
    the conditional comparison is that of Mantel and Haenszel 1959, with Luce's model for the
    expected counts.

    False alarms: scores are noisy, so among equals the truly stronger model wins a little more
    often; that effect stays far under `LARGE`. It cannot tell a bias that is in the scores
    themselves, for a judge that likes a model rates it higher (see self_preference).
    """
    if subject.preferences.is_empty():
        return Verdict(skipped=NO_PAIRS)
    found = candidates(subject)
    if len(found.names) < 2 or SIDE_NAMES.issuperset(found.names):
        return Verdict(skipped="the completions' models are not named; name at least two of them")
    scored = found.where(found.standing >= 0)
    excess = {
        "chosen": _excess(scored, scored.chosen),
        "rejected": _excess(scored.where(~scored.chosen), scored.rejected[~scored.chosen]),
    }
    findings = [_model_finding(number, found, excess) for number in range(len(found.names))]
    return Verdict(
        findings=tuple(finding for finding in findings if finding is not None),
        looked_at=found.rows,
    )


def self_preference(subject: Subject) -> Verdict:
    """Test whether a judge rates its own model's completions higher than other judges do.

    The difference in differences, in shares of the scale: what the judge adds to the other raters'
    mean for its own completions, beyond what it adds for those of other models. Where nobody else
    rates the same completions, how much higher it rates its own in the same prompt, which quality
    may explain: that is info. Names match if one is the beginning of the other ("gpt-4" and
    "openai/gpt-4-0613").

    Source: Panickssery et al. 2024, arXiv 2404.13076; Zheng et al. 2023, arXiv 2306.05685, 3.3.

    False alarms: a judge that rightly sees what the others miss in just these answers.
    """
    models = subject.feedback.completions.select(pl.col("model").unique().sort()).collect()
    ratings = subject.feedback.ratings.filter(pl.col("value").is_finite())
    raters = ratings.select(pl.col("rater").unique().sort()).collect()
    own = {
        rater: [model for model in models["model"] if same_model(rater, model)]
        for rater in raters["rater"]
    }
    if not any(own.values()):
        return Verdict(skipped="no rater is named like a model; the raters' names would do")
    share = (pl.col("value") - pl.col("scale_min")) / (pl.col("scale_max") - pl.col("scale_min"))
    rated = (
        ratings.filter(pl.col("aspect") != PREFERENCE)
        .with_columns(share=share)
        .join(
            subject.feedback.completions.select("completion_id", "prompt_id", "model"),
            on="completion_id",
        )
        .select("completion_id", "prompt_id", "model", "rater", "aspect", "share")
        .collect(engine="streaming")
    )
    findings = [_self_finding(rater, own[rater], rated) for rater in own if own[rater]]
    return Verdict(findings=tuple(findings), looked_at=rated.height)


def same_model(one: str, other: str) -> bool:
    """Tell whether two names mean one model: equal, or one with a date or variant behind it."""
    first, second = (
        re.findall(r"[a-z0-9.]+", name.rpartition("/")[2].split("@")[0].lower())
        for name in (one, other)
    )
    length = min(len(first), len(second))
    return length > 0 and first[:length] == second[:length]


def _problem(found: Candidates) -> str | None:
    """Say why the places in the rows tell nothing, if so."""
    if not found.rows:
        return f"no prompt has exactly one preference ({NO_PAIRS})"
    chosen, rejected = found.index[found.chosen], found.index[found.rejected]
    first = float((chosen < rejected).mean())
    if max(first, 1 - first) >= LABEL_ORDER:
        where = "before" if first > 0.5 else "behind"
        return f"the order is the label's own: the chosen completion stands {where} the rejected"
    return None


def _index_finding(
    rule: str,
    found: Candidates,
    stratum: np.ndarray,
    taken: np.ndarray,
    expected: np.ndarray,
) -> Finding:
    """Compare the places that were taken with those that were expected, within strata."""
    # Its tails without scipy.stats, which takes half a second to import.
    from scipy.special import chdtrc

    _, strata = np.unique(stratum, return_inverse=True)
    cells = strata * (int(found.index.max()) + 1) + found.index
    observed = np.bincount(cells, weights=taken)
    expectation = np.bincount(cells, weights=expected)
    # The chi-squared distribution is an approximation that holds from about five expected on.
    enough = expectation >= 5
    statistic = float(((observed - expectation)[enough] ** 2 / expectation[enough]).sum())
    freedom = max(1, int(enough.sum()) - np.unique(strata).size)
    p = float(chdtrc(freedom, statistic))
    distance = float(np.abs(observed - expectation).sum() / 2 / found.rows)
    was, would_be = (np.bincount(found.index, weights=w) / found.rows for w in (taken, expected))
    # A prompt that was given twice may have seven answers; its last places are no news.
    shown = np.flatnonzero(np.maximum(was, would_be) >= 0.001)
    places = [f"{place}: {was[place]:.1%} ({would_be[place]:.1%})" for place in shown]
    return Finding(
        rule,
        _severity(p, distance),
        f"places of the {'rejected' if rule == 'rejected_index' else 'chosen'}",
        *(round(distance, 9), None, None, found.rows),
        f"taken (expected) by place {', '.join(places)}; chi-squared {statistic:.1f} with "
        f"{freedom} degrees of freedom, p = {p:.2g}",
    )


def _severity(p: float, effect: float) -> str:
    if p >= CHANCE or effect <= NOTABLE:
        return "info"
    return "error" if effect > LARGE else "warning"


def _excess(found: Candidates, taken: np.ndarray) -> list[tuple[float, float] | None]:
    """How much more often than its standing explains is each model taken: share, p of chance."""
    from scipy.special import ndtr

    number = len(found.names)
    if not found.rows:
        return [None] * number
    expected = luce(found.row, found.standing, taken)
    times = np.bincount(found.model, minlength=number)
    surplus = np.bincount(found.model, weights=taken - expected, minlength=number)
    spread = np.bincount(found.model, weights=expected * (1 - expected), minlength=number)
    # The normal approximation needs a choice or more to vary; p is for the most unlikely model.
    tails = 2 * ndtr(-np.abs(surplus) / np.sqrt(np.maximum(spread, 1)))
    return [
        (float(surplus[m] / times[m]), min(1.0, float(tails[m]) * number)) if times[m] else None
        for m in range(number)
    ]


def _model_finding(
    model: int, found: Candidates, excess: dict[str, list[tuple[float, float] | None]]
) -> Finding | None:
    mine = found.model == model
    wins, losses = int(found.chosen[mine].sum()), int(found.rejected[mine].sum())
    if wins + losses == 0:
        return None
    share = wilson(wins, wins + losses)
    severity, parts = "info", []
    for side, by_model in excess.items():
        beyond = by_model[model]
        if beyond is None:
            continue
        parts.append(
            f"{side} {beyond[0]:+.1%} of the times beyond its scores (p = {beyond[1]:.2g})"
        )
        severity = max(severity, _severity(beyond[1], abs(beyond[0])), key=SEVERITIES.index)
    text = "; ".join(parts) or "there are no scores to compare with"
    return Finding(
        "model_bias",
        severity,
        found.names[model],
        *(share.value, share.low, share.high, share.n),
        f"chosen in {wins}, rejected in {losses} pairs; {text}",
    )


def _self_finding(rater: str, own: list[str], rated: pl.DataFrame) -> Finding:
    """Compare a judge's ratings of its own completions with its ratings of others'."""
    by_judge = rated.filter(pl.col("rater") == rater)
    others = rated.filter(pl.col("rater") != rater)
    beside = others.group_by("completion_id", "aspect").agg(reference=pl.col("share").mean())
    compared = by_judge.join(beside, on=["completion_id", "aspect"])
    alone = compared.is_empty()
    if alone:
        reference = pl.col("share").mean().over("prompt_id", "aspect")
        compared = by_judge.with_columns(reference=reference)
    added = (
        compared.group_by("completion_id")
        .agg(pl.col("model").first(), added=(pl.col("share") - pl.col("reference")).mean().round(9))
        .sort("completion_id")
    )
    mine, rest = (
        added.filter(pl.col("model").is_in(own) == is_own)["added"].to_numpy()
        for is_own in (True, False)
    )
    compared_with = "than for others in the same prompt" if alone else "than other raters do"
    about = f"{rater} rates answers by {', '.join(own)}"
    if min(mine.size, rest.size) < FEW:
        text = f"{about}; too few are comparable ({mine.size} own, {rest.size} of others)"
        return Finding("self_preference", "info", rater, None, None, None, mine.size, text)
    value = float(mine.mean() - rest.mean())
    error = math.sqrt(mine.var(ddof=1) / mine.size + rest.var(ddof=1) / rest.size)
    low, high = value - Z_95 * error, value + Z_95 * error
    severity = "info"
    if not alone and low > 0 and value > NOTABLE / 2:
        severity = "error" if low > LARGE / 2 else "warning"
    text = f"{about} {value:+.3f} of the scale higher {compared_with}"
    return Finding("self_preference", severity, rater, value, low, high, mine.size, text)
