"""Texts as rows of hashed words, for rules that compare words by the million.

A word is a run of letters, digits, apostrophes and bytes beyond ASCII, in lower case. It is known
by its length and its first 16 bytes, hashed to 64 bits, so there is no vocabulary to keep and no
string to make: everything is arithmetic on the bytes of the column. 140 MB of critiques take about
a second on one core, where splitting them and joining the words takes ten.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

SLICE_BYTES = 1 << 18
"""Bytes of text that are hashed at once: few enough for a processor's cache."""
_FACTORS = tuple(np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E37))
_MIX = np.uint64(0xD6E8FEB86659FD93)
_MASKS = np.array([(1 << (8 * size)) - 1 for size in range(9)], np.uint64)


class HashedWords(NamedTuple):
    """The words of some texts in their order."""

    words: np.ndarray
    """uint64: the hash of each word, text after text."""
    starts: np.ndarray
    """int64, one more than there are texts: text i has the words starts[i]:starts[i + 1]."""

    @property
    def rows(self) -> np.ndarray:
        """Number of the text that each word is in."""
        return np.repeat(np.arange(self.starts.size - 1), np.diff(self.starts))


def hash_words(texts: pl.Series) -> HashedWords:
    """Hash the words of texts; null counts as the empty text."""
    parts = list(hash_slices(texts))
    counts = [np.zeros(1, np.int64), *(np.diff(part.starts) for part in parts)]
    words = [np.empty(0, np.uint64), *(part.words for part in parts)]
    return HashedWords(np.concatenate(words), np.cumsum(np.concatenate(counts)))


def hash_slices(texts: pl.Series) -> Iterator[HashedWords]:
    """Hash the words of texts, some texts at a time: what then follows stays in the cache."""
    for part in _slices(texts.fill_null("")):
        yield _hash_slice(part)


def pair_hashes(hashed: HashedWords) -> np.ndarray:
    """Hash every word with the one that follows it in its text; the last one, with nothing.

    Returns:
        uint64, as many as words.
    """
    following = np.empty_like(hashed.words)
    following[:-1] = hashed.words[1:]
    following[hashed.starts[1:][np.diff(hashed.starts) > 0] - 1] = 0
    return _mixed(hashed.words * _FACTORS[0] + following)


def _slices(texts: pl.Series) -> Iterator[pl.Series]:
    """Cut texts into stretches of about `SLICE_BYTES`, at least one text each."""
    ends = texts.str.len_bytes().cast(pl.Int64).cum_sum().to_numpy()
    start = before = 0
    while start < ends.size:
        fitting = np.searchsorted(ends, before + SLICE_BYTES, side="right")
        stop = max(start + 1, int(fitting))
        yield texts.slice(start, stop - start)
        start, before = stop, int(ends[stop - 1])


def _hash_slice(texts: pl.Series) -> HashedWords:
    sizes = texts.str.len_bytes().cast(pl.Int64).to_numpy()
    # Line ends keep the words of two texts apart; the tail lets 16 bytes be read at any word.
    joined = "\n".join(["", *texts, ""]).encode().translate(_FOLDED) + bytes(16)
    codes = np.frombuffer(joined, np.uint8)
    inside = codes != 0
    changes = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    first, lengths = changes[::2], changes[1::2] - changes[::2]
    eights = np.ndarray((codes.size - 7,), "<u8", joined, strides=(1,))
    low = eights[first] & _MASKS[np.minimum(lengths, 8)]
    high = eights[first + 8] & _MASKS[np.clip(lengths - 8, 0, 8)]
    size = lengths.astype(np.uint64)
    words = _mixed(low * _FACTORS[0] + high * _FACTORS[1] + size * _FACTORS[2])
    edges = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes + 1)])
    return HashedWords(words, np.searchsorted(first, edges))


def _mixed(values: np.ndarray) -> np.ndarray:
    """Spread 64 bits, so that any of them can pick a bucket."""
    spread = values ^ (values >> np.uint64(32))
    spread *= _MIX
    return np.asarray(spread ^ (spread >> np.uint64(29)))


def _folding() -> bytes:
    """What each byte becomes: itself in a word, in lower case, and 0 between words."""
    ascii_word = {ord("'")} | {byte for byte in range(128) if chr(byte).isalnum()}
    return bytes(
        byte if byte >= 128 else ord(chr(byte).lower()) if byte in ascii_word else 0
        for byte in range(256)
    )


_FOLDED = _folding()
