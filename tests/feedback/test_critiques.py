"""Critiques: two to four sentences, always the same ones, in a tone that agrees with the score."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notus.feedback import text as reading
from notus.feedback.critiques import FAULTS, LESSONS, MERITS, OPENINGS, tone_of, write_critique

HALVES = st.integers(2, 20).map(lambda half: half / 2)
PHRASES = st.lists(st.sampled_from(["is late", "uses commas", "stays within 8 words"]), max_size=3)
KEYS = st.binary(min_size=5, max_size=32)


@given(HALVES, PHRASES, PHRASES, KEYS)
def test_two_to_four_sentences_without_gaps(overall, faults, merits, key):
    critique = write_critique(overall=overall, faults=faults, merits=merits, key=key)
    assert 2 <= len(reading.sentences(critique)) <= 4
    assert critique.endswith(".")
    assert not set("{}") & set(critique)
    assert critique == write_critique(overall=overall, faults=faults, merits=merits, key=key)


@given(HALVES, PHRASES.filter(bool), PHRASES, KEYS)
def test_the_first_fault_is_named(overall, faults, merits, key):
    critique = write_critique(overall=overall, faults=faults, merits=merits, key=key)
    assert faults[0] in critique


@given(HALVES, KEYS)
def test_tone_follows_the_score(overall, key):
    critique = write_critique(overall=overall, faults=[], merits=[], key=key)
    tone = tone_of(overall)
    assert any(critique.startswith(opening) for opening in OPENINGS[tone])
    assert any(critique.endswith(lesson) for lesson in LESSONS[tone])


@pytest.mark.parametrize(
    ("overall", "tone"),
    [(1, "ruinous"), (1.5, "bad"), (4.5, "bad"), (5, "mixed"), (7.5, "mixed"), (8, "good")],
)
def test_tones(overall, tone):
    assert tone_of(overall) == tone


def test_every_wording_can_be_drawn():
    """Each byte of the key draws one part, so all bytes in turn reach all choices."""
    seen = " ".join(
        write_critique(overall=overall, faults=["errs"], merits=[], key=bytes([draw] * 5))
        for draw in range(60)
        for overall in (1, 3, 6, 9)
    )
    for tone in OPENINGS:
        for part in (*OPENINGS[tone], *LESSONS[tone]):
            assert part in seen
    for fault in FAULTS:
        assert fault.format("errs") in seen


def test_merits_are_named_where_little_is_wrong():
    critique = write_critique(overall=9, faults=[], merits=["is short"], key=bytes(5))
    assert MERITS[0].format("is short") in critique
