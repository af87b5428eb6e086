"""A made-up critic for tests: what it writes follows its score, in English or in its own words."""

import hashlib

import numpy as np

ENGLISH = (
    ("Useless and wrong.", "It fails to answer.", "A terrible, incoherent text."),
    ("It is vague and misses the point.", "Much is missing.", "A weak and confusing answer."),
    ("It is partly right.", "Some of it helps.", "An answer of the middling kind."),
    ("A clear answer.", "It is accurate and helpful.", "Good and relevant."),
    ("Excellent from start to end.", "Perfect and thorough.", "An outstanding, clear text."),
)
"""Level 0 (blame) to 4 (praise) -> sentences."""
OWN = tuple(
    tuple(f"{word}a {word}o {word}u." for word in words)
    for words in (("zub", "kro"), ("mip", "tal"), ("ven", "dos"), ("lir", "gan"), ("sef", "wub"))
)


def critiques(
    scores: np.ndarray, rng: np.random.Generator, sentences: tuple[tuple[str, ...], ...] = ENGLISH
) -> list[str]:
    """Three sentences for each score 1..10, of about its level."""
    levels = (scores - 1)[:, None] / 9 * 4 + 0.5 * rng.standard_normal((scores.size, 3))
    rows = np.clip(levels.round(), 0, 4).astype(int)
    draws = rng.integers(1000, size=rows.shape)
    return [
        " ".join(
            sentences[level][draw % len(sentences[level])]
            for level, draw in zip(row, picks, strict=True)
        )
        for row, picks in zip(rows.tolist(), draws.tolist(), strict=True)
    ]


def some_scores(number: int, rng: np.random.Generator) -> np.ndarray:
    """Scores from 1 to 10 in half points, the ends as rare as in real sets."""
    return np.clip((6.5 + 2 * rng.standard_normal(number)) * 2, 2, 20).round() / 2


def ids(number: int) -> list[str]:
    """Prompt ids."""
    return [hashlib.sha256(str(i).encode()).hexdigest()[:32] for i in range(number)]
