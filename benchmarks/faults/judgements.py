"""What a simulated judge writes: critiques that follow the score, noisily, and rationales.

Each sentence of a critique has a level 0 (scathing) to 4 (delighted), drawn around the place of the
score on its scale with a standard deviation of 0.8 levels; one sentence in four is a suggestion,
which has none. So a 9 comes with reservations and a 3 with a kind word, as in the real set, and no
word gives a score away.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from faults import wordings
from faults.prose import Topics

LEVEL_NOISE = 0.8
SUGGESTION = 0.25
_SENTENCES = (5, 11)
_BANK = 4096


class Bank(NamedTuple):
    """Sentences to draw from, made once."""

    levels: tuple[tuple[str, ...], ...]
    rationales: dict[str, tuple[tuple[str, ...], ...]]
    not_applicable: tuple[str, ...]
    reasons: tuple[str, ...]


def make_bank() -> Bank:
    """Combine subjects, predicates, tails and hedges, the same in every run."""
    rng = np.random.default_rng(3)
    levels = tuple(
        tuple(_sentence(rng, predicates) for _ in range(_BANK))
        for predicates in wordings.PREDICATES
    )
    pairs = tuple(itertools.permutations(wordings.REASONS, 2))
    rationales = {
        aspect: tuple(
            tuple(" ".join((head, *pair)) for head in heads for pair in pairs) for heads in by_level
        )
        for aspect, by_level in wordings.RATIONALES.items()
    }
    return Bank(levels, rationales, wordings.NOT_APPLICABLE, wordings.REASONS)


def critiques(
    rng: np.random.Generator, bank: Bank, topics: Topics, owners: np.ndarray, scores: np.ndarray
) -> list[str]:
    """Write a critique for each score.

    Args:
        rng: Draws the sentences.
        bank: Of sentences.
        topics: Whose words take the place of `{t}`.
        owners: [C] the prompt of each completion.
        scores: [C] on the scale 1..10.
    """
    counts = rng.integers(*_SENTENCES, size=len(scores))
    place = np.repeat((scores - 1) / 9 * (wordings.LEVELS - 1), counts)
    levels = place + LEVEL_NOISE * rng.standard_normal(len(place))
    levels = np.clip(levels.round(), 0, wordings.LEVELS - 1).astype(int)
    # The first sentence is the verdict, never a suggestion.
    starts = np.cumsum(counts) - counts
    suggestions = rng.random(len(place)) < SUGGESTION
    suggestions[starts] = False
    picks = rng.integers(_BANK, size=len(place))
    written = [
        wordings.SUGGESTIONS[pick % len(wordings.SUGGESTIONS)]
        if suggestion
        else bank.levels[level][pick]
        for suggestion, level, pick in zip(
            suggestions.tolist(), levels.tolist(), picks.tolist(), strict=True
        )
    ]
    ranks = rng.integers(6, size=(len(scores), 2)).tolist()
    return [
        _fill(" ".join(written[start : start + count]), topics, owner, rank)
        for start, count, owner, rank in zip(
            starts.tolist(), counts.tolist(), owners.tolist(), ranks, strict=True
        )
    ]


def rationale(bank: Bank, aspect: str, value: float, pick: int, word: str) -> str:
    """Say why an aspect was rated so; NaN is N/A."""
    if value != value:
        return bank.not_applicable[pick % len(bank.not_applicable)]
    level = min(max(int(value) - 1, 0), wordings.LEVELS - 1)
    options = bank.rationales[aspect][level]
    return options[pick % len(options)].replace("{t}", word)


def reason(bank: Bank, pick: int, word: str) -> str:
    """Say why a rating was given, in the field that only two aspects have."""
    return bank.reasons[pick % len(bank.reasons)].replace("{t}", word)


def _sentence(rng: np.random.Generator, predicates: Sequence[str]) -> str:
    hedge, subject, predicate, tail = (
        options[rng.integers(len(options))]
        for options in (wordings.HEDGES, wordings.SUBJECTS, predicates, wordings.TAILS)
    )
    text = f"{hedge}{subject} {predicate}{tail}."
    return text[0].upper() + text[1:]


def _fill(text: str, topics: Topics, owner: int, ranks: Sequence[int]) -> str:
    """Put one word of the topic for the first `{t}` and another for the rest."""
    first, second = (topics.words(owner, rank) for rank in ranks)
    return text.replace("{t}", first, 1).replace("{t}", second)
