"""kappa and alpha: worked examples by hand, another library, a slow twin, and their intervals."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from notus.review.agreement import Estimate, cohen_kappa, krippendorff_alpha
from notus.stats import unmet_share

NA = None
# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", data C: four observers, twelve
# units, values missing.
OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, NA, NA, NA),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NA, 3),
    (NA, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NA),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NA),
)
UNITS = [[value for value in unit if value is not NA] for unit in zip(*OBSERVERS, strict=True)]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def alpha(units: list[list[float]], level: str = "nominal") -> Estimate:
    found = krippendorff_alpha(units, level, rng=rng())
    assert found is not None
    return found


def test_kappa_of_a_table_by_hand() -> None:
    """50 proposals: 20 yes by both, 15 no by both, 5 and 10 split.

    p_o = 35/50 = .7; yes shares 25/50 and 30/50, so p_e = .5 * .6 + .5 * .4 = .5;
    kappa = (.7 - .5) / (1 - .5) = .4.
    """
    a = ["yes"] * 20 + ["yes"] * 5 + ["no"] * 10 + ["no"] * 15
    b = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    found = cohen_kappa(a, b, rng=rng())
    assert found is not None
    assert found.value == pytest.approx(0.4, abs=1e-12)
    # Large-sample standard error of kappa, sqrt(p_o (1 - p_o) / n) / (1 - p_e), is .13 here.
    assert found.standard_error == pytest.approx(0.13, abs=0.01)
    assert (found.low, found.high) == pytest.approx((0.4 - 0.25, 0.4 + 0.25), abs=0.04)
    assert found.n == 50


def test_kappa_against_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    for labels in (2, 3, 7):
        a = generator.integers(labels, size=200)
        b = np.where(generator.random(200) < 0.6, a, generator.integers(labels, size=200))
        found = cohen_kappa(list(a), list(b), rng=rng(), resamples=10)
        assert found is not None
        assert found.value == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)


def test_alpha_of_the_published_example_by_hand() -> None:
    """Its coincidence matrix, worked out: 40 pairable values, unit 12 has only one value.

    Values 1..5 occur 9, 13, 10, 5, 3 times. Units 1, 3, 4, 5, 7, 9, 10, 11 agree. Unit 2 (2, 2, 3,
    2) and unit 8 (1, 1, 2, 1) have 3 unlike of 6 pairs, 6 of 12 ordered ones, divided by m - 1 = 3:
    2 each. Unit 6 (1, 2, 3, 4) has all 12 unlike: 4. So n D_o = 8, D_o = 8/40.
    n (n - 1) D_e = 40^2 - (81 + 169 + 100 + 25 + 9) = 1216.
    alpha = 1 - 39 * 8 / 1216 = .743 (published: .743).

    Interval: unit 2 and 8: 6 ordered pairs of distance 1, / 3 = 2 each; unit 6: 2 (3 * 1 + 2 * 4 +
    9) = 40, / 3. n D_o = 4 + 40/3 = 17.333. Sum v = 9 + 26 + 30 + 20 + 15 = 100, sum v^2 = 9 + 52 +
    90 + 80 + 75 = 306; n (n - 1) D_e = 2 (40 * 306 - 100^2) = 4480.
    alpha = 1 - 39 * 17.333 / 4480 = .849 (published: .849).
    """
    assert alpha(UNITS).value == pytest.approx(1 - 39 * 8 / 1216, abs=1e-12)
    assert round(alpha(UNITS).value, 3) == 0.743
    assert alpha(UNITS, "interval").value == pytest.approx(1 - 39 * (4 + 40 / 3) / 4480, abs=1e-12)
    assert round(alpha(UNITS, "interval").value, 3) == 0.849
    assert alpha(UNITS).n == 11


def slow_alpha(units: list[list[int]], level: str) -> float | None:
    """alpha from its definition, pair by pair."""

    def squared(a: float, b: float) -> float:
        return float(a != b) if level == "nominal" else (a - b) ** 2

    units = [unit for unit in units if len(unit) > 1]
    n = sum(map(len, units))
    values = [value for unit in units for value in unit]
    expected = sum(squared(*pair) for pair in permutations(values, 2)) / (n * (n - 1)) if n else 0
    if expected == 0:
        return None
    observed = sum(
        sum(squared(*pair) for pair in permutations(unit, 2)) / (len(unit) - 1) for unit in units
    )
    return 1 - observed / n / expected


@settings(max_examples=200)
@given(
    st.lists(st.lists(st.integers(1, 5), max_size=4), max_size=8),
    st.sampled_from(["nominal", "interval"]),
)
def test_alpha_is_its_definition(units: list[list[int]], level: str) -> None:
    found = krippendorff_alpha(units, level, rng=rng(), resamples=20)
    expected = slow_alpha(units, level)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found.value == pytest.approx(expected, abs=1e-9)
        assert found.low <= found.high


def test_nothing_to_agree_on_is_not_agreement() -> None:
    assert krippendorff_alpha([], "nominal", rng=rng()) is None
    assert krippendorff_alpha([[1], [2]], "nominal", rng=rng()) is None
    assert krippendorff_alpha([[1, 1], [1, 1]], "interval", rng=rng()) is None
    assert krippendorff_alpha([[0.1, 0.1, 0.1], [0.1, 0.1]], "interval", rng=rng()) is None
    assert cohen_kappa([], [], rng=rng()) is None
    assert cohen_kappa(["drop"] * 9, ["drop"] * 9, rng=rng()) is None


def test_perfect_agreement_on_few_items_is_not_certain() -> None:
    few = [["a", "a"], ["b", "b"], ["a", "a"], ["b", "b"]]
    many = few * 100
    one, other = (cohen_kappa(*zip(*units, strict=True), rng=rng()) for units in (few, many))
    assert one is not None
    assert other is not None
    assert one.value == other.value == one.high == 1
    # With p_e = .5 a share s of split items leaves 1 - s / .5.
    assert one.low == pytest.approx(max(-1, 1 - unmet_share(4) / 0.5))
    assert other.low == pytest.approx(1 - 2 * unmet_share(400))
    assert alpha(many).low == pytest.approx(other.low, abs=0.01)


def test_worse_than_chance_is_negative() -> None:
    found = cohen_kappa(["a", "b"] * 10, ["b", "a"] * 10, rng=rng())
    assert found is not None
    assert found.value == -1
    assert alpha([["a", "b"]] * 20).value < 0


def test_intervals_cover_what_they_should() -> None:
    """Two raters who agree on .7 of two even labels, else each by chance: kappa is .7."""
    generator = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        a = generator.integers(2, size=150)
        b = np.where(generator.random(150) < 0.7, a, generator.integers(2, size=150))
        found = cohen_kappa(list(a), list(b), rng=generator, resamples=300)
        assert found is not None
        hits += found.low <= 0.7 <= found.high
    assert hits >= 180  # 190 expected, 3 standard deviations of 3.1 below


def test_the_same_seed_gives_the_same_interval() -> None:
    assert alpha(UNITS) == alpha(UNITS)
    other = krippendorff_alpha(UNITS, "nominal", rng=np.random.default_rng(9))
    assert other is not None
    assert other.value == alpha(UNITS).value
    assert other.low != alpha(UNITS).low
