"""Numbers and verdicts in words, the same in the report and in the model card.

No sentence says more than its interval: what includes 0 is "no difference shown", and every value
stands with its n.
"""

from collections.abc import Callable, Mapping
from typing import Any

from notus.loss_settings import LOSS_SETTINGS
from notus.results import Paired
from notus.run_facts import RunFacts

MINUS = "\u2212"
SPACE = "\u00a0"
"""Keeps a number and what belongs to it on one line."""
METRICS = {
    "pass_rate": "pass rate",
    "logp_accuracy": "share of pairs whose chosen answer is the likelier one",
}
OUTCOMES = {
    "better": "the tuned model passes more held-out prompts than its base",
    "worse": "the tuned model passes fewer held-out prompts than its base",
    "no difference shown": "no difference between the tuned model and its base is shown",
}


def headline(run: RunFacts) -> str:
    """Say in one sentence what the evaluation showed, and never more than it showed."""
    modes: dict[str, list[str]] = {}
    for row in run.pairs("pass_rate"):
        modes.setdefault(OUTCOMES.get(row.verdict, row.verdict), []).append(str(row.mode))
    if not modes:
        return "Trained, and not evaluated on held-out prompts."
    clauses = [f"with {' and '.join(names)} answers {what}" for what, names in modes.items()]
    text = "; ".join(clauses)
    warning = f" {held_out(run)}" if run.num_leaked else ""
    return f"{text[:1].upper()}{text[1:]}.{warning}"


def method(recipe: Mapping[str, Any]) -> str:
    """Say what a resolved recipe's training minimises, with its paper."""
    train = recipe.get("train", {})
    if train.get("objective") == "sft":
        return "supervised fine-tuning on the chosen answers"
    loss = train.get("loss") or "sigmoid"
    if isinstance(loss, str):
        share = train.get("label_smoothing") or 0
        smoothed = f", labels taken as wrong in {percent(share)}" if share else ""
        return f"{LOSS_SETTINGS[loss].title}, {LOSS_SETTINGS[loss].paper}{smoothed}"
    parts = [
        f"{weight:g} of {LOSS_SETTINGS[name].title}, {LOSS_SETTINGS[name].paper}"
        for name, weight in loss.items()
    ]
    return f"a mixture of losses: {'; '.join(parts)}"


def sentence(row: Paired) -> str:
    """Put one paired row into words: both values, the difference, its interval, n, the verdict."""
    subject = METRICS.get(row.metric, row.metric)
    if row.mode is not None:
        subject = f"{row.mode} {subject}"
    if row.family is not None:
        subject += f" on {row.label}"
    clusters = "" if row.num_clusters == row.n else f" of {row.num_clusters} prompts"
    number = f"n{SPACE}={SPACE}{row.n}{clusters}"
    return (
        f"{subject[:1].upper()}{subject[1:]}: {percent(row.base)} for the base model, "
        f"{percent(row.tuned)} for the tuned one; difference {points(row.difference)} points "
        f"(95{SPACE}% interval {points(row.low)} to {points(row.high)}, {number}): "
        f"{row.verdict}."
    )


def held_out(run: RunFacts) -> str:
    """Say whether the evaluation's prompts are really held out: it was counted, by prompt_id."""
    if not run.num_leaked:
        return "None of the prompts stands in the training feedback."
    return f"{run.num_leaked} of the prompts stand in the training feedback too: not held out."


def percent(share: float) -> str:
    """Write a share of 1 as a percentage."""
    return f"{100 * share:.1f}{SPACE}%"


def points(share: float) -> str:
    """Write a difference of shares in percentage points, with its sign and without the unit."""
    rounded = round(100 * share, 1)
    return f"{rounded:+.1f}".replace("-", MINUS) if rounded else "0.0"


def p_value(p: float | None) -> str:
    """Write a p-value to three places; a hyphen where there is none."""
    if p is None:
        return "-"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float) -> str:
    """Write a time span the way it is said: 4.2 s, 3 min 12 s, 2 h 05 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count(number: int) -> str:
    """Write a number of things, in groups of three digits."""
    return f"{number:,}"


FILTERS: dict[str, Callable[..., str]] = {
    "count": count,
    "duration": duration,
    "p_value": p_value,
    "percent": percent,
    "points": points,
    "sentence": sentence,
}
"""What the templates of the report and the card call these."""
