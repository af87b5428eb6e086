"""The same prompt in several rows: what is merged, what is repeated, and what differs."""

import json
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notus.data.formats import pairs, ultrafeedback
from notus.data.intake import TABLES, Intake, metadata_text
from notus.data.parsed import Parsed, ParsedCompletion, ParsedRating
from notus.data.schema import TABLES as CONTRACTS
from notus.data.schema import check

DIGEST = "0" * 64


def uf_row(instruction: str, *answers: tuple[str, Any], **fields: Any) -> dict[str, Any]:
    """Answers are (text, overall score); each text is a model's."""
    completions = [
        {"model": text, "response": text, "overall_score": score, "critique": f"{score}!"}
        for text, score in answers
    ]
    return {"source": "s", "instruction": instruction, "completions": completions} | fields


def pair(chosen: str, rejected: str, **fields: Any) -> dict[str, Any]:
    models = {"chosen-model": chosen, "rejected-model": rejected}
    return {"prompt": "A?", "chosen": chosen, "rejected": rejected} | models | fields


def taken(intake: Intake) -> dict[str, pl.DataFrame]:
    frames = intake.take(DIGEST)
    found = {table.name: frame for table, frame in zip(TABLES, frames, strict=True)}
    for name, frame in found.items():
        assert check(CONTRACTS[name], frame).refused.is_empty()
    return found


def ingested(parse: Any, *rows: Any) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    intake = Intake(parse)
    for line, row in enumerate(rows, start=1):
        intake.add(row, "x.jsonl", line)
    return taken(intake), intake.facts()


def opinions(found: dict[str, pl.DataFrame]) -> list[tuple[Any, ...]]:
    """(model, rater, aspect, value) in the order of the table."""
    ratings = found["ratings"].join(found["completions"], on="completion_id", maintain_order="left")
    return ratings.select("model", "rater", "aspect", "value").rows()


def test_a_later_row_of_the_same_prompt_adds_its_completions() -> None:
    first, second = uf_row("A?", ("a", 5.0)), uf_row("A?", ("b", 6.0), source="t", extra=1)
    found, facts = ingested(ultrafeedback.parse, first, uf_row("B?"), second)
    assert found["prompts"]["source"].to_list() == ["s", "s"]
    completions = found["completions"]
    assert completions["model"].to_list() == ["a", "b"]
    assert completions["prompt_id"].n_unique() == 1
    lines = [{"sha256": DIGEST, "line": line} for line in (1, 3)]
    assert completions["origin"].to_list() == lines
    assert [origin["line"] for origin in found["prompts"]["origin"]] == [1, 2]
    # An absolute rating means the same in any row: it keeps its rater.
    assert opinions(found) == [
        ("a", "ultrafeedback", "overall", 5.0),
        ("b", "ultrafeedback", "overall", 6.0),
    ]
    assert facts["repeated"] == {"rows": 0, "prompts": 1, "completions": 0, "ratings": 0}
    assert (facts["rows"], facts["kept"], facts["refused_rows"]) == (3, 3, 0)


def test_composition_of_unicode_makes_no_other_prompt() -> None:
    _, facts = ingested(ultrafeedback.parse, uf_row("caf\u00e9?"), uf_row("cafe\u0301?"))
    assert facts["repeated"]["prompts"] == 1


def test_the_same_rating_again_is_a_repetition_and_another_one_is_kept() -> None:
    rows = [uf_row("A?", ("a", score)) for score in (5.0, 5.0, 1.0, None, 1.0, 5.0, None)]
    found, facts = ingested(ultrafeedback.parse, *rows)
    assert opinions(found) == [
        ("a", "ultrafeedback", "overall", 5.0),
        ("a", "ultrafeedback@x.jsonl:3", "overall", 1.0),
        ("a", "ultrafeedback@x.jsonl:4", "overall", None),
    ]
    assert found["ratings"]["rationale"].to_list() == ["5.0!", "1.0!", "None!"]
    assert facts["repeated"] == {"rows": 4, "prompts": 6, "completions": 6, "ratings": 4}


def test_new_aspects_of_a_known_completion_are_added() -> None:
    more = uf_row("A?", ("a", 5.0))
    more["completions"][0]["annotations"] = {"honesty": {"Rating": "4"}}
    found, facts = ingested(ultrafeedback.parse, uf_row("A?", ("a", 5.0)), more)
    assert opinions(found) == [
        ("a", "ultrafeedback", "overall", 5.0),
        ("a", "ultrafeedback", "honesty", 4.0),
    ]
    assert facts["repeated"] == {"rows": 0, "prompts": 1, "completions": 1, "ratings": 1}


def test_a_completion_may_be_repeated_within_its_row() -> None:
    row = uf_row("A?", ("a", 5.0), ("a", 5.0), ("a", 1.0), ("a", 2.0), ("a", 1.0))
    found, facts = ingested(ultrafeedback.parse, row)
    assert opinions(found) == [
        ("a", "ultrafeedback", "overall", 5.0),
        ("a", "ultrafeedback@x.jsonl:1", "overall", 1.0),
        ("a", "ultrafeedback@x.jsonl:1#2", "overall", 2.0),
    ]
    assert facts["repeated"] == {"rows": 0, "prompts": 0, "completions": 4, "ratings": 2}


def test_comparisons_hold_within_one_row() -> None:
    """Two rows that contradict each other both stay, and so does a third with another rival."""
    found, facts = ingested(pairs.parse, pair("a", "b"), pair("b", "a"), pair("a", "c"))
    assert opinions(found) == [
        ("a", "pairs", "preference", 1.0),
        ("b", "pairs", "preference", 0.0),
        ("b", "pairs@x.jsonl:2", "preference", 1.0),
        ("a", "pairs@x.jsonl:2", "preference", 0.0),
        ("a", "pairs@x.jsonl:3", "preference", 1.0),
        ("c", "pairs@x.jsonl:3", "preference", 0.0),
    ]
    assert facts["repeated"] == {"rows": 0, "prompts": 2, "completions": 3, "ratings": 0}


def test_a_comparison_that_was_made_before_is_a_repetition() -> None:
    rows = [pair("a", "b"), pair("b", "a"), pair("a", "b", n=1), pair("b", "a")]
    found, facts = ingested(pairs.parse, *rows)
    assert found["ratings"].height == 4
    assert facts["repeated"] == {"rows": 2, "prompts": 3, "completions": 6, "ratings": 4}
    # The same by another rater says something new.
    found, facts = ingested(pairs.parse, pair("a", "b"), pair("a", "b", rater="people"))
    raters = ["pairs", "pairs", "people@x.jsonl:2", "people@x.jsonl:2"]
    assert found["ratings"]["rater"].to_list() == raters
    assert facts["repeated"]["rows"] == 0


def test_a_repeated_comparison_may_bring_new_scores() -> None:
    scored = pair("a", "b", score_chosen=9.0, score_rejected=3.0)
    found, facts = ingested(pairs.parse, pair("a", "b"), scored)
    assert opinions(found)[2:] == [("a", "pairs", "overall", 9.0), ("b", "pairs", "overall", 3.0)]
    assert facts["repeated"] == {"rows": 0, "prompts": 1, "completions": 2, "ratings": 2}


def test_a_refused_part_makes_a_row_more_than_a_repetition() -> None:
    bad = uf_row("A?", ("a", 5.0), (" ", 5.0))
    found, facts = ingested(ultrafeedback.parse, uf_row("A?", ("a", 5.0)), bad)
    assert facts["repeated"]["rows"] == 0
    assert found["refused"]["place"].to_list() == ["x.jsonl:2"]


def test_merging_goes_on_after_the_tables_were_taken() -> None:
    intake = Intake(pairs.parse)
    heights = []
    for line, row in enumerate([pair("a", "b"), pair("a", "b"), pair("a", "c")], start=1):
        intake.add(row, "x.jsonl", line)
        found = taken(intake)
        heights.append([found[name].height for name in ("prompts", "completions", "ratings")])
    assert heights == [[1, 2, 2], [0, 0, 0], [0, 1, 2]]


def test_a_row_that_a_reader_refuses_without_a_word_is_still_refused() -> None:
    found, facts = ingested(lambda _: Parsed(None, "", {}, [], []), {"a": 1})
    assert found["refused"].rows() == [("x.jsonl:1", "no reason given", '{"a": 1}')]
    assert (facts["rows"], facts["kept"], facts["refused_rows"]) == (1, 0, 1)
    found, _ = ingested(lambda _: Parsed([], "", {}, [], []), {"a": 1})
    assert found["refused"]["reason"].to_list() == ["empty prompt"]


raters = st.sampled_from(["r", "r@x.jsonl:2", "r@x.jsonl:2#2", "s"])
aspects = st.sampled_from(["preference", "safer", "honesty"])
values = st.sampled_from([None, 0.0, 1.0])
ratings = st.builds(ParsedRating, raters, aspects, values, st.just(0.0), st.just(1.0), st.none())
answers = st.builds(
    ParsedCompletion,
    st.sampled_from(["m", "n"]),
    st.sampled_from(["x", "y"]),
    st.just({}),
    st.lists(ratings, max_size=4),
)
parsed_rows = st.builds(
    Parsed,
    st.sampled_from([[{"role": "user", "content": text}] for text in "AB"]),
    st.just("s"),
    st.just({}),
    st.lists(answers, max_size=3),
    st.just([]),
)


@given(st.lists(parsed_rows, max_size=6))
def test_keys_stay_unique_and_nothing_that_was_said_is_lost(rows: list[Parsed]) -> None:
    """Even raters that are called like the places that distinguish raters; `taken` checks keys."""
    found, facts = ingested(lambda row: rows[row["number"]], *numbered(len(rows)))
    again, repeated = ingested(lambda row: rows[row["number"]], *numbered(len(rows)) * 2)
    given = [rating for row in rows for answer in row.completions for rating in answer.ratings]
    assert found["ratings"].height + facts["repeated"]["ratings"] == len(given)
    said = {(rating.aspect, rating.value) for rating in given}
    assert set(found["ratings"].select("aspect", "value").rows()) == said
    # Reading everything twice adds nothing.
    for name, frame in again.items():
        assert frame.equals(found[name])
    assert repeated["repeated"]["rows"] == facts["repeated"]["rows"] + len(rows)


def numbered(count: int) -> list[dict[str, int]]:
    return [{"number": number} for number in range(count)]


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"b": 1, "a": "\u00e9\n"}, '{"a":"\u00e9\\n","b":1}'),
        ({"nan": float("nan"), "inf": [float("inf")]}, '{"inf":[null],"nan":null}'),
        ({"large": 10**30, "nan": float("nan")}, f'{{"large":{10**30},"nan":null}}'),
        ({"bytes": b"x", "when": date(2024, 2, 29)}, '{"bytes":"eA==","when":"2024-02-29"}'),
        ({"complex": 1j}, '{"complex":"1j"}'),
    ],
)
def test_metadata_is_json_whatever_it_holds(metadata: Any, text: str) -> None:
    assert metadata_text(metadata) == text
    json.loads(text, parse_constant=pytest.fail)


def test_metadata_may_be_deep() -> None:
    value: Any = 1
    for _ in range(400):
        value = [value]
    assert json.loads(metadata_text({"deep": value})) == {"deep": value}
