"""The verbs audit and binarize on directories."""

import json
import string
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from notus.audit.rules import RULES
from notus.data.schema import FINDINGS, ISSUES, check
from notus.data.sources import ingest
from notus.errors import UsageError
from notus.settings import AuditSection
from notus.stages.audit import audit
from notus.stages.binarize import binarize
from notus.store import read_table

ASKED = "What is the number 7 good for, and why do people like it?"


def uf_row(number: int, question: str, scores: list[float]) -> dict[str, Any]:
    completions = [
        {
            "model": f"m{place}",
            "response": f"answer {place} to question {number}",
            "overall_score": score,
            "critique": "fine",
            "annotations": {"honesty": {"Rating": str(5 - place)}},
        }
        for place, score in enumerate(scores)
    ]
    return {"source": "s", "instruction": question, "completions": completions}


@pytest.fixture
def feedback(tmp_path: Path) -> Path:
    words = np.random.default_rng(0).permutation(list(string.ascii_lowercase) * 8).reshape(-1, 8)
    questions = [" ".join(3 * word for word in row) + "?" for row in words[:19]]
    rows = [uf_row(i, text, [3, 9, 5]) for i, text in enumerate([ASKED, *questions])]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return ingest(source, tmp_path / "feedback").directory


@pytest.fixture
def items(tmp_path: Path) -> Path:
    path = tmp_path / "quiz.jsonl"
    lines = ['{"question": "' + ASKED + '"}', '{"question": ""}', "no"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_audit_writes_tables_a_page_and_a_summary(feedback: Path, tmp_path: Path) -> None:
    result = audit(feedback, tmp_path / "audit", AuditSection())
    assert check(ISSUES, read_table(result.directory, "issues").collect()).refused.is_empty()
    assert check(FINDINGS, read_table(result.directory, "findings").collect()).refused.is_empty()
    assert "<h1>s</h1>" in (result.directory / "audit.html").read_text(encoding="utf-8")
    summary = json.loads((result.directory / "summary.json").read_bytes())
    assert [row["rule"] for row in summary["rules"]] == list(RULES)
    skipped = {row["rule"] for row in summary["rules"] if row["skipped"]}
    assert {"contamination", "collapse", "contradiction"} <= skipped
    assert summary["strategies"] == {"argilla-v1": 20, "h4-v2": 20}
    assert (summary["flips"]["n_both"], summary["flips"]["n_flipped"]) == (20, 20)
    assert audit(feedback, tmp_path / "audit", AuditSection()).reused


def test_audit_lists_what_overlaps(feedback: Path, items: Path, tmp_path: Path) -> None:
    settings = AuditSection(against=[items], rules=["contamination"])
    result = audit(feedback, tmp_path / "audit", settings)
    (pair,) = pl.read_parquet(result.directory / "overlaps.parquet").to_dicts()
    assert pair["item_text"] == ASKED
    assert read_table(result.directory, "refused").collect().height == 2
    assert result.manifest.facts["against"] == {
        "items": {"quiz": 1},
        "refused": 2,
        "overlaps": 1,
        "prompts": 1,
    }
    (issue,) = read_table(result.directory, "issues").collect().to_dicts()
    assert issue["prompt_id"] == pair["prompt_id"]


def test_binarize_decontaminates(feedback: Path, items: Path, tmp_path: Path) -> None:
    made = binarize(feedback, tmp_path / "p", strategy="tulu-3", against=[items])
    assert made.manifest.facts["preferences"] == 19
    assert made.manifest.facts["dropped"] == {"overlaps with evaluation items": 1}
    with pytest.raises(UsageError, match=r"strategy 'argilla-v1', which does not look"):
        binarize(feedback, tmp_path / "q", strategy="argilla-v1", against=[items])


def test_binarize_says_where_two_strategies_differ(feedback: Path, tmp_path: Path) -> None:
    made = binarize(feedback, tmp_path / "p", strategy="argilla-v1", compare="h4-v2")
    rows = pl.read_parquet(made.directory / "comparison.parquet")
    assert rows.height == 20
    assert made.manifest.facts["compare"]["with"] == "h4-v2"
    assert made.manifest.facts["compare"]["share"] == 1.0
    assert made.manifest.config["specification"]["score"]["weights"]["honesty"] == 1
    same = binarize(feedback, tmp_path / "p", strategy="argilla-v1", compare="h4-v2")
    assert same.reused


def test_names_that_no_rule_and_no_strategy_has(feedback: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"rule 'scales'[^$]*did you mean 'scale'"):
        audit(feedback, tmp_path / "a", AuditSection(rules=["scales"]))
    with pytest.raises(UsageError, match=r"strategy 'h4-v3'"):
        audit(feedback, tmp_path / "a", AuditSection(strategies=["h4-v3"]))
    assert not (tmp_path / "a").exists()


@pytest.mark.shared
def test_argilla_v1_on_real_rows_gives_the_published_row(shared_data: Path, tmp_path: Path) -> None:
    """The published row: starchat, rated 5.0, over pythia-12b, 1.25."""
    source = shared_data / "ultrafeedback" / "raw_rows" / "uf_real_rows.jsonl"
    feedback = ingest(source, tmp_path / "feedback").directory
    made = binarize(feedback, tmp_path / "p", strategy="argilla-v1")
    models = dict(
        read_table(feedback, "completions").select("completion_id", "model").collect().iter_rows()
    )
    (pair,) = read_table(made.directory, "preferences").collect().to_dicts()
    assert models[pair["chosen_id"]] == "starchat"
    assert models[pair["rejected_id"]] == "pythia-12b"
    assert pair["margin"] == 5.0 - 1.25
    # The other two rows are partial: no answer of theirs has a rival with ratings.
    assert made.manifest.facts["dropped"] == {"fewer than 2 rated completions": 2}
