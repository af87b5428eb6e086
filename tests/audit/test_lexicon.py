"""The lexicon: praise, blame, and what a negation does to them."""

import polars as pl
import pytest

from notus.audit.hashed import hash_words
from notus.audit.lexicon import NEGATIONS, NEUTRAL_WEIGHT, PAIRS, TURNED, WORDS, lexicon_polarity


def polarity(*texts: str) -> list[float]:
    return [float(value) for value in lexicon_polarity(hash_words(pl.Series(list(texts))))]


def test_by_hand() -> None:
    """(praise - blame) / (praise + blame + 2): good 1, excellent 2, vague -1, wrong -2."""
    assert NEUTRAL_WEIGHT == 2
    assert polarity(
        "good", "An EXCELLENT, good answer.", "vague", "wrong; but good", "", "Green"
    ) == [pytest.approx(value) for value in (1 / 3, 3 / 5, -1 / 3, -1 / 5, 0, 0)]


def test_a_negation_turns_what_follows_closely() -> None:
    turned = -TURNED / (TURNED + NEUTRAL_WEIGHT)
    near, far, other_text, none = polarity(
        "never very good", "never in all my days good", "never", "good"
    )
    assert near == pytest.approx(turned)
    assert far == none == pytest.approx(1 / 3)
    assert other_text == 0
    # The last word of one text is no negation of the next one's first.
    assert polarity("not", "good")[1] == pytest.approx(1 / 3)


def test_pairs_count_as_one() -> None:
    assert polarity("off topic")[0] == pytest.approx(-1 / 3)
    assert polarity("topic off")[0] == 0


def test_no_entry_is_there_twice() -> None:
    for lexicon in (WORDS, PAIRS):
        entries = [entry for text in lexicon.values() for entry in text.split()]
        assert len(entries) == len(set(entries))
    assert len(NEGATIONS.split()) == len(set(NEGATIONS.split()))


def test_nothing() -> None:
    assert lexicon_polarity(hash_words(pl.Series([], dtype=pl.String))).size == 0
