"""Rows with a chosen and a rejected answer, in the forms that data sets have."""

from typing import Any

import pytest

from notus.data.pairs import parse, recognises
from notus.data.parsed import Parsed

USER = {"role": "user", "content": "Why?"}
SYSTEM = {"role": "system", "content": "Be brief."}


def says(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def texts(parsed: Parsed) -> list[tuple[str, str]]:
    return [(completion.model, completion.text) for completion in parsed.completions]


def overall(parsed: Parsed) -> list[float | None]:
    ratings = [rating for completion in parsed.completions for rating in completion.ratings]
    return [rating.value for rating in ratings if rating.aspect == "overall"]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Why?", "chosen": "Yes.", "rejected": "No."},
        {"prompt": [USER], "chosen": [says("Yes.")], "rejected": [says("No.")]},
        {"prompt": "Why?", "chosen": [USER, says("Yes.")], "rejected": [USER, says("No.")]},
        {"prompt": "Why?", "chosen": [USER, says("Yes.")], "rejected": "No."},
        {"chosen": [USER, says("Yes.")], "rejected": [USER, says("No.")]},
        {"prompt": None, "chosen": [USER, says("Yes.")], "rejected": [USER, says("No.")]},
    ],
    ids=["texts", "turns", "prompt and turns", "mixed", "no prompt", "null prompt"],
)
def test_all_forms_say_the_same(row: dict[str, Any]) -> None:
    assert recognises(row)
    parsed = parse(row)
    assert parsed.messages == [USER]
    assert texts(parsed) == [("chosen", "Yes."), ("rejected", "No.")]
    assert [tuple(completion.ratings[0]) for completion in parsed.completions] == [
        ("pairs", "preference", 1.0, 0.0, 1.0, None),
        ("pairs", "preference", 0.0, 0.0, 1.0, None),
    ]
    assert parsed.source == "pairs"
    assert parsed.metadata == {}
    assert parsed.refusals == []


def test_the_prompts_text_may_be_the_last_turn_of_a_longer_conversation() -> None:
    context = [SYSTEM, {"role": "user", "content": "Hi"}, says("Hello"), USER]
    row = {
        "prompt": "Why?",
        "chosen": [*context, says("Yes.")],
        "rejected": [*context, says("No.")],
    }
    assert parse(row).messages == context


@pytest.mark.parametrize("scores", [{"score_chosen": 8.5, "score_rejected": "7"}])
def test_scores_are_overall_ratings_wherever_they_stand(scores: dict[str, Any]) -> None:
    pair = {"prompt": "Why?", "chosen": "Yes.", "rejected": "No."}
    for row in (pair | scores, pair | {"metadata": scores}):
        parsed = parse(row)
        assert overall(parsed) == [8.5, 7.0]
        assert parsed.metadata == {}


def test_names_and_unknown_fields() -> None:
    row = {
        "prompt": "Why?",
        "chosen": "Yes.",
        "rejected": "No.",
        "chosen-model": "gpt-4",
        "rejected-model": "alpaca-7b",
        "source": "sharegpt",
        "rater": "people",
        "source_index": 7,
        "metadata": {"score_chosen": 9, "split": "train"},
    }
    parsed = parse(row)
    assert texts(parsed) == [("gpt-4", "Yes."), ("alpaca-7b", "No.")]
    assert parsed.source == "sharegpt"
    assert parsed.metadata == {"source_index": 7, "metadata": {"split": "train"}}
    assert {rating.rater for c in parsed.completions for rating in c.ratings} == {"people"}
    assert overall(parsed) == [9.0]


def test_a_score_that_is_no_number_costs_only_itself() -> None:
    parsed = parse({"prompt": "Why?", "chosen": "Yes.", "rejected": "No.", "score_chosen": "high"})
    assert len(parsed.completions) == 2
    assert overall(parsed) == []
    reasons = [(refusal.level, refusal.reason) for refusal in parsed.refusals]
    assert reasons == [("rating", "rating cannot be read: 'high' is not a number")]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"rejected": "Yes."}, "identical pair"),
        ({"rejected": " "}, "empty completion: rejected"),
        ({"chosen": None}, "empty completion: chosen"),
        ({"chosen": []}, "empty completion: chosen"),
        ({"chosen": 1}, "chosen is neither text nor messages: int"),
        ({"chosen": ["Yes."]}, "chosen has a turn that is not an object: str"),
        ({"chosen": [{"from": "gpt"}]}, "chosen has a turn without role and content: ['from']"),
        ({"chosen": [USER]}, "chosen does not end with the assistant: 'user'"),
        ({"prompt": None}, "empty prompt"),
        (
            {"chosen": [SYSTEM, says("Yes.")]},
            "prompt, chosen and rejected are of different conversations",
        ),
        (
            {"chosen": [USER, says("Yes.")], "rejected": [SYSTEM, USER, says("No.")]},
            "prompt, chosen and rejected are of different conversations",
        ),
        (
            {"chosen": [USER, says("Yes.")], "prompt": "Who?"},
            "prompt, chosen and rejected are of different conversations",
        ),
        ({"source": 5}, "source is not text: int"),
        ({"chosen-model": 5}, "chosen-model is not text: int"),
    ],
)
def test_a_pair_that_cannot_be_used_is_refused(fields: dict[str, Any], reason: str) -> None:
    row = {"prompt": "Why?", "chosen": "Yes.", "rejected": "No."} | fields
    parsed = parse(row)
    assert parsed.messages is None
    assert parsed.completions == []
    assert [(r.level, r.reason, r.raw) for r in parsed.refusals] == [("row", reason, row)]
