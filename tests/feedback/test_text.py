"""Reading words, sentences, items and numbers: constructed texts whose parts are known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notus.feedback import text as reading

WORD = st.from_regex(r"[a-z]{2,8}", fullmatch=True).filter(
    lambda word: word not in reading.NUMBER_WORDS and f"{word}." not in reading.ABBREVIATIONS
)
SENTENCE = st.tuples(st.lists(WORD, min_size=1, max_size=6), st.sampled_from(".!?")).map(
    lambda parts: " ".join(parts[0]) + parts[1]
)


@given(st.lists(WORD, max_size=12), st.sampled_from([" ", ", ", "\n", " - ", "\r\n"]))
def test_words_come_back_in_order(parts, separator):
    assert reading.words(separator.join(parts)) == parts


@given(st.lists(SENTENCE, max_size=6), st.sampled_from([" ", "\n", "  \n\n"]))
def test_sentences_come_back_in_order(parts, separator):
    assert reading.sentences(separator.join(parts)) == parts


@given(st.lists(SENTENCE, max_size=3), st.lists(WORD, min_size=1, max_size=4))
def test_an_unfinished_last_sentence_counts(parts, tail):
    text = " ".join([*parts, " ".join(tail)])
    assert reading.sentences(text) == [*parts, " ".join(tail)]
    assert not reading.ends_sentence(text)


@given(st.lists(st.lists(WORD, min_size=1).map(" ".join), min_size=1), st.sampled_from("-*\u2022"))
def test_bullets_come_back_in_order(items, mark):
    text = "".join(f"{mark} {item}  \n" for item in items)
    assert reading.bullets(text) == items


@given(st.lists(st.lists(WORD, min_size=1).map(" ".join), min_size=1), st.sampled_from(".)"))
def test_numbered_lines_come_back_with_their_numbers(items, mark):
    text = "\n".join(f"{number}{mark} {item}" for number, item in enumerate(items, 1))
    assert reading.numbered(text) == list(enumerate(items, 1))


@given(st.lists(st.integers(-9_999_999, 9_999_999), max_size=8))
def test_numbers_come_back_in_order(values):
    assert reading.numbers(" and ".join(f"{value:,}" for value in values)) == values


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("...", 0),
        ("It is 3.5 km, e.g. a walk.", 1),
        ("Dr. Smith lives in the U.S. today. He is old.", 2),
        ('He said "Stop." Then he left.', 2),
        ("Be the best. Claim more items. Go.", 3),
        ("It rains (e.g. today). Yes.", 2),
        ("Really?! Yes.", 2),
        ("1. One.\n2. Two.", 2),
        ("**Bold.**", 1),
        ("\u00c9t\u00e9 est l\u00e0. Oui.", 2),
    ],
)
def test_sentence_counts(text, count):
    assert len(reading.sentences(text)) == count


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-3.5 or 1,234", [-3.5, 1234]),
        ("twelve plus 3 is fifteen.", [12, 3, 15]),
        ("a1 5-2", [5, 2]),
        ("12,3", [12, 3]),
        ("The answer is 42.", [42]),
        ("\uff14\uff12", [42]),
    ],
)
def test_numbers(text, expected):
    assert reading.numbers(text) == expected


@pytest.mark.parametrize(
    ("text", "stem", "found"),
    [
        ("Baking bread.", "baking", True),
        ("VOLCANOES!", "volcan", True),
        ("The supervolcano.", "volcan", False),
        ("Two bees.", "bee", True),
        ("It has been.", "bee", False),
        ("", "bee", False),
        ("a b c", "", False),
    ],
)
def test_a_stem_begins_a_word_and_a_short_one_is_the_word(text, stem, found):
    assert reading.mentions_any(text, ["zebra", stem]) is found


def test_curly_apostrophes_are_apostrophes():
    assert reading.words("I don\u2019t know") == ["I", "don't", "know"]
