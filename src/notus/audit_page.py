"""The page of an audit: what the rules found, with plots and the worst rows as text.

    Subject, Audit -> plain values, section by section -> audit.html.j2

Equal inputs give an equal page: it holds no clock and no path.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from notus import bias_plots, plots
from notus.audit.pairs import agreement_of_choices
from notus.audit.rules import RULES, Audit
from notus.audit.verdict import Subject
from notus.data.schema import OVERALL, SEVERITIES, Feedback
from notus.pages import environment
from notus.score_view import score_view
from notus.stats import wilson

NUM_WORST = 20
"""Rows of each rule that are shown with their text."""
JUDGED = ("score_conflict", "critique_conflict")
"""Rules whose rows are shown with their critique."""
NUM_PAIRS = 20
"""Overlaps that are shown side by side."""
NUM_BINS = 9
"""Points of the length curve."""
GRAVEST = tuple(reversed(SEVERITIES))


def audit_page(subject: Subject, found: Audit) -> str:
    """Write the page.

    Args:
        subject: What was audited.
        found: What the rules said.

    Returns:
        One self-contained HTML page.
    """
    return (
        environment()
        .get_template("audit.html.j2")
        .render(
            title=_title(subject.feedback),
            sizes=_sizes(subject.feedback),
            totals=_totals(found),
            rules=_rule_views(found),
            findings=_finding_views(found.findings),
            scores=score_view(subject.feedback),
            length=_length_plot(subject),
            models=_model_plot(found.findings),
            flips=_flip_matrix(subject),
            contamination=_contamination(subject),
            worst=_worst(subject.feedback, found.issues),
            num_worst=NUM_WORST,
        )
    )


def _title(feedback: Feedback) -> str:
    """Name the feedback by its largest sources: a path would not be the same everywhere."""
    counted = feedback.prompts.group_by("source").len().sort(["len", "source"], descending=True)
    sources = counted.collect()["source"].to_list()
    more = f" and {len(sources) - 3} more" if len(sources) > 3 else ""
    return ", ".join(sources[:3]) + more or "Empty feedback"


def _sizes(feedback: Feedback) -> dict[str, int]:
    tables = {
        "prompts": feedback.prompts,
        "completions": feedback.completions,
        "ratings": feedback.ratings,
    }
    return {name: table.select(pl.len()).collect().item() for name, table in tables.items()}


def _totals(found: Audit) -> dict[str, int]:
    """Errors, warnings and notes, issues and findings together, and what they touch."""
    totals = {
        severity: sum(
            table.filter(pl.col("severity") == severity).height
            for table in (found.issues, found.findings)
        )
        for severity in SEVERITIES
    }
    grave = found.issues.filter(pl.col("severity") == "error")
    skipped = sum(rule["skipped"] is not None for rule in found.rules.values())
    prompts = grave["prompt_id"].n_unique()
    return {**totals, "prompts": prompts, "skipped": skipped, "rules": len(found.rules)}


def _rule_views(found: Audit) -> list[dict[str, Any]]:
    """Each rule with its counts and what its docstring says, those with errors first."""
    views = []
    for name, counts in found.rules.items():
        doc = (RULES[name].__doc__ or "").strip()
        first, _, rest = doc.partition("\n")
        paragraphs = [" ".join(part.split()) for part in rest.split("\n\n")]
        issues, findings = counts["issues"], counts["findings"]
        views.append(
            {
                "rule": name,
                "says": first.rstrip("."),
                "more": [part for part in paragraphs if part],
                "looked_at": counts["looked_at"],
                "skipped": counts["skipped"],
                "issues": {severity: issues.get(severity, 0) for severity in GRAVEST},  # type: ignore[attr-defined]
                "findings": {severity: findings.get(severity, 0) for severity in GRAVEST},  # type: ignore[attr-defined]
            }
        )
    return sorted(views, key=_gravity)


def _gravity(view: dict[str, Any]) -> tuple[bool, int, int]:
    """Order rules: those that ran first, then by errors and warnings."""
    errors, warnings = (
        view["issues"][level] + view["findings"][level] for level in ("error", "warning")
    )
    return view["skipped"] is not None, -min(errors, 1), -min(warnings, 1)


def _finding_views(findings: pl.DataFrame) -> list[dict[str, Any]]:
    order = pl.col("severity").replace_strict(GRAVEST, range(len(GRAVEST)))
    return findings.sort(order, maintain_order=True).to_dicts()


def _length_plot(subject: Subject) -> dict[str, Any] | None:
    """How often the longer answer is the chosen one, by how much longer it is."""
    pairs = subject.preferences.filter(pl.col("margin") > 0)
    if pairs.height < 20 * NUM_BINS:
        return None
    words = subject.feedback.completions.select(
        "completion_id", words=pl.col("text").str.count_matches(r"\S+") + 1
    ).collect(engine="streaming")
    lengths = pairs.join(words, left_on="chosen_id", right_on="completion_id").join(
        words, left_on="rejected_id", right_on="completion_id", suffix="_rejected"
    )
    ratio = np.log2(lengths["words"].to_numpy() / lengths["words_rejected"].to_numpy())
    ratio = ratio[ratio != 0]
    edges = np.quantile(np.abs(ratio), np.linspace(0, 1, NUM_BINS + 1))
    places = np.clip(np.searchsorted(edges, np.abs(ratio), side="right") - 1, 0, NUM_BINS - 1)
    points = []
    for place in range(NUM_BINS):
        inside = ratio[places == place]
        if inside.size:
            share = wilson(int((inside > 0).sum()), inside.size)
            middle = float(2 ** np.median(np.abs(inside)))
            points.append(bias_plots.Point(middle, share.value, share.low, share.high))
    whole = wilson(int((ratio > 0).sum()), ratio.size)
    return {"svg": bias_plots.length_curve(points), "share": whole}


def _model_plot(findings: pl.DataFrame) -> str | None:
    """The share of pairs in which each model is the chosen one."""
    rows = findings.filter((pl.col("rule") == "model_bias") & pl.col("value").is_between(0, 1))
    rows = rows.drop_nulls(["low", "high"]).sort("value", descending=True)
    if rows.is_empty():
        return None
    intervals = [
        plots.Interval(
            label=row["subject"],
            value=100 * row["value"] - 50,
            low=100 * row["low"] - 50,
            high=100 * row["high"] - 50,
            verdict="worse" if row["severity"] == "error" else "",
        )
        for row in rows.to_dicts()
    ]
    return plots.forest(
        intervals,
        name="models",
        label="Share of pairs in which each model is chosen, against one half",
        unit="share chosen minus 50, in points",
        limits=(-52.0, 52.0),
    )


def _flip_matrix(subject: Subject) -> dict[str, Any] | None:
    """For each two strategies the share of prompts whose choice differs, and kappa."""
    names = list(subject.strategies)
    if len(names) < 2:
        return None
    rows: dict[str, list[dict[str, Any] | None]] = {name: [] for name in names}
    for first, second in product(names, names):
        agreement = (
            None
            if first == second
            else agreement_of_choices(
                subject.strategies[first],
                subject.strategies[second],
                subject.feedback.completions,
            )
        )
        cell = None
        if agreement is not None:
            share = wilson(agreement.differ, agreement.n)
            cell = {"share": share, "kappa": agreement.kappa, "shade": round(100 * share.value)}
        rows[first].append(cell)
    counts = {name: table.height for name, table in subject.strategies.items()}
    return {"names": names, "rows": rows, "counts": counts}


def _contamination(subject: Subject) -> dict[str, Any] | None:
    """Hits by benchmark, and the closest pairs side by side."""
    if subject.items is None or subject.overlaps is None:
        return None
    hits = subject.overlaps.group_by("benchmark").agg(
        items=pl.col("item").n_unique(), prompts=pl.col("prompt_id").n_unique()
    )
    sets = subject.items.group_by("benchmark").agg(total=pl.len())
    table = sets.join(hits, on="benchmark", how="left").fill_null(0).sort("benchmark")
    rows = [
        row | {"share": wilson(row["items"], row["total"])} for row in table.iter_rows(named=True)
    ]
    closest = subject.overlaps.sort(
        ["coverage", "benchmark", "item", "prompt_id"], descending=[True, False, False, False]
    )
    pairs = closest.head(NUM_PAIRS).to_dicts()
    return {"rows": rows, "pairs": pairs, "num_pairs": closest.height}


def _worst(feedback: Feedback, issues: pl.DataFrame) -> list[dict[str, Any]]:
    """The gravest rows of each rule, with their texts; rules in the order of the audit."""
    order = pl.col("severity").replace_strict(GRAVEST, range(len(GRAVEST)))
    kept = (
        issues.with_columns(order=order)
        .sort(
            "order", "score", "prompt_id", "completion_id", descending=[False, True, False, False]
        )
        .group_by("rule", maintain_order=True)
        .head(NUM_WORST)
    )
    answers = (
        feedback.completions.filter(pl.col("completion_id").is_in(_ids(kept["completion_id"])))
        .select("completion_id", "model", "text")
        .collect(engine="streaming")
    )
    judged = kept.filter(pl.col("rule").is_in(JUDGED))["completion_id"]
    critiques = (
        feedback.ratings.filter(pl.col("completion_id").is_in(_ids(judged)))
        .filter((pl.col("aspect") == OVERALL) & pl.col("rationale").is_not_null())
        .group_by("completion_id")
        .agg(critique=pl.col("rationale").first())
        .collect(engine="streaming")
    )
    with_answers = kept.join(answers, on="completion_id", how="left")
    shown = with_answers.join(critiques, on="completion_id", how="left")
    rows = _with_prompts(feedback, shown)
    totals = dict(issues.group_by("rule").len().iter_rows())
    names = [name for name in RULES if name in totals]
    return [
        {
            "rule": name,
            "total": totals[name],
            "rows": rows.filter(pl.col("rule") == name)
            .sort("order", "score", descending=[False, True], maintain_order=True)
            .to_dicts(),
        }
        for name in names
    ]


def _with_prompts(feedback: Feedback, rows: pl.DataFrame) -> pl.DataFrame:
    last = pl.col("messages").list.last().struct.field("content")
    prompts = (
        feedback.prompts.filter(pl.col("prompt_id").is_in(_ids(rows["prompt_id"])))
        .select("prompt_id", prompt=last)
        .collect(engine="streaming")
    )
    return rows.join(prompts, on="prompt_id", how="left", maintain_order="left")


def _ids(column: pl.Series) -> Sequence[str]:
    return column.drop_nulls().unique().to_list()
