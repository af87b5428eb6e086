"""The named rules of an audit, and the audit itself: every rule over one subject.

Each rule is a function from Subject to Verdict. What follows from an issue is a person's decision.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from notus.audit.alignment import alignment
from notus.audit.bias import model_bias, position, rejected_index, self_preference
from notus.audit.collapse import collapse
from notus.audit.contamination import contamination
from notus.audit.critiques import critique_conflict
from notus.audit.histograms import pile_up
from notus.audit.leaks import prompt_leak
from notus.audit.length import length
from notus.audit.near_duplicates import near_dup
from notus.audit.pairs import contradiction, flip, inversion, tie
from notus.audit.scores import arity, scale, score_conflict
from notus.audit.texts import identical
from notus.audit.verdict import Rule, Subject, Verdict, findings_frame
from notus.audit.votes import confident, rm_vote
from notus.data.schema import FINDINGS, ISSUES, SEVERITIES


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """What all rules had to say."""

    issues: pl.DataFrame
    """Table `ISSUES`: rule by rule, the strongest of each first."""
    findings: pl.DataFrame
    """Table `FINDINGS`, rule by rule."""
    rules: dict[str, dict[str, object]]
    """Rule -> items looked at, issues by severity, findings by severity, and why it was skipped."""


def audit(
    subject: Subject,
    rules: Mapping[str, Rule] | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Apply rules.

    Args:
        subject: What to look at.
        rules: Name -> rule; None for all of `RULES`.
        progress: Called after each rule with (rules done, rules in all).
    """
    chosen = RULES if rules is None else rules
    verdicts: dict[str, Verdict] = {}
    for name, rule in chosen.items():
        verdicts[name] = rule(subject)
        if progress is not None:
            progress(len(verdicts), len(chosen))
    order = ["score", "prompt_id", "completion_id"]
    issues = [
        verdict.issues.sort(order, descending=[True, False, False]) for verdict in verdicts.values()
    ]
    findings = [findings_frame(verdict.findings) for verdict in verdicts.values()]
    return Audit(
        issues=pl.concat([pl.DataFrame(schema=ISSUES.schema), *issues]),
        findings=pl.concat([pl.DataFrame(schema=FINDINGS.schema), *findings]),
        rules={name: _summary(verdict) for name, verdict in verdicts.items()},
    )


def count_issues(issues: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Count issues by rule and severity, the gravest first; a rule without any has no counts.

    Rules that this version does not know, of an older table, come last.
    """
    counted: dict[str, dict[str, int]] = {rule: {} for rule in RULES}
    for rule, severity, number in _by_severity(issues).iter_rows():
        counted.setdefault(rule, {})[severity] = number
    return counted


def _summary(verdict: Verdict) -> dict[str, object]:
    counts = {severity: number for _, severity, number in _by_severity(verdict.issues).iter_rows()}
    findings = _by_severity(findings_frame(verdict.findings))
    return {
        "looked_at": verdict.looked_at,
        "issues": counts,
        "findings": {severity: number for _, severity, number in findings.iter_rows()},
        "skipped": verdict.skipped,
    }


def _by_severity(rows: pl.DataFrame) -> pl.DataFrame:
    order = pl.col("severity").replace_strict(SEVERITIES, range(len(SEVERITIES)))
    return rows.group_by("rule", "severity").len().sort("rule", order, descending=[False, True])


RULES: dict[str, Rule] = {
    "score_conflict": score_conflict,
    "critique_conflict": critique_conflict,
    "pile_up": pile_up,
    "scale": scale,
    "arity": arity,
    "alignment": alignment,
    "identical": identical,
    "near_dup": near_dup,
    "tie": tie,
    "inversion": inversion,
    "contradiction": contradiction,
    "collapse": collapse,
    "flip": flip,
    "rejected_index": rejected_index,
    "position": position,
    "model_bias": model_bias,
    "self_preference": self_preference,
    "length": length,
    "prompt_leak": prompt_leak,
    "contamination": contamination,
    "rm_vote": rm_vote,
    "confident": confident,
}
