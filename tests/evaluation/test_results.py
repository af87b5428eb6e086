"""Samples and pairs to numbers and verdicts; the statistics themselves are test_stats'."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pytest

from notus.evaluation.results import (
    Comparison,
    compare_pairs,
    compare_samples,
    summarize,
    verdict,
)
from notus.results import Paired
from notus.stats import Estimate, mcnemar_exact, wilson

Outcomes = Mapping[str, tuple[Sequence[int], Sequence[int]]]


def samples(
    families: Outcomes, *, mode: str = "greedy", unseen: Sequence[str] = (), shuffle: int = 0
) -> pl.DataFrame:
    """Rows of answers: family -> (base, tuned), an outcome a prompt."""
    rows = [
        {
            "model": model,
            "mode": mode,
            "family": family,
            "seen": family not in unseen,
            "prompt_id": f"{family}-{i}",
            "passed": bool(passed),
        }
        for family, outcomes in families.items()
        for model, column in zip(("base", "tuned"), outcomes, strict=True)
        for i, passed in enumerate(column)
    ]
    return pl.DataFrame(rows).sample(fraction=1.0, shuffle=True, seed=shuffle)


def compare(frame: pl.DataFrame) -> Comparison:
    return compare_samples(frame, seed=1, resamples=500)


def paired(made: Comparison, family: str | None = None, mode: str = "greedy") -> Paired:
    (row,) = [p for p in made.paired if p.family == family and p.mode == mode]
    return row


def test_every_number_of_a_comparison() -> None:
    # Of 30 prompts: 6 gained, 1 lost, 11 passed by both, 12 by neither.
    base = [1] * 12 + [0] * 18
    tuned = [0] + [1] * 17 + [0] * 12
    made = compare(samples({"short": (base, tuned)}))
    row = paired(made)
    assert (row.n, row.num_clusters, row.gained, row.lost) == (30, 30, 6, 1)
    assert (row.base, row.tuned) == (pytest.approx(12 / 30), pytest.approx(17 / 30))
    assert row.difference == pytest.approx(5 / 30)
    assert row.low < row.difference < row.high
    assert row.p_value == mcnemar_exact(6, 1) == pytest.approx(2 * 8 / 2**7)
    assert row.verdict == "no difference shown"
    by_model = {r.model: r for r in made.results if r.family is None}
    expected = wilson(17, 30)
    found = by_model["tuned"]
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert (found.benchmark, found.metric, found.mode) == ("verifiable", "pass_rate", "greedy")


def test_neither_row_order_nor_the_other_mode_changes_a_number() -> None:
    outcomes = {"a": ([0, 1, 0, 1], [1, 1, 0, 0]), "b": ([0, 0, 0], [1, 1, 1])}
    one = compare(samples(outcomes))
    two = compare(samples(outcomes, shuffle=5))
    both = pl.concat([samples(outcomes), samples(outcomes, mode="sampled")])
    assert one == two
    assert paired(compare(both)) == paired(one)


def test_unseen_families_are_reported_apart() -> None:
    made = compare(samples({"a": ([0, 0], [1, 1]), "new": ([1, 1, 1], [0, 0, 0])}, unseen=["new"]))
    assert paired(made).n == 2
    assert paired(made).difference == 1.0
    assert paired(made, "unseen:new").difference == -1.0
    assert {p.family for p in made.paired} == {None, "a", "unseen:new"}


def test_samples_of_one_prompt_count_once() -> None:
    """Three answers a prompt are one item: its share of passes; there is no McNemar for shares."""
    frame = samples({"a": ([0, 0, 1], [1, 0, 1])}, mode="sampled")
    thrice = pl.concat([frame, frame, frame.with_columns(passed=pl.lit(True))])
    row = paired(compare(thrice), mode="sampled")
    assert (row.n, row.num_clusters) == (3, 3)
    assert row.base == pytest.approx((1 / 3 + 1 / 3 + 1) / 3)
    assert row.p_value is None


def test_one_prompt_gives_a_number_and_no_interval_of_a_difference() -> None:
    made = compare(samples({"a": ([0], [1])}))
    assert made.paired == []
    assert {r.model: r.value for r in made.results if r.family is None} == {"base": 0, "tuned": 1}


def test_a_summary_of_one_model() -> None:
    frame = samples({"a": ([0, 1], [1, 1]), "b": ([1], [1])}).filter(pl.col("model") == "base")
    found = {r.family: (r.value, r.n) for r in summarize(frame)}
    assert found == {None: (pytest.approx(2 / 3), 3), "a": (0.5, 2), "b": (1.0, 1)}


@pytest.mark.parametrize(
    ("low", "high", "p", "words"),
    [
        (0.1, 0.3, 0.01, "better"),
        (0.1, 0.3, None, "better"),
        (-0.3, -0.1, 0.01, "worse"),
        (0.1, 0.3, 0.05, "no difference shown"),  # the exact test does not reject
        (0.0, 0.3, 0.01, "no difference shown"),  # the interval holds 0
        (-0.1, 0.3, None, "no difference shown"),
    ],
)
def test_a_verdict_needs_the_interval_and_the_exact_test(
    low: float, high: float, p: float | None, words: str
) -> None:
    estimate = Estimate((low + high) / 2, 0.05, low, high, 10)
    assert verdict(estimate, p) == words


def test_a_verdict_is_rarely_wrong_when_nothing_differs() -> None:
    """Both models pass with the same chance: 5 % of verdicts, at most, may say otherwise."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(200):
        base, tuned = (rng.random((2, 40)) < 0.4).astype(int)
        made = compare(samples({"a": (base.tolist(), tuned.tolist())}))
        wrong += paired(made).verdict != "no difference shown"
    assert wrong <= 10


def test_pairs() -> None:
    rows = [
        ("base", 0, 0.0, 0.0, 1.0),
        ("base", 1, 1.0, 0.0, 0.5),
        ("base", 2, 1.0, 0.0, 0.5),
        ("tuned", 0, 1.0, 2.0, 1.0),
        ("tuned", 1, 1.0, 1.0, 1.0),
        ("tuned", 2, 0.0, -1.0, 0.0),
    ]
    names = ["model", "i", "logp_correct", "reward_margin", "reward_correct"]
    frame = pl.DataFrame(rows, schema=names, orient="row").with_columns(
        prompt_id=pl.format("p{}", "i"), preference_id=pl.format("q{}", "i")
    )
    made = compare_pairs(frame, seed=0, resamples=200)
    (row,) = made.paired
    assert (row.metric, row.n, row.gained, row.lost) == ("logp_accuracy", 3, 1, 1)
    (reward,) = [r for r in made.results if r.metric == "reward_accuracy"]
    assert (reward.model, reward.value, reward.n) == ("tuned", pytest.approx(2 / 3), 3)
    assert compare_pairs(frame.clear(), seed=0, resamples=200).results == []
