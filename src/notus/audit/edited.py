"""Whether a piece of text is an evaluation item with a few words changed.

A short item is held against a whole sentence, because templates are short ("what is the best way to
..."): each must be most of the other, in all its words and in those that carry content. Order
counts for little, as swapped words are a small edit, and a misspelt word counts as the word. A long
item must stand in a stretch of text for the most part; what else stands there does not matter.

Words that carry content are those that are no function words of English and longer than one ASCII
character. In other languages all words carry content, which makes the test stricter.

Thresholds: chosen on edited TruthfulQA questions against 4,644 real prompts, see
benchmarks/contamination.py; there 94 % of the questions with one or two words changed are found,
and 4 prompts are hit wrongly.
"""

import string
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
import polars as pl
from rapidfuzz.distance import OSA, LCSseq

from notus.audit.lookup import Lookup
from notus.audit.tokens import words

MIN_WORDS = 0.7
"""Least Dice coefficient of the words of a short item and a sentence."""
MIN_CONTENT = 0.6
"""The same of the words that carry content; they must also be two, and half of the item's."""
MIN_CONTENT_AMONG = 0.7
"""The same for a sentence among others, of which a long turn has many."""
MIN_IN_ORDER = 0.65
"""Least share of an item's words that stand there in order."""
_FUNCTION_TEXT = (
    "about after all also am an and any are arent as at be because been before being between "
    "both but by can cannot cant could did didnt do does doesnt doing dont each either "
    "following for from had has have he her here hers him his how if im in into is isnt it its "
    "itself just like me more most much my no nor not of off on one only or other our ours out "
    "over own please same she should so some such than that thats the their theirs them then "
    "there these they this those through to too two under until up us very was wasnt we were "
    "what whats when where which while who whom whose why will with would you your yours "
    "yourself"
)
FUNCTION_WORDS = frozenset([*_FUNCTION_TEXT.split(), *string.ascii_lowercase, *string.digits])
_FUNCTION_HASHES = words(pl.Series(sorted(FUNCTION_WORDS))).hashes
_FUNCTION_INTS = frozenset(_FUNCTION_HASHES.tolist())
_FUNCTION_LOOKUP = Lookup(_FUNCTION_HASHES)


def carries_content(hashes: np.ndarray) -> np.ndarray:
    """Tell, of hashed words, which carry content."""
    content = np.ones(len(hashes), dtype=bool)
    content[_FUNCTION_LOOKUP.find(hashes)[0]] = False
    return content


def short_coverage(item: Sequence[str], part: Sequence[str], *, whole: bool) -> float | None:
    """Compare a short item with a sentence, or with a turn as a whole.

    Args:
        item: The words of the item.
        part: The words of the sentence or turn.
        whole: Whether it is a turn as a whole: then less must be shared, in any order.

    Returns:
        The share of the item's words that it holds; None if it is not the item with small edits.
    """
    spelt = _spelt(item, part)
    shared = (Counter(item) & Counter(spelt)).total()
    if 2 * shared < MIN_WORDS * (len(item) + len(spelt)):
        return None
    own, there = _content(item), _content(spelt)
    common = (own & there).total()
    if common < max(2, own.total() / 2):
        return None
    least = MIN_CONTENT if whole else MIN_CONTENT_AMONG
    if 2 * common < least * (own.total() + there.total()):
        return None
    return shared / len(item) if whole or _in_order(item, spelt) else None


def long_coverage(item: Sequence[int], stretch: Sequence[int]) -> float | None:
    """Compare a long item with a stretch of text of about its length, both as hashed words.

    Returns:
        The share of the item's words that stand in the stretch, in order; None if it is too small.
    """
    words = set(stretch)
    there = [word for word in item if word in words]
    if len(there) < MIN_IN_ORDER * len(item):
        return None
    content = sum(word not in _FUNCTION_INTS for word in item)
    if sum(word not in _FUNCTION_INTS for word in there) < MIN_IN_ORDER * content:
        return None
    return _in_order(item, stretch)


def _in_order(item: Sequence[Hashable], there: Sequence[Hashable]) -> float | None:
    coverage = LCSseq.similarity(item, there) / len(item)
    return coverage if coverage >= MIN_IN_ORDER else None


def _content(words: Sequence[str]) -> Counter[str]:
    return Counter(word for word in words if word not in FUNCTION_WORDS)


def _spelt(item: Sequence[str], sentence: Sequence[str]) -> list[str]:
    """Put an item's word for each word of a sentence that is a misspelling of it.

    A misspelling is one insertion, deletion, replacement or swap of neighbours away, from eight
    letters on two; words under four letters have none, and "from" is no misspelt "form".
    """
    missing = [word for word in dict.fromkeys(item) if len(word) > 3 and word not in sentence]
    names = {}
    for word in sentence:
        if len(word) < 3 or word in item or word in FUNCTION_WORDS:
            continue
        for one in missing:
            allowed = 1 if len(one) < 8 else 2
            if OSA.distance(word, one, score_cutoff=allowed) <= allowed:
                names[word] = one
                break
    return [names.get(word, word) for word in sentence]
