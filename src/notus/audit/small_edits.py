"""Find evaluation items with a few words changed, dropped, swapped or misspelt.

One changed word in eight is enough to leave no 8-gram whole, so n-grams miss most edited questions.
Here rare keys of an item lead to the few places where it may stand, and an alignment decides:

    keys -> candidate places -> bounds on what can be shared -> `edited` -> hit

Keys are an item's rarest pairs of content words that stand within two content words of each other,
in either order; of an item with two or three content words they are its rarest words. An edit of
one or two words nearly always leaves a key whole. Items with one content word ("Who are you?") have
no keys: every template would be their near-duplicate.

64,000 prompts of 11 million words against 30,000 items take about 5 s on one core. Comparing every
sentence with every item would take 20 billion alignments.

Source: the prefix filter of Chaudhuri, Ganti and Kaushik 2006, "A primitive operator for similarity
joins in data cleaning": a few of the rarest elements of a set find all that are similar to it.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from notus.audit.edited import (
    MIN_CONTENT,
    MIN_CONTENT_AMONG,
    MIN_IN_ORDER,
    MIN_WORDS,
    carries_content,
    long_coverage,
    short_coverage,
)
from notus.audit.lookup import Lookup, distinct
from notus.audit.tokens import Words, mixed

MIN_EDITED = 4
"""Words of the shortest item that can be edited and still be told from a phrase."""
SHORT = 12
"""Words from which an item is compared with a stretch of text instead of a sentence."""
FEW = 3
"""Content words up to which an item's keys are words instead of pairs."""
WORD_KEYS, PAIR_KEYS = 2, 8
GAPS = (1, 2)
"""Content words from the first to the second of a pair."""
MISSPELT = 1
"""Words of a sentence whose spelling may hide from the bounds that they are shared."""
REACH = 8
"""Words to either side of a key that are looked at before a long item is aligned."""
MIN_NEAR = 0.5
"""Least share of a long item's words there, of which some lie beyond."""
_CHUNK = 1 << 15


class Hits(NamedTuple):
    """Items found in texts; all [H]."""

    text: np.ndarray
    item: np.ndarray
    coverage: np.ndarray
    """Share of the item's words that stand there."""
    first: np.ndarray
    """Index, over all texts' words, of the first word of the place."""
    last: np.ndarray
    """Index after its last word."""


Hit = tuple[int, int, float, int, int]
"""One row of `Hits`."""


class Stretches(NamedTuple):
    """Runs of hashed words: values[start:end] for each start and end."""

    values: np.ndarray
    start: np.ndarray
    end: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Words of each run."""
        return self.end - self.start

    def padded(self, part: slice, filler: int) -> np.ndarray:
        """Lay runs out as rows of 32 bits a word, filled up with what no word is."""
        start, size = self.start[part], self.sizes[part]
        inside = np.arange(int(size.max(initial=0))) < size[:, None]
        index = start[:, None] + np.arange(inside.shape[1])
        low = self.values[np.where(inside, index, 0)].astype(np.uint32) | np.uint32(2)
        return np.where(inside, low, np.uint32(filler))


class EditedItems:
    """Evaluation items, made ready to be found with small edits."""

    def __init__(self, items: Words) -> None:
        self.items = items
        self.content = np.flatnonzero(carries_content(items.hashes))
        """[C] the content words, as indices over all items' words."""
        self.content_starts = np.searchsorted(self.content, items.starts)
        """[I + 1] where each item's content words begin in `content`."""
        self.short = {
            int(i): items.strings[int(items.starts[i]) : int(items.starts[i + 1])].to_list()
            for i in np.flatnonzero(items.counts < SHORT)
        }
        """Short item -> its words."""
        # An item without keys is never found.
        amount = np.where(items.counts < MIN_EDITED, 0, np.diff(self.content_starts))
        words, pairs = word_keys(items, self.content), pair_keys(items, self.content)
        chosen = [
            _rarest(words, items.texts, (amount >= 2) & (amount <= FEW), WORD_KEYS),
            _rarest(pairs, items.texts, amount > FEW, PAIR_KEYS),
        ]
        hashes, self.places = (np.concatenate(part) for part in zip(*chosen, strict=True))
        self.lookup = Lookup(hashes)

    def find(self, texts: Words, known: tuple[np.ndarray, np.ndarray]) -> Hits:
        """Find edited items in texts; of several places of one item in one text, the best one.

        Args:
            texts: Where to look.
            known: Texts and items that were found by other means and need no alignment, both [K].
        """
        content = np.flatnonzero(carries_content(texts.hashes))
        seeds = []
        for hashes, place in (word_keys(texts, content), pair_keys(texts, content)):
            index, keys = self.lookup.find(hashes)
            which, entries = self.lookup.expand(keys)
            seeds.append((place[index][which], self.places[entries]))
        word, place = (np.concatenate(part) for part in zip(*seeds, strict=True))
        item, size = self.items.texts[place], np.int64(len(self.items.counts))
        new = ~np.isin(texts.texts[word] * size + item, known[0] * size + known[1])
        word, place, item = word[new], place[new], item[new]
        short = self.items.counts[item] < SHORT
        sentence = texts.sentences[word]
        # A mark in the midst of an edited question makes sentences of it: try short turns whole.
        split = np.diff(texts.sentence_starts)[sentence] < texts.counts[texts.texts[word]]
        found = [
            *self._in_parts(texts, texts.sentence_starts, sentence[short], content, item[short]),
            *self._in_parts(
                texts, texts.starts, texts.texts[word[short & split]], content, item[short & split]
            ),
            *self._in_stretches(texts, word[~short], item[~short], place[~short]),
        ]
        return _best(found)

    def _in_parts(
        self,
        texts: Words,
        starts: np.ndarray,
        part: np.ndarray,
        content: np.ndarray,
        item: np.ndarray,
    ) -> Iterator[Hit]:
        """Compare short items with parts of texts, each starts[p] to starts[p + 1]."""
        items = self.items
        length, n = np.diff(starts)[part], items.counts[item]
        # The two share at most all words of the shorter.
        fits = 2 * np.minimum(length, n) >= MIN_WORDS * (length + n)
        pairs = distinct(part[fits] * np.int64(len(items.counts)) + item[fits])
        part, item = np.divmod(pairs, len(items.counts))
        text = texts.texts[starts[part]]
        whole = texts.counts[text] == starts[part + 1] - starts[part]
        # First bounds on the shared content words, then on all words, of the pairs that are left.
        content_there = np.searchsorted(content, starts)
        a = _runs(items.hashes[self.content], self.content_starts, item)
        b = _runs(texts.hashes[content], content_there, part)
        shared = shared_words(a, b) + MISSPELT
        least = np.where(whole, MIN_CONTENT, MIN_CONTENT_AMONG)
        likely = (2 * shared >= least * (a.sizes + b.sizes)) & (2 * shared >= a.sizes)
        text, part, item, whole = (column[likely] for column in (text, part, item, whole))
        a, b = _runs(items.hashes, items.starts, item), _runs(texts.hashes, starts, part)
        likely = 2 * (shared_words(a, b) + MISSPELT) >= MIN_WORDS * (a.sizes + b.sizes)
        text, part, item, whole = (column[likely] for column in (text, part, item, whole))
        for t, p, i, w in zip(*(c.tolist() for c in (text, part, item, whole)), strict=True):
            first, last = int(starts[p]), int(starts[p + 1])
            there_words = texts.strings[first:last].to_list()
            coverage = short_coverage(self.short[i], there_words, whole=w)
            if coverage is not None:
                yield t, i, coverage, first, last

    def _in_stretches(
        self, texts: Words, word: np.ndarray, item: np.ndarray, place: np.ndarray
    ) -> Iterator[Hit]:
        """Compare long items with the text around one of their keys."""
        items, text = self.items, texts.texts[word]
        begin, end = items.starts[item], items.starts[item + 1]
        near = Stretches(
            items.hashes, np.maximum(place - REACH, begin), np.minimum(place + REACH + 1, end)
        )
        around = Stretches(
            texts.hashes,
            np.maximum(word - REACH - 4, texts.starts[text]),
            np.minimum(word + REACH + 5, texts.starts[text + 1]),
        )
        least = np.where(near.sizes == end - begin, MIN_IN_ORDER, MIN_NEAR)
        likely = shared_words(near, around) >= least * near.sizes
        # Words put in or left out shift the rest of an item by so much.
        drift = np.maximum(3, (end - begin) // 8)
        first = np.maximum(word - (place - begin) - drift, texts.starts[text])
        last = np.minimum(word + (end - place) + drift, texts.starts[text + 1])
        slack = items.counts // 8 + 4
        tried = set()
        for hit in zip(*(part[likely].tolist() for part in (text, item, first, last)), strict=True):
            t, i, a, b = hit
            # Keys of one place differ by a word or two in where they put the item's begin.
            key = t, i, a // int(slack[i])
            if key in tried:
                continue
            tried.add(key)
            own = items.hashes[items.starts[i] : items.starts[i + 1]].tolist()
            coverage = long_coverage(own, texts.hashes[a:b].tolist())
            if coverage is not None:
                yield t, i, coverage, a, b


def _runs(values: np.ndarray, starts: np.ndarray, which: np.ndarray) -> Stretches:
    return Stretches(values, starts[which], starts[which + 1])


def word_keys(texts: Words, content: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take the content words as keys: their hashes and indices."""
    return mixed(texts.hashes[content]), content


def pair_keys(texts: Words, content: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take near pairs of content words as keys: hashes and the indices of their first words."""
    text = texts.texts[content]
    keys, places = [], []
    for gap in GAPS:
        (first,) = np.nonzero(text[:-gap] == text[gap:])
        one, other = texts.hashes[content[first]], texts.hashes[content[first + gap]]
        keys.append(mixed(one + other))
        places.append(content[first])
    return np.concatenate(keys), np.concatenate(places)


def shared_words(own: Stretches, there: Stretches) -> np.ndarray:
    """Count, run by run, the words of the one that are in the other; a repeated word each time."""
    shared = np.zeros(len(own.start), dtype=np.int64)
    for begin in range(0, len(shared), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        mine, theirs = own.padded(part, 0), there.padded(part, 1)
        for column in mine.T:
            shared[part] += (theirs == column[:, None]).any(axis=1)
    return shared


def _rarest(
    keys: tuple[np.ndarray, np.ndarray], item_of: np.ndarray, wanted: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Take each wanted item's rarest keys; of equal ones, that of the first place."""
    hashes, place = keys
    item = item_of[place]
    # Rarity is counted over all items; beyond a thousand, one key is as common as another.
    _, number, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    # One integer that sorts by item, rarity and key: items below 2^28, keys below 2^26.
    packed = (item << 36) | (np.minimum(counts, 1023)[number] << 26) | number
    order = np.argsort(packed, kind="stable")
    packed, ordered = packed[order], item[order]
    new_item = np.append(True, ordered[1:] != ordered[:-1])[: len(order)]
    new_key = np.append(True, packed[1:] != packed[:-1])[: len(order)]
    rank = np.cumsum(new_key)
    rank -= rank[np.maximum.accumulate(np.where(new_item, np.arange(len(order)), 0))]
    kept = order[new_key & (rank < most) & wanted[ordered]]
    return hashes[kept], place[kept]


def _best(found: Iterable[Hit]) -> Hits:
    best: dict[tuple[int, int], Hit] = {}
    for hit in found:
        key = hit[:2]
        if key not in best or hit[2] > best[key][2]:
            best[key] = hit
    hits = [best[key] for key in sorted(best)]
    text, item, first, last = (
        np.array([hit[column] for hit in hits], dtype=np.int64) for column in (0, 1, 3, 4)
    )
    coverage = np.array([hit[2] for hit in hits], dtype=np.float64)
    return Hits(text=text, item=item, coverage=coverage, first=first, last=last)
