"""Rows with a chosen and a rejected answer, in the forms that data sets have."""

import json
from pathlib import Path
from typing import Any

import pytest

from notus.data.formats.pairs import parse, recognises
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


def test_an_identical_pair_stays_for_the_audit() -> None:
    parsed = parse({"prompt": "Why?", "chosen": "Yes.", "rejected": "Yes."})
    assert texts(parsed) == [("chosen", "Yes."), ("rejected", "Yes.")]
    assert parsed.refusals == []


@pytest.mark.parametrize("scores", [{"score_chosen": 8.5, "score_rejected": "7"}])
def test_scores_are_overall_ratings_wherever_they_stand(scores: dict[str, Any]) -> None:
    pair = {"prompt": "Why?", "chosen": "Yes.", "rejected": "No."}
    for row in (pair | scores, pair | {"metadata": scores}):
        parsed = parse(row)
        assert overall(parsed) == [8.5, 7.0]
        assert parsed.metadata == {}


@pytest.mark.parametrize(
    "names",
    [
        ("chosen-rating", "rejected-rating", "chosen-model", "rejected-model"),
        ("chosen_rating", "rejected_rating", "chosen_model", "rejected_model"),
        ("rating_chosen", "rating_rejected", "chosen-model", "rejected-model"),
        ("chosen_avg_rating", "rejected_avg_rating", "chosen_model", "rejected_model"),
    ],
)
def test_argillas_ratings_are_means_of_aspects(names: tuple[str, ...]) -> None:
    values = dict(zip(names, (4.75, "3.5", "gpt-4", "alpaca-7b"), strict=True))
    parsed = parse({"prompt": "Why?", "chosen": "Yes.", "rejected": "No.", "tie": False} | values)
    assert texts(parsed) == [("gpt-4", "Yes."), ("alpaca-7b", "No.")]
    assert [tuple(completion.ratings[1]) for completion in parsed.completions] == [
        ("pairs", "rating", 4.75, 1.0, 5.0, None),
        ("pairs", "rating", 3.5, 1.0, 5.0, None),
    ]
    assert parsed.metadata == {"tie": False}


def test_argillas_first_release() -> None:
    row = {"instruction": "Why?", "chosen_response": "Yes.", "rejected_response": "No."}
    assert recognises(row)
    assert parse(row) == parse({"prompt": "Why?", "chosen": "Yes.", "rejected": "No."})


def test_h4_repeats_the_chosen_conversation_and_scores_minus_one() -> None:
    chosen = [USER, says("Yes.")]
    row = {
        "prompt": "Why?",
        "prompt_id": "ab",
        "chosen": chosen,
        "rejected": [USER, says("No.")],
        "messages": chosen,
        "score_chosen": -1.0,
        "score_rejected": None,
    }
    parsed = parse(row)
    assert overall(parsed) == [-1.0]
    assert parsed.metadata == {"prompt_id": "ab"}
    other = [USER, says("Maybe.")]
    assert parse(row | {"messages": other}).metadata == {"prompt_id": "ab", "messages": other}


@pytest.mark.parametrize("field", ["instruction", "question", "input"])
def test_other_names_of_the_prompt_count_only_where_it_is_missing(field: str) -> None:
    row = {field: "Why?", "chosen": "Yes.", "rejected": "No."}
    assert parse(row).messages == [USER]
    assert parse(row).metadata == {}
    assert parse(row | {"prompt": "Who?"}).metadata == {field: "Why?"}
    whole = {"chosen": [USER, says("Yes.")], "rejected": [USER, says("No.")]}
    assert parse({field: "Title"} | whole).messages == [USER]


def test_a_system_prompt_of_its_own_comes_first() -> None:
    row = {"system": "Be brief.", "question": "Why?", "chosen": "Yes.", "rejected": "No."}
    assert parse(row).messages == [SYSTEM, USER]


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
        ({"rejected": " "}, "empty completion: rejected"),
        ({"chosen": None}, "empty completion: chosen"),
        ({"chosen": []}, "empty completion: chosen"),
        ({"chosen": 1}, "chosen is neither text nor messages: int"),
        ({"chosen": ["Yes."]}, "chosen has a turn that is not an object: str"),
        ({"chosen": [{"from": "gpt"}]}, "chosen has a turn without role and content: from"),
        ({"chosen": [{}]}, "chosen has a turn without role and content: no fields"),
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


@pytest.mark.shared
def test_every_real_pair_is_accounted_for(shared_data: Path) -> None:
    """1,200 pairs: one blank answer on either side; 5 identical ones, which stay."""
    folder = shared_data / "ultrafeedback" / "binarized"
    lines = [
        line
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text().split("\n")
        if line
    ]
    found = [parse(json.loads(line)) for line in lines]
    kept = [texts(parsed) for parsed in found if parsed.messages is not None]
    assert (len(found), len(kept)) == (1200, 1198)
    assert sum(chosen[1] == rejected[1] for chosen, rejected in kept) == 5
    reasons = [r.reason for parsed in found for r in parsed.refusals]
    assert sorted(reasons) == [f"empty completion: {side}" for side in ("chosen", "rejected")]
    assert all(len(overall(parsed)) == 2 for parsed in found if parsed.messages is not None)
