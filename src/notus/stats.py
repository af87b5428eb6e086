"""Estimates with intervals, and the paired comparison of two models on the same items."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from notus.errors import DataError, explain

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""
CHUNK = 1 << 20
"""Resampled indices drawn at once: 8 MiB."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    standard_error: float
    low: float
    high: float
    n: int
    """Items that the value is a mean over."""


def wilson(successes: float, n: int) -> Estimate:
    """Estimate a share, with Wilson's score interval.

    Unlike the normal interval it stays within 0..1 and has a width at 0 of n and n of n.
    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".

    Args:
        successes: How many of the items; a tie may count half.
        n: Items, at least 1.

    Returns:
        The share; its standard error is the usual sqrt(p(1-p)/n), not part of Wilson's interval.

    Raises:
        DataError: no items, or successes outside 0..n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise _unusable(f"{successes} successes of {n}", "at least one item, successes in 0..n")
    share = successes / n
    scale = 1 + Z_95**2 / n
    centre = (share + Z_95**2 / (2 * n)) / scale
    half = Z_95 * math.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2)) / scale
    # At the ends the formula gives exactly 0 and 1 on paper, not in floating point.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Estimate(share, math.sqrt(share * (1 - share) / n), low, high, n)


def mean_interval(values: Sequence[float] | np.ndarray) -> Estimate:
    """Estimate a mean, with the normal interval mean +- 1.96 sd/sqrt(n) (sd with n-1).

    With few values the interval is too narrow (at n = 10 it holds 92 % instead of 95 %).

    Raises:
        DataError: fewer than two values, or one that is not finite.
    """
    array = _finite(values, "values")
    if array.size < 2:
        raise _unusable(f"{array.size} values", "at least 2, as one has no spread")
    mean = float(array.mean())
    error = float(array.std(ddof=1)) / math.sqrt(array.size)
    return Estimate(mean, error, mean - Z_95 * error, mean + Z_95 * error, array.size)


def paired_bootstrap(
    base: Sequence[float] | np.ndarray,
    tuned: Sequence[float] | np.ndarray,
    *,
    rng: np.random.Generator,
    resamples: int = 10_000,
    clusters: Sequence[object] | np.ndarray | None = None,
    limits: tuple[float, float] | None = None,
) -> Estimate:
    """Estimate the mean of tuned - base over items, with the bootstrap's percentile interval.

    Items are resampled together with their cluster, because the answers to one prompt are not
    independent. Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.

    Args:
        base: A value for each item.
        tuned: The other model's values, in the same order.
        rng: Draws the resamples.
        resamples: How many.
        clusters: An id for each item; items of one id are drawn together. None: each alone.
        limits: The smallest and largest difference that an item can have, for the case that all
            clusters differ alike: then no resample differs, and the interval is the exact one of
            what a share of unlike clusters that was not met among these could do (`unmet_share`).

    Returns:
        The difference; standard_error is the standard deviation over resamples, n the items.

    Raises:
        DataError: lengths that differ, fewer than two clusters, or a value that is not finite.
    """
    before, after = _finite(base, "base values"), _finite(tuned, "tuned values")
    ids = np.arange(before.size) if clusters is None else _codes(clusters)
    if not before.size == after.size == ids.size:
        sizes = f"{before.size} base values, {after.size} tuned, {ids.size} cluster ids"
        raise _unusable(sizes, "as many of each, in the same order")
    sums, counts = np.bincount(ids, weights=after - before), np.bincount(ids)
    if sums.size < 2:
        raise _unusable(f"{sums.size} clusters", "at least 2, as one has no spread")
    means = _resampled_means(sums, counts, rng, resamples)
    low, high = np.quantile(means, [0.025, 0.975])
    difference = float((after - before).mean())
    if limits is not None and np.ptp(sums / counts) == 0:
        share = unmet_share(sums.size)
        low, high = (difference + share * (limit - difference) for limit in limits)
    return Estimate(difference, float(means.std(ddof=1)), float(low), float(high), before.size)


def unmet_share(n: int) -> float:
    """Largest share of a kind that n draws without meeting it leave possible at 97.5 %.

    The s with (1 - s)^n = 0.025: the upper end of the exact interval at 0 of n.
    Source: Clopper and Pearson 1934, "The use of confidence or fiducial limits illustrated in the
    case of the binomial".
    """
    return float(1 - 0.025 ** (1 / n))


def mcnemar_exact(gained: int, lost: int) -> float:
    """Two-sided p-value that gains and losses are equally likely: the exact binomial test.

    p = min(1, 2 sum_{k <= min(gained, lost)} C(n, k) / 2^n) with n = gained + lost.
    Source: McNemar 1947, "Note on the sampling error of the difference between correlated
    proportions or percentages", in the exact form instead of its chi-squared approximation.

    Args:
        gained: Items that only the second model got right.
        lost: Items that only the first got right.

    Raises:
        DataError: a negative count.
    """
    if gained < 0 or lost < 0:
        raise _unusable(f"gained {gained}, lost {lost}", "counts of items")
    n = gained + lost
    term = tail = 1
    for k in range(min(gained, lost)):
        term = term * (n - k) // (k + 1)  # C(n, k + 1) from C(n, k), exact
        tail += term
    return min(1.0, 2 * tail / 2**n)


def _resampled_means(
    sums: np.ndarray, counts: np.ndarray, rng: np.random.Generator, resamples: int
) -> np.ndarray:
    """Draw clusters with replacement and average their items, in chunks of bounded memory."""
    means = np.empty(resamples)
    step = max(1, CHUNK // sums.size)
    for start in range(0, resamples, step):
        drawn = rng.integers(sums.size, size=(min(step, resamples - start), sums.size))
        means[start : start + len(drawn)] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return means


def _finite(values: Sequence[float] | np.ndarray, name: str) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    wrong = array[~np.isfinite(array)]
    if wrong.size:
        raise _unusable(f"{wrong.size} of {array.size} {name} like {wrong[0]}", "finite numbers")
    return array


def _codes(clusters: Sequence[object] | np.ndarray) -> np.ndarray:
    """Number the clusters in the order of their first item, so that ids of any type may be used."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in clusters], dtype=np.int64)


def _unusable(found: str, expected: str) -> DataError:
    return DataError(
        explain(
            found=found,
            expected=expected,
            where="statistics of an evaluation",
            remedy="evaluate more items, or leave this number out",
        )
    )
