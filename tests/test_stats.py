"""Statistics against their definitions: the equation solved, the enumeration, the simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notus import stats
from notus.errors import DataError
from notus.stats import (
    Z_95,
    Estimate,
    mcnemar_exact,
    mean_interval,
    paired_bootstrap,
    unmet_share,
    wilson,
)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_bounds_solve_wilsons_equation(case: tuple[int, int]) -> None:
    """The bounds are the p with |share - p| = z sqrt(p (1 - p) / n): that is the definition."""
    successes, n = case
    found = wilson(successes, n)
    share = successes / n
    assert 0 <= found.low <= share <= found.high <= 1
    assert found.low < found.high
    for bound in (found.low, found.high):
        distance = Z_95 * math.sqrt(bound * (1 - bound) / n)
        assert abs(share - bound) == pytest.approx(distance, abs=1e-9)
    assert found.value == share
    assert found.standard_error == math.sqrt(share * (1 - share) / n)
    assert found.n == n


def test_wilson_by_hand() -> None:
    """One of one: the interval is [1 / (1 + z^2), 1], from p = 1 - z^2 p / n solved for p."""
    found = wilson(1, 1)
    assert found.low == pytest.approx(1 / (1 + Z_95**2))
    assert found.high == 1.0
    mirrored = wilson(0, 1)
    assert (mirrored.low, mirrored.high) == (0.0, pytest.approx(1 - found.low))


def test_z_is_the_normal_quantile() -> None:
    assert 0.5 * (1 + math.erf(Z_95 / math.sqrt(2))) == pytest.approx(0.975, abs=1e-15)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (2, 1), (-1, 4)])
def test_wilson_refuses_what_is_no_share(successes: int, n: int) -> None:
    with pytest.raises(DataError, match=f"{successes} successes of {n}\n.*at least one item"):
        wilson(successes, n)


def test_mean_interval_by_hand() -> None:
    """1, 2, 3: mean 2, sd with n - 1 is 1, so the standard error is 1/sqrt(3)."""
    found = mean_interval([1, 2, 3])
    error = 1 / math.sqrt(3)
    expected = Estimate(2.0, error, 2 - Z_95 * error, 2 + Z_95 * error, 3)
    assert vars(found) == pytest.approx(vars(expected))


def test_mean_interval_covers_as_often_as_it_says() -> None:
    """4,000 samples of 200: 95 % +- 0.35 % (one standard deviation); samples of 10: 92 %."""
    rng = generator()
    for n, share, tolerance in ((200, 0.95, 0.015), (10, 0.918, 0.018)):
        samples = rng.normal(size=(4000, n))
        found = [mean_interval(sample) for sample in samples]
        covered = np.mean([estimate.low <= 0 <= estimate.high for estimate in found])
        assert abs(covered - share) < tolerance


@pytest.mark.parametrize("values", [[], [1.0]])
def test_mean_interval_needs_a_spread(values: list[float]) -> None:
    with pytest.raises(DataError, match=f"{len(values)} values\n.*at least 2"):
        mean_interval(values)


def test_values_must_be_finite() -> None:
    with pytest.raises(DataError, match=r"1 of 2 values like nan\n.*finite"):
        mean_interval([1.0, float("nan")])
    with pytest.raises(DataError, match="1 of 2 tuned values like inf"):
        paired_bootstrap([1.0, 2.0], [1.0, float("inf")], rng=generator())


def test_bootstrap_of_two_items_by_hand() -> None:
    """Differences 0 and 1: a resample's mean is 0, 1/2, 1 with chances 1/4, 1/2, 1/4.

    Its standard deviation is sqrt(1/8), the 2.5 % quantile 0 and the 97.5 % quantile 1.
    """
    found = paired_bootstrap([0, 0], [0, 1], rng=generator())
    assert (found.value, found.low, found.high, found.n) == (0.5, 0.0, 1.0, 2)
    assert found.standard_error == pytest.approx(math.sqrt(1 / 8), abs=0.01)


def test_bootstrap_is_paired() -> None:
    """The same gain for every item is certain, however much the items differ."""
    base = generator(1).normal(size=50) * 100
    found = paired_bootstrap(base, base + 0.25, rng=generator())
    for value in (found.value, found.low, found.high):
        assert value == pytest.approx(0.25)
    assert found.standard_error == pytest.approx(0, abs=1e-12)


def test_bootstrap_agrees_with_theory() -> None:
    """For a mean of 400 differences: standard error sd/sqrt(n), interval +- 1.96 of it."""
    rng = generator(2)
    base, gain = rng.normal(size=400), rng.normal(0.3, 1.0, size=400)
    found = paired_bootstrap(base, base + gain, rng=rng)
    error = gain.std() / math.sqrt(400)
    assert found.value == pytest.approx(gain.mean())
    assert found.standard_error == pytest.approx(error, rel=0.03)
    assert found.low == pytest.approx(gain.mean() - Z_95 * error, abs=0.08 * error)
    assert found.high == pytest.approx(gain.mean() + Z_95 * error, abs=0.08 * error)


def test_clusters_are_drawn_together() -> None:
    """Each item four times over in one cluster: as little is known as from the items alone."""
    rng = generator(3)
    gain = rng.normal(size=100)
    alone = paired_bootstrap(np.zeros(100), gain, rng=generator())
    four = np.repeat(gain, 4)
    ids = np.repeat(np.arange(100), 4)
    together = paired_bootstrap(np.zeros(400), four, rng=generator(), clusters=ids)
    assert together.standard_error == pytest.approx(alone.standard_error, rel=1e-9)
    assert (together.n, alone.n) == (400, 100)
    apart = paired_bootstrap(np.zeros(400), four, rng=generator())
    assert apart.standard_error == pytest.approx(alone.standard_error / 2, rel=0.05)


@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=8),
    seed=st.integers(0, 2**32),
)
def test_bootstrap_against_the_slow_one(sizes: list[int], seed: int) -> None:
    """Clusters of any size and names: the same draws, item by item."""
    values = generator(seed).normal(size=sum(sizes))
    names = [f"c{i}" for i, size in enumerate(sizes) for _ in range(size)]
    found = paired_bootstrap(
        np.zeros(values.size), values, rng=generator(seed), resamples=50, clusters=names
    )
    members = [
        [v for v, name in zip(values, names, strict=True) if name == f"c{i}"]
        for i in range(len(sizes))
    ]
    drawn = generator(seed).integers(len(sizes), size=(50, len(sizes)))
    means = [np.mean(list(itertools.chain(*(members[i] for i in row)))) for row in drawn]
    assert found.value == pytest.approx(values.mean())
    assert found.standard_error == pytest.approx(np.std(means, ddof=1))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


@pytest.mark.parametrize(
    ("gain", "n", "low", "high"),
    [
        (0.0, 120, -0.030272, 0.030272),  # s = 1 - 0.025^(1/120), a little over 3/120
        (1.0, 3, 1 - 2 * 0.707598, 1.0),  # each unlike item could be at -1, two away
        (-1.0, 3, -1.0, -1 + 2 * 0.707598),
    ],
)
def test_where_all_differ_alike_the_interval_keeps_a_width(
    gain: float, n: int, low: float, high: float
) -> None:
    found = paired_bootstrap(
        np.zeros(n), np.full(n, gain), rng=generator(), resamples=50, limits=(-1, 1)
    )
    assert found.value == gain
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))
    assert (1 - unmet_share(n)) ** n == pytest.approx(0.025)


def test_limits_cover_what_is_rare() -> None:
    """One item in fifty gains: of 20 items mostly none does, and an interval of [0, 0] is wrong."""
    rng = generator(5)
    covered = {True: 0, False: 0}
    for _ in range(300):
        gain = (rng.random(20) < 0.02).astype(float)
        for bounded in covered:
            limits = (-1.0, 1.0) if bounded else None
            found = paired_bootstrap(
                np.zeros(20), gain, rng=generator(), resamples=200, limits=limits
            )
            covered[bounded] += found.low <= 0.02 <= found.high
    assert covered[True] >= 0.95 * 300
    assert covered[False] < 0.5 * 300


def test_limits_change_nothing_where_items_differ() -> None:
    gain = generator(6).normal(size=30)
    one, two = (
        paired_bootstrap(np.zeros(30), gain, rng=generator(), resamples=100, limits=limits)
        for limits in (None, (-9.0, 9.0))
    )
    assert one == two


def test_chunks_do_not_change_the_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    values = generator(4).normal(size=37)
    whole = paired_bootstrap(np.zeros(37), values, rng=generator(), resamples=1000)
    monkeypatch.setattr(stats, "CHUNK", 100)
    assert paired_bootstrap(np.zeros(37), values, rng=generator(), resamples=1000) == whole


def test_bootstrap_refuses_what_is_not_paired() -> None:
    with pytest.raises(DataError, match="2 base values, 3 tuned, 2 cluster ids"):
        paired_bootstrap([1, 2], [1, 2, 3], rng=generator())
    with pytest.raises(DataError, match="2 base values, 2 tuned, 1 cluster ids"):
        paired_bootstrap([1, 2], [1, 2], rng=generator(), clusters=["a"])
    with pytest.raises(DataError, match=r"1 clusters\n.*at least 2"):
        paired_bootstrap([1, 2], [1, 2], rng=generator(), clusters=["a", "a"])
    with pytest.raises(DataError, match="0 clusters"):
        paired_bootstrap([], [], rng=generator())


@pytest.mark.parametrize("n", range(8))
def test_mcnemar_against_all_outcomes(n: int) -> None:
    """Two-sided: the share of the 2^n sign patterns at least as lopsided as the one found."""
    patterns = [sum(pattern) for pattern in itertools.product([0, 1], repeat=n)]
    for gained in range(n + 1):
        lopsided = [abs(2 * count - n) >= abs(2 * gained - n) for count in patterns]
        expected = sum(lopsided) / 2**n
        assert mcnemar_exact(gained, n - gained) == pytest.approx(expected)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_mcnemar_is_symmetric_and_a_probability(gained: int, lost: int) -> None:
    p = mcnemar_exact(gained, lost)
    assert 0 <= p <= 1
    assert mcnemar_exact(lost, gained) == p
    if gained > lost:
        assert mcnemar_exact(gained + 1, lost) <= p


def test_mcnemar_by_hand() -> None:
    """7 gained, 0 lost: 2 / 2^7. Nothing changed: 1."""
    assert mcnemar_exact(7, 0) == 2 / 128
    assert mcnemar_exact(0, 0) == 1.0
    with pytest.raises(DataError, match="gained -1, lost 2"):
        mcnemar_exact(-1, 2)
