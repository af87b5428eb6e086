"""Many answers, scored by a reward model."""

from pathlib import Path
from typing import Any

import pytest

from notus.data.formats.best_of_n import parse, recognises
from notus.data.sources import ingest
from notus.store import read_feedback

ROW: dict[str, Any] = {
    "instruction": "Why?",
    "responses": ["a", "b", "a"],
    "rewards_armorm": [{"score": 0.25}, {"score": 0.5}, {"score": None}],
    "uuid": "x",
}


def rewards(parsed: Any) -> list[list[float | None]]:
    return [[r.value for r in c.ratings] for c in parsed.completions]


def test_scores_belong_to_answers_by_their_place() -> None:
    assert recognises(ROW)
    parsed = parse(ROW)
    assert parsed.messages == [{"role": "user", "content": "Why?"}]
    assert [(c.model, c.text, c.metadata) for c in parsed.completions] == [
        ("answer 1", "a", {"position": 0}),
        ("answer 2", "b", {"position": 1}),
        ("answer 3", "a", {"position": 2}),
    ]
    first = parsed.completions[0].ratings[0]
    assert tuple(first) == ("rewards_armorm", "reward", 0.25, 0.0, 1.0, None)
    assert rewards(parsed) == [[0.25], [0.5], [None]]
    assert (parsed.metadata, parsed.refusals) == ({"uuid": "x"}, [])


def test_simpos_columns_say_the_pair_too() -> None:
    user = {"role": "user", "content": "Why?"}
    row = {
        "prompt": "Why?",
        "all_generated_responses": ["a", "b", "c"],
        "all_rm_scores": [-3.5, 12, 0.0],
        "chosen": [user, {"role": "assistant", "content": "b"}],
        "rejected": [user, {"role": "assistant", "content": "a"}],
    }
    assert recognises(row)
    parsed = parse(row)
    said = [
        [(r.rater, r.aspect, r.value, r.scale_min) for r in c.ratings] for c in parsed.completions
    ]
    assert said == [
        [("all_rm_scores", "reward", -3.5, -100.0), ("best_of_n", "preference", 0.0, 0.0)],
        [("all_rm_scores", "reward", 12.0, -100.0), ("best_of_n", "preference", 1.0, 0.0)],
        [("all_rm_scores", "reward", 0.0, -100.0)],
    ]
    assert parsed.metadata == {}
    stranger = row | {"chosen": "z"}
    assert parse(stranger).metadata == {"chosen": "z"}


def test_equal_chosen_and_rejected_are_two_answers() -> None:
    parsed = parse(ROW | {"chosen": "a", "rejected": "a"})
    said = [[r.value for r in c.ratings if r.aspect == "preference"] for c in parsed.completions]
    assert said == [[1.0], [], [0.0]]


def test_what_cannot_be_read_costs_only_itself() -> None:
    parsed = parse(ROW | {"responses": ["a", " ", "c"], "rewards_x": [1, "high", 3]})
    assert [(c.text, len(c.ratings)) for c in parsed.completions] == [("a", 2), ("c", 2)]
    assert [(r.level, r.reason) for r in parsed.refusals] == [
        ("rating", "rating cannot be read: 'high' is not a number"),
        ("completion", "empty completion: answer"),
    ]
    raw = parsed.refusals[1].raw
    assert isinstance(raw, dict)
    assert raw["ratings"][0]["value"] == 0.5


def test_an_answer_may_bring_its_conversation_but_no_other() -> None:
    user = {"role": "user", "content": "Why?"}
    says = {"role": "assistant", "content": "a"}
    answers = [[user, says], [says], [{"role": "user", "content": "Who?"}, says]]
    parsed = parse(ROW | {"responses": answers, "chosen": answers[2]})
    assert [c.text for c in parsed.completions] == ["a", "a"]
    assert [r.reason for r in parsed.refusals] == ["answer to another conversation"]
    assert parsed.metadata == {"uuid": "x", "chosen": answers[2]}


def test_scores_of_another_length_are_refused_as_a_whole() -> None:
    parsed = parse(ROW | {"rewards_armorm": [1, 2]})
    assert rewards(parsed) == [[], [], []]
    reason = "scores do not fit the answers: 2 of rewards_armorm for 3"
    assert [(r.level, r.reason) for r in parsed.refusals] == [("rating", reason)]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"instruction": None}, "empty prompt"),
        ({"instruction": 7}, "prompt is neither text nor messages: int"),
        ({"responses": "a"}, "no list of answers: str"),
        ({"system": 7}, "system is not text: int"),
    ],
)
def test_refusals(fields: dict[str, Any], reason: str) -> None:
    parsed = parse(ROW | fields)
    assert parsed.messages is None
    assert [r.reason for r in parsed.refusals] == [reason]


@pytest.mark.shared
def test_real_rows(shared_data: Path, tmp_path: Path) -> None:
    facts = ingest(shared_data / "preferences" / "magpie_5res", tmp_path / "out").manifest.facts
    assert (facts["format"], facts["rows"], facts["refused"]) == ("best_of_n", 5, {})
    assert (facts["prompts"], facts["completions"], facts["ratings"]) == (5, 25, 25)
    ratings = read_feedback(tmp_path / "out").ratings.collect()
    assert ratings["rater"].unique().to_list() == ["rewards_armorm"]
    assert ratings["value"].is_between(0, 1).all()
