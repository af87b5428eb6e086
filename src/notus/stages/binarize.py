"""The verb binarize: preferences by a named specification, and how another one differs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from notus import binarize as binarizing
from notus.comparison import compare as compare_strategies
from notus.data.schema import DROPPED, PREFERENCES, Feedback
from notus.errors import UsageError, explain
from notus.recipe import Recipe
from notus.specification import Specification
from notus.specifications import specification
from notus.stages.against import compare_with, input_digests
from notus.stages.files import write_json
from notus.store import StageResult, read_feedback, run_stage, write_frame, write_table


def binarize(
    feedback: Path,
    out: Path,
    *,
    strategy: str,
    compare: str | None = None,
    against: Sequence[Path] = (),
) -> StageResult:
    """Make preferences: preferences, dropped, summary.json; comparison.parquet if asked for.

    Args:
        feedback: A finished Feedback directory.
        out: Directory to write.
        strategy: A published specification's name, or a YAML file of one.
        compare: A second one; every prompt where the two differ is a row of the comparison.
        against: Files of evaluation items, for a specification that decontaminates.

    Raises:
        UsageError: No such strategy, or evaluation items that it would not look at.
    """
    spec = specification(strategy)
    other = None if compare is None else specification(compare)
    specs = [spec] if other is None else [spec, other]
    _require_use(specs, against)

    def build(directory: Path) -> Mapping[str, object]:
        tables = read_feedback(feedback)
        compared = compare_with(tables, against) if against else None
        hits = None if compared is None else compared.overlaps["prompt_id"]
        made = binarizing.binarize(tables, spec, contaminated=hits)
        write_table(directory, PREFERENCES, made.preferences)
        write_table(directory, DROPPED, made.dropped)
        summary = dict(made.summary)
        if compared is not None:
            summary["against"] = compared.facts()
        if other is not None:
            summary["compare"] = _compare(directory, tables, made, other, hits)
        write_json(directory / "summary.json", summary)
        return summary

    config = {
        "specification": spec.model_dump(),
        "compare": None if other is None else other.model_dump(),
    }
    inputs: dict[str, Path | str] = {"feedback": feedback, **input_digests(against)}
    return run_stage(out, stage="binarize", config=config, inputs=inputs, build=build)


def preferences(recipe: Recipe, feedback: Path, out: Path, **settings: Any) -> StageResult:
    """Binarize, unless the ratings themselves are trained on: then both tables are empty.

    Args:
        recipe: The run's recipe.
        feedback: A finished Feedback directory.
        out: Directory to write.
        settings: Those of `binarize`.
    """
    if recipe.train.votes != "ratings":
        return binarize(feedback, out, **settings)

    def build(directory: Path) -> Mapping[str, object]:
        for table in (PREFERENCES, DROPPED):
            write_table(directory, table, pl.DataFrame(schema=table.schema))
        summary: dict[str, object] = {"preferences": 0}
        write_json(directory / "summary.json", summary)
        return summary

    config = {"specification": None, "compare": None}
    inputs: dict[str, Path | str] = {"feedback": feedback}
    return run_stage(out, stage="binarize", config=config, inputs=inputs, build=build)


def _compare(
    directory: Path,
    feedback: Feedback,
    made: binarizing.Binarized,
    other: Specification,
    hits: pl.Series | None,
) -> dict[str, object]:
    second = binarizing.binarize(feedback, other, contaminated=hits)
    found = compare_strategies(feedback, made, second)
    write_frame(directory / "comparison.parquet", found.rows)
    return {"with": other.name, **found.facts}


def _require_use(specs: Sequence[Specification], against: Sequence[Path]) -> None:
    if against and not any(spec.filters.decontaminate for spec in specs):
        raise UsageError(
            explain(
                found=f"evaluation items, and strategy {specs[0].name!r}, which does not look",
                expected="a specification with filters.decontaminate: true",
                where="--against",
                remedy="take tulu-3 or a YAML file of your own; to look without dropping anything"
                " use notus audit --against",
            )
        )
