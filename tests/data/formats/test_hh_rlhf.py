"""Dialogues of HH-RLHF."""

from pathlib import Path

import pytest

from notus.data.formats.hh_rlhf import parse, recognises
from notus.data.sources import ingest

START = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Why?\n\nAssistant:"
MESSAGES = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "Why?"},
]


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": f"{START} Yes.", "rejected": f"{START} No."},
        {"prompt": START, "chosen": "Yes.", "rejected": "No."},
        {"prompt": f"{START} ", "chosen": f"{START} Yes.", "rejected": f"{START} No."},
    ],
    ids=["as released", "prompt apart", "prompt repeated"],
)
def test_the_shared_history_is_the_prompt(row: dict[str, str]) -> None:
    assert recognises(row)
    parsed = parse(row)
    assert parsed.messages == MESSAGES
    assert [(c.model, c.text, c.ratings[0].value) for c in parsed.completions] == [
        ("chosen", "Yes.", 1.0),
        ("rejected", "No.", 0.0),
    ]
    assert parsed.metadata == {}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            {"chosen": f"{START} Yes.\n\nHuman: So?\n\nAssistant: So.", "rejected": f"{START} No."},
            "prompt, chosen and rejected are of different conversations",
        ),
        ({"chosen": f"{START} ", "rejected": f"{START} No."}, "empty completion: chosen"),
        (
            {"chosen": "\n\nHuman: Hi", "rejected": f"{START} No."},
            "chosen does not end with the assistant: 'user'",
        ),
        ({"chosen": f"{START} Yes.", "rejected": 7}, "rejected is neither text nor messages: int"),
    ],
)
def test_what_is_no_comparison_is_refused(row: dict[str, object], reason: str) -> None:
    parsed = parse(row)
    assert parsed.messages is None
    assert [(r.level, r.reason, r.raw) for r in parsed.refusals] == [("row", reason, row)]


@pytest.mark.shared
def test_every_real_row_is_accounted_for(shared_data: Path, tmp_path: Path) -> None:
    """2,312 rows: 5 with an answer that runs on, 4 with none; two prompts come twice."""
    result = ingest(shared_data / "preferences" / "hh_rlhf", tmp_path / "out")
    facts = result.manifest.facts
    assert facts["format"] == "hh_rlhf"
    assert facts["rows"] == 2312
    assert facts["refused"] == {
        "prompt, chosen and rejected are of different conversations": 5,
        "empty completion": 4,
    }
    assert facts["prompts"] == 2312 - 5 - 4 - 2
    assert facts["completions"] == facts["ratings"] == 2 * (2312 - 5 - 4)
