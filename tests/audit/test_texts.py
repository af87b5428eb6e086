"""Texts that read the same."""

import sys
import unicodedata
from collections.abc import Callable
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from row_subjects import make_subject

from notus.audit.texts import _MARKS, folded, identical, text_keys

pieces = st.lists(st.sampled_from(["e", "\u0301", "\u00e9", " ", "\n", ".", ",", "1", "q", "a "]))


def fold(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


@given(st.lists(pieces.map("".join), max_size=6))
def test_folded(texts: list[str]) -> None:
    found = pl.DataFrame({"text": texts}, schema={"text": pl.String}).select(folded(pl.col("text")))
    assert found["text"].to_list() == [fold(text) for text in texts]


def test_folding_never_changes_how_often_a_mark_occurs() -> None:
    """Over all of Unicode: no other character composes to a mark, and no mark to another."""
    for point in range(sys.maxunicode + 1):
        character = chr(point)
        for form in ("NFC", "NFD"):
            changed = unicodedata.normalize(form, character)
            if changed != character:
                assert not set(changed) & set(_MARKS), hex(point)
                assert character not in _MARKS
    combining = [chr(p) for p in range(sys.maxunicode + 1) if unicodedata.combining(chr(p))]
    for mark in _MARKS:
        for accent in combining:
            assert mark in unicodedata.normalize("NFC", mark + accent)


@given(texts=st.lists(pieces.map("".join).filter(str.strip), min_size=1, max_size=8))
def test_keys_agree_with_folding(make_feedback: Callable[[Any], Any], texts: list[str]) -> None:
    feedback = make_feedback({"?": [(str(i), text, {}) for i, text in enumerate(texts)]})
    keys = feedback.completions.collect().join(text_keys(feedback.completions), on="completion_id")
    assert keys.height == len(texts)
    for one, key in keys.select("text", "key").iter_rows():
        for other, other_key in keys.select("text", "key").iter_rows():
            assert (key == other_key) == (fold(one) == fold(other))


def test_keys_are_null_for_nobody(make_feedback: Callable[[Any], Any]) -> None:
    feedback = make_feedback({"?": [("a", "one, two.", {}), ("b", "three", {})], "!": []})
    keys = text_keys(feedback.completions)
    assert keys["key"].null_count() == 0
    assert keys["key"].n_unique() == 2
    assert keys.schema["key"] == pl.UInt64


def test_identical() -> None:
    subject = make_subject(
        {
            "a?": [("m", "Yes.", {}), ("n", " Yes.\n", {}), ("o", "yes.", {}), ("p", "Yes.", {})],
            "b?": [("m", "Yes.", {}), ("n", "No.", {})],
        }
    )
    verdict = identical(subject)
    found = verdict.issues
    copies = subject.feedback.completions.filter(
        pl.col("text").str.strip_chars() == "Yes.", pl.col("prompt_id") == found["prompt_id"][0]
    ).collect()["completion_id"]
    # The first by id stands for all, and so row order does not matter.
    first = min(copies)
    assert set(found["completion_id"]) == set(copies) - {first}
    assert found["evidence"].to_list() == [f"same text as completion {first}"] * 2
    assert found["score"].to_list() == [3.0, 3.0]
    assert verdict.looked_at == 6


def test_identical_without_completions_says_so() -> None:
    assert identical(make_subject({"a?": []})).skipped
