"""What a finished run says about itself, read once for its report and its model card.

    RUN/recipe.yaml     the resolved recipe                    -> name, recipe
    RUN/feedback/       prompts, completions, ratings, refused -> feedback
    RUN/audit/          issues; planted.json, if bugs were planted -> issues, planted
    RUN/preferences/    preferences, dropped, summary.json     -> preferences
    RUN/training/       metrics.jsonl, dropped, its facts      -> metrics, training
    RUN/evaluation/     results.json                           -> results, paired

A part that the run does not have is None or empty: a run may stop after training. A part that is
there without a manifest is an error, as everywhere.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from notus.audit.rules import count_issues
from notus.errors import IncompleteError, explain
from notus.manifest import Manifest
from notus.results import MODES, Paired, Part, Result, Row
from notus.store import read_manifest, read_table

FOLDERS = (
    "feedback",
    "audit",
    "preferences",
    "base",
    "training",
    "answers-base",
    "answers-tuned",
    "evaluation",
)
"""Stage directories of a run, in the order of the flow."""


@dataclass(frozen=True, kw_only=True)
class FeedbackFacts:
    """Sizes of the feedback tables, and what was refused."""

    num_prompts: int
    num_completions: int
    num_ratings: int
    raters: tuple[str, ...]
    refused: Mapping[str, int]
    """Reason -> rows."""


@dataclass(frozen=True, kw_only=True)
class PreferenceFacts:
    """What binarizing gave."""

    strategy: str
    num_preferences: int
    dropped: Mapping[str, int]
    """Reason -> prompts."""
    compare: Mapping[str, Any] | None
    """{"with", "n_both", "n_flipped", "share"}: how often a second strategy chose otherwise."""


@dataclass(frozen=True, kw_only=True)
class TrainingFacts:
    """What went into training."""

    num_train: int
    num_heldout: int
    num_left_out: int
    """Preferences that the recipe's max_pairs did not draw."""
    dropped: Mapping[str, int]
    """Reason -> preferences that could not be encoded."""
    facts: Mapping[str, Any]
    """All facts of the stage's manifest."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """Everything that the report and the card say about a run, but for single rows."""

    directory: Path
    name: str
    recipe: Mapping[str, Any]
    stages: Mapping[str, Manifest]
    """Folder -> manifest, in the order of the flow."""
    feedback: FeedbackFacts | None
    issues: Mapping[str, Mapping[str, int]]
    """Audit rule -> severity -> number of issues."""
    planted: Mapping[str, Any] | None
    preferences: PreferenceFacts | None
    training: TrainingFacts | None
    metrics: tuple[Mapping[str, Any], ...]
    """Rows of metrics.jsonl: one a logged step."""
    results: tuple[Result, ...]
    paired: tuple[Paired, ...]
    settings: Mapping[str, Any]
    num_leaked: int
    """Evaluation prompts that also stand in the feedback."""

    def pairs(self, metric: str, part: Part = "overall") -> list[Paired]:
        """Select the paired rows of a metric, greedy before sampled."""
        rows = [row for row in self.paired if row.metric == metric and row.part == part]
        return sorted(rows, key=lambda row: (None, *MODES).index(row.mode))

    def result(self, metric: str, model: str, like: Row | None = None) -> Result | None:
        """Find one model's number: of a paired row's mode and family, or over everything."""
        mode, family = (like.mode, like.family) if like is not None else (None, None)
        for row in self.results:
            if (row.metric, row.model, row.mode, row.family) == (metric, model, mode, family):
                return row
        return None


def read_run(run: Path) -> RunFacts:
    """Read what a run directory says about itself.

    Args:
        run: The directory that `notus run` or `notus train` wrote.

    Returns:
        The facts; parts that the run does not have are None or empty.

    Raises:
        IncompleteError: No recipe.yaml, or a stage's folder has no manifest.
    """
    path = run / "recipe.yaml"
    if not path.is_file():
        raise IncompleteError(
            explain(
                found=f"no recipe.yaml in {run.name!r}",
                expected="a run directory: recipe.yaml, training/, evaluation/ ...",
                where=str(run),
                remedy="name the directory that `notus run RECIPE` wrote",
            )
        )
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    stages = {name: read_manifest(run / name, None) for name in FOLDERS if (run / name).is_dir()}
    evaluation = _json(run / "evaluation" / "results.json") if "evaluation" in stages else {}
    return RunFacts(
        directory=run,
        name=str(recipe.get("name", run.name)),
        recipe=recipe,
        stages=stages,
        feedback=_feedback(run / "feedback") if "feedback" in stages else None,
        issues=_issues(run / "audit") if "audit" in stages else {},
        planted=_json(run / "audit" / "planted.json") or None,
        preferences=_preferences(run / "preferences") if "preferences" in stages else None,
        training=_training(run / "training", stages["training"]) if "training" in stages else None,
        metrics=_metrics(run / "training" / "metrics.jsonl"),
        results=tuple(Result(**row) for row in evaluation.get("results", [])),
        paired=tuple(Paired(**row) for row in evaluation.get("paired", [])),
        settings=evaluation.get("settings", {}),
        num_leaked=_num_leaked(run) if {"feedback", "evaluation"} <= stages.keys() else 0,
    )


def _json(path: Path) -> dict[str, Any]:
    """Read a JSON object; {} when there is no such file."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _metrics(path: Path) -> tuple[Mapping[str, Any], ...]:
    if not path.is_file():
        return ()
    return tuple(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line)


def _counts(frame: pl.LazyFrame, column: str) -> dict[str, int]:
    counted = frame.group_by(column).len().sort(["len", column], descending=[True, False])
    return dict(counted.collect().iter_rows())


def _issues(folder: Path) -> dict[str, dict[str, int]]:
    return count_issues(read_table(folder, "issues").collect())


def _feedback(folder: Path) -> FeedbackFacts:
    def rows(name: str) -> int:
        return int(read_table(folder, name).select(pl.len()).collect().item())

    return FeedbackFacts(
        num_prompts=rows("prompts"),
        num_completions=rows("completions"),
        num_ratings=rows("ratings"),
        raters=tuple(sorted(_counts(read_table(folder, "ratings"), "rater"))),
        refused=_counts(read_table(folder, "refused"), "reason"),
    )


def _preferences(folder: Path) -> PreferenceFacts:
    preferences = read_table(folder, "preferences")
    strategies = _counts(preferences, "strategy")
    return PreferenceFacts(
        strategy=", ".join(strategies) or "none",
        num_preferences=sum(strategies.values()),
        dropped=_counts(read_table(folder, "dropped"), "reason"),
        compare=_json(folder / "summary.json").get("compare"),
    )


def _training(folder: Path, manifest: Manifest) -> TrainingFacts:
    split = _counts(pl.scan_parquet(folder / "split.parquet"), "split")
    return TrainingFacts(
        num_train=split.get("train", 0),
        num_heldout=split.get("heldout", 0),
        num_left_out=split.get("left out", 0),
        dropped=_counts(read_table(folder, "dropped"), "reason"),
        facts=manifest.facts,
    )


def _num_leaked(run: Path) -> int:
    asked = read_table(run / "evaluation", "samples").select(pl.col("prompt_id").unique())
    known = read_table(run / "feedback", "prompts").select("prompt_id")
    return asked.join(known, on="prompt_id", how="semi").collect().height
