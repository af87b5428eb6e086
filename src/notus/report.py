"""The report of a run: one self-contained page that can be read offline and mailed to anybody.

    run_facts.read_run, the tables -> plain values, section by section -> report.html.j2

The page holds texts that models and strangers wrote. All of it is escaped by the template engine,
control characters are made visible, and a strict content-security policy allows nothing but the
page's own style: no script, no font, no request. The plots are inline SVG (notus.plots).
"""

import json
from pathlib import Path
from typing import Any

import polars as pl

from notus import plots
from notus.audit.rules import RULES
from notus.data.schema import SEVERITIES
from notus.directories import write_atomically
from notus.pages import environment
from notus.results import MODES, PARTS
from notus.run_facts import RunFacts, read_run
from notus.score_view import score_view
from notus.store import read_feedback
from notus.training_view import training_view
from notus.words import headline, held_out, method

NUM_EXAMPLES = {"gained": 3, "lost": 3, "unchanged": 2}


def write_report(run: Path) -> Path:
    """Write RUN/report.html from what the run directory holds.

    Args:
        run: The directory that `notus run` or `notus train` wrote. Parts that it does not have
            (no evaluation yet, no overall scores) are left out of the page, which then says so.

    Returns:
        The page's path. An older report is replaced at once, never half.

    Raises:
        IncompleteError: The directory is no run, or one of its stages did not finish.
    """
    facts = read_run(run)
    template = environment().get_template("report.html.j2")
    page = template.render(
        run=facts,
        headline=headline(facts),
        held_out=held_out(facts),
        method=method(facts.recipe),
        overall=facts.pairs("pass_rate"),
        unseen=facts.pairs("pass_rate", "unseen"),
        modes=_mode_views(facts),
        examples=_examples(run / "evaluation") if "evaluation" in facts.stages else [],
        feedback=score_view(read_feedback(run / "feedback")) if facts.feedback else None,
        issues=_issue_views(facts),
        planted=_planted_view(facts),
        training=training_view(facts),
        stages=_stage_views(facts),
    )
    path = run / "report.html"
    write_atomically(path, lambda partial: partial.write_text(page, encoding="utf-8"))
    return path


def _mode_views(run: RunFacts) -> list[dict[str, Any]]:
    """Rows of each way of answering and their forest plot, all plots on one axis."""
    views: list[dict[str, Any]] = []
    for mode in MODES:
        overall, families, apart = (
            [row for row in run.pairs("pass_rate", part) if row.mode == mode] for part in PARTS
        )
        ordered = sorted(families, key=lambda row: -row.difference)
        groups = (overall, ordered, apart)
        rows = [(row, number) for number, group in enumerate(groups) for row in group]
        if rows:
            views.append({"mode": mode, "families": ordered, "apart": apart, "rows": rows})
    ends = [100 * end for view in views for row, _ in view["rows"] for end in (row.low, row.high)]
    margin = 0.04 * (max(ends, default=0.0) - min(ends, default=0.0))
    for view in views:
        view["forest"] = plots.forest(
            [
                plots.Interval(
                    label=row.label,
                    value=100 * row.difference,
                    low=100 * row.low,
                    high=100 * row.high,
                    verdict=row.verdict,
                    group=number,
                )
                for row, number in view["rows"]
            ],
            name=f"forest-{view['mode']}",
            label=f"Difference in {view['mode']} pass rate by family, with 95 % intervals",
            unit="difference in percentage points",
            limits=(min(ends) - margin, max(ends) + margin),
        )
    return views


def _issue_views(run: RunFacts) -> list[dict[str, Any]]:
    """Counts of each audit rule, with what it finds: its docstring's first line."""
    views = []
    for rule, counts in run.issues.items():
        line = (RULES[rule].__doc__ or "").partition("\n")[0] if rule in RULES else ""
        finds = line.removeprefix("Find ").rstrip(".")
        views.append({"rule": rule, "finds": finds, **dict.fromkeys(SEVERITIES, 0), **counts})
    return views


def _planted_view(run: RunFacts) -> dict[str, Any] | None:
    """Counts of the planted bugs, and their rows under the headings of a person."""
    if run.planted is None:
        return None
    made = run.preferences
    first = made.strategy if made else "the first strategy"
    second = str(made.compare["with"]) if made and made.compare else "the second strategy"
    headings = {"chosen_by_first": f"chosen by {first}", "chosen_by_second": f"chosen by {second}"}
    rows = pl.DataFrame(run.planted.get("rows", []))
    short = rows.with_columns(pl.col("^.*_id$").cast(pl.String).str.head(10))
    return {
        **run.planted,
        "strategies": (first, second),
        "columns": [headings.get(name, name.replace("_", " ")) for name in short.columns],
        "rows": short.rows(),
    }


def _examples(folder: Path) -> list[dict[str, Any]]:
    """Greedy answers of both models to the same prompts: gained, lost and unchanged ones.

    The choice is by prompt_id, a hash: no one picked the examples that look best.
    """
    path = folder / "samples.parquet"
    if not path.is_file():
        return []
    samples = pl.read_parquet(path).filter(pl.col("mode") == "greedy")
    both = samples.filter(pl.col("model") == "base").join(
        samples.filter(pl.col("model") == "tuned"), on=["prompt_id", "sample"], suffix="_tuned"
    )
    before, after = pl.col("passed"), pl.col("passed_tuned")
    change = pl.when(after & ~before).then(pl.lit("gained")).when(before & ~after).then(
        pl.lit("lost")
    )  # fmt: skip
    both = both.with_columns(change=change.otherwise(pl.lit("unchanged"))).sort("prompt_id")
    chosen = [
        row
        for name, number in NUM_EXAMPLES.items()
        for row in both.filter(pl.col("change") == name).head(number).iter_rows(named=True)
    ]
    return [
        row | {key: json.loads(row[key]) for key in ("verdicts", "verdicts_tuned")}
        for row in chosen
    ]


def _stage_views(run: RunFacts) -> list[dict[str, Any]]:
    return [
        {
            "folder": folder,
            "stage": manifest.stage,
            "seconds": manifest.wall_seconds,
            "rows": {o.path: o.rows for o in manifest.outputs if o.rows is not None},
            "megabytes": sum(output.bytes for output in manifest.outputs) / 1e6,
            "digest": manifest.content_digest[:12],
            "determinism": manifest.determinism,
        }
        for folder, manifest in run.stages.items()
    ]
