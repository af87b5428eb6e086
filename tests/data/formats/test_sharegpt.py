"""Pairs after a conversation."""

from pathlib import Path

import polars as pl
import pytest

from notus.data.formats.sharegpt import parse, recognises
from notus.data.sources import ingest
from notus.store import read_feedback


def turn(speaker: str, text: str) -> dict[str, str]:
    return {"from": speaker, "value": text}


ROW = {
    "conversations": [turn("human", "Hi"), turn("gpt", "Hello"), turn("human", "Why?")],
    "chosen": turn("gpt", "Yes."),
    "rejected": turn("gpt", "No."),
}


def test_a_conversation_and_two_answers() -> None:
    assert recognises(ROW)
    parsed = parse(ROW | {"system": "Be brief.", "tools": "[]"})
    assert parsed.messages is not None
    assert [m["role"] for m in parsed.messages] == ["system", "user", "assistant", "user"]
    assert [(c.model, c.text) for c in parsed.completions] == [
        ("chosen", "Yes."),
        ("rejected", "No."),
    ]
    assert [c.ratings[0].rater for c in parsed.completions] == ["sharegpt"] * 2
    assert parsed.metadata == {"tools": "[]"}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"conversations": []}, "empty prompt"),
        ({"conversations": "Hi", "chosen": None}, "empty completion: chosen"),
        ({"rejected": turn("gpt", " ")}, "empty completion: rejected"),
        ({"chosen": turn("human", "x")}, "chosen does not end with the assistant: 'user'"),
        ({"conversations": [turn("system", "a")], "system": "b"}, "two system prompts that differ"),
        ({"conversations": [["human", "Hi"]]}, "has a turn that is not an object: list"),
    ],
)
def test_refusals(fields: dict[str, object], reason: str) -> None:
    parsed = parse(ROW | fields)
    assert parsed.messages is None
    assert parsed.refusals[0].reason.endswith(reason)


@pytest.mark.shared
def test_real_conversations(shared_data: Path, tmp_path: Path) -> None:
    """300 rows, 5 of them twice; 80 with a system prompt, 106 of several turns."""
    path = shared_data / "preferences" / "llamafactory_dpo" / "dpo_en_demo.json"
    facts = ingest(path, tmp_path / "out").manifest.facts
    assert (facts["format"], facts["rows"], facts["refused"]) == ("sharegpt", 300, {})
    assert (facts["prompts"], facts["completions"]) == (295, 590)
    messages = pl.col("messages").list
    first = messages.first().struct.field("role")
    prompts = read_feedback(tmp_path / "out").prompts.collect()
    assert prompts.filter(first == "system").height == 80
    assert prompts.filter(messages.len() > 2).height == 103
