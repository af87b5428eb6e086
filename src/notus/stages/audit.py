"""The verb audit: every rule over feedback, and the page that shows what they found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import polars as pl

from notus import binarize as binarizing
from notus.audit.rules import RULES, Audit
from notus.audit.rules import audit as run_audit
from notus.audit.texts import text_keys
from notus.audit.verdict import Rule, Subject
from notus.comparison import compare
from notus.data.schema import FINDINGS, ISSUES, PREFERENCE, PREFERENCES, REFUSED, Feedback
from notus.errors import DataError, UsageError, explain_unknown
from notus.settings import AuditSection
from notus.specifications import specification
from notus.stages.against import Compared, compare_with, input_digests
from notus.stages.files import write_json
from notus.stages.planted import find_planted
from notus.store import StageResult, read_feedback, run_stage, write_frame, write_table

GIVEN = "given"


class Made(NamedTuple):
    """What the strategies made of the feedback, and why some could not."""

    by_strategy: dict[str, binarizing.Binarized]
    skipped: dict[str, str]


def audit(
    feedback: Path,
    out: Path,
    settings: AuditSection,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> StageResult:
    """Find what is wrong with feedback: issues, findings, summary.json and audit.html.

    Args:
        feedback: A finished Feedback directory.
        out: Directory to write. Beside the two tables: overlaps.parquet and refused.parquet (of
            the items) with `against`, planted.json with `planted`, audit.html where the extra
            `web` is installed.
        settings: See `AuditSection`.
        progress: Called after each rule with (rules done, rules in all).

    Raises:
        UsageError: No rule or strategy of a name.
    """
    rules = {name: _rule(name) for name in settings.rules or RULES}
    specs = {name: specification(name) for name in settings.strategies}

    def build(directory: Path) -> Mapping[str, object]:
        tables = read_feedback(feedback)
        keys = text_keys(tables.completions)
        made = _strategies(tables, settings.strategies, keys)
        compared = compare_with(tables, settings.against) if settings.against else None
        subject = replace(_subject(tables, made, compared, settings), keys=keys)
        found = run_audit(subject, rules, progress=progress)
        write_table(directory, ISSUES, found.issues)
        write_table(directory, FINDINGS, found.findings)
        summary = _summary(tables, found, made)
        if compared is not None:
            write_frame(directory / "overlaps.parquet", compared.overlaps)
            write_table(directory, REFUSED, compared.refused)
            summary["against"] = compared.facts()
        summary["page"] = _write_page(directory, subject, found)
        if settings.planted is not None:
            pair = [made.by_strategy.get(specs[name].name) for name in settings.strategies[:2]]
            planted = find_planted(settings.planted, tables, found.issues, pair)
            write_json(directory / "planted.json", planted)
            summary["planted"] = {k: v for k, v in planted.items() if k != "rows"}
        write_json(directory / "summary.json", summary)
        return summary

    inputs: dict[str, Path | str] = {"feedback": feedback, **input_digests(settings.against)}
    if settings.planted is not None:
        inputs["planted"] = settings.planted
    config = settings.model_dump(include={"tokenizer", "max_length", "max_prompt_length"})
    config |= {"rules": list(rules), "strategies": [spec.model_dump() for spec in specs.values()]}
    return run_stage(out, stage="audit", config=config, inputs=inputs, build=build)


def _rule(name: str) -> Rule:
    if name not in RULES:
        raise UsageError(explain_unknown("rule", name, RULES, where="rules of the audit"))
    return RULES[name]


def _strategies(feedback: Feedback, names: Sequence[str], keys: pl.DataFrame) -> Made:
    """Binarize by each strategy that the ratings allow, and by what the source itself states."""
    rated = feedback.ratings.select(pl.col("aspect").unique()).collect()["aspect"]
    wanted = [*([GIVEN] if PREFERENCE in rated else []), *(n for n in names if n != GIVEN)]
    made, skipped = {}, {}
    for name in wanted:
        spec = specification(name)
        try:
            made[spec.name] = binarizing.binarize(feedback, spec, keys=keys)
        except DataError as error:
            skipped[spec.name] = str(error).splitlines()[0]
    return Made(made, skipped)


def _subject(
    feedback: Feedback, made: Made, compared: Compared | None, settings: AuditSection
) -> Subject:
    tables = {name: one.preferences for name, one in made.by_strategy.items()}
    main = next(iter(tables.values()), pl.DataFrame(schema=PREFERENCES.schema))
    subject = Subject(feedback=feedback, preferences=main, strategies=tables)
    if compared is not None:
        subject = replace(subject, items=compared.items, overlaps=compared.overlaps)
    if settings.tokenizer is not None:
        from notus.stages.encoding import load_encode

        encode = load_encode(
            settings.tokenizer,
            max_length=settings.max_length,
            max_prompt_length=settings.max_prompt_length,
        )
        subject = replace(subject, encode=encode)
    return subject


def _write_page(directory: Path, subject: Subject, found: Audit) -> str:
    """Write audit.html, or say what is missing for it."""
    try:
        from notus.audit_page import audit_page
    except ImportError as error:
        return f"none: {error.name} is missing; pip install 'notus[web]'"
    page = audit_page(subject, found)
    (directory / "audit.html").write_text(page, encoding="utf-8")
    return "audit.html"


def _summary(feedback: Feedback, found: Audit, made: Made) -> dict[str, object]:
    grave = found.findings.filter(pl.col("severity") != "info")
    summary: dict[str, object] = {
        "rules": [{"rule": name, **counts} for name, counts in found.rules.items()],
        "findings": grave.select("severity", "rule", "subject", "evidence").to_dicts(),
        "strategies": {name: one.preferences.height for name, one in made.by_strategy.items()},
        "strategies_skipped": made.skipped,
    }
    first_two = list(made.by_strategy.items())[:2]
    if len(first_two) == 2:
        facts = compare(feedback, first_two[0][1], first_two[1][1]).facts
        summary["flips"] = {"between": [name for name, _ in first_two], **facts}
    return summary
