"""The logistic model of pairs: how far what two sides differ in decides which one is chosen.

    P(a over b) = 1 / (1 + exp(-w . (x_a - x_b)))

It has no intercept, since a pair has no first and second, so every row may be turned to have the
chosen side first, and then each label is 1. Source: Bradley and Terry 1952, with covariates.
"""

import numpy as np

STEPS = 100
LONGEST_STEP = 1.0


def fit(
    differences: np.ndarray, *, ridge: float = 0.0, start: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Maximise sum log P(chosen over rejected) - ridge |w|^2 / 2, by Newton's method.

    Args:
        differences: x of chosen minus x of rejected, shape [pairs, features].
        ridge: 0 only where no direction separates the pairs, for then w would be infinite.
        start: Where to begin, to save steps; the maximum is one and the same.

    Returns:
        w and the negative Hessian there, shapes [features] and [features, features]; the inverse
        of the latter is the covariance of w.
    """
    features = differences.shape[1]
    weights = np.zeros(features) if start is None else start
    information = np.eye(features)
    for _ in range(STEPS):
        wrong = 1 - probability(differences, weights)
        gradient = differences.T @ wrong - ridge * weights
        information = (differences * (wrong * (1 - wrong))[:, None]).T @ differences
        information += (ridge + 1e-12) * np.eye(features)
        step = np.linalg.solve(information, gradient)
        # The objective is concave, but far out its curvature vanishes: no long steps there.
        step *= min(1.0, LONGEST_STEP / max(float(np.abs(step).max()), 1e-300))
        weights = weights + step
        if np.abs(step).max() < 1e-10:
            break
    return weights, information


def probability(differences: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """P(chosen over rejected) of each pair."""
    # Clipped where exp would overflow: nothing is left of the probability there.
    return np.asarray(1 / (1 + np.exp(np.clip(-(differences @ weights), -500, 500))))
