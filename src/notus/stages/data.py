"""Stages of the data half: audit, binarize, export; they never import torch."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from notus import binarize as binarizing
from notus.audit.rules import RULES, count_issues
from notus.audit.rules import audit as run_audit
from notus.data.export import WRITERS
from notus.data.schema import DROPPED, ISSUES, PREFERENCES, Feedback
from notus.errors import UsageError, explain_unknown
from notus.stages.files import write_json, write_lines
from notus.store import StageResult, read_feedback, run_stage, write_table


def audit(
    feedback: Path,
    out: Path,
    *,
    strategies: tuple[str, str] = ("argilla-v1", "h4-v2"),
    planted: Path | None = None,
) -> StageResult:
    """Find issues in feedback: issues.parquet and summary.json.

    Args:
        feedback: A finished Feedback directory.
        out: Directory to write.
        strategies: Two specifications whose chosen answers are compared (flips).
        planted: JSONL of completions (completion_id) whose overall score is known to be wrong; the
            summary then says how many of them the audit finds.
    """

    def build(directory: Path) -> Mapping[str, object]:
        tables = read_feedback(feedback)
        issues = run_audit(tables)
        write_table(directory, ISSUES, issues)
        first, second = (
            binarizing.binarize(tables, binarizing.specification(name)) for name in strategies
        )
        flips = binarizing.flips(first.preferences, second.preferences)
        summary: dict[str, object] = {
            "issues": count_issues(issues),
            "flips": {"between": list(strategies), **asdict(flips)},
        }
        if planted is not None:
            found = _find_planted(planted, tables, issues, first.preferences, second.preferences)
            write_json(directory / "planted.json", found)
            summary["planted"] = {k: v for k, v in found.items() if k != "rows"}
        write_json(directory / "summary.json", summary)
        return summary

    inputs: dict[str, Path | str] = {"feedback": feedback}
    if planted is not None:
        inputs["planted"] = planted
    config = {"strategies": list(strategies), "rules": sorted(RULES)}
    return run_stage(out, stage="audit", config=config, inputs=inputs, build=build)


def binarize(
    feedback: Path, out: Path, *, strategy: str, compare: str | None = None
) -> StageResult:
    """Make preferences by a named specification: preferences, dropped and summary.json."""
    specification = binarizing.specification(strategy)
    other = None if compare is None else binarizing.specification(compare)

    def build(directory: Path) -> Mapping[str, object]:
        tables = read_feedback(feedback)
        made = binarizing.binarize(tables, specification)
        write_table(directory, PREFERENCES, made.preferences)
        write_table(directory, DROPPED, made.dropped)
        summary: dict[str, object] = dict(made.summary)
        if other is not None:
            flips = binarizing.flips(
                made.preferences, binarizing.binarize(tables, other).preferences
            )
            summary["compare"] = {"with": other.name, **asdict(flips)}
        write_json(directory / "summary.json", summary)
        return summary

    config = {"specification": asdict(specification), "compare": other and asdict(other)}
    return run_stage(
        out, stage="binarize", config=config, inputs={"feedback": feedback}, build=build
    )


def export(feedback: Path, out: Path, *, to: str) -> dict[str, object]:
    """Write feedback as JSONL (gzipped when OUT ends in .gz) in another tool's schema."""
    if to not in WRITERS:
        raise UsageError(explain_unknown("schema", to, WRITERS, where="notus export --to"))
    rows = list(WRITERS[to](read_feedback(feedback)))
    write_lines(out, rows)
    return {"rows": len(rows), "schema": to}


def _find_planted(
    planted: Path,
    feedback: Feedback,
    issues: pl.DataFrame,
    first: pl.DataFrame,
    second: pl.DataFrame,
) -> dict[str, Any]:
    """Say what became of completions whose overall score is known to be wrong."""
    known = pl.read_ndjson(planted).select("completion_id", "true_score")
    flagged = issues.filter(pl.col("rule") == "score_conflict")["completion_id"]
    one = first.select("prompt_id", first_chosen="chosen_id")
    both = one.join(second.select("prompt_id", second_chosen="chosen_id"), on="prompt_id")
    differ = both.filter(pl.col("first_chosen") != pl.col("second_chosen"))["prompt_id"]
    rows = (
        known.lazy()
        .join(
            feedback.completions.select("completion_id", "prompt_id", "model"), on="completion_id"
        )
        .collect()
        .with_columns(
            flagged=pl.col("completion_id").is_in(flagged.implode()),
            in_disagreement=pl.col("prompt_id").is_in(differ.implode()),
            chosen_by_second=pl.col("completion_id").is_in(second["chosen_id"].implode()),
            chosen_by_first=pl.col("completion_id").is_in(first["chosen_id"].implode()),
        )
        .sort("completion_id")
    )
    return {
        "num_planted": known.height,
        "num_found_in_feedback": rows.height,
        "num_flagged_by_score_conflict": int(rows["flagged"].sum()),
        "num_in_disagreement": int(rows["in_disagreement"].sum()),
        "num_chosen_by_first": int(rows["chosen_by_first"].sum()),
        "num_chosen_by_second": int(rows["chosen_by_second"].sum()),
        "rows": rows.to_dicts(),
    }
