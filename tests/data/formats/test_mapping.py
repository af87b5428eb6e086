"""Readers made from a file that says which field is which."""

from pathlib import Path
from typing import Any

import pytest

from notus.data.formats.field_paths import check_path, resolve
from notus.data.formats.mapping import FieldMap, load_mapping, parse, reader_of
from notus.errors import UsageError

LISTED = """
prompt: input.question
system: input.system
source: {const: ours}
completions:
  - text: answers[*].body
    model: answers[*].author
    position: true
    metadata: {tokens: "answers[*].n"}
    ratings:
      - {aspect: honesty, value: "answers[*].scores.honesty", scale: [1, 5], rater: judge}
      - {aspect: length, value: "lengths[*]", scale: [0, 1000], rationale: "answers[*].why"}
"""
ROW: dict[str, Any] = {
    "id": 7,
    "input": {"question": "Why?", "system": "Be brief."},
    "judge": "ann",
    "answers": [
        {"body": "Yes.", "author": "m1", "n": 3, "scores": {"honesty": "4"}, "why": "Short."},
        {"body": "No.", "author": "m2", "scores": {}},
    ],
    "lengths": [4, 3],
}


def mapping(tmp_path: Path, text: str) -> FieldMap:
    path = tmp_path / "house.yaml"
    path.write_text(text)
    return load_mapping(path)


def test_a_list_of_answers(tmp_path: Path) -> None:
    reader = reader_of(mapping(tmp_path, LISTED))
    assert reader.recognises(ROW)
    assert not reader.recognises({"input": 7})
    assert reader.fields == "input.question and answers[*].body"
    parsed = reader.parse(ROW)
    assert parsed.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
    ]
    assert parsed.source == "ours"
    assert parsed.metadata == {"id": 7}
    assert parsed.refusals == []
    first, second = parsed.completions
    assert (first.model, first.text, first.metadata) == ("m1", "Yes.", {"tokens": 3, "position": 0})
    assert [tuple(r) for r in first.ratings] == [
        ("ann", "honesty", 4.0, 1.0, 5.0, None),
        ("house", "length", 4.0, 0.0, 1000.0, "Short."),
    ]
    # A rating that the row does not have is none; the other one is there.
    assert (second.model, [r.aspect for r in second.ratings]) == ("m2", ["length"])


def test_fixed_fields_words_for_numbers_and_the_last_turn(tmp_path: Path) -> None:
    text = """
name: arena
prompt: chat[:-1]
completions:
  - text: chat[-1].content
    model: {const: ours}
    ratings:
      - {aspect: liked, value: vote, scale: [0, 1], values: {yes: 1, no: 0, true: 1}}
metadata: {key: id}
"""
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Yes."}]
    rules = mapping(tmp_path, text)
    for vote, value in ((True, 1.0), ("true", 1.0), (" True ", 1.0), (0.5, 0.5), ("N/A", None)):
        parsed = parse({"chat": turns, "vote": vote, "id": 3, "other": 1}, rules)
        assert parsed.messages == turns[:1]
        assert (parsed.source, parsed.metadata) == ("arena", {"key": 3})
        (completion,) = parsed.completions
        assert (completion.model, completion.text) == ("ours", "Yes.")
        assert [tuple(r) for r in completion.ratings] == [("arena", "liked", value, 0.0, 1.0, None)]


def test_two_fields_are_two_answers(tmp_path: Path) -> None:
    text = """
prompt: q
completions:
  - {text: a, ratings: [{aspect: preference, value: won, scale: [0, 1], values: {a: 1, b: 0}}]}
  - {text: b, ratings: [{aspect: preference, value: won, scale: [0, 1], values: {a: 0, b: 1}}]}
"""
    parsed = parse({"q": "Why?", "a": "x", "b": "y", "won": "b"}, mapping(tmp_path, text))
    said = [(c.model, c.text, c.ratings[0].value) for c in parsed.completions]
    assert said == [("a", "x", 0.0), ("b", "y", 1.0)]
    assert parsed.metadata == {}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"input": {}}, "empty prompt: input.question"),
        ({"input": "x"}, "input is not an object: str"),
        ({"answers": "x"}, "answers is not a list: str"),
        ({"answers": ["x"]}, "an element is not an object: str"),
        ({"lengths": [1]}, "lengths[*] has 1 values for 2 completions"),
        ({"input": {"question": 7}}, "input.question is neither text nor messages: int"),
        ({"input": {"question": "x", "system": 7}}, "input.system is not text: int"),
    ],
)
def test_rows_of_another_shape_are_refused(
    tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    parsed = parse(ROW | fields, mapping(tmp_path, LISTED))
    assert parsed.messages is None
    assert [(r.level, r.reason) for r in parsed.refusals] == [("row", reason)]


def test_answers_and_ratings_of_another_shape_are_refused_alone(tmp_path: Path) -> None:
    answers = [
        {"body": " ", "author": "m", "scores": {"honesty": 3}},
        {"body": 7, "author": "m"},
        {"body": "x", "author": 7},
        {"body": "x", "author": "m", "scores": {"honesty": "high"}, "why": 7},
    ]
    row = ROW | {"answers": answers, "lengths": [1, 2, 3, 4]}
    parsed = parse(row, mapping(tmp_path, LISTED))
    assert [(r.level, r.reason) for r in parsed.refusals] == [
        ("completion", "empty completion: answers[*].body 1"),
        ("completion", "completion is not text: answers[*].body 2"),
        ("completion", "model is not text: 7"),
        ("rating", "rating cannot be read: 'high' is not a number"),
        ("rating", "rationale is not text: int"),
    ]
    raw = parsed.refusals[0].raw
    assert isinstance(raw, dict)
    assert [r["value"] for r in raw["ratings"]] == [3.0, 1.0]
    assert [c.ratings for c in parsed.completions] == [[]]
    parsed = parse(ROW | {"judge": 7}, mapping(tmp_path, LISTED))
    assert [r.reason for r in parsed.refusals] == ["rater is not text: 7"] * 2


def test_one_rater_says_one_thing_of_an_aspect(tmp_path: Path) -> None:
    text = LISTED.replace("aspect: length", "aspect: honesty").replace(", rater: judge", "")
    parsed = parse(ROW, mapping(tmp_path, text))
    assert [r.reason for r in parsed.refusals] == ["second rating of honesty"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[", "text that is not YAML"),
        ("- a", "list at the top level"),
        ("prompt: q", "completions: Field required"),
        ("prompt: q\ncompletions: []", "completions: Tuple should have at least 1 item"),
        ("prompt: q..r\ncompletions: [{text: a}]", "prompt: Value error, not a path"),
        ("prompt: q\ncompletions: [{text: 'a[*].b[*]'}]", r"more than one \[\*\]"),
        ("prompt: q\ncompletions: [{text: a, modell: b}]", "completions.0.modell: Extra inputs"),
        ("prompt: q\ncompletions: [{text: a, model: 'b[*]'}]", r"a path with \[\*\] beside a text"),
        (
            "prompt: q\ncompletions: [{text: a, ratings: [{aspect: b, value: c, scale: [1, 1]}]}]",
            "the scale's first number must be below its second",
        ),
    ],
)
def test_a_file_that_does_not_fit(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(UsageError, match=rf"{found}[^$]*expected: .*\n.*house\.yaml\n"):
        mapping(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file that can be read[^$]*no\.yaml"):
        load_mapping(tmp_path / "no.yaml")


def test_paths() -> None:
    row = {"a b": {"c": [{"d": 1}, {"d": None}, {}]}, "e": [[1, 2], [3]]}
    assert resolve(row, "a b.c[0].d") == 1
    assert resolve(row, "a b.c[*].d") == [1, None, None]
    assert resolve(row, "a b.c[-1]") == {}
    assert resolve(row, "a b.c[:-1]") == [{"d": 1}, {"d": None}]
    assert resolve(row, "e[0][1]") == 2
    assert resolve(row, "e[*][0]") == [1, 3]
    assert resolve(row, "e[9][0]") is None
    assert resolve(row, "x.y[*].z") is None
    with pytest.raises(ValueError, match=r"e\[0\] is not an object: list"):
        resolve(row, "e[0].x")
    for path in ("", ".", "a.", "[0]", "a[x]", "a[1", "a[*].b[*]"):
        with pytest.raises(ValueError, match=r"not a path|more than one"):
            check_path(path)
