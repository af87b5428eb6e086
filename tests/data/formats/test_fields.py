"""Single fields of a row."""

from typing import Any

import pytest

from notus.data.formats.fields import Fields, flag, read_rating, shown, whole
from notus.data.parsed import ParsedRating, Refusal


def test_what_is_taken_is_not_left() -> None:
    fields = Fields({"a": None, "b": 1, "c": "x", "d": " ", "e": None})
    assert fields.take("a", "b") == 1
    assert fields.text("d", "c") == "x"
    assert fields.text("nowhere", default="y") == "y"
    assert fields.rest() == {}
    assert Fields({"c": "x", "e": None}).rest() == {"c": "x"}
    with pytest.raises(ValueError, match="b is not text: int"):
        fields.text("b")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, 1.0), (False, 0.0), ("True", 1.0), ("false", 0.0), (1, 1.0), ("0", 0.0), (None, None)],
)
def test_flags(value: Any, expected: float | None) -> None:
    assert flag(value) == expected


@pytest.mark.parametrize("value", ["yes", 2, 0.5, [], {}])
def test_what_is_no_flag(value: Any) -> None:
    with pytest.raises(ValueError, match=r"neither true nor false|not a number"):
        flag(value)


def test_whole_numbers() -> None:
    assert whole(2.0, range(3)) == 2
    for value in (3, -1, 0.5, True, "1", None, float("nan"), 10**400):
        with pytest.raises(ValueError, match="is none of 0, 1, 2"):
            whole(value, range(3))


def test_a_rating_out_of_its_scale_stays() -> None:
    assert read_rating("r", "a", "7", (1.0, 5.0)) == ParsedRating("r", "a", 7.0, 1.0, 5.0, None)
    refusal = read_rating("r", "a", 7, (1.0, 5.0), ["x"])
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "rationale is not text: list"


def test_reasons_stay_short() -> None:
    assert len(shown("x" * 1000)) == 60
    assert shown({"a": 1}) == "<class 'dict'>"
