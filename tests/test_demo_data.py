"""The bundled feedback keeps its promises: sizes, ratings that can be recomputed, planted bugs.

The readers, raters and families have tests of their own; this is about the files in data/demo.
"""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from notus.binarize import binarize
from notus.data.prompts import read_prompts
from notus.data.schema import Feedback
from notus.data.sources import ingest
from notus.feedback.families import FAMILIES
from notus.feedback.rubrics import rate
from notus.settings import AuditSection
from notus.specifications import SPECIFICATIONS
from notus.stages.audit import audit
from notus.store import read_feedback

DEMO = Path(__file__).resolve().parent.parent / "data" / "demo"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    facts = ingest(DEMO / "feedback.jsonl.gz", folder / "feedback").manifest.facts
    assert facts["format"] == "ultrafeedback"
    assert set(facts["refused"]) <= {"duplicate completion"}, facts
    return folder


@pytest.fixture(scope="module")
def feedback(folder: Path) -> Feedback:
    return read_feedback(folder / "feedback")


@pytest.fixture(scope="module")
def planted() -> dict[str, dict[str, Any]]:
    lines = (DEMO / "planted.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["completion_id"]: row for row in rows}


@pytest.fixture(scope="module")
def rated(feedback: Feedback) -> pl.DataFrame:
    """Every completion with its bundled overall score, and what the checks say of it today."""
    scores = feedback.ratings.filter(aspect="overall").select(
        "completion_id", score="value", critique="rationale"
    )
    prompts = feedback.prompts.select("prompt_id", "source", "messages", asked="metadata")
    joined = feedback.completions.join(prompts, on="prompt_id").join(scores, on="completion_id")
    rows = []
    for row in joined.collect().iter_rows(named=True):
        finished = json.loads(row["metadata"])["finished"]
        asked = {"instruction": row["messages"][-1]["content"]} | json.loads(row["asked"])
        today = rate(row["text"], asked, finished=finished)
        names = {"completion_id", "prompt_id", "source", "score", "critique"}
        fields = {name: value for name, value in row.items() if name in names}
        rows.append(
            fields
            | {"today": today.overall, "words": today.critique, "passed": today.passed}
            | {f"today_{aspect}": value for aspect, (value, _) in today.ratings.items()}
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def test_sizes(feedback: Feedback) -> None:
    prompts = feedback.prompts.select(pl.len()).collect().item()
    assert prompts >= 1200
    answers = feedback.completions.group_by("prompt_id").len().collect()
    assert answers.height == prompts
    assert answers["len"].max() == 4
    assert answers["len"].mean() > 3.99
    assert sum(path.stat().st_size for path in DEMO.iterdir()) < 6e6


def test_the_scores_are_those_of_the_checks_but_for_the_planted(
    rated: pl.DataFrame, feedback: Feedback, planted: dict[str, dict[str, Any]]
) -> None:
    wrong = rated.filter(pl.col("score") != pl.col("today"))
    assert set(wrong["completion_id"]) == set(planted)
    assert wrong.select("score", "today").unique().rows() == [(10.0, 1.0)]
    assert rated.filter(pl.col("critique") != pl.col("words")).is_empty()
    aspects = feedback.ratings.filter(pl.col("aspect") != "overall").collect()
    today = rated.unpivot(
        pl.selectors.starts_with("today_"), index="completion_id", variable_name="aspect"
    ).with_columns(pl.col("aspect").str.strip_prefix("today_"))
    both = aspects.join(today, on=["completion_id", "aspect"], suffix="_today")
    assert both.height == aspects.height == today.height
    assert both.filter(~pl.col("value").eq_missing(pl.col("value_today"))).is_empty()


def test_one_in_a_hundred_is_planted_and_labelled(
    rated: pl.DataFrame, planted: dict[str, dict[str, Any]]
) -> None:
    assert len(planted) == round(0.01 * rated.height)
    assert {(r["true_score"], r["written_score"]) for r in planted.values()} == {(1.0, 10.0)}


def test_there_is_something_to_learn_and_room_to_learn_it(rated: pl.DataFrame) -> None:
    """The base model passes 10 to 70 % of the answers of every family."""
    shares = dict(rated.group_by("source").agg(pl.col("passed").mean()).iter_rows())
    assert len(shares) >= 20
    outside = {name: share for name, share in shares.items() if not 0.1 <= share <= 0.7}
    assert outside == {}


def test_the_test_prompts_are_others(feedback: Feedback) -> None:
    """No prompt, no wording and no family kept out is in both."""
    test = read_prompts(DEMO / "test_prompts.jsonl")
    train = feedback.prompts.collect()
    assert not set(test["prompt_id"]) & set(train["prompt_id"])
    wordings = [
        {json.loads(metadata)["wording"] for metadata in table["metadata"]}
        for table in (train, test)
    ]
    assert not wordings[0] & wordings[1]
    assert set(test["source"]) - set(train["source"]) == {
        family.name for family in FAMILIES.values() if family.unseen
    }


def test_the_finding_is_re_enacted(
    folder: Path, feedback: Feedback, planted: dict[str, dict[str, Any]]
) -> None:
    """By overall score most of the planted win; by mean rating none does."""
    chosen = {
        name: set(binarize(feedback, SPECIFICATIONS[name]).preferences["chosen_id"])
        for name in ("h4-v2", "argilla-v1")
    }
    assert not chosen["argilla-v1"] & set(planted)
    assert len(chosen["h4-v2"] & set(planted)) > len(planted) / 2
    settings = AuditSection(planted=DEMO / "planted.jsonl")
    facts = audit(folder / "feedback", folder / "audit", settings).manifest.facts
    assert facts["planted"]["num_flagged_by_score_conflict"] == len(planted)
    assert facts["planted"]["num_in_disagreement"] > len(planted) / 2
