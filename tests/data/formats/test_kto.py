"""Answers that are desirable or not."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from notus.data.formats.kto import parse, recognises
from notus.data.sources import ingest
from notus.store import read_feedback

ANSWERED = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Yes."}]
SHAREGPT = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Yes."}]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": ANSWERED, "label": True},
        {"conversations": SHAREGPT, "kto_tag": "true"},
        {"prompt": "Why?", "completion": "Yes.", "label": 1},
        {"prompt": ANSWERED[:1], "completion": ANSWERED[1:], "label": "1"},
    ],
    ids=["messages", "sharegpt", "texts", "trl"],
)
def test_all_forms_say_the_same(row: dict[str, Any]) -> None:
    assert recognises(row)
    parsed = parse(row | {"system": "Be brief."})
    assert parsed.messages == [{"role": "system", "content": "Be brief."}, ANSWERED[0]]
    (completion,) = parsed.completions
    assert (completion.model, completion.text) == ("kto", "Yes.")
    assert [tuple(r) for r in completion.ratings] == [("kto", "desirable", 1.0, 0.0, 1.0, None)]
    assert (parsed.metadata, parsed.refusals) == ({}, [])


def test_labels() -> None:
    values = {False: 0.0, "False": 0.0, None: None, "N/A": None}
    for label, value in values.items():
        (completion,) = parse({"messages": ANSWERED, "label": label}).completions
        assert completion.ratings[0].value == value
    parsed = parse({"messages": ANSWERED, "label": "good"})
    assert parsed.completions[0].ratings == []
    assert [(r.level, r.raw) for r in parsed.refusals] == [("rating", {"label": "good"})]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": ANSWERED[:1]}, "the conversation does not end with the assistant: 'user'"),
        ({"messages": ANSWERED[1:]}, "empty prompt"),
        ({"messages": []}, "empty completion: the conversation"),
        ({"prompt": "Why?", "completion": " "}, "empty completion: the conversation"),
        ({"messages": 3}, "messages is neither text nor messages: int"),
        ({"messages": ANSWERED, "model": 3}, "model is not text: int"),
    ],
)
def test_refusals(row: dict[str, Any], reason: str) -> None:
    parsed = parse(row | {"label": True})
    assert parsed.messages is None
    assert [r.reason for r in parsed.refusals] == [reason]


@pytest.mark.shared
def test_real_labels(shared_data: Path, tmp_path: Path) -> None:
    """300 answers, half of them desirable; three prompts were answered twice."""
    path = shared_data / "preferences" / "llamafactory_dpo" / "kto_en_demo.json"
    facts = ingest(path, tmp_path / "out").manifest.facts
    assert (facts["format"], facts["rows"], facts["refused"]) == ("kto", 300, {})
    assert (facts["prompts"], facts["completions"], facts["ratings"]) == (297, 300, 300)
    ratings = read_feedback(tmp_path / "out").ratings
    assert ratings.select(pl.col("value").sum()).collect().item() == 150
