"""The tables of notus: columns, named rules, content-hash ids, and the check of a frame.

A rule is a named boolean expression that every good row satisfies. `check` never drops anything:
it returns the good rows and, for each other row, the name of the first rule that it broke. Ids are
hashes of content, so the same feedback read twice, in any order, has the same ids.
"""

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import polars as pl

from notus.errors import DataError, explain

ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")
OVERALL = "overall"
PREFERENCE = "preference"
ROLES = ("system", "user", "assistant", "tool")
SEVERITIES = ("info", "warning", "error")
RAW_LIMIT = 2000
"""Characters of a refused item that are kept: enough to recognise it, never a whole book."""


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """The contract of one table."""

    name: str
    schema: pl.Schema
    key: tuple[str, ...]
    """Columns that together occur once; empty if rows may repeat."""
    rules: Mapping[str, pl.Expr]
    """Rule name -> boolean expression; null counts as broken."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checked:
    """Rows that keep every rule, and the others in the columns of `REFUSED`."""

    good: pl.DataFrame
    refused: pl.DataFrame


@dataclass(frozen=True, kw_only=True, eq=False)
class Feedback:
    """The three tables of a feedback data set, not yet read."""

    prompts: pl.LazyFrame
    completions: pl.LazyFrame
    ratings: pl.LazyFrame


def prompt_id(messages: Sequence[Message]) -> str:
    """Hash a conversation: equal for texts that differ only in Unicode composition (NFC).

    Args:
        messages: the turns before the answer; keys other than role and content do not count.

    Returns:
        32 hex digits of the SHA-256 of the canonical JSON.
    """
    turns = [
        [unicodedata.normalize("NFC", turn["role"]), unicodedata.normalize("NFC", turn["content"])]
        for turn in messages
    ]
    return _digest(turns)


def completion_id(prompt: str, model: str, text: str) -> str:
    """Hash one answer: 32 hex digits over its prompt's id, its model's name and its exact text."""
    return _digest([prompt, model, text])


def preference_id(prompt: str, chosen: str, rejected: str) -> str:
    """Hash one preference: 32 hex digits over the ids of its prompt and its two completions."""
    return _digest([prompt, chosen, rejected])


def check(table: Table, frame: pl.DataFrame) -> Checked:
    """Separate the rows that keep every rule of a table from those that break one.

    Among rows that keep the rules, the first of those with equal key is good and the others are
    refused as "duplicate".

    Args:
        table: the contract.
        frame: rows with exactly the table's columns, in any column order.

    Returns:
        Good rows in the table's column order; refused rows as (place "table:row", reason, raw),
        rows counted from 1.

    Raises:
        DataError: a column is missing, unknown or of another type: then nothing can be checked.
    """
    require_columns(table, frame)
    broken = [
        pl.when(~rule.fill_null(False)).then(pl.lit(name)) for name, rule in table.rules.items()
    ]
    marked = frame.select(table.schema.names()).with_row_index("#row", offset=1)
    marked = marked.with_columns(pl.coalesce([*broken, pl.lit(None, pl.String)]).alias("#reason"))
    good = marked.filter(pl.col("#reason").is_null())
    bad = marked.filter(pl.col("#reason").is_not_null())
    if table.key:
        first = pl.struct(table.key).is_first_distinct()
        again = good.filter(~first).with_columns(pl.lit("duplicate").alias("#reason"))
        good, bad = good.filter(first), pl.concat([bad, again]).sort("#row")
    return Checked(good=good.drop("#row", "#reason"), refused=_refused_rows(table, bad))


def require_columns(table: Table, frame: pl.DataFrame) -> None:
    """Raise DataError unless a frame has exactly the columns of a table, in any order."""
    found, expected = dict(frame.schema), dict(table.schema)
    wrong = [
        f"{name}: {found.get(name, 'missing')} (expected {expected.get(name, 'no such column')})"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]
    if wrong:
        raise DataError(
            explain(
                found="columns that do not fit: " + "; ".join(wrong),
                expected=", ".join(f"{name} {dtype}" for name, dtype in expected.items()),
                where=f"table {table.name}",
                remedy="select and cast the columns of the table before it is checked or written",
            )
        )


def raw_text(item: object) -> str:
    """Render a refused item as text of at most `RAW_LIMIT` characters that any file can hold."""
    text = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False, default=str)
    return text[:RAW_LIMIT].encode("utf-8", errors="backslashreplace").decode("utf-8")


def _digest(value: object) -> str:
    canonical = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:32]


def _refused_rows(table: Table, bad: pl.DataFrame) -> pl.DataFrame:
    rows = bad.drop("#row", "#reason").to_dicts()
    return pl.DataFrame(
        {
            "place": [f"{table.name}:{row}" for row in bad["#row"]],
            "reason": bad["#reason"],
            "raw": [raw_text(row) for row in rows],
        },
        schema=REFUSED.schema,
    )


def _strings(*names: str) -> dict[str, pl.DataType]:
    return dict.fromkeys(names, pl.String())


def _are_ids(*names: str) -> dict[str, pl.Expr]:
    pattern = "^[0-9a-f]{32}$"
    return {f"{name} is not a content hash": pl.col(name).str.contains(pattern) for name in names}


def _has_text(expression: pl.Expr) -> pl.Expr:
    return expression.str.strip_chars().str.len_bytes() > 0


_KNOWN_ROLE = pl.element().struct.field("role").is_in(ROLES)
_LAST = pl.col("messages").list.last().struct

PROMPTS = Table(
    name="prompts",
    schema=pl.Schema(
        {
            "prompt_id": pl.String(),
            "messages": pl.List(pl.Struct({"role": pl.String(), "content": pl.String()})),
            "source": pl.String(),
            "origin": pl.Struct({"sha256": pl.String(), "line": pl.Int64()}),
            "metadata": pl.String(),
        }
    ),
    key=("prompt_id",),
    rules={
        **_are_ids("prompt_id"),
        "no messages": pl.col("messages").list.len() > 0,
        "unknown role": pl.col("messages").list.eval(_KNOWN_ROLE).list.all(),
        "last message is not the user's": _LAST.field("role") == "user",
        "empty prompt": _has_text(_LAST.field("content")),
        "no source": pl.col("source").is_not_null(),
        "no metadata": pl.col("metadata").is_not_null(),
    },
)
COMPLETIONS = Table(
    name="completions",
    schema=pl.Schema(_strings("completion_id", "prompt_id", "model", "text", "metadata")),
    key=("completion_id",),
    rules={
        **_are_ids("completion_id", "prompt_id"),
        "no model": _has_text(pl.col("model")),
        "empty completion": _has_text(pl.col("text")),
        "no metadata": pl.col("metadata").is_not_null(),
    },
)
RATINGS = Table(
    name="ratings",
    schema=pl.Schema(
        {
            **_strings("completion_id", "rater", "aspect"),
            "value": pl.Float64(),
            "scale_min": pl.Float64(),
            "scale_max": pl.Float64(),
            "rationale": pl.String(),
        }
    ),
    key=("completion_id", "rater", "aspect"),
    rules={
        **_are_ids("completion_id"),
        "no rater": _has_text(pl.col("rater")),
        "no aspect": _has_text(pl.col("aspect")),
        # Out of scale is an issue for the audit to show, not a reason to lose what was said.
        "value is not a finite number": pl.col("value").is_null() | pl.col("value").is_finite(),
        "scale is empty": pl.col("scale_min") < pl.col("scale_max"),
    },
)
ISSUES = Table(
    name="issues",
    schema=pl.Schema(
        {
            **_strings("rule", "prompt_id", "completion_id", "severity"),
            "score": pl.Float64(),
            "evidence": pl.String(),
        }
    ),
    key=("rule", "prompt_id", "completion_id"),
    rules={
        "no rule": _has_text(pl.col("rule")),
        **_are_ids("prompt_id"),
        "unknown severity": pl.col("severity").is_in(SEVERITIES),
        "score is not a finite number": pl.col("score").is_finite(),
        "no evidence": _has_text(pl.col("evidence")),
    },
)
PREFERENCES = Table(
    name="preferences",
    schema=pl.Schema(
        {
            **_strings("preference_id", "prompt_id", "chosen_id", "rejected_id"),
            "margin": pl.Float64(),
            "strategy": pl.String(),
        }
    ),
    key=("preference_id", "strategy"),
    rules={
        **_are_ids("preference_id", "prompt_id", "chosen_id", "rejected_id"),
        "chosen is rejected": pl.col("chosen_id") != pl.col("rejected_id"),
        "margin is not a finite number": pl.col("margin").is_finite(),
        "no strategy": _has_text(pl.col("strategy")),
    },
)
DROPPED = Table(
    name="dropped",
    schema=pl.Schema(_strings("prompt_id", "strategy", "reason")),
    key=("prompt_id", "strategy"),
    rules={
        **_are_ids("prompt_id"),
        "no strategy": _has_text(pl.col("strategy")),
        "no reason": _has_text(pl.col("reason")),
    },
)
REFUSED = Table(
    name="refused",
    schema=pl.Schema(_strings("place", "reason", "raw")),
    key=(),
    rules={
        "no place": _has_text(pl.col("place")),
        "no reason": _has_text(pl.col("reason")),
        "no raw": pl.col("raw").is_not_null(),
    },
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (PROMPTS, COMPLETIONS, RATINGS, ISSUES, PREFERENCES, DROPPED, REFUSED)
}
