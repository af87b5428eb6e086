"""Scores that are correlated as people's and models' are: a Gaussian copula on the marginals.

    quality = ability of the model + ease of the source + ease of the prompt + chance
    score   = quantile of its published histogram at  rho * quality + sqrt(1 - rho^2) * noise

`RHO_ASPECT` gives the published standard deviation of the fine-grained score (the mean of the
aspects), which depends on nothing else. How far the critique's score follows the aspects is not
published: `RHO_OVERALL` is assumed, looser for raw data than for clean data.
"""

import functools
from typing import NamedTuple

import numpy as np
from faults import marginals
from scipy.special import ndtr, ndtri

MODELS = tuple(marginals.MODELS)
SOURCES = tuple(marginals.SOURCES)
ASPECTS = tuple(marginals.RATINGS)
PER_ROW = 4
RHO_ASPECT = 0.875
RHO_OVERALL = {True: 0.80, False: 0.90}
"""By `quirks`; the rank correlation of overall score and mean rating is about 0.74 and 0.83."""

# Shares of the variance of quality; the rest is the completion's own.
_MODEL, _PROMPT = 0.2, 0.2
_SAMPLE = 60_000
_GRID = np.linspace(0.0005, 0.9995, 2000)


class Drawn(NamedTuple):
    """Numbers of some rows; R rows, 4 completions each."""

    sources: np.ndarray
    """[R] index in `SOURCES`."""
    models: np.ndarray
    """[R, 4] index in `MODELS`, all different."""
    quality: np.ndarray
    """[R, 4] standard normal."""
    overall: np.ndarray
    """[R, 4] 1..10 in half points."""
    aspects: np.ndarray
    """[R, 4, 4] 1..5 by completion and aspect; NaN where the rating is N/A."""


class _Calibration(NamedTuple):
    ease: np.ndarray
    quantiles: np.ndarray


def draw(rng: np.random.Generator, count: int, *, quirks: bool) -> Drawn:
    """Draw the numbers of `count` rows."""
    fitted = _calibrate()
    sources = rng.choice(len(SOURCES), size=count, p=shares(marginals.SOURCES))
    models = draw_models(rng, count)
    raw = _raw_quality(rng, models) + fitted.ease[sources][:, None]
    quality = _normal(raw, fitted.quantiles)
    overall = _overall(quality, RHO_OVERALL[quirks], rng)
    aspects = np.stack([_aspect(quality, name, rng) for name in ASPECTS], axis=-1)
    # Honesty does not apply to some prompts, then mostly to none of its answers.
    lacking = 1 - marginals.NUMERIC["honesty"] / (marginals.COMPLETIONS - marginals.EMPTY)
    applies = rng.random(count)[:, None] < lacking / 0.8
    none = applies & (rng.random((count, PER_ROW)) < 0.8)
    aspects[none, ASPECTS.index("honesty")] = np.nan
    return Drawn(sources, models, quality, overall, aspects)


def draw_models(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw 4 different models a row, each in exactly its published share of the rows.

    Systematic sampling of a random order: lay the shares (they sum to 4) end to end and take those
    that u, u + 1, u + 2, u + 3 fall on. Source: Madow 1949, "On the theory of systematic sampling".
    """
    widths = PER_ROW * shares(marginals.MODELS)
    order = rng.permuted(np.tile(np.arange(len(MODELS)), (count, 1)), axis=1)
    ends = np.cumsum(widths[order], axis=1)
    ends[:, -1] = PER_ROW
    marks = np.ceil(ends - rng.random(count)[:, None])
    taken = np.diff(marks, axis=1, prepend=0) > 0
    return order[taken].reshape(count, PER_ROW)


def _raw_quality(rng: np.random.Generator, models: np.ndarray) -> np.ndarray:
    abilities = np.array([marginals.ABILITIES[name] for name in MODELS])
    weights = shares(marginals.MODELS)
    abilities = abilities - weights @ abilities
    abilities = abilities / np.sqrt(weights @ abilities**2)
    prompt = rng.standard_normal((len(models), 1))
    own = rng.standard_normal(models.shape)
    return (
        np.sqrt(_MODEL) * abilities[models]
        + np.sqrt(_PROMPT) * prompt
        + np.sqrt(1 - _MODEL - _PROMPT) * own
    )


@functools.cache
def _calibrate() -> _Calibration:
    """Find each source's ease from its mean score, and the quantiles of quality; a fixed sample."""
    rng = np.random.default_rng(0)
    sources = rng.choice(len(SOURCES), size=_SAMPLE, p=shares(marginals.SOURCES))
    raw = _raw_quality(rng, draw_models(rng, _SAMPLE))
    seed = int(rng.integers(2**32))
    wanted = _mean_overall()
    ease = np.zeros(len(SOURCES))
    for _ in range(8):
        shifted = raw + ease[sources][:, None]
        quantiles = np.quantile(shifted, _GRID)
        noise = np.random.default_rng(seed)
        scores = _overall(_normal(shifted, quantiles), 0.85, noise).mean(axis=1)
        means = np.bincount(sources, scores) / np.bincount(sources)
        ease += 0.5 * (wanted - means)
    return _Calibration(ease, np.quantile(raw + ease[sources][:, None], _GRID))


def _mean_overall() -> np.ndarray:
    """Mean overall score by source; the one that is not published follows from the others."""
    counts = marginals.SOURCES
    known = sum(counts[name] * mean for name, mean in marginals.MEAN_OVERALL.items())
    total = marginals.OVERALL_MEAN * sum(counts.values())
    (missing,) = counts.keys() - marginals.MEAN_OVERALL.keys()
    means = marginals.MEAN_OVERALL | {missing: (total - known) / counts[missing]}
    return np.array([means[name] for name in SOURCES])


def _normal(raw: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Map to standard normal values by rank; beyond the grid's ends, by the distance from them."""
    inside = ndtri(np.interp(raw, quantiles, _GRID))
    spread = (quantiles[-1] - quantiles[0]) / (2 * ndtri(_GRID[-1]))
    beyond = np.maximum(raw - quantiles[-1], 0) + np.minimum(raw - quantiles[0], 0)
    return np.asarray(inside + beyond / spread)


def _overall(quality: np.ndarray, rho: float, rng: np.random.Generator) -> np.ndarray:
    values = np.array(list(marginals.OVERALL))
    counts = np.array(list(marginals.OVERALL.values()))
    return np.asarray(values[_levels(quality, rho, counts, rng)])


def _aspect(quality: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
    counts = np.array(marginals.RATINGS[name])
    return 1.0 + _levels(quality, RHO_ASPECT, counts, rng)


def _levels(
    quality: np.ndarray, rho: float, counts: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    noisy = rho * quality + np.sqrt(1 - rho**2) * rng.standard_normal(quality.shape)
    return np.searchsorted(np.cumsum(counts)[:-1] / counts.sum(), ndtr(noisy))


def shares(counts: dict[str, int]) -> np.ndarray:
    """Turn counts into shares that sum to 1."""
    array = np.array(list(counts.values()), dtype=float)
    return array / array.sum()
