"""Two axes: help and safety."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from notus.data.formats.saferlhf import parse, recognises
from notus.data.sources import ingest
from notus.store import read_feedback

ROW: dict[str, Any] = {
    "prompt": "How?",
    "response_0": "So.",
    "response_1": "No.",
    "is_response_0_safe": False,
    "is_response_1_safe": True,
    "better_response_id": 0,
    "safer_response_id": 1,
}


def test_three_aspects() -> None:
    assert recognises(ROW)
    parsed = parse(ROW)
    assert [(c.model, c.text, c.metadata) for c in parsed.completions] == [
        ("response_0", "So.", {"position": 0}),
        ("response_1", "No.", {"position": 1}),
    ]
    said = [{r.aspect: r.value for r in c.ratings} for c in parsed.completions]
    assert said == [
        {"preference": 1.0, "safer": 0.0, "safe": 0.0},
        {"preference": 0.0, "safer": 1.0, "safe": 1.0},
    ]
    assert (parsed.metadata, parsed.refusals) == ({}, [])


def test_the_later_release_names_models_and_harms() -> None:
    extra = {
        "prompt_source": "Alpaca3-70B",
        "response_0_source": "Alpaca-7B",
        "response_0_severity_level": 3,
        "response_1_harm_category": {"Privacy": False},
    }
    parsed = parse(ROW | extra)
    assert parsed.source == "Alpaca3-70B"
    assert [c.model for c in parsed.completions] == ["Alpaca-7B", "response_1"]
    assert parsed.completions[0].metadata == {"severity_level": 3, "position": 0}
    assert parsed.completions[1].metadata == {"harm_category": {"Privacy": False}, "position": 1}
    assert parsed.metadata == {}


def test_an_axis_may_be_missing_or_unreadable() -> None:
    parsed = parse(
        ROW | {"better_response_id": None, "safer_response_id": 2, "is_response_0_safe": "x"}
    )
    assert [[r.aspect for r in c.ratings] for c in parsed.completions] == [[], ["safe"]]
    assert [(r.level, r.raw) for r in parsed.refusals] == [
        ("rating", {"safer_response_id": 2}),
        ("rating", {"is_response_0_safe": "x"}),
    ]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"prompt": None}, "empty prompt"),
        ({"response_1": ""}, "empty completion: response_1"),
        ({"response_0": []}, "response_0 is not text: list"),
    ],
)
def test_refusals(fields: dict[str, Any], reason: str) -> None:
    parsed = parse(ROW | fields)
    assert parsed.messages is None
    assert [r.reason for r in parsed.refusals] == [reason]


@pytest.mark.shared
def test_real_rows(shared_data: Path, tmp_path: Path) -> None:
    """32 rows on 31 prompts; help and safety disagree in 19."""
    facts = ingest(shared_data / "preferences" / "pku_saferlhf", tmp_path / "out").manifest.facts
    assert (facts["format"], facts["rows"], facts["refused"]) == ("saferlhf", 32, {})
    assert (facts["prompts"], facts["completions"], facts["ratings"]) == (31, 64, 192)
    ratings = read_feedback(tmp_path / "out").ratings.collect()
    wide = ratings.pivot(on="aspect", index="completion_id", values="value")
    assert wide.filter(pl.col("preference") != pl.col("safer")).height == 2 * 19
