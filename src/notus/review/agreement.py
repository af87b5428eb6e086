"""How far reviewers agree beyond chance: Cohen's kappa of two, Krippendorff's alpha of all.

Both are 1 - observed / expected disagreement, 1 for perfect agreement and 0 for what chance gives.
kappa lets each reviewer have habits of their own, alpha takes all as drawn from one pool and allows
for reviewers who ruled on different items. Intervals are the bootstrap's percentiles over items;
where all agree no resample differs, and the lower end is what a share of items on which they would
disagree that was not met among these (`notus.stats.unmet_share`) would leave.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from notus.stats import CHUNK, Estimate, unmet_share

RESAMPLES = 2000
TINY = 1e-9
"""Expected disagreement below this is none, but for rounding."""

Statistic = Callable[[np.ndarray], np.ndarray]
"""Weights of items, (resamples, items) -> a value a resample, NaN where it has none."""


class Level(NamedTuple):
    """How values of one level of measurement differ; for units of at least two values."""

    moments: Callable[[Sequence[Sequence[Any]]], tuple[np.ndarray, np.ndarray]]
    """Units -> disagreement within each, n times its share of D_o; sums that `expected` needs."""
    expected: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """Sums and numbers of values, a row a resample -> n (n - 1) D_e."""
    most: Callable[[Sequence[Sequence[Any]]], float]
    """The largest difference of two values, squared."""


def cohen_kappa(
    a: Sequence[object],
    b: Sequence[object],
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Estimate | None:
    """Estimate the agreement of two reviewers beyond chance.

    kappa = (p_o - p_e) / (1 - p_e), p_o the share of items with equal labels, p_e = sum over labels
    of the product of the two reviewers' shares.
    Source: Cohen 1960, "A coefficient of agreement for nominal scales".

    Args:
        a: One reviewer's label for each item.
        b: The other's, in the same order.
        rng: Draws the resamples.
        resamples: How many.

    Returns:
        kappa with its interval; None without items, or if both gave one and the same label to all,
        so that chance explains everything.
    """
    if not a:
        return None
    codes = np.unique(np.array([str(label) for label in (*a, *b)]), return_inverse=True)[1]
    left, right = np.eye(codes.max() + 1)[codes].reshape(2, len(a), -1)
    equal = (left * right).sum(axis=1)

    def kappa(weights: np.ndarray) -> np.ndarray:
        n = weights.sum(axis=1)
        observed = weights @ equal / n
        expected = ((weights @ left) * (weights @ right)).sum(axis=1) / n**2
        return _share(observed - expected, 1 - expected)

    def floor(share: float) -> float:
        expected = float((left.mean(axis=0) * right.mean(axis=0)).sum())
        return 1 - share / (1 - expected)

    return _estimate(kappa, floor, len(a), rng, resamples)


def krippendorff_alpha(
    units: Sequence[Sequence[Any]],
    level: str,
    *,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Estimate | None:
    """Estimate the agreement of any number of reviewers beyond chance.

    alpha = 1 - D_o / D_e. With m_u values in unit u and n = sum m_u over the units of two or more,
    D_o = 1/n sum_u 1/(m_u - 1) sum over ordered pairs within u of d^2, and D_e = 1/(n (n - 1)) sum
    over ordered pairs of all values of d^2; d^2 is 1 for unlike labels, or (v - v')^2.
    Source: Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability".

    Args:
        units: The values that each item was given; items of one value do not count.
        level: A key of `LEVELS`.
        rng: Draws the resamples.
        resamples: How many.

    Returns:
        alpha with its interval, n the items of two or more values; None without such items, or if
        all their values are equal, so that nothing could have disagreed.
    """
    paired = [list(unit) for unit in units if len(unit) > 1]
    if not paired:
        return None
    moments, expected, most = LEVELS[level]
    sizes = np.array([len(unit) for unit in paired], dtype=np.float64)
    within, sums = moments(paired)

    def alpha(weights: np.ndarray) -> np.ndarray:
        n = weights @ sizes
        chance = expected(weights @ sums, n)
        return 1 - _share((n - 1) * (weights @ within), chance)

    def floor(share: float) -> float:
        n = sizes.sum()
        chance = float(expected(sums.sum(axis=0, keepdims=True), np.array([n]))[0])
        return 1 - share * most(paired) * n * (n - 1) / chance

    return _estimate(alpha, floor, len(paired), rng, resamples)


def _estimate(
    statistic: Statistic,
    floor: Callable[[float], float],
    n: int,
    rng: np.random.Generator,
    resamples: int,
) -> Estimate | None:
    """Evaluate a statistic on all items and on resamples of them.

    Resamples in which it has no value (all labels equal) are left out: with few items there are
    some, and they say nothing about agreement.
    """
    value = float(statistic(np.ones((1, n)))[0])
    if np.isnan(value):
        return None
    step = max(1, CHUNK // n)
    sizes = [min(step, resamples - start) for start in range(0, resamples, step)]
    drawn = [statistic(rng.multinomial(n, np.full(n, 1 / n), size=size)) for size in sizes]
    found = np.concatenate(drawn)
    found = found[~np.isnan(found)]
    low, high = np.quantile(found, [0.025, 0.975])
    if value == 1.0:
        low = max(-1.0, floor(unmet_share(n)))
    return Estimate(value, float(found.std()), float(low), float(high), n)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > TINY)


def _nominal(units: Sequence[Sequence[Any]]) -> tuple[np.ndarray, np.ndarray]:
    labels = {label: i for i, label in enumerate(sorted({v for unit in units for v in unit}))}
    counts = np.zeros((len(units), len(labels)))
    for row, unit in zip(counts, units, strict=True):
        np.add.at(row, [labels[value] for value in unit], 1)
    sizes = counts.sum(axis=1)
    return (sizes**2 - (counts**2).sum(axis=1)) / (sizes - 1), counts


def _interval(units: Sequence[Sequence[Any]]) -> tuple[np.ndarray, np.ndarray]:
    # Around one of the values, so that large ones of little spread lose no digits.
    centre = float(units[0][0])
    moved = [np.array(unit, dtype=np.float64) - centre for unit in units]
    sums = np.array([(values.sum(), (values**2).sum()) for values in moved])
    sizes = np.array([len(unit) for unit in units])
    return 2 * (sizes * sums[:, 1] - sums[:, 0] ** 2) / (sizes - 1), sums


def _range_squared(units: Sequence[Sequence[Any]]) -> float:
    values = [float(value) for unit in units for value in unit]
    return (max(values) - min(values)) ** 2


LEVELS: dict[str, Level] = {
    "nominal": Level(_nominal, lambda sums, n: n**2 - (sums**2).sum(axis=1), lambda _: 1.0),
    "interval": Level(
        _interval, lambda sums, n: 2 * (n * sums[:, 1] - sums[:, 0] ** 2), _range_squared
    ),
}
