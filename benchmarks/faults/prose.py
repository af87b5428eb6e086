"""Text of realistic length without meaning: made-up words, English function words, topics.

Each prompt has a topic, some words of a vocabulary of 20,000 that its instruction and its answers
use again and again, so that an answer shares words with its own prompt and hardly any with others.
A word exists in five forms (plain, first, with comma, last, end of a paragraph); a text is a slice
of one array of drawn forms, joined: 40 million characters a second.
"""

import itertools
from typing import NamedTuple

import numpy as np

_FUNCTION_TEXT = (
    "the of and to a in is that for it as with on be are this by from or an at which can not we "
    "you your has have will one all but when if more other some such than then these they there "
    "into only also may should would could between each most about after before because while "
    "where how what any many using use used so do does its their over under through both first "
    "second"
)
FUNCTION_WORDS = _FUNCTION_TEXT.split()
TOPIC_WORDS = 20
VOCABULARY = 20_000
CHARACTERS_A_WORD = 6.9
"""Measured over the words as they are drawn, with the space."""

_SOUNDS = ("b c d f g h j k l m n p r s t v w z br cl dr gr st tr", "a e i o u a e i o ea")
_ONSETS, _VOWELS = (sounds.split() for sounds in _SOUNDS)
_CODAS = ("n", "r", "l", "s", "t", "m", "nd")
_FORMS = 5
_PLAIN, _FIRST, _COMMA, _LAST, _PARAGRAPH = range(_FORMS)


class Topics(NamedTuple):
    """The subjects of some prompts."""

    numbers: np.ndarray
    """[prompts, TOPIC_WORDS] indices into the vocabulary."""

    def words(self, prompt: int, rank: int) -> str:
        """One word of a prompt's topic, without form."""
        return str(_WORDS[self.numbers[prompt, rank % TOPIC_WORDS]])


def draw_topics(rng: np.random.Generator, prompts: int) -> Topics:
    """Draw a topic for each prompt, from the rarer words."""
    first = len(FUNCTION_WORDS) + 500
    return Topics(rng.integers(first, len(_WORDS), size=(prompts, TOPIC_WORDS)))


def draw_texts(
    rng: np.random.Generator, topics: Topics, owners: np.ndarray, words: np.ndarray
) -> list[str]:
    """Write texts.

    Args:
        rng: Draws the words.
        topics: The subjects.
        owners: [T] the prompt that each text belongs to.
        words: [T] how many words each text has, at least 1.
    """
    ends = np.cumsum(words)
    total = int(ends[-1])
    numbers = _draw_words(rng, topics, np.repeat(owners, words))
    forms = _draw_forms(rng, total, ends)
    pieces = _TABLE[forms, numbers].tolist()
    starts = [0, *ends.tolist()]
    return [
        " ".join(pieces[start:end]).replace("\n\n ", "\n\n").rstrip()
        for start, end in itertools.pairwise(starts)
    ]


def draw_lengths(
    rng: np.random.Generator, medians: np.ndarray, *, sigma: float, least: int, most: int
) -> np.ndarray:
    """Draw log-normal lengths in words.

    Args:
        rng: Draws them.
        medians: [T] medians in characters.
        sigma: Standard deviation of the log.
        least: Words of the shortest text.
        most: Words of the longest.
    """
    drawn = medians * rng.lognormal(0, sigma, size=len(medians)) / CHARACTERS_A_WORD
    return np.clip(drawn.round(), least, most).astype(np.int64)


def _draw_words(rng: np.random.Generator, topics: Topics, owners: np.ndarray) -> np.ndarray:
    """Mix 45 % function words, 22 % words of the topic and 33 % of the vocabulary, common first."""
    kind = rng.random(len(owners), dtype=np.float32)
    place = rng.random(len(owners), dtype=np.float32)
    function = (place**2 * len(FUNCTION_WORDS)).astype(np.int64)
    topic = topics.numbers[owners, (place**1.5 * TOPIC_WORDS).astype(np.int64)]
    other = len(FUNCTION_WORDS) + (place**3 * VOCABULARY).astype(np.int64)
    return np.where(kind < 0.45, function, np.where(kind < 0.67, topic, other))


def _draw_forms(rng: np.random.Generator, total: int, ends: np.ndarray) -> np.ndarray:
    """Draw sentences of 13 words on average, with commas, and some paragraphs in long texts."""
    chance = rng.random(total, dtype=np.float32)
    forms = np.full(total, _PLAIN, dtype=np.int64)
    forms[chance < 0.16] = _COMMA
    forms[chance < 0.075] = _LAST
    forms[chance < 0.012] = _PARAGRAPH
    # No sentence of one word, unless it is the text's last.
    last = forms >= _LAST
    forms[1:][last[1:] & last[:-1]] = _PLAIN
    forms[ends - 1] = _LAST
    first = np.ones(total, dtype=bool)
    first[1:] = forms[:-1] >= _LAST
    forms[first & (forms < _LAST)] = _FIRST
    return forms


def _make_words() -> np.ndarray:
    """Make the vocabulary, the same in every run: function words, then made-up ones."""
    rng = np.random.default_rng(20_231_106)
    words = dict.fromkeys(FUNCTION_WORDS)
    while len(words) < len(FUNCTION_WORDS) + VOCABULARY:
        syllables = int(rng.integers(2, 5))
        draws = rng.random(2 * syllables + 1)
        sounds = [*[_ONSETS, _VOWELS] * syllables, _CODAS]
        parts = [sound[int(d * len(sound))] for sound, d in zip(sounds, draws, strict=True)]
        words["".join(parts if draws[0] < 0.6 else parts[:-1])] = None
    return np.array(list(words), dtype=object)


_WORDS = _make_words()
_TABLE = np.array(
    [
        _WORDS,
        [word.capitalize() for word in _WORDS],
        [f"{word}," for word in _WORDS],
        [f"{word}." for word in _WORDS],
        [f"{word}.\n\n" for word in _WORDS],
    ],
    dtype=object,
)
"""[form, word]"""
