"""Statistics of training from one row a pair: pure functions, no model and no clock.

    rows [P, 9] of a step or an evaluation -> summary: everything about all pairs
                                           -> by_group: the main numbers by source, by strategy

The names of the numbers, their units and formulas stand in `notus.metric_names`.

Legend: P preference pairs.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from notus.stats import wilson
from notus.training.columns import COLUMNS

Array = NDArray[np.float64]

QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}
MAX_GROUPS = 12
OTHERS = "(others)"
"""Where all groups but the MAX_GROUPS largest are counted: a chart of 200 sources says nothing."""
GROUP_METRICS = (
    "rewards/accuracies",
    "rewards/margins",
    "delta_logps/chosen",
    "delta_logps/rejected",
    "delta_logps_per_token/chosen",
    "delta_logps_per_token/rejected",
    "displaced",
    "displacement",
    "num_examples",
)


class Changes(NamedTuple):
    """Change of log-probs, policy minus reference, of those completions that have both."""

    total: Array
    """Nats a completion."""
    per_token: Array
    """Nats a token of the completion."""


def change(rows: Array, side: str) -> Changes:
    """Work out by how much training has changed the log-probs of one side.

    Args:
        rows: [P, 9] as for `summary`.
        side: "chosen" or "rejected".
    """
    column = dict(zip(COLUMNS, rows.T, strict=True))
    reference, tokens = column[f"reference_{side}"], column[f"{side}_tokens"]
    known = ~np.isnan(reference) & ~np.isnan(tokens)
    total = (column[f"{side}_logps"] - reference)[known]
    return Changes(total, total / tokens[known])


def summary(rows: Array) -> dict[str, float]:
    """Summarise examples: means, quantiles and shares under the names of `notus.metric_names`.

    Args:
        rows: [P, 9] one row an example, the columns of COLUMNS; P at least 1. A side that an
            example does not have (of a vote, of a demonstration) has NaN tokens, a reference that
            nobody needs and the reward of a demonstration are NaN in every row; any other NaN is a
            fault and is seen in the result.

    Returns:
        Name to value, without those that no row has.
    """
    column = dict(zip(COLUMNS, rows.T, strict=True))
    found: dict[str, float] = {}
    for side in ("chosen", "rejected"):
        there = ~np.isnan(column[f"{side}_tokens"])
        if there.any():
            found[f"logps/{side}"] = column[f"{side}_logps"][there].mean()
            rewards = column[f"{side}_reward"][there]
            if not np.isnan(rewards).all():
                found[f"rewards/{side}"] = rewards.mean()
    found |= _margins(column, found) | _change(rows) | {"num_examples": len(rows)}
    return {name: float(value) for name, value in found.items()}


def by_group(rows: Array, groups: Sequence[str], *, kind: str) -> dict[str, float]:
    """The main numbers of each group's pairs, named `KIND/GROUP/METRIC`.

    Args:
        rows: [P, 9] as for `summary`.
        groups: [P] the group of each row.
        kind: "source" or "strategy".
    """
    labels = np.asarray(groups)
    found: dict[str, float] = {}
    for group in sorted(set(groups)):
        numbers = summary(rows[labels == group])
        found |= {f"{kind}/{group}/{m}": numbers[m] for m in GROUP_METRICS if m in numbers}
    return found


def group_names(groups: Iterable[str]) -> Mapping[str, str]:
    """Name each group by itself, and all but the MAX_GROUPS largest by OTHERS; {} for one group.

    Args:
        groups: The group of every pair that will be trained on.
    """
    counts = Counter(groups)
    largest = [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    if len(largest) < 2:
        return {}
    kept = set(largest[: MAX_GROUPS if len(largest) <= MAX_GROUPS else MAX_GROUPS - 1])
    return {name: name if name in kept else OTHERS for name in largest}


def _margins(column: Mapping[str, Array], means: Mapping[str, float]) -> dict[str, float]:
    """Margins and accuracy of pairs, a tie counting half, with Wilson's 95 % interval.

    Votes have no margins to take the mean of; theirs is the difference of the sides' means.
    """
    pairs = ~np.isnan(column["chosen_tokens"]) & ~np.isnan(column["rejected_tokens"])
    margins = (column["chosen_reward"] - column["rejected_reward"])[pairs]
    if not len(margins):
        sides = [means.get(f"rewards/{side}") for side in ("chosen", "rejected")]
        return {} if None in sides else {"rewards/margins": sides[0] - sides[1]}  # type: ignore[operator]
    found: dict[str, float] = {"rewards/margins": margins.mean()}
    quantiles = np.quantile(margins, list(QUANTILES.values()))
    found |= {f"rewards/margins_{n}": q for n, q in zip(QUANTILES, quantiles, strict=True)}
    if np.isnan(margins).any():
        return found | {"rewards/accuracies": np.nan}
    right = float((margins > 0).sum() + (margins == 0).sum() / 2)
    estimate = wilson(right, len(margins))
    names = ("rewards/accuracies", "rewards/accuracies_low", "rewards/accuracies_high")
    return found | dict(zip(names, (estimate.value, estimate.low, estimate.high), strict=True))


def _change(rows: Array) -> dict[str, float]:
    """Change of log-probs and displacement.

    A pair is displaced when its chosen completion is less likely under the policy than under the
    reference: ln pi(y+|x) < ln pi_ref(y+|x). Source: Razin et al. 2024 (arXiv 2410.08847),
    definition 1, where the loss must also have fallen, which is what a training does. The share
    alone cannot tell harm from noise: after one step it is near a half, and a loss of 0.001 nats
    counts like one of 1. `displacement` therefore weighs each pair by what its chosen completion
    lost, in nats a token: mean over pairs of max(0, -change per token). 0.1 means that chosen
    tokens are a tenth less likely.
    """
    found: dict[str, float] = {}
    for side in ("chosen", "rejected"):
        total, per_token = change(rows, side)
        if len(total):
            found[f"delta_logps/{side}"] = total.mean()
            found[f"delta_logps_per_token/{side}"] = per_token.mean()
            if side == "chosen":
                found["displaced"] = (total < 0).mean()
                found["displacement"] = np.maximum(0.0, -per_token).mean()
    return found
