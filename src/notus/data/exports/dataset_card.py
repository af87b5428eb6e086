"""The card of an exported data set: README.md, whose front matter tells `datasets` the splits.

Every number comes from the manifests and tables of the stages that made the rows; what is not known
is said to be unknown. Text from data is escaped. A card names no path of the machine and no time,
so that equal rows have equal cards.
"""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
import yaml

from notus.data.exports.writers import Column
from notus.manifest import Manifest
from notus.markdown import escape_code, escape_text, fence, table

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
CONTAMINATION = "contamination"


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditFacts:
    """What an audit of the feedback has found."""

    issues: pl.DataFrame
    """Table `ISSUES`."""
    findings: pl.DataFrame
    """Table `FINDINGS`; empty if the audit wrote none."""
    skipped: Mapping[str, str]
    """Rule -> why it did not run."""
    rules: tuple[str, ...]
    """Rules that the audit knows; empty if it does not say."""
    against: tuple[str, ...]
    """Names of the evaluation items that it was given."""
    num_contaminated: int
    """Prompts with pairs that overlap with an evaluation item."""
    digest: str


@dataclass(frozen=True, kw_only=True, eq=False)
class CardFacts:
    """Everything that a card says."""

    name: str
    schema: str
    splits: Mapping[str, int]
    columns: tuple[Column, ...]
    feedback: Manifest
    sizes: Mapping[str, int]
    """Table of the feedback -> rows."""
    refused: Mapping[str, int] | None
    """Reason -> items refused on reading; None: unknown."""
    preferences: Manifest
    num_preferences: int
    dropped: Mapping[str, int]
    """Reason -> rows of the table `dropped`."""
    audit: AuditFacts | None
    holdout: int
    seed: int
    license: str | None
    languages: tuple[str, ...]
    version: str
    """Of notus."""

    @property
    def specification(self) -> Mapping[str, Any]:
        """The rule, or all of the stage's settings where it does not name one."""
        config = self.preferences.config
        found = config.get("specification")
        return found if isinstance(found, Mapping) else config

    @property
    def strategy(self) -> str:
        """The rule's name."""
        return str(self.specification.get("name", "unnamed"))


def dataset_card(facts: CardFacts) -> str:
    """Write the card.

    Source of the front matter: the hub's "Dataset Cards" and datasets' "Manual configuration".
    """
    parts = [
        f"---\n{_front_matter(facts)}---",
        f"# {escape_text(facts.name)}",
        _introduction(facts),
        "## Columns\n\n" + _column_table(facts.columns),
        "## Rule\n\n" + _rule(facts),
        "## Counts\n\n" + _counts(facts),
        "## Against another rule\n\n" + _flips(facts.preferences.facts.get("compare")),
        "## Contamination\n\n" + _contamination(facts.audit),
        "## Audit\n\n" + _audit(facts.audit),
        "## How to rebuild\n\n" + "\n\n".join(_rebuild(facts)),
    ]
    return "\n\n".join(parts) + "\n"


def size_category(rows: int) -> str:
    """Name the hub's size category of a number of rows."""
    marks = ("1K", "10K", "100K", "1M", "10M", "100M")
    above = sum(rows >= size for size in SIZES)
    if above == 0:
        return f"n<{marks[0]}"
    return f"{marks[above - 1]}<n<{marks[above]}" if above < len(marks) else f"n>{marks[-1]}"


def _front_matter(facts: CardFacts) -> str:
    files = [{"split": name, "path": f"data/{name}-*"} for name in facts.splits]
    header: dict[str, Any] = {
        "pretty_name": facts.name,
        **({"license": facts.license} if facts.license else {}),
        **({"language": list(facts.languages)} if facts.languages else {}),
        "size_categories": [size_category(sum(facts.splits.values()))],
        "task_categories": ["text-generation"],
        "tags": ["preference", "dpo", "notus", facts.schema],
        "configs": [{"config_name": "default", "data_files": files}],
    }
    return yaml.safe_dump(header, sort_keys=False, allow_unicode=True)


def _introduction(facts: CardFacts) -> str:
    splits = ", ".join(f"{rows:,} in `{name}`" for name, rows in facts.splits.items())
    lines = [
        f"Pairs of a chosen and a rejected answer to the same prompt: {splits}. Made with notus "
        f"{facts.version} in the schema `{facts.schema}` by the rule "
        f"`{escape_code(facts.strategy)}`."
    ]
    if facts.holdout:
        lines.append(
            f"The second split holds the pairs of {facts.holdout:,} prompts that were drawn with "
            f"seed {facts.seed}; no prompt is in both splits."
        )
    if not facts.license:
        lines.append("No license was stated: ask whoever published this data set.")
    return "\n\n".join(lines)


def _column_table(columns: Iterable[Column]) -> str:
    rows = [(f"`{escape_code(c.name)}`", f"`{c.type}`", escape_text(c.meaning)) for c in columns]
    return table(("column", "type", "meaning"), rows)


def _rule(facts: CardFacts) -> str:
    note = facts.specification.get("note")
    text = yaml.safe_dump(dict(facts.specification), sort_keys=False, allow_unicode=True)
    return "\n\n".join(
        ([escape_text(f"{note[:1].upper()}{note[1:]}.")] if isinstance(note, str) else [])
        + ["The whole specification, as `notus binarize` takes it:", fence(text, "yaml")]
    )


def _counts(facts: CardFacts) -> str:
    rows = [(escape_text(name), f"{number:,}") for name, number in facts.sizes.items()]
    rows.append(("preferences", f"{facts.num_preferences:,}"))
    parts = [table(("what", "number"), rows, numbers=1)]
    parts.append(_reasons("Refused on reading", facts.refused))
    parts.append(_reasons("Dropped by the rule", facts.dropped))
    return "\n\n".join(parts)


def _reasons(title: str, reasons: Mapping[str, int] | None) -> str:
    if reasons is None:
        return f"{title}: not known."
    if not reasons:
        return f"{title}: none."
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    rows = [(escape_text(reason), f"{number:,}") for reason, number in ordered]
    return f"{title}: {sum(reasons.values()):,}.\n\n" + table(("reason", "number"), rows, numbers=1)


def _flips(compare: object) -> str:
    if not isinstance(compare, Mapping) or not {"with", "n_both", "n_flipped"} <= set(compare):
        return "The rule was not compared with another one."
    both, flipped = compare["n_both"], compare["n_flipped"]
    share = f" ({100 * flipped / both:.1f} %)" if both else ""
    text = (
        f"Against the rule `{escape_code(compare['with'])}`, the chosen answer differs for "
        f"{flipped:,} of the {both:,} prompts{share} that have a pair by both."
    )
    low, high, kappa = (compare.get(name) for name in ("low", "high", "kappa"))
    if low is not None and high is not None:
        text += f" The 95 % interval of this share is {100 * low:.1f} to {100 * high:.1f} %."
    return text if kappa is None else f"{text} Cohen's kappa is {kappa:.3f}."


def _contamination(audit: AuditFacts | None) -> str:
    if audit is None:
        return "Not checked for contamination: no audit was given."
    if CONTAMINATION in audit.skipped:
        return f"Not checked for contamination: {escape_text(audit.skipped[CONTAMINATION])}."
    findings = audit.findings.filter(pl.col("rule") == CONTAMINATION).sort("subject")
    issues = audit.issues.filter(pl.col("rule") == CONTAMINATION)
    if findings.is_empty() and issues.is_empty() and CONTAMINATION not in audit.rules:
        return "Not checked for contamination: the audit that was given has no such rule."
    found = issues["prompt_id"].n_unique()
    text = (
        f"{found:,} of the feedback's prompts overlap with an evaluation item; "
        f"{audit.num_contaminated:,} of them have pairs in this data set."
    )
    if audit.against:
        text += f" Compared with: {', '.join(map(escape_text, audit.against))}."
    rows = [
        (escape_text(row["subject"]), row["severity"], escape_text(row["evidence"]))
        for row in findings.iter_rows(named=True)
    ]
    return f"{text}\n\n{table(('evaluation', 'severity', 'finding'), rows)}" if rows else text


def _audit(audit: AuditFacts | None) -> str:
    if audit is None:
        return "No audit was given."
    counts = audit.issues.group_by("rule", "severity").len().sort("rule", "severity")
    rows = [(f"`{escape_code(rule)}`", kind, f"{n:,}") for rule, kind, n in counts.iter_rows()]
    ran = [rule for rule in audit.rules if rule not in audit.skipped]
    parts = [f"Rules that ran: {', '.join(map(escape_text, ran))}."] if ran else []
    issues = "Issues in the feedback, before the rule above was applied"
    parts.append(f"{issues}: none." if not rows else f"{issues}:")
    if rows:
        parts.append(table(("rule", "severity", "issues"), rows, numbers=1))
    worse = audit.findings.filter(pl.col("severity") != "info").sort("rule", "subject")
    if worse.height:
        said = [
            (f"`{escape_code(row['rule'])}`", row["severity"], escape_text(row["evidence"]))
            for row in worse.iter_rows(named=True)
        ]
        parts.append(
            "Of the feedback as a whole:\n\n" + table(("rule", "severity", "finding"), said)
        )
    if audit.skipped:
        why = [(f"`{escape_code(k)}`", escape_text(v)) for k, v in sorted(audit.skipped.items())]
        parts.append("Rules that did not run:\n\n" + table(("rule", "why"), why))
    return "\n\n".join(parts)


def _rebuild(facts: CardFacts) -> Iterator[str]:
    name, quote = facts.name, shlex.quote
    made = f"# feedback: a result of the stage {quote(facts.feedback.stage)}, see below"
    if facts.feedback.stage == "ingest":
        form = quote(str(facts.feedback.facts.get("format", "auto")))
        made = f"notus ingest SOURCE --out feedback --format {form}"
    rule = f"notus binarize feedback --out preferences --strategy {quote(facts.strategy)}"
    compare = facts.preferences.facts.get("compare")
    if isinstance(compare, Mapping) and "with" in compare:
        rule += f" --set {quote('compare=' + str(compare['with']))}"
    last = f"notus export feedback --to {facts.schema} --preferences preferences"
    last += (" --audit audit" if facts.audit else "") + f" --out {quote(name)}"
    if facts.holdout:
        last += f" --set holdout={facts.holdout} --set seed={facts.seed}"
    if facts.license:
        last += f" --set {quote('license=' + facts.license)}"
    if facts.languages:
        last += f" --set {quote('language=[' + ', '.join(facts.languages) + ']')}"
    commands = [made, rule, *(["notus audit feedback --out audit"] if facts.audit else []), last]
    yield fence("\n".join(commands), "sh")
    yield "SHA-256 of what went in:"
    rows = [
        (where, f"`{escape_code(name)}`", f"`{digest}`")
        for where, inputs in (
            (f"{facts.feedback.stage} (feedback)", facts.feedback.inputs),
            (f"{facts.preferences.stage} (preferences)", facts.preferences.inputs),
            ("export", _exported(facts)),
        )
        for name, digest in inputs.items()
    ]
    yield table(("stage", "input", "digest"), rows)


def _exported(facts: CardFacts) -> dict[str, str]:
    own = {
        "feedback": facts.feedback.content_digest,
        "preferences": facts.preferences.content_digest,
    }
    return own if facts.audit is None else own | {"audit": facts.audit.digest}
