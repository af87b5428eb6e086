"""What was to be chosen from, and how likely by score alone."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair_subjects import make_subject

from notus.audit.choice import GAPS, MOST, candidates, luce


def answers(*scores: float | None) -> list[tuple[str, str, Any]]:
    return [
        (f"m{place}", f"text {place}", {} if score is None else {"reward": score})
        for place, score in enumerate(scores)
    ]


def test_candidates_are_the_completions_of_prompts_with_one_preference() -> None:
    prompts = {"a?": answers(0.1, 0.9, 0.5), "b?": answers(0.2, 0.1), "c?": answers(1.0, 0.0)}
    pairs = [("a?", 1, 2), ("b?", 0, 1), ("c?", 0, 1), ("c?", 1, 0)]
    found = candidates(make_subject(prompts, pairs))
    assert found.rows == 2
    assert found.row.tolist() == [0, 0, 0, 1, 1]
    assert found.index.tolist() == [0, 1, 2, 0, 1]
    assert found.size.tolist() == [3, 3, 3, 2, 2]
    assert [found.names[model] for model in found.model] == ["m0", "m1", "m2", "m0", "m1"]
    assert found.chosen.tolist() == [False, True, False, True, False]
    assert found.rejected.tolist() == [False, False, True, False, True]
    left = found.where(~found.chosen)
    assert left.row.tolist() == [0, 0, 1]
    assert left.index.tolist() == [0, 2, 1]
    assert left.rows == 2
    assert found.where(found.size == 9).rows == 0


@given(st.lists(st.sampled_from([0.0, 0.05, 0.3, 0.5, 0.95, 1.0]), min_size=2, max_size=5))
def test_standings_by_brute_force(scores: list[float]) -> None:
    prompts = {"?": answers(*scores), "!": answers(0.0, 1.0)}
    found = candidates(make_subject(prompts, [("?", 0, 1), ("!", 0, 1)]))
    for place, score in enumerate(scores):
        lead = score - max(other for at, other in enumerate(scores) if at != place)
        gap = sum(round(lead, 9) >= edge for edge in GAPS)
        behind = sum(other < score for other in scores)
        assert found.standing[place] == MOST * gap + behind


def test_a_row_with_a_completion_that_nobody_scored_has_no_standing() -> None:
    prompts = {"a?": answers(0.1, None, 0.5), "b?": answers(0.2, 0.1)}
    found = candidates(make_subject(prompts, [("a?", 0, 2), ("b?", 0, 1)]))
    assert (found.standing == -1).tolist() == [True, True, True, False, False]


def test_scores_of_several_kinds_and_raters_are_averaged_on_one_scale() -> None:
    said = {"overall": 5.5, "honesty": 5.0, "helpfulness": 5.0, "verbosity": 1.0}
    prompts = {"?": [("a", "x", said), ("b", "y", {"reward": 0.75})]}
    found = candidates(make_subject(prompts, [("?", 0, 1)]))
    assert found.standing.tolist() == [6 * MOST] * 2  # (0.5 + 1) / 2 and 0.75: a tie


def test_places_are_the_written_ones_where_a_row_has_all_of_them() -> None:
    prompts = {name: answers(0.1, 0.2, 0.3) for name in ("whole?", "half?", "twice?")}
    metadata = {
        "whole?": ['{"position": 3}', '{"position": 0}', '{"position": 1}'],
        "half?": ['{"position": 3}', "{}", '{"position": 1}'],
        "twice?": ['{"position": 0}', '{"position": 1}', '{"position": 1}'],
    }
    pairs = [(name, 0, 1) for name in prompts]
    found = candidates(make_subject(prompts, pairs, metadata=metadata))
    assert found.index.tolist() == [3, 0, 1, 0, 1, 2, 0, 1, 2]


def test_luce_with_one_class_is_chance() -> None:
    row = np.array([0, 0, 1, 1, 1])
    taken = np.array([True, False, False, False, True])
    found = luce(row, np.zeros(5, dtype=np.int64), taken)
    assert found == pytest.approx([1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3])


def test_luce_against_the_likelihood_it_maximises() -> None:
    """Weights by hand: class 0 wins 30 of 40 pairs against class 1; with the stranger's prior.

    Half a win and half a loss against a stranger of weight 1 for each class: the log likelihood is
    30.5 log w + 10.5 log v - 40 log(w + v) - log(1 + w) - log(1 + v); on a fine grid.
    """
    row = np.repeat(np.arange(40), 2)
    classes = np.tile([0, 1], 40)
    taken = np.concatenate([np.tile([True, False], 30), np.tile([False, True], 10)])
    found = luce(row, classes, taken)
    grid = np.exp(np.linspace(-4, 4, 801))
    w, v = np.meshgrid(grid, grid, indexing="ij")
    goal = 30.5 * np.log(w) + 10.5 * np.log(v) - 40 * np.log(w + v) - np.log1p(w) - np.log1p(v)
    at = np.unravel_index(goal.argmax(), goal.shape)
    assert found[0] == pytest.approx(w[at] / (w[at] + v[at]), abs=0.002)
    assert abs(found[0] - 0.75) < 0.03
    assert found[0] + found[1] == pytest.approx(1)


def test_luce_expects_as_many_of_each_class_as_were_taken() -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(5, size=(4000, 4))
    weights = np.array([1.0, 2.0, 0.1, 5.0, 0.0])
    chances = weights[classes] + 1e-9
    chances /= chances.sum(axis=1, keepdims=True)
    taken = np.zeros((4000, 4), dtype=bool)
    for row in range(4000):
        taken[row, rng.choice(4, p=chances[row])] = True
    found = luce(np.repeat(np.arange(4000), 4), classes.ravel(), taken.ravel())
    assert np.isfinite(found).all()
    assert found.reshape(4000, 4).sum(axis=1) == pytest.approx(1.0)
    for one in range(5):
        expected, observed = found[classes.ravel() == one].sum(), taken[classes == one].sum()
        assert abs(expected - observed) < 1.5 + 0.002 * observed
    assert np.abs(found - chances.ravel()).mean() < 0.02
    assert math.isclose(luce(np.zeros(0), np.zeros(0), np.zeros(0)).size, 0)
