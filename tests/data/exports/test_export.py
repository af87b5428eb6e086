"""Export is the inverse of ingest."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notus.data import prompt_rows
from notus.data.exports.ultrafeedback_rows import to_ultrafeedback
from notus.data.schema import ASPECTS, Feedback
from notus.data.sources import ingest
from notus.errors import DataError
from notus.store import read_feedback

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(str.strip)
values = st.sampled_from(["1", "2", "3.5", "5", "N/A"])
aspect = st.fixed_dictionaries(
    {"Rating": values},
    optional={
        "Rationale": texts,
        "Type": st.lists(texts, max_size=2),
        "Rationale For Rating": texts,
    },
)
completion = st.fixed_dictionaries(
    {"model": texts, "response": texts},
    optional={
        "principle": texts,
        "custom_system_prompt": texts,
        "overall_score": st.sampled_from([1.0, 7.5, 10.0, "N/A"]),
        "fine-grained_score": st.floats(0, 5),
        "annotations": st.dictionaries(st.sampled_from(ASPECTS), aspect, min_size=1),
    },
)
row = st.fixed_dictionaries(
    {
        "source": texts,
        "instruction": texts,
        "completions": st.lists(
            completion, max_size=4, unique_by=lambda item: (item["model"], item["response"])
        ),
    },
    optional={
        "models": st.lists(texts),
        "correct_answers": st.lists(texts),
        "extra": st.dictionaries(texts, st.one_of(st.integers(), texts)),
    },
)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@given(rows=st.lists(row, min_size=1, max_size=5, unique_by=lambda item: item["instruction"]))
@settings(max_examples=40)
def test_rows_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    for item in (item for row in rows for item in row["completions"] if "overall_score" in item):
        # A critique without a score comes back with the score "N/A", so none is drawn without.
        item |= {"critique": "c"} if len(item["response"]) % 2 else {}
    ingest(write(folder / "x.jsonl", rows), folder / "out", format="ultrafeedback", max_refused=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompt_rows, "BATCH_PROMPTS", 2)
        assert list(to_ultrafeedback(read_feedback(folder / "out"))) == rows


def test_the_rater_comes_back(tmp_path: Path) -> None:
    item = {"model": "m", "response": "a", "overall_score": 3.0}
    rows = [
        {"source": "s", "instruction": "A?", "rater": "judge", "completions": [item]},
        {"source": "s", "instruction": "B?", "completions": [item]},
    ]
    ingest(write(tmp_path / "x.jsonl", rows), tmp_path / "out")
    assert list(to_ultrafeedback(read_feedback(tmp_path / "out"))) == rows


def test_ingesting_an_export_gives_the_same_tables(tmp_path: Path) -> None:
    """Also where the first reading normalised: one-element lists, numbers as ratings, nulls."""
    item = {
        "model": "m",
        "response": "a",
        "critique": None,
        "annotations": {"honesty": [{"Rating": 4, "Rationale": "r"}], "helpfulness": None},
    }
    rows = [{"instruction": "A?", "completions": [item]}]
    ingest(write(tmp_path / "x.jsonl", rows), tmp_path / "out")
    first = read_feedback(tmp_path / "out")
    ingest(write(tmp_path / "y.jsonl", list(to_ultrafeedback(first))), tmp_path / "again")
    second = read_feedback(tmp_path / "again")
    assert first.ratings.collect().equals(second.ratings.collect())
    for name in ("prompts", "completions"):
        one, two = (
            getattr(tables, name).select(pl.exclude("origin")) for tables in (first, second)
        )
        assert one.collect().equals(two.collect())


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ({}, r"aspect 'preference' on a scale 0\.\.1\n.*aspects on 1\.\.5"),
        (
            {"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "A?"}]},
            r"a conversation \(system, user\)\n.*one message of the user",
        ),
    ],
)
def test_what_the_schema_cannot_say_is_an_error(
    tmp_path: Path, pair: dict[str, Any], message: str
) -> None:
    rows = [{"prompt": "A?", "chosen": "a", "rejected": "b"} | pair]
    ingest(write(tmp_path / "x.jsonl", rows), tmp_path / "out")
    with pytest.raises(DataError, match=message):
        list(to_ultrafeedback(read_feedback(tmp_path / "out")))


def test_two_raters_in_a_row_are_an_error(tmp_path: Path) -> None:
    item = {"model": "m", "response": "a", "overall_score": 3.0}
    rows = [{"instruction": "A?", "completions": [item]}]
    ingest(write(tmp_path / "x.jsonl", rows), tmp_path / "out")
    one = read_feedback(tmp_path / "out")
    both = pl.concat([one.ratings, one.ratings.with_columns(rater=pl.lit("another"))])
    feedback = Feedback(prompts=one.prompts, completions=one.completions, ratings=both)
    with pytest.raises(DataError, match=r"raters another, ultrafeedback\n.*one rater"):
        list(to_ultrafeedback(feedback))
