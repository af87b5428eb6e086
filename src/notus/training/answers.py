"""Numbers of sampled answers: repetition, length, entropy, KL to the reference. No model inside."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Divergence(NamedTuple):
    """How far the policy has moved, seen on its own samples."""

    k3: float
    """Nats a token."""
    sequence: float
    """Nats an answer."""
    entropy: float
    """Nats a token, of the policy."""


def repetition(ids: Sequence[int], n: int = 4) -> float:
    """Share of an answer's n-grams that stood in it before; 0 where it has none.

    seq-rep-n = 1 - (distinct n-grams) / (n-grams). Source: Welleck et al. 2019 (arXiv 1908.04319),
    eq. 11.

    Args:
        ids: Tokens of the answer.
        n: Tokens in an n-gram.
    """
    grams = [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def divergence(policy: Sequence[Array], reference: Sequence[Array]) -> Divergence:
    """Estimate KL(policy || reference) and the policy's entropy from answers the policy sampled.

    With r = p_ref(token) / p(token): k3 = (r - 1) - ln r, which is never negative, has mean KL a
    token and varies far less than -ln r; `sequence` is the mean over answers of the sum of -ln r.
    The entropy is the mean of -ln p(token). All three are unbiased for the model's own
    distribution only, so the answers must have been drawn at temperature 1.
    Source: Schulman 2020, "Approximating KL divergence" (joschu.net/blog/kl-approx.html).

    Args:
        policy: For each answer the log-prob of each token under the policy, in nats.
        reference: The same tokens under the reference.
    """
    p, q = np.concatenate(policy), np.concatenate(reference)
    sums = [a.sum() - b.sum() for a, b in zip(policy, reference, strict=True)]
    with np.errstate(over="ignore"):  # An infinite k3 is what has happened then.
        k3 = np.expm1(q - p) - (q - p)
    return Divergence(float(k3.mean()), float(np.mean(sums)), float(-p.mean()))


def length_ratio(policy: Sequence[int], base: Sequence[int]) -> float:
    """Mean number of tokens of the policy's answers over that of the base's, same prompts."""
    return float(np.mean(policy) / np.mean(base))
