"""What a ruling is, which are in force, and what follows where reviewers differ."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notus.errors import UsageError
from notus.review.rulings import (
    ACTIONS,
    Decision,
    current,
    frame_of,
    problem_of,
    require_valid,
    settle,
    value_text,
)
from notus.review.tables import CONTESTED, KINDS

A, B, C = ("a" * 32, "b" * 32, "c" * 32)
GOOD_VALUES = {"choose": C, "re-rate": {"aspect": "honesty", "value": 2}}

Row = tuple[object, ...]


def good(action: str, kind: str) -> Decision:
    return Decision(
        kind=kind,
        item=A,
        action=action,
        reviewer="anna",
        value=GOOD_VALUES.get(action),
        note="why",
        undoes=1 if action == "undo" else None,
    )


def rows(*lines: Sequence[Any]) -> pl.DataFrame:
    """Decisions from (item, action, reviewer, value or undone id), a second apart."""
    made: list[Row] = []
    for i, (item, action, reviewer, *rest) in enumerate(lines, start=1):
        value = rest[0] if rest and action != "undo" else None
        undoes = rest[0] if action == "undo" else None
        kind = {"flip": "preference", "re-rate": "completion"}.get(action, "prompt")
        time = f"2026-01-01T00:00:{i:02d}.000000+00:00"
        made.append((i, kind, item, action, value_text(value), f"n{i}", reviewer, time, undoes))
    return frame_of(made)


def in_force(*lines: Sequence[Any]) -> list[int]:
    return current(rows(*lines))["id"].to_list()


def rating(value: float | None, aspect: str = "honesty") -> dict[str, object]:
    return {"aspect": aspect, "value": value}


def test_each_action_fits_its_kinds_of_item_and_no_other() -> None:
    for name, action in ACTIONS.items():
        for kind in KINDS:
            problem = problem_of(good(name, kind))
            if kind in action.kinds:
                assert problem is None
            else:
                assert problem == f"{name} does not fit a {kind}, only a {action.kinds[0]}"
    assert {n: a.kinds for n, a in ACTIONS.items() if a.kinds != KINDS} == {
        "flip": ("preference",),
        "choose": ("prompt",),
        "re-rate": ("completion",),
    }


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"action": "delete"}, "unknown action 'delete'"),
        ({"kind": "row"}, "unknown kind"),
        ({"item": "A" * 32}, "not 32 hex digits"),
        ({"item": "a" * 31}, "not 32 hex digits"),
        ({"item": "a" * 32 + "\n"}, "not 32 hex digits"),
        ({"reviewer": " "}, "is no name"),
        ({"reviewer": "anna\x1b[2J"}, "is no name"),
        ({"decided_at": "2026-01-01T00:00:00"}, "not UTC to the microsecond"),
        ({"decided_at": "2026-01-01T00:00:00.000000+02:00"}, "not UTC"),
        ({"value": C}, "that nothing uses"),
        ({"undoes": 3}, "takes nothing back"),
        ({"action": "undo"}, "an undo of nothing"),
        ({"action": "note", "note": "  "}, "without text"),
        ({"action": "choose"}, "value None is no completion_id"),
        ({"action": "choose", "value": "abc"}, "is no completion_id"),
    ],
)
def test_what_cannot_be_believed(change: dict[str, Any], problem: str) -> None:
    decision = replace(good("drop", "prompt"), **change)
    assert problem in str(problem_of(decision))
    with pytest.raises(UsageError) as caught:
        require_valid(decision)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "not an aspect and a value"),
        ({"aspect": "honesty"}, "not an aspect and a value"),
        ({"aspect": " ", "value": 1}, "is no name"),
        ({"aspect": "preference", "value": 1}, "decided by choosing"),
        ({"aspect": "honesty", "value": True}, "neither a finite number"),
        ({"aspect": "honesty", "value": float("nan")}, "neither a finite number"),
        ({"aspect": "honesty", "value": "5"}, "neither a finite number"),
    ],
)
def test_ratings_that_cannot_be_believed(value: object, problem: str) -> None:
    assert problem in str(problem_of(replace(good("re-rate", "completion"), value=value)))
    assert problem_of(replace(good("re-rate", "completion"), value=rating(None))) is None


def test_equal_values_are_equal_texts() -> None:
    assert value_text(rating(2)) == value_text({"value": 2.0, "aspect": "honesty"})
    assert value_text(None) == "null"


def test_the_latest_ruling_of_a_reviewer_on_an_item_counts() -> None:
    assert in_force((A, "drop", "anna"), (A, "keep", "anna")) == [2]
    assert in_force((A, "drop", "anna"), (A, "keep", "ben"), (B, "keep", "anna")) == [1, 2, 3]
    assert in_force((A, "drop", "anna"), (A, "choose", "anna", C)) == [2]


def test_a_note_decides_nothing_and_overrides_nothing() -> None:
    assert in_force((A, "drop", "anna"), (A, "note", "anna")) == [1]
    assert in_force((A, "note", "anna")) == []


def test_an_undo_brings_the_ruling_before_it_back() -> None:
    assert in_force((A, "drop", "anna"), (A, "keep", "anna"), (A, "undo", "anna", 2)) == [1]
    assert in_force((A, "drop", "anna"), (A, "undo", "anna", 1)) == []
    # Taken back twice, as two merged files can have it.
    assert in_force((A, "drop", "anna"), (A, "undo", "anna", 1), (A, "undo", "anna", 1)) == []


def test_ratings_of_two_aspects_are_two_questions() -> None:
    lines = [
        (A, "re-rate", "anna", rating(1)),
        (A, "re-rate", "anna", rating(2, "helpfulness")),
        (A, "re-rate", "anna", rating(3)),
    ]
    assert in_force(*lines) == [2, 3]
    # A verdict on the completion is a third one.
    assert in_force(*lines, (A, "drop", "anna")) == [2, 3, 4]


def test_latest_is_by_time_so_merged_files_agree() -> None:
    frame = rows((A, "drop", "anna"), (A, "keep", "anna"))
    times = frame["decided_at"].reverse()
    assert current(frame.with_columns(times))["action"].to_list() == ["drop"]


def test_more_than_half_of_the_reviewers_decide() -> None:
    frame = rows(
        (A, "drop", "anna"),
        (A, "drop", "ben"),
        (A, "keep", "cleo"),
        (B, "drop", "anna"),
        (B, "keep", "ben"),
        (C, "keep", "anna"),
    )
    settled = settle(current(frame))
    assert settled.rulings.select("item", "action", "reviewers", "decisions").rows() == [
        (A, "drop", ["anna", "ben"], [1, 2]),
        (C, "keep", ["anna"], [6]),
    ]
    assert settled.rulings["reason"].to_list() == [
        "decisions 1 of anna, 2 of ben: n1; n2",
        "decision 6 of anna: n6",
    ]
    assert settled.contested.schema == CONTESTED.schema
    assert settled.contested.select("item", "action", "reviewers").rows() == [
        (B, "drop", ["anna"]),
        (B, "keep", ["ben"]),
    ]


def test_half_is_not_a_majority_and_neither_is_the_largest_part() -> None:
    lines = [(A, "drop", "a"), (A, "drop", "b"), (A, "keep", "c"), (A, "choose", "d", C)]
    settled = settle(current(rows(*lines)))
    assert settled.rulings.is_empty()
    assert settled.contested.height == 3


def test_values_are_part_of_an_answer() -> None:
    two = settle(current(rows((A, "choose", "anna", B), (A, "choose", "ben", C))))
    assert (two.rulings.height, two.contested.height) == (0, 2)
    one = settle(
        current(rows((A, "re-rate", "anna", rating(2)), (A, "re-rate", "ben", rating(2.0))))
    )
    assert one.rulings["value"].to_list() == [value_text(rating(2))]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([A, B]),
            st.sampled_from(["drop", "keep", "note", "undo"]),
            st.sampled_from(["anna", "ben"]),
        ),
        max_size=12,
    )
)
def test_in_force_is_what_a_person_with_a_list_would_say(lines: list[Sequence[Any]]) -> None:
    """Slow twin: walk through the rows, keep a stack for each item and reviewer."""
    stacks: dict[tuple[str, str], list[int]] = {}
    made = []
    for i, (item, action, reviewer) in enumerate(lines, start=1):
        stack = stacks.setdefault((item, reviewer), [])
        if action == "undo" and not stack:
            action = "note"
        made.append((item, action, reviewer, *([stack.pop()] if action == "undo" else [])))
        if action in ("drop", "keep"):
            stack.append(i)
    assert in_force(*made) == sorted(stack[-1] for stack in stacks.values() if stack)
