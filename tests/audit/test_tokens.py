import itertools
import unicodedata

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from notus.audit import tokens
from notus.audit.lookup import Lookup, distinct
from notus.audit.tokens import batches, folded_words, grams, words

TEXTS = st.lists(
    st.text(alphabet="aB9\u00e9\u0301\u4e2d\u6587 .?!:;'\u2019\n-_\ufb01\u00bd\"", max_size=30),
    max_size=6,
)


def slow_words(text: str) -> list[str]:
    """The definition, character by character."""
    plain = unicodedata.normalize("NFKC", text).lower()
    found, word = [], ""
    for sign in plain:
        if sign in "'\u2019\u02bc\u2018`\u00b4":
            continue
        if "\u4e00" <= sign <= "\u9fff":
            found += [word, sign]
            word = ""
        elif unicodedata.category(sign)[0] in "LMN":
            word += sign
        else:
            found.append(word)
            word = ""
    return [one for one in [*found, word] if one]


@given(TEXTS)
def test_words_are_what_the_definition_says(texts: list[str]) -> None:
    split = words(pl.Series(texts, dtype=pl.String))
    flat = split.strings.to_list()
    bounds = split.starts.tolist()
    found = [flat[a:b] for a, b in itertools.pairwise(bounds)]
    assert found == [slow_words(text) for text in texts]
    folded = pl.DataFrame({"t": texts}, schema={"t": pl.String}).select(folded_words(pl.col("t")))
    assert folded["t"].to_list() == [" ".join(slow_words(text)) for text in texts]


@given(TEXTS)
def test_sentences_are_not_empty_and_never_cross_texts(texts: list[str]) -> None:
    split = words(pl.Series(texts, dtype=pl.String))
    assert (np.diff(split.sentence_starts) > 0).all()
    assert set(split.starts.tolist()) <= set(split.sentence_starts.tolist())


def test_sentences_end_at_marks_colons_and_lines() -> None:
    split = words(pl.Series(['Hi there. Is it 3.5? "Yes!" No\nq: a; b', None, "c"]))
    flat, bounds = split.strings.to_list(), split.sentence_starts.tolist()
    found = [" ".join(flat[a:b]) for a, b in itertools.pairwise(bounds)]
    assert found == ["hi there", "is it 3 5", "yes", "no", "q", "a", "b", "c"]


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=9), max_size=5), st.integers(1, 4))
def test_equal_hashes_are_equal_grams_within_texts(texts: list[list[str]], n: int) -> None:
    split = words(pl.Series([" ".join(text) for text in texts], dtype=pl.String))
    hashes, first = grams(split, n)
    flat = split.strings.to_list()
    expected = [tuple(text[i : i + n]) for text in texts for i in range(len(text) - n + 1)]
    assert [tuple(flat[place : place + n]) for place in first] == expected
    assert len(set(hashes.tolist())) == len(set(expected))


@given(st.lists(st.integers(0, 2**64 - 2), max_size=40), st.lists(st.integers(0, 2**64 - 2)))
def test_lookup_finds_each_entry_of_a_known_hash(known: list[int], asked: list[int]) -> None:
    known, asked = known + known[:5], asked + known[:7]
    lookup = Lookup(np.array(known, np.uint64))
    index, keys = lookup.find(np.array(asked, np.uint64))
    which, entries = lookup.expand(keys)
    found = sorted(zip(index[which].tolist(), entries.tolist(), strict=True))
    assert found == [
        (i, e) for i, one in enumerate(asked) for e, other in enumerate(known) if one == other
    ]


def test_distinct_is_unique() -> None:
    values = np.array([3, 1, 3, 2, 1])
    assert distinct(values).tolist() == [1, 2, 3]
    assert distinct(values[:0]).tolist() == []


def test_batches_keep_the_turns_of_a_prompt_together(monkeypatch) -> None:
    monkeypatch.setattr(tokens, "_BATCH_BYTES", 10)
    turns = pl.DataFrame({"prompt_id": list("aabbbc"), "text": ["1234567"] * 6})
    parts = list(batches(turns))
    assert pl.concat(parts).equals(turns)
    assert len(parts) > 1
    ids = [set(part["prompt_id"]) for part in parts]
    assert sum(map(len, ids)) == len(set().union(*ids))
