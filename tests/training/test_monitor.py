"""Statistics from rows of pairs, answers and forests: each against numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notus.metric_names import METRICS, parse
from notus.training.answers import divergence, length_ratio, repetition
from notus.training.clock import PARTS, Clock
from notus.training.columns import COLUMNS
from notus.training.monitor import (
    GROUP_METRICS,
    MAX_GROUPS,
    OTHERS,
    by_group,
    change,
    group_names,
    summary,
)


def row(**given: float) -> list[float]:
    """One pair; what is not given does not matter in its test."""
    usual = dict.fromkeys(COLUMNS, -1.0) | {"chosen_tokens": 4.0, "rejected_tokens": 2.0}
    return [(usual | given)[name] for name in COLUMNS]


# Rewards 2, 1, 0 and -1 above the rejected; the chosen answers change by -4, +2, -8, 0 nats.
FOUR = np.array(
    [
        row(chosen_reward=3, rejected_reward=1, chosen_logps=-14, reference_chosen=-10),
        row(chosen_reward=1, rejected_reward=0, chosen_logps=-10, reference_chosen=-12),
        row(chosen_reward=5, rejected_reward=5, chosen_logps=-18, reference_chosen=-10),
        row(chosen_reward=0, rejected_reward=1, chosen_logps=-10, reference_chosen=-10),
    ]
)


def test_summary_of_four_pairs() -> None:
    found = summary(FOUR)
    assert found["num_examples"] == 4
    assert found["rewards/margins"] == (2 + 1 + 0 - 1) / 4
    assert found["rewards/accuracies"] == (2 + 0.5) / 4, "a tie counts half"
    assert found["delta_logps/chosen"] == (-4 + 2 - 8 + 0) / 4
    assert found["delta_logps_per_token/chosen"] == (-1 + 0.5 - 2 + 0) / 4
    assert found["displaced"] == 2 / 4, "unchanged is not displaced"
    assert found["displacement"] == (1 + 0 + 2 + 0) / 4, "what rose does not make up for what fell"
    # Sorted margins -1, 0, 1, 2; linear between neighbours at 0.3, 1.5 and 2.7 of 0..3.
    assert found["rewards/margins_p10"] == pytest.approx(-0.7)
    assert found["rewards/margins_p50"] == pytest.approx(0.5)
    assert found["rewards/margins_p90"] == pytest.approx(1.7)


def test_accuracy_stands_in_its_interval() -> None:
    """Wilson at 2.5 of 4 with z = 1.96: centre (0.625 + z^2/8) / (1 + z^2/4) = 0.5638."""
    found = summary(FOUR)
    low, high = found["rewards/accuracies_low"], found["rewards/accuracies_high"]
    assert (low + high) / 2 == pytest.approx(0.5638, abs=1e-4)
    assert low < found["rewards/accuracies"] < high


def test_without_any_reference_nothing_is_said_about_change() -> None:
    rows = FOUR.copy()
    rows[:, [COLUMNS.index("reference_chosen"), COLUMNS.index("reference_rejected")]] = np.nan
    assert {name for name in summary(rows) if "delta" in name or "displace" in name} == set()
    assert summary(rows)["rewards/margins"] == summary(FOUR)["rewards/margins"]


def test_a_nan_in_one_pair_is_seen() -> None:
    rows = FOUR.copy()
    rows[1, COLUMNS.index("chosen_logps")] = np.nan
    rows[1, COLUMNS.index("chosen_reward")] = np.nan
    found = summary(rows)
    assert np.isnan(found["delta_logps/chosen"])
    assert np.isnan(found["rewards/accuracies"])


def test_votes_have_two_sides_but_no_pairs() -> None:
    """Two liked, one disliked: means by side, and nothing that needs a pair."""
    nothing = dict.fromkeys(("rejected_reward", "rejected_logps", "rejected_tokens"), np.nan)
    liked = [row(chosen_reward=r, reference_rejected=np.nan, **nothing) for r in (1, 3)]
    nothing = dict.fromkeys(("chosen_reward", "chosen_logps", "chosen_tokens"), np.nan)
    disliked = row(rejected_reward=-1, reference_chosen=np.nan, **nothing)
    found = summary(np.array([*liked, disliked]))
    assert (found["rewards/chosen"], found["rewards/rejected"]) == (2, -1)
    assert found["rewards/margins"] == 3
    assert found["displaced"] == 0
    assert not any("accuracies" in name or "margins_" in name for name in found)
    assert "rewards/margins" not in summary(np.array(liked))


@given(st.permutations(range(4)))
def test_the_order_of_the_pairs_is_nothing(order: list[int]) -> None:
    found, expected = summary(FOUR[order]), summary(FOUR)
    assert found == pytest.approx(expected)


def test_groups_are_their_own_rows() -> None:
    found = by_group(FOUR, ["b", "a/x", "b", "a/x"], kind="source")
    assert found["source/b/displaced"] == 1
    assert found["source/a/x/displaced"] == 0
    assert {parse(name).group for name in found} == {"b", "a/x"}  # type: ignore[union-attr]
    weighted = sum(found[f"source/{g}/rewards/margins"] * 2 for g in ("b", "a/x")) / 4
    assert weighted == summary(FOUR)["rewards/margins"]
    assert len(found) == 2 * len(GROUP_METRICS)


def test_small_groups_are_counted_together() -> None:
    assert group_names(["one", "one"]) == {}
    assert group_names(["b", "a", "a"]) == {"a": "a", "b": "b"}
    many = [str(i) for i in range(MAX_GROUPS + 5) for _ in range(i + 1)]
    named = group_names(many)
    assert len(named) == MAX_GROUPS + 5
    assert len(set(named.values())) == MAX_GROUPS
    assert [name for name, group in named.items() if group == OTHERS] == list("543210")


def test_change_per_token_divides_by_each_answers_own_tokens() -> None:
    rows = np.array([row(rejected_logps=-7, reference_rejected=-1)])
    assert change(rows, "rejected").per_token == [-3]


def test_every_name_is_known() -> None:
    assert set(summary(FOUR)) <= set(METRICS)
    assert {f"seconds/{part}" for part in PARTS} <= set(METRICS)
    assert parse("eval_strategy/given/displaced") == (True, "strategy", "given", "displaced")
    assert parse("eval_rewards/margins_p10") == (True, None, None, "rewards/margins_p10")
    assert parse("source/a/rewards/chosen") == (False, "source", "a", "rewards/chosen")
    assert parse("made_up") is None
    assert parse("source/a/made_up") is None


def test_repetition_counts_grams_that_stood_there_before() -> None:
    """Of the five 4-grams of abcdabcd only abcd comes twice."""
    assert repetition(list(b"abcdabcd")) == pytest.approx(1 / 5)
    assert repetition(list(b"aaaaaaaa")) == pytest.approx(4 / 5)
    assert repetition(list(b"abcdefgh")) == 0
    assert repetition(list(b"abc")) == 0


def test_length_ratio_is_of_means() -> None:
    assert length_ratio([2, 10], [4, 4]) == 1.5


def test_divergence_of_one_token() -> None:
    """With r = 2: k3 = 1 - ln 2, -ln r = -ln 2; entropy is -ln p."""
    found = divergence([np.log([0.25])], [np.log([0.5])])
    assert found == pytest.approx((1 - np.log(2), -np.log(2), np.log(4)))


def test_divergence_estimates_the_exact_one() -> None:
    """30,000 draws from a known distribution, against the sums over it."""
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(8)), rng.dirichlet(np.ones(8))
    draws = rng.choice(8, size=(3000, 10), p=p)
    found = divergence(list(np.log(p)[draws]), list(np.log(q)[draws]))
    kl, entropy = float(p @ np.log(p / q)), float(-p @ np.log(p))
    assert found.k3 == pytest.approx(kl, rel=0.03)
    assert found.sequence == pytest.approx(10 * kl, rel=0.03)
    assert found.entropy == pytest.approx(entropy, rel=0.03)


def test_a_clock_loses_no_moment() -> None:
    times = iter([0.0, 1.0, 3.0, 3.5, 9.0])
    clock = Clock(now=lambda: next(times))
    for part in ("data", "forward", "data"):
        clock.lap(part)
    assert clock.read() == {"data": 1.5, "forward": 2.0}
    assert clock.read() == {}
    clock.lap("saving")
    assert clock.read() == {"saving": 5.5}
