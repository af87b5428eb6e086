"""Ranked answers; the rows are ours, their columns Nectar's."""

from typing import Any

import pytest

from notus.data.formats.nectar import parse, recognises


def item(rank: Any, **fields: Any) -> dict[str, Any]:
    return {"answer": f"a{rank}", "model": f"m{rank}", "rank": rank} | fields


def row(*answers: Any, **fields: Any) -> dict[str, Any]:
    prompt = "\n\nHuman: Why? \n\nAssistant: "
    return {"prompt": prompt, "answers": list(answers), "source": ["lmsys", "flan"]} | fields


def test_ranks_become_shares() -> None:
    full = row(item(1.0), item(2.0), item(5.0), item(4.0), item(3.0), num_responses=5, turns=1)
    assert recognises(full)
    parsed = parse(full)
    assert parsed.messages == [{"role": "user", "content": "Why? "}]
    assert parsed.source == "lmsys+flan"
    assert [(c.model, c.ratings[0].value) for c in parsed.completions] == [
        ("m1.0", 1.0),
        ("m2.0", 0.75),
        ("m5.0", 0.0),
        ("m4.0", 0.25),
        ("m3.0", 0.5),
    ]
    assert parsed.completions[0].ratings[0][:2] == ("nectar", "preference")
    assert parsed.metadata == {"num_responses": 5, "turns": 1}
    assert parsed.refusals == []


def test_ranks_that_say_nothing() -> None:
    parsed = parse(row(item(1), item("x"), item(None), item(9)))
    ratings = [[r.value for r in c.ratings] for c in parsed.completions]
    # A rank among four answers cannot be 9: it stays, off the scale.
    assert ratings == [[1.0], [], [None], [pytest.approx(-5 / 3)]]
    assert [r.raw for r in parsed.refusals] == [{"model": "mx", "rank": "x"}]
    assert parse(row(item(1))).refusals[0].reason.endswith("a rank among fewer than 2 answers")


def test_answers_that_cannot_be_used() -> None:
    parsed = parse(row("x", item(1, answer=" "), item(2, model=""), item(3, answer=7), item(4)))
    assert [r.reason for r in parsed.refusals] == [
        "completion is not an object: str",
        "empty completion",
        "completion without a model",
        "answer is not text: int",
    ]
    assert [c.ratings[0].value for c in parsed.completions] == [0.25]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"prompt": None}, "empty prompt"),
        ({"prompt": 7}, "prompt is neither text nor messages: int"),
        ({"answers": "x"}, "answers is not a list: str"),
        ({"rater": 7}, "rater is not text: int"),
    ],
)
def test_refusals(fields: dict[str, Any], reason: str) -> None:
    parsed = parse(row(item(1)) | fields)
    assert parsed.messages is None
    assert [r.reason for r in parsed.refusals] == [reason]


@pytest.mark.parametrize(("source", "name"), [("flan", "flan"), (None, "nectar"), ([1], "nectar")])
def test_sources(source: Any, name: str) -> None:
    parsed = parse(row(item(1), item(2), source=source))
    assert parsed.source == name
    assert parsed.metadata == ({"source": [1]} if source == [1] else {})
