"""Rule `contamination`: evaluation items that stand in the prompts, counted by benchmark."""

import polars as pl

from notus.audit.overlap import KINDS, overlaps
from notus.audit.tokens import user_turns
from notus.audit.verdict import Finding, Subject, Verdict, make_issues
from notus.stats import wilson

RULE = "contamination"
FLAGGED = 0.02
"""A benchmark is contaminated when more than this share of its items is found."""


def contamination(subject: Subject) -> Verdict:
    """Find evaluation items in the prompts.

    An issue is a prompt that holds at least one item; a finding is the share of a benchmark's items
    that stand in any prompt, an error where it is over 2 %. Hits by small edits count like the
    others: who trains on an edited question has still seen it.

    Source: Lambert et al. 2024, "Tulu 3", section 3.2 (8-grams, over half of an item, 2 %).

    False alarms: questions that differ from an item in one telling word ("Who starred in A Tale of
    Two Cities?"): 4 of 4,878 real prompts against ten benchmarks, all of the kind "near". A prompt
    with the passage of a DROP item but none of its questions is flagged for all of them.
    """
    if subject.items is None:
        return Verdict(
            skipped="no evaluation items to compare with; name their files with --against"
        )
    turns = user_turns(subject.feedback)
    found = overlaps(turns, subject.items) if subject.overlaps is None else subject.overlaps
    return judge(found, subject.items, turns["prompt_id"].n_unique())


def judge(found: pl.DataFrame, items: pl.DataFrame, prompts: int) -> Verdict:
    """Turn overlaps into issues and findings.

    Args:
        found: Columns of `overlap.OVERLAPS`.
        items: The items that were looked for.
        prompts: How many prompts were looked at.
    """
    order = pl.col("kind").replace_strict(KINDS, range(len(KINDS)), return_dtype=pl.Int8)
    strongest = ["prompt_id", -pl.col("coverage"), order, "benchmark", "item"]
    by_prompt = (
        found.lazy()
        .sort(strongest)
        .group_by("prompt_id", maintain_order=True)
        .agg(pl.all().first(), others=pl.len() - 1)
    )
    evidence = pl.format(
        "{} {}: {}, {}% of the item's words{}",
        "benchmark",
        "item",
        "kind",
        (100 * pl.col("coverage")).round().cast(pl.Int64),
        pl.when(pl.col("others") > 0)
        .then(pl.format("; and {} more items", "others"))
        .otherwise(pl.lit("")),
    )
    issues = make_issues(
        by_prompt.with_columns(completion_id=pl.lit(None, pl.String)),
        RULE,
        severity="warning",
        score=pl.col("coverage").round(9),
        evidence=evidence,
    )
    findings = tuple(
        _finding(str(benchmark), total, found.filter(pl.col("benchmark") == benchmark))
        for benchmark, total in items.group_by("benchmark").len().sort("benchmark").iter_rows()
    )
    return Verdict(issues=issues, findings=findings, looked_at=prompts)


def _finding(benchmark: str, total: int, found: pl.DataFrame) -> Finding:
    """State the share of a benchmark's items that stand in the prompts."""
    # An item that several prompts hold is counted once, by the surest of its kinds.
    held = {kind: set(found.filter(pl.col("kind") == kind)["item"]) for kind in KINDS}
    counts: dict[str, int] = {}
    seen: set[str] = set()
    for kind in KINDS:
        counts[kind] = len(held[kind] - seen)
        seen |= held[kind]
    share = wilson(len(seen), total)
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    verdict = f"over {FLAGGED:.0%}: contaminated" if share.value > FLAGGED else "not flagged"
    return Finding(
        rule=RULE,
        severity="error" if share.value > FLAGGED else "info",
        subject=benchmark,
        value=share.value,
        low=share.low,
        high=share.high,
        n=total,
        evidence=f"{len(seen)} of {total} items stand in {found['prompt_id'].n_unique()} prompts"
        f"{f' ({kinds})' if kinds else ''}; {verdict}",
    )
