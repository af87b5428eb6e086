"""Words of many texts as one flat array of hashes, their sentences, and the n-grams over them.

One definition serves contamination and near-duplicates. A word is a run of letters, marks and
digits of the text in Unicode's NFKC and in lower case; apostrophes are dropped ("don't" is "dont"),
all other punctuation only separates. Scripts that put no space between words (Chinese, Japanese,
Thai ...) count each character as a word. Casing, punctuation, layout and full-width or typographic
forms therefore never hide a match. A sentence ends with ``.``, ``!`` or ``?`` before white space,
with a colon, a semicolon or the end of its line; "Dr. No" is two, which hides little.

Words and n-grams are 64-bit hashes: two different n-grams are taken for one with a chance of about
1e-6 in a comparison of ten million with a million. Hashes are good within one process only and are
never stored. Ten million words take three seconds on one core.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from notus.audit.lookup import distinct
from notus.data.schema import Feedback

_APOSTROPHES = "['\u2019\u02bc\u2018`\u00b4]"
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = rf"[{_UNSPACED}]|[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]+"
_SENTENCE_END = r"""[.!?]+["')\]]*\s|[\n:;]"""
_SEED = 0
_BATCH_BYTES = 4 << 20
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that multiplying by it loses no bit."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Words:
    """The words of texts, one text after the other.

    Axes: W words of all texts, T texts.
    """

    hashes: np.ndarray
    """[W] uint64."""
    strings: pl.Series
    """[W] the words themselves."""
    starts: np.ndarray
    """[T + 1] int64: text t holds the words starts[t] .. starts[t + 1] - 1."""
    sentence_starts: np.ndarray
    """[S + 1] int64: the same for sentences; none is empty, and each is within one text."""

    @cached_property
    def counts(self) -> np.ndarray:
        """[T] words of each text."""
        return np.diff(self.starts)

    @cached_property
    def texts(self) -> np.ndarray:
        """[W] the text that each word stands in."""
        return np.repeat(np.arange(len(self.starts) - 1), self.counts)

    @cached_property
    def sentences(self) -> np.ndarray:
        """[W] the sentence that each word stands in."""
        sizes = np.diff(self.sentence_starts)
        return np.repeat(np.arange(len(sizes)), sizes)


def user_turns(feedback: Feedback) -> pl.DataFrame:
    """List the user's turns of all prompts: prompt_id and text, in the order of the table."""
    turn = pl.col("messages").struct
    return (
        feedback.prompts.select("prompt_id", "messages")
        .explode("messages")
        .filter(turn.field("role") == "user")
        .select("prompt_id", text=turn.field("content"))
        .collect()
    )


def folded_words(text: pl.Expr) -> pl.Expr:
    """Join the words of a text with single spaces: equal for texts that differ in no word."""
    return _plain(text).str.extract_all(_WORD).list.join(" ")


def words(texts: pl.Series) -> Words:
    """Hash the words of texts.

    Args:
        texts: [T] strings; null counts as empty.
    """
    frame = texts.fill_null("").to_frame("text").select(_plain(pl.col("text")))
    lists = frame.select(pl.col("text").str.extract_all(f"{_WORD}|{_SENTENCE_END}"))["text"]
    tokens = lists.explode().drop_nulls()
    # No word begins with a character below "0" or between "9" and "@"; every end does.
    is_end = ((tokens < "0") | ((tokens >= ":") & (tokens < "@"))).to_numpy()
    before = np.concatenate([[0], np.cumsum(~is_end)])
    starts = before[np.concatenate([[0], np.cumsum(lists.list.len().to_numpy())]).astype(np.int64)]
    strings = tokens.filter(pl.Series(~is_end))
    breaks = np.concatenate([starts, before[:-1][is_end]])
    return Words(
        hashes=strings.hash(_SEED).to_numpy(),
        strings=strings,
        starts=starts,
        sentence_starts=distinct(breaks),
    )


def batches(turns: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Cut turns into parts of a few megabytes, so that memory does not grow with their number.

    Turns of one prompt that stand side by side stay together.
    """
    marked = turns.select(
        prompt=pl.col("prompt_id").rle_id(),
        part=pl.col("text").str.len_bytes().fill_null(0).cast(pl.Int64).cum_sum() // _BATCH_BYTES,
    )
    parts = marked.select(pl.col("part").first().over("prompt")).to_series().to_numpy()
    cuts = (np.flatnonzero(np.diff(parts)) + 1).tolist()
    for start, end in itertools.pairwise([0, *cuts, turns.height]):
        yield turns[start:end]


def gram_sizes(words: Words, largest: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Hash the n-grams of all sizes up to `largest`, as `grams` does.

    Yields:
        n, and what `grams` returns for it.
    """
    left = np.repeat(words.starts[1:], words.counts) - np.arange(len(words.hashes))
    values = np.zeros(len(words.hashes), np.uint64)
    for n in range(1, largest + 1):
        values = _longer(values, words.hashes, n)
        (first,) = np.nonzero(left[: len(values)] >= n)
        yield n, mixed(values[first]), first


def grams(words: Words, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Hash the n-grams of one size; none reaches over the end of its text.

    Returns:
        For each n-gram its hash and the index of its first word, both [G].
    """
    left = np.repeat(words.starts[1:], words.counts) - np.arange(len(words.hashes))
    values = np.zeros(len(words.hashes), np.uint64)
    for size in range(1, n + 1):
        values = _longer(values, words.hashes, size)
    (first,) = np.nonzero(left[: len(values)] >= n)
    return mixed(values[first]), first


def _longer(values: np.ndarray, hashes: np.ndarray, n: int) -> np.ndarray:
    """Make the polynomials of n words from those of n - 1."""
    return values[: max(len(hashes) - n + 1, 0)] * _FACTOR + hashes[n - 1 :]


def _plain(text: pl.Expr) -> pl.Expr:
    # Normalising costs ten times the rest, and does nothing to ASCII.
    beyond_ascii = text.str.len_bytes() != text.str.len_chars()
    normal = pl.when(beyond_ascii).then(text).str.normalize("NFKC").fill_null(text)
    return normal.str.to_lowercase().str.replace_all(_APOSTROPHES, "")


def mixed(values: np.ndarray) -> np.ndarray:
    """Spread a value over all bits, so that a few of them can index a table."""
    return (values ^ (values >> np.uint64(32))) * _FACTOR
