"""HelpSteer's ratings and comparisons; the rows are ours, their columns the data sets'."""

from typing import Any

import pytest

from notus.data.formats.helpsteer import (
    marked_turns,
    parse_compared,
    parse_rated,
    recognises_compared,
    recognises_rated,
)

RATED: dict[str, Any] = {
    "prompt": "Why?",
    "response": "Because.",
    "helpfulness": 3,
    "correctness": 4,
    "coherence": 4,
    "complexity": 1,
    "verbosity": None,
}
COMPARED: dict[str, Any] = {
    "domain": "general",
    "language": "english",
    "context": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Why?"},
    ],
    "response1": "One.",
    "response2": "Two.",
    "overall_preference": -2,
    "individual_preference": [
        {"score": -3, "reasoning": "First.", "feedback1": "Good.", "feedback2": "Bad."},
        {"score": 0, "reasoning": "Same.", "feedback1": None, "feedback2": "Fine."},
    ],
}


def test_five_ratings() -> None:
    assert recognises_rated(RATED)
    parsed = parse_rated(RATED)
    assert parsed.messages == [{"role": "user", "content": "Why?"}]
    (completion,) = parsed.completions
    assert completion.text == "Because."
    assert [tuple(r) for r in completion.ratings] == [
        ("helpsteer2", "helpfulness", 3.0, 0.0, 4.0, None),
        ("helpsteer2", "correctness", 4.0, 0.0, 4.0, None),
        ("helpsteer2", "coherence", 4.0, 0.0, 4.0, None),
        ("helpsteer2", "complexity", 1.0, 0.0, 4.0, None),
        ("helpsteer2", "verbosity", None, 0.0, 4.0, None),
    ]
    assert (parsed.metadata, parsed.refusals) == ({}, [])


def test_marked_turns() -> None:
    text = "Hi\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nWhy?\n"
    assert [(m["role"], m["content"]) for m in marked_turns(text)] == [
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Why?\n"),
    ]
    assert marked_turns("<extra_id_1>User\nWhy?") == [{"role": "user", "content": "Why?"}]
    assert marked_turns("") == [{"role": "user", "content": ""}]


def test_a_rating_that_cannot_be_read_costs_only_itself() -> None:
    parsed = parse_rated(RATED | {"coherence": "good"})
    assert len(parsed.completions[0].ratings) == 4
    assert [(r.level, r.raw) for r in parsed.refusals] == [("rating", {"coherence": "good"})]


def test_a_strength_is_shared_out_and_everyone_is_a_rater() -> None:
    assert recognises_compared(COMPARED)
    parsed = parse_compared(COMPARED)
    assert parsed.messages == COMPARED["context"]
    first, second = parsed.completions
    assert [(r.rater, r.value, r.rationale) for r in first.ratings] == [
        ("helpsteer3", pytest.approx(5 / 6), None),
        ("helpsteer3/1", 1.0, "First."),
        ("helpsteer3/2", 0.5, "Same."),
    ]
    assert [r.value for r in second.ratings] == pytest.approx([1 / 6, 0, 0.5])
    assert first.metadata == {"position": 0, "feedback": {"helpsteer3/1": "Good."}}
    assert second.metadata["feedback"] == {"helpsteer3/1": "Bad.", "helpsteer3/2": "Fine."}
    assert parsed.metadata == {"domain": "general", "language": "english"}


def test_what_else_is_known_of_the_people_is_kept() -> None:
    people = [{"score": 1, "country": "US"}, {"score": 2}]
    parsed = parse_compared(COMPARED | {"individual_preference": people})
    assert parsed.metadata["people"] == {"helpsteer3/1": {"country": "US"}, "helpsteer3/2": {}}


def test_the_preference_file_of_helpsteer2() -> None:
    row = {
        "split": "train",
        "prompt": "Why?",
        "response_1": "One.",
        "response_2": "Two.",
        "preference_strength": 3,
        "preference_statement": "Response 2 is much better.",
    }
    assert recognises_compared(row)
    parsed = parse_compared(row)
    assert parsed.messages == [{"role": "user", "content": "Why?"}]
    assert [c.ratings[0].value for c in parsed.completions] == [0.0, 1.0]
    assert parsed.completions[0].ratings[0].rationale == "Response 2 is much better."
    assert parsed.metadata == {"split": "train"}


def test_opinions_that_cannot_be_read() -> None:
    people = ["good", {"score": "x", "reasoning": "r"}, {"score": 9}, {"score": None}]
    parsed = parse_compared(COMPARED | {"individual_preference": people})
    first = parsed.completions[0]
    # A strength beyond the scale stays beyond it.
    assert [(r.rater, r.value) for r in first.ratings[1:]] == [
        ("helpsteer3/3", -1.0),
        ("helpsteer3/4", None),
    ]
    assert [r.level for r in parsed.refusals] == ["rating"] * 3
    parsed = parse_compared(COMPARED | {"individual_preference": "x"})
    assert parsed.refusals[0].reason == "individual_preference is not a list: str"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"response1": " "}, "empty completion: response1"),
        ({"response2": None}, "empty completion: response2"),
        ({"response2": 7}, "response2 is not text: int"),
        ({"context": 7}, "context is neither text nor messages: int"),
    ],
)
def test_refused_comparisons(fields: dict[str, Any], reason: str) -> None:
    parsed = parse_compared(COMPARED | fields)
    assert parsed.messages is None
    assert [r.reason for r in parsed.refusals] == [reason]


def test_refused_answers() -> None:
    for fields, reason in (
        ({"response": ""}, "empty completion: response"),
        ({"prompt": ["Why?"]}, "prompt is not text: list"),
    ):
        parsed = parse_rated(RATED | fields)
        assert parsed.messages is None
        assert [r.reason for r in parsed.refusals] == [reason]
