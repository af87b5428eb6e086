"""The quirks of raw UltraFeedback; the rows are ours, their shapes the data set's."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notus.data.formats.fields import NOT_APPLICABLE, number
from notus.data.formats.ultrafeedback import parse, recognises
from notus.data.parsed import Parsed


def row(*completions: Any, **fields: Any) -> dict[str, Any]:
    return {"source": "flan", "instruction": "Why?", "completions": list(completions)} | fields


def answer(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "response": "Because."} | fields


def only_ratings(parsed: Parsed) -> list[tuple[Any, ...]]:
    (completion,) = parsed.completions
    return [tuple(rating) for rating in completion.ratings]


def test_a_full_row() -> None:
    parsed = parse(
        row(
            answer(
                principle="honesty",
                annotations={
                    "honesty": {"Rating": "4", "Rationale": "Sure."},
                    "truthfulness": {
                        "Type": ["1"],
                        "Rationale": "No errors.",
                        "Rating": "5",
                        "Rationale For Rating": "None found.",
                    },
                },
                critique="Good.",
                overall_score=7.5,
            ),
            models=["m", "n"],
            correct_answers=["None"],
        )
    )
    assert parsed.messages == [{"role": "user", "content": "Why?"}]
    assert parsed.source == "flan"
    assert parsed.metadata == {"models": ["m", "n"], "correct_answers": ["None"]}
    assert parsed.refusals == []
    (completion,) = parsed.completions
    assert (completion.model, completion.text) == ("m", "Because.")
    assert completion.metadata == {
        "position": 0,
        "principle": "honesty",
        "annotations": {"truthfulness": {"Type": ["1"], "Rationale For Rating": "None found."}},
    }
    assert only_ratings(parsed) == [
        ("ultrafeedback", "honesty", 4.0, 1.0, 5.0, "Sure."),
        ("ultrafeedback", "truthfulness", 5.0, 1.0, 5.0, "No errors."),
        ("ultrafeedback", "overall", 7.5, 1.0, 10.0, "Good."),
    ]


def test_completions_are_known_by_their_own_model() -> None:
    """`models` is sorted and `completions` are not: position says nothing."""
    parsed = parse(row(answer(model="b"), answer(model="a"), models=["a", "b"]))
    assert [completion.model for completion in parsed.completions] == ["b", "a"]


def test_positions_count_what_is_refused_and_leave_the_sources_own() -> None:
    parsed = parse(row(answer(), answer(response=""), answer(model="n"), answer(position="first")))
    assert [item.metadata["position"] for item in parsed.completions] == [0, 2, "first"]


def test_the_first_release_wraps_aspects_in_lists() -> None:
    annotations = {"honesty": [{"Rating": "2", "Rationale": "r", "Type": ["1"]}], "helpfulness": []}
    parsed = parse(row(answer(annotations=annotations)))
    assert only_ratings(parsed) == [("ultrafeedback", "honesty", 2.0, 1.0, 5.0, "r")]
    assert parsed.completions[0].metadata["annotations"] == {"honesty": {"Type": ["1"]}}


@pytest.mark.parametrize("word", ["N/A", "n/a", "NA", "", " ", "None", "nan"])
def test_not_applicable_is_null_and_keeps_its_rationale(word: str) -> None:
    annotations = {"honesty": {"Rating": word, "Rationale": "Does not apply."}}
    parsed = parse(row(answer(annotations=annotations)))
    expected = ("ultrafeedback", "honesty", None, 1.0, 5.0, "Does not apply.")
    assert only_ratings(parsed) == [expected]
    assert parsed.refusals == []


@pytest.mark.parametrize("rating", ["four", "4/5", "4, 5", True, [4], "1e999", {"value": 4}])
def test_an_unreadable_rating_is_refused_and_never_a_number(rating: Any) -> None:
    parsed = parse(row(answer(annotations={"honesty": {"Rating": rating}})))
    assert only_ratings(parsed) == []
    (refusal,) = parsed.refusals
    assert refusal.level == "rating"
    assert refusal.reason.startswith("rating cannot be read: ")
    assert refusal.raw == {"model": "m", "aspect": "honesty", "annotation": {"Rating": rating}}


def test_a_zero_stays_for_the_audit_to_find() -> None:
    parsed = parse(row(answer(annotations={"instruction_following": {"Rating": "0"}})))
    assert only_ratings(parsed)[0][2] == 0.0


def test_an_aspect_nobody_knows_is_a_rating_too() -> None:
    parsed = parse(row(answer(annotations={"humour": {"Rating": 3}})))
    assert only_ratings(parsed) == [("ultrafeedback", "humour", 3.0, 1.0, 5.0, None)]


@pytest.mark.parametrize(
    ("fields", "value", "rationale"),
    [
        ({"overall_score": 3}, 3.0, None),
        ({"overall_score": "8.5", "critique": "c"}, 8.5, "c"),
        ({"critique": "c"}, None, "c"),
        ({"overall_score": "N/A", "critique": "c"}, None, "c"),
    ],
)
def test_critique_and_overall_score_are_one_rating(
    fields: dict[str, Any], value: float | None, rationale: str | None
) -> None:
    expected = ("ultrafeedback", "overall", value, 1.0, 10.0, rationale)
    assert only_ratings(parse(row(answer(**fields)))) == [expected]


@pytest.mark.parametrize("rater", ["", " ", None])
def test_a_blank_rater_is_none(rater: Any) -> None:
    assert only_ratings(parse(row(answer(overall_score=5), rater=rater)))[0][0] == "ultrafeedback"


def test_the_rater_may_be_named() -> None:
    parsed = parse(row(answer(overall_score=5), rater="judge"))
    assert only_ratings(parsed)[0][0] == "judge"
    assert "rater" not in parsed.metadata


@pytest.mark.parametrize("annotations", [None, {}, {"honesty": None}])
def test_missing_annotations_are_no_ratings(annotations: Any) -> None:
    parsed = parse(row(answer(annotations=annotations)))
    assert only_ratings(parsed) == []
    assert parsed.refusals == []


def test_null_fields_count_as_missing() -> None:
    """Parquet fills every field of every struct: an absent aspect comes as a struct of nulls."""
    empty = {"Rating": None, "Rationale": None, "Type": None}
    parsed = parse(row(answer(annotations={"honesty": empty}, principle=None), extra=None))
    assert only_ratings(parsed) == []
    assert parsed.completions[0].metadata == {"position": 0}
    assert parsed.metadata == {}


@pytest.mark.parametrize("completions", [[], None])
def test_a_row_may_have_no_completion(completions: Any) -> None:
    parsed = parse({"instruction": "Why?", "completions": completions})
    assert parsed.messages is not None
    assert parsed.completions == []
    assert parsed.source == "ultrafeedback"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"instruction": " \n"}, "empty prompt"),
        ({"instruction": None}, "empty prompt"),
        ({"instruction": 3}, "instruction is not text: int"),
        ({"source": ["a"]}, "source is not text: list"),
        ({"completions": "x"}, "completions is not a list: str"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_as_a_whole(
    fields: dict[str, Any], reason: str
) -> None:
    parsed = parse(row(answer()) | fields)
    assert parsed.messages is None
    assert [(refusal.level, refusal.reason) for refusal in parsed.refusals] == [("row", reason)]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("text", "completion is not an object: str"),
        ({"model": "m"}, "empty completion"),
        ({"model": "m", "response": "  "}, "empty completion"),
        ({"model": "m", "response": 5}, "response is not text: int"),
        ({"response": "Because."}, "completion without a model"),
        ({"model": 1, "response": "Because."}, "model is not text: int"),
    ],
)
def test_a_bad_completion_costs_only_itself(item: Any, reason: str) -> None:
    parsed = parse(row(item, answer()))
    assert len(parsed.completions) == 1
    assert [(r.level, r.reason, r.raw) for r in parsed.refusals] == [("completion", reason, item)]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"annotations": ["x"]}, "annotations is not an object: list"),
        ({"annotations": {"honesty": "4"}}, "annotation is not an object: str"),
        ({"annotations": {"honesty": [{"Rating": 1}] * 2}}, "annotation is not an object: list"),
        ({"annotations": {"overall": {"Rating": 1}}}, "unusable aspect name: 'overall'"),
        ({"annotations": {"honesty": {"Rating": 1, "Rationale": 2}}}, "rationale is not text: int"),
        ({"overall_score": "ten", "critique": "c"}, "rating cannot be read: 'ten' is not a number"),
    ],
)
def test_a_bad_rating_costs_only_itself(fields: dict[str, Any], reason: str) -> None:
    parsed = parse(row(answer(**fields)))
    assert len(parsed.completions) == 1
    assert [(refusal.level, refusal.reason) for refusal in parsed.refusals] == [("rating", reason)]


@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**9), 10**9)))
def test_numbers_read_back_from_their_text(value: float) -> None:
    assert number(value) == number(repr(value)) == number(f" {value!r} ") == float(value)


@given(st.text(max_size=8))
def test_text_is_a_number_a_word_for_na_or_refused(text: str) -> None:
    try:
        expected: float | None = float(text)
    except ValueError:
        expected = None
    if text.strip().lower() in NOT_APPLICABLE:
        assert number(text) is None
    elif expected is None or abs(expected) == float("inf"):
        with pytest.raises(ValueError, match="is not a"):
            number(text)
    else:
        assert number(text) == expected


def test_recognises() -> None:
    assert recognises(row())
    assert not recognises({"prompt": "x", "chosen": "y", "rejected": "z"})


@pytest.mark.shared
def test_real_rows_of_both_releases(shared_data: Path) -> None:
    """Three partial rows: the completions keep their places and are known by their models."""
    path = shared_data / "ultrafeedback" / "raw_rows" / "uf_real_rows.jsonl"
    rows = [json.loads(line) for line in path.read_text().split("\n") if line]
    for fields, count in zip(rows, (4, 4, 1), strict=True):
        parsed = parse(fields)
        assert parsed.refusals == []
        assert [c.metadata["position"] for c in parsed.completions] == list(range(count))
        models = [item["model"] for item in fields["completions"]]
        assert [c.model for c in parsed.completions] == models
    assert sum(len(c.ratings) for r in rows for c in parse(r).completions) == 24
