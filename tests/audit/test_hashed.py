"""Words as hashes: the same words, the same hashes, whatever stands around them."""

import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notus.audit import hashed
from notus.audit.hashed import hash_slices, hash_words, pair_hashes

texts = st.lists(
    st.one_of(
        st.none(),
        st.text(st.sampled_from("abAB9' .,\n\x00\u00e9\u4e00"), max_size=40),
        st.text(max_size=10),
    ),
    max_size=8,
)


def words_of(text: str | None) -> list[str]:
    """The words of a text by a regular expression; a word is known by 16 bytes and its length."""
    found = re.findall(r"(?:[a-z0-9']|[^\x00-\x7f])+", re.sub("[A-Z]", _lower, text or ""))
    return [f"{word.encode()[:16]!r} {len(word.encode())}" for word in found]


def _lower(match: re.Match[str]) -> str:
    return match[0].lower()


@given(texts)
def test_equal_words_have_equal_hashes_and_others_have_not(lines: list[str | None]) -> None:
    found = hash_words(pl.Series(lines, dtype=pl.String))
    expected = [word for line in lines for word in words_of(line)]
    assert np.diff(found.starts).tolist() == [len(words_of(line)) for line in lines]
    assert found.rows.tolist() == [i for i, line in enumerate(lines) for _ in words_of(line)]
    names: dict[str, int] = {}
    for word, value in zip(expected, found.words.tolist(), strict=True):
        assert names.setdefault(word, value) == value
    assert len(set(names.values())) == len(names)


@given(texts)
def test_pairs_stay_within_their_text(lines: list[str | None]) -> None:
    found = hash_words(pl.Series(lines, dtype=pl.String))
    pairs = [
        (word, following)
        for line in lines
        for word, following in zip(words_of(line), [*words_of(line)[1:], None], strict=False)
    ]
    names: dict[object, int] = {}
    for pair, value in zip(pairs, pair_hashes(found).tolist(), strict=True):
        assert names.setdefault(pair, value) == value
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize("size", [1, 7, 24])
def test_slices_change_nothing(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    lines = pl.Series(["one two", "", None, "three", "a long text of several words", "two"])
    whole = hash_words(lines)
    monkeypatch.setattr(hashed, "SLICE_BYTES", size)
    parts = list(hash_slices(lines))
    assert len(parts) > 1
    again = hash_words(lines)
    assert again.words.tolist() == whole.words.tolist()
    assert again.starts.tolist() == whole.starts.tolist()
