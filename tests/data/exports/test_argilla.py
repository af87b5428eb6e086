"""Records for an Argilla 2 server, and what people answered there.

The expected forms are those of argilla 2.8: `Record.to_dict`, `Settings.serialize`; its server's
rules (values of ratings, names of agents, numbers of options) are checked as conditions here.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from exported import save_feedback, save_preferences
from hypothesis import given, settings
from hypothesis import strategies as st

from notus.data.exports.argilla import (
    RULINGS,
    answer_fields,
    conversation_text,
    overall_ratings,
    rater_name,
)
from notus.data.exports.argilla import settings as argilla_settings
from notus.data.exports.argilla_responses import Ruling, read_argilla_records
from notus.data.schema import Feedback
from notus.errors import DataError
from notus.review.rulings import Decision, problem_of
from notus.stages.export import export
from notus.stages.review import import_decisions, listed
from notus.store import read_feedback, read_table

Make = Callable[[Mapping[str, Any]], Feedback]
ANN, BEN = "0a53bd5f-0000-4000-8000-000000000001", "0a53bd5f-0000-4000-8000-000000000002"


@pytest.fixture
def feedback(make_feedback: Make, tmp_path: Path) -> Path:
    said = {
        "A?": [
            ("m", "good", {"overall": 9.0, "honesty": 1.0}),
            ("n", "bad", {"overall": 2.0}),
            ("o", "odd", {"overall": 2.5}),
        ],
        "B?": [("m", "yes", {"overall": 4.0}), ("n", "no", {"overall": 3.0})],
    }
    return save_feedback(tmp_path / "feedback", make_feedback(said))


@pytest.fixture
def preferences(feedback: Path, tmp_path: Path) -> Path:
    return save_preferences(tmp_path / "preferences", feedback, [(0, 0, 1), (1, 3, 4)])


def ids_of(feedback: Path) -> tuple[list[str], list[str]]:
    tables = read_feedback(feedback)
    prompts, completions = tables.prompts.collect(), tables.completions.collect()
    return prompts["prompt_id"].to_list(), completions["completion_id"].to_list()


def records_of(path: Path) -> list[dict[str, Any]]:
    found = json.loads(path.read_bytes())
    assert isinstance(found, list)
    return found


def answer(path: Path, number: int, **answers: Any) -> Path:
    """Write answers into a record as the SDK does: {question: [{value, user_id}]}; two users."""
    records = records_of(path)
    for user, said in answers.items():
        for question, value in said.items():
            row = {"value": value, "user_id": {"ann": ANN, "ben": BEN}[user]}
            records[number]["responses"].setdefault(question, []).append(row)
    path.write_text(json.dumps(records))
    return path


def test_a_record_of_a_prompt(feedback: Path, tmp_path: Path) -> None:
    facts = export(feedback, tmp_path / "out.json", to="argilla-records")
    assert facts == {"schema": "argilla-records", "rows": 2}
    prompts, completions = ids_of(feedback)
    first, second = records_of(tmp_path / "out.json")
    assert first == {
        "id": prompts[0],
        "fields": {
            "prompt": "A?",
            "completion_1": "good",
            "completion_2": "bad",
            "completion_3": "odd",
        },
        "metadata": {
            "kind": "prompt",
            "source": "test",
            **{f"completion_{i + 1}_id": completions[i] for i in range(3)},
        },
        # 2.5 is no value of a rating question; without it nobody can say which one is the best.
        "suggestions": {
            "overall_completion_1": {"value": 9, "score": None, "agent": "tester"},
            "overall_completion_2": {"value": 2, "score": None, "agent": "tester"},
        },
        "responses": {},
        "vectors": {},
    }
    assert second["suggestions"]["best"]["value"] == "completion_1"
    assert set(second["fields"]) == {"prompt", "completion_1", "completion_2"}


def test_a_record_of_a_preference(feedback: Path, preferences: Path, tmp_path: Path) -> None:
    export(feedback, tmp_path / "out.json", to="argilla-records", preferences=preferences)
    prompts, completions = ids_of(feedback)
    table = read_table(preferences, "preferences").collect()
    row = table.filter(prompt_id=prompts[0]).row(0, named=True)
    first, _ = records_of(tmp_path / "out.json")
    assert first == {
        "id": row["preference_id"],
        "fields": {"prompt": "A?", "chosen": "good", "rejected": "bad"},
        "metadata": {
            "kind": "preference",
            "prompt_id": prompts[0],
            "source": "test",
            "strategy": "best",
            "margin": 1.5,
            "chosen_model": "m",
            "rejected_model": "n",
            "chosen_id": completions[0],
            "rejected_id": completions[1],
        },
        "suggestions": {
            "overall_chosen": {"value": 9, "score": None, "agent": "tester"},
            "overall_rejected": {"value": 2, "score": None, "agent": "tester"},
        },
        "responses": {},
        "vectors": {},
    }


@pytest.mark.parametrize("of_pairs", [False, True])
def test_a_directory_has_what_from_disk_reads(
    feedback: Path, preferences: Path, tmp_path: Path, of_pairs: bool
) -> None:
    given_pairs = preferences if of_pairs else None
    export(feedback, tmp_path / "out", to="argilla-records", preferences=given_pairs)
    described = json.loads((tmp_path / "out" / ".argilla" / "settings.json").read_bytes())
    dataset = json.loads((tmp_path / "out" / ".argilla" / "dataset.json").read_bytes())
    assert dataset["name"] == "out"
    questions = {question["name"]: question for question in described["questions"]}
    fields = {field["name"] for field in described["fields"]}
    for record in records_of(tmp_path / "out" / "records.json"):
        assert set(record["fields"]) <= fields
        for name, suggestion in record["suggestions"].items():
            options = [option["value"] for option in questions[name]["settings"]["options"]]
            assert suggestion["value"] in options
    export(feedback, tmp_path / "out.json", to="argilla-records", preferences=given_pairs)
    assert (tmp_path / "out.json").read_bytes() == (tmp_path / "out" / "records.json").read_bytes()


@pytest.mark.parametrize("kind", sorted(RULINGS))
@pytest.mark.parametrize("num_answers", [0, 1, 2, 4, 12])
def test_the_server_takes_the_settings(kind: str, num_answers: int) -> None:
    described = argilla_settings(kind, answer_fields(num_answers))
    assert [q["name"] for q in described["questions"] if q["required"]] == ["ruling"]
    names = [part["name"] for key in ("questions", "fields") for part in described[key]]
    assert len(set(names)) == len(names)
    for question in described["questions"]:
        found = question["settings"]
        assert found["type"] in {"label_selection", "rating", "text"}
        if found["type"] != "text":
            values = [option["value"] for option in found["options"]]
            assert len(set(values)) == len(values) >= 2
        if found["type"] == "rating":
            assert all(type(value) is int and 0 <= value <= 10 for value in values)
        if found["type"] == "label_selection":
            shown = found["visible_options"]
            assert shown is None or 3 <= shown <= len(values)


@pytest.mark.parametrize(
    ("raters", "agent"),
    [
        (["gpt-4"], "gpt-4"),
        (["a", "b"], None),
        (["Anna & Bo (\u00e4)"], "Anna - Bo ---"),
        (["\u00e4"], None),
    ],
)
def test_agents_have_names_that_the_server_takes(
    make_feedback: Make, raters: list[str], agent: str | None
) -> None:
    ratings = make_feedback({"A?": [("m", "a", {"overall": 4.0})]}).ratings
    every = pl.concat([ratings.with_columns(rater=pl.lit(rater)) for rater in raters])
    assert rater_name(every) == agent
    server = r"^[a-zA-Z0-9-_:\.\/\s]*[a-zA-Z0-9][a-zA-Z0-9-_:\.\/\s]*$"
    assert agent is None or re.search(server, agent)
    # Two raters of one completion do not agree by chance: there is no one value to suggest.
    assert overall_ratings(every).collect().height == (len(raters) == 1)


def test_several_turns_are_one_text() -> None:
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    assert conversation_text(turns[1:]) == "Hi"
    assert conversation_text(turns) == "[system]\nBe kind.\n\n[user]\nHi"


def test_answers_about_preferences_become_rulings(
    feedback: Path, preferences: Path, tmp_path: Path
) -> None:
    path = tmp_path / "out.json"
    export(feedback, path, to="argilla-records", preferences=preferences)
    answer(path, 0, ann={"ruling": "flip", "note": "worse"}, ben={"ruling": "keep"})
    answer(path, 1, ann={"overall_rejected": 8, "note": "hm"}, ben={"colour": ["red", 3]})
    one, two = (record["id"] for record in records_of(path))
    completion = records_of(path)[1]["metadata"]["rejected_id"]
    assert read_argilla_records(path) == [
        Ruling("preference", one, "flip", None, "worse", ANN),
        Ruling("preference", one, "keep", None, "", BEN),
        Ruling("completion", completion, "re-rate", {"aspect": "overall", "value": 8}, "", ANN),
        Ruling("preference", two, "note", None, "hm", ANN),
        Ruling("preference", two, "note", None, 'colour: ["red", 3]', BEN),
    ]


def test_answers_about_prompts_become_rulings(feedback: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    export(feedback, path, to="argilla-records")
    answer(path, 0, ann={"best": "completion_3", "ruling": "keep"}, ben={"best": "completion_9"})
    answer(path, 1, ann={"ruling": "drop", "best": "completion_2", "overall_completion_1": 1})
    prompts, completions = ids_of(feedback)
    rating = {"aspect": "overall", "value": 1}
    assert read_argilla_records(path) == [
        Ruling("prompt", prompts[0], "keep", None, "", ANN),
        Ruling("prompt", prompts[0], "choose", completions[2], "", ANN),
        Ruling("prompt", prompts[0], "note", None, "best: completion_9", BEN),
        Ruling("completion", completions[3], "re-rate", rating, "", ANN),
        Ruling("prompt", prompts[1], "choose", completions[4], "", ANN),
        Ruling("prompt", prompts[1], "drop", None, "", ANN),
    ]


def test_a_suggestion_that_was_submitted_as_it_stood_says_nothing(
    feedback: Path, tmp_path: Path
) -> None:
    path = tmp_path / "out.json"
    export(feedback, path, to="argilla-records")
    suggested = {k: v["value"] for k, v in records_of(path)[1]["suggestions"].items()}
    assert set(suggested) == {"best", "overall_completion_1", "overall_completion_2"}
    answer(path, 1, ann={**suggested, "ruling": "keep"}, ben={**suggested, "best": "completion_2"})
    found = read_argilla_records(path)
    assert [(row.action, row.reviewer) for row in found] == [("keep", ANN), ("choose", BEN)]


def test_a_ranking_of_others_questions_is_a_note(feedback: Path, tmp_path: Path) -> None:
    # The SDK writes the options in their order and leaves their ranks out.
    path = tmp_path / "out.json"
    export(feedback, path, to="argilla-records")
    answer(path, 0, ann={"ranking": ["completion_1", "completion_2"]})
    (row,) = read_argilla_records(path)
    assert (row.action, row.note) == ("note", 'ranking: ["completion_1", "completion_2"]')


def test_records_without_answers_give_no_ruling(feedback: Path, tmp_path: Path) -> None:
    export(feedback, tmp_path / "out.json", to="argilla-records")
    assert read_argilla_records(tmp_path / "out.json") == []


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.floats(allow_nan=False),
    st.sampled_from(["keep", "flip", "drop", "chosen", "completion_1"]),
    st.lists(st.text(max_size=3), max_size=2),
)  # fmt: skip
names = st.sampled_from(
    ["ruling", "note", "best", "overall_chosen", "overall_prompt", "overall_completion_1", "x", ""]
)


@given(kind=st.sampled_from(sorted(RULINGS)), answers=st.dictionaries(names, values, max_size=6))
@settings(max_examples=200)
def test_whatever_is_answered_gives_rulings_that_can_be_believed(
    tmp_path_factory: pytest.TempPathFactory, kind: str, answers: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("answers") / "out.json"
    ids = {"chosen_id": "1" * 32, "completion_1_id": "2" * 32, "prompt_id": "3" * 32}
    responses = {name: [{"value": value, "user_id": ANN}] for name, value in answers.items()}
    record = {"id": "a" * 32, "metadata": {"kind": kind, **ids}, "responses": responses}
    path.write_text(json.dumps([record]))
    for row in read_argilla_records(path):
        assert problem_of(Decision(**row._asdict())) is None, row


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["id", "metadata", "responses", "suggestions", "kind", "ruling"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@given(value=st.one_of(json_values, st.lists(json_values, max_size=3)))
@settings(max_examples=150)
def test_other_json_is_an_error_of_data(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    path = tmp_path_factory.mktemp("json") / "out.json"
    path.write_text(json.dumps(value))
    if value == []:
        assert read_argilla_records(path) == []
        return
    with pytest.raises(DataError):
        read_argilla_records(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "mine"}, r"^id: String should match pattern(.|\n)*out\.json, record 1\n"),
        ({"metadata": {}}, r"^metadata\.kind: Field required\n"),
        ({"metadata": [1]}, r"^metadata: Input should be a valid dictionary"),
        ({"metadata": {"kind": ["prompt"]}}, r"^metadata\.kind: Input should be 'preference' or"),
        ({"responses": 3}, r"^responses: Input should be a valid dictionary\n"),
        ({"responses": {"ruling": 3}}, r"^responses\.ruling: Input should be a valid list\n"),
        ({"responses": {"ruling": [{"value": 1}]}}, r"^responses\.ruling\.0\.user_id: Field requ"),
        ({"suggestions": [1]}, r"^suggestions: Input should be a valid dictionary\n"),
        ({"suggestions": {"ruling": 1}}, r"^suggestions\.ruling: Input should be a valid dict"),
    ],
)
def test_damaged_records_are_errors(
    feedback: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "out.json"
    export(feedback, path, to="argilla-records")
    answer(path, 0, ann={"ruling": "keep"})
    records = records_of(path)
    path.write_text(json.dumps([records[0] | change, records[1]]))
    with pytest.raises(DataError, match=message):
        read_argilla_records(path)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\xff"])
def test_text_that_is_not_json_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "out.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"^text that is not JSON"):
        read_argilla_records(tmp_path / "out.json")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^no such file"):
        read_argilla_records(tmp_path / "out.json")


def test_answers_become_decisions_once(feedback: Path, tmp_path: Path) -> None:
    """Out to the server, answered there, and back in; importing it again adds nothing."""
    records = tmp_path / "out.json"
    export(feedback, records, to="argilla-records")
    answer(records, 0, ann={"ruling": "drop"}, ben={"note": "odd"})
    decisions = tmp_path / "decisions.sqlite"
    assert import_decisions(decisions, records) == {"decisions": 2, "added": 2, "known": 0}
    assert import_decisions(decisions, records) == {"decisions": 2, "added": 0, "known": 2}
    rows = [(row["action"], row["reviewer"]) for row in listed(decisions, every=True)]
    assert sorted(rows) == [("drop", ANN), ("note", BEN)]
