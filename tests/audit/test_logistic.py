"""The logistic model of pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notus.audit.logistic import fit, probability


def test_one_feature_of_size_one_gives_the_log_odds() -> None:
    """30 wins and 10 losses: w = log 3, and the information is n p (1 - p) = 7.5."""
    weights, information = fit(np.array([[1.0]] * 30 + [[-1.0]] * 10))
    assert weights == pytest.approx([np.log(3)])
    assert information == pytest.approx(np.array([[7.5]]))
    assert probability(np.array([[1.0], [-1.0], [0.0]]), weights) == pytest.approx(
        [0.75, 0.25, 0.5]
    )


def test_against_sklearn_on_both_orders_of_each_pair() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    differences = rng.normal(size=(500, 3)) * [1.0, 0.1, 5.0] + [0.3, 0.05, -1.0]
    ours, _ = fit(differences, ridge=2.0)
    # Both orders double the likelihood, so twice the ridge: C = 1 / 4.
    model = linear_model.LogisticRegression(C=0.25, fit_intercept=False, tol=1e-10, max_iter=10_000)
    model.fit(np.concatenate([differences, -differences]), np.repeat([1, 0], 500))
    assert ours == pytest.approx(model.coef_[0], rel=1e-5)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.floats(0.01, 10))
def test_the_gradient_vanishes(values: list[float], ridge: float) -> None:
    differences = np.array(values)[:, None]
    weights, _ = fit(differences, ridge=ridge)
    gradient = differences.T @ (1 - probability(differences, weights)) - ridge * weights
    assert np.abs(gradient).max() < 1e-6


def test_pairs_that_a_feature_separates_have_a_finite_weight_with_a_ridge() -> None:
    weights, _ = fit(np.ones((1000, 1)), ridge=1.0)
    assert 4 < weights[0] < 10
    assert probability(np.array([[1e6]]), np.array([-1.0])) == pytest.approx([0.0])
