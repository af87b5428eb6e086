"""What an audit rule is given and what it answers.

    Subject -> rule -> Verdict: issues (rows about one item), findings (about the whole data set),
                                how many items were looked at, or why nothing was

A rule never decides anything: what follows from an issue is a person's ruling. It never raises for
data that lacks what it needs, it says that it was skipped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from notus.data.schema import FINDINGS, ISSUES, Feedback, Message

Encode = Callable[[Sequence[Sequence[Message]], Sequence[str]], list[list[int]]]
"""Token ids of the answers to some conversations, as training sees them after template and cut."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """What an audit may look at."""

    feedback: Feedback
    preferences: pl.DataFrame
    """Table `PREFERENCES`: what the source states, else what the first strategy makes."""
    strategies: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    """Strategy -> its `PREFERENCES`, to be compared."""
    keys: pl.DataFrame | None = None
    """What `notus.audit.texts.text_keys` makes of the completions, if that was done already."""
    encode: Encode | None = None
    """None if no tokenizer was named."""
    items: pl.DataFrame | None = None
    """Evaluation items (benchmark, item, text), to be found again; None: nothing to compare."""
    overlaps: pl.DataFrame | None = None
    """Where they stand (`notus.audit.overlap.OVERLAPS`), if that was found already."""


class Finding(NamedTuple):
    """One statement about the whole data set: a value with its 95 % interval, where it has one."""

    rule: str
    severity: str
    """A member of `notus.data.schema.SEVERITIES`."""
    subject: str
    """What the statement is about: a score, a model, a pair of strategies."""
    value: float | None
    low: float | None
    high: float | None
    n: int
    """Items that the value was taken over."""
    evidence: str
    """The statement in words."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict:
    """What one rule has to say."""

    issues: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=ISSUES.schema))
    """Table `ISSUES`, at most one row an item."""
    findings: tuple[Finding, ...] = ()
    looked_at: int = 0
    """Items that were examined: the denominator of a rate of issues."""
    skipped: str | None = None
    """Why the rule could not run, and what would make it run; None if it ran."""


Rule = Callable[[Subject], Verdict]


def make_issues(
    found: pl.LazyFrame, rule: str, *, severity: pl.Expr | str, score: pl.Expr, evidence: pl.Expr
) -> pl.DataFrame:
    """Bring flagged rows into the columns of `ISSUES`.

    Args:
        found: Rows with prompt_id and completion_id (null where the prompt as a whole is meant).
        rule: Name of the rule.
        severity: A member of `SEVERITIES`, or an expression that gives one.
        score: How strong the issue is; comparable within the rule alone.
        evidence: Why, in words, with the values.
    """
    return (
        found.select(
            pl.lit(rule).alias("rule"),
            "prompt_id",
            pl.col("completion_id").cast(pl.String),
            pl.lit(severity).alias("severity")
            if isinstance(severity, str)
            else severity.alias("severity"),
            score.cast(pl.Float64).alias("score"),
            evidence.alias("evidence"),
        )
        .select(ISSUES.schema.names())
        .collect(engine="streaming")
    )


def findings_frame(findings: Sequence[Finding]) -> pl.DataFrame:
    """Bring findings into the table `FINDINGS`."""
    return pl.DataFrame(list(findings), schema=FINDINGS.schema, orient="row")
