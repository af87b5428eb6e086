"""The tables of notus: columns, named rules, and content-hash ids.

Ids are hashes of content, so the same feedback read twice, in any order, has the same ids.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import msgspec
import polars as pl

from notus.data.contracts import REFUSED as REFUSED
from notus.data.contracts import Checked as Checked
from notus.data.contracts import Table as Table
from notus.data.contracts import check as check
from notus.data.contracts import has_text, strings
from notus.data.contracts import raw_text as raw_text
from notus.data.contracts import require_columns as require_columns

ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")
OVERALL = "overall"
PREFERENCE = "preference"
ROLES = ("system", "user", "assistant", "tool")
SEVERITIES = ("info", "warning", "error")


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Feedback:
    """The three tables of a feedback data set, not yet read."""

    prompts: pl.LazyFrame
    completions: pl.LazyFrame
    ratings: pl.LazyFrame


_ENCODER = msgspec.json.Encoder()


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


def _digest(value: object) -> str:
    # The bytes of json's compact form, in a fifth of its time; a test holds the two together.
    return hashlib.sha256(_ENCODER.encode(value)).hexdigest()[:32]


def _are_ids(*names: str) -> dict[str, pl.Expr]:
    pattern = "^[0-9a-f]{32}$"
    return {f"{name} is not a content hash": pl.col(name).str.contains(pattern) for name in names}


_KNOWN_ROLE = pl.element().struct.field("role").is_in(ROLES)
_LAST = pl.col("messages").list.last().struct
_ORIGIN = pl.Struct({"sha256": pl.String(), "line": pl.Int64()})
"""The source row that something was first read from; null if it was made here."""

PROMPTS = Table(
    name="prompts",
    schema=pl.Schema(
        {
            "prompt_id": pl.String(),
            "messages": pl.List(pl.Struct({"role": pl.String(), "content": pl.String()})),
            "source": pl.String(),
            "origin": _ORIGIN,
            "metadata": pl.String(),
        }
    ),
    key=("prompt_id",),
    rules={
        **_are_ids("prompt_id"),
        "no messages": pl.col("messages").list.len() > 0,
        "unknown role": pl.col("messages").list.eval(_KNOWN_ROLE).list.all(),
        "last message is not the user's": _LAST.field("role") == "user",
        "empty prompt": has_text(_LAST.field("content")),
        "no source": pl.col("source").is_not_null(),
        "no metadata": pl.col("metadata").is_not_null(),
    },
)
COMPLETIONS = Table(
    name="completions",
    schema=pl.Schema(
        {
            **strings("completion_id", "prompt_id", "model", "text"),
            "origin": _ORIGIN,
            **strings("metadata"),
        }
    ),
    key=("completion_id",),
    rules={
        **_are_ids("completion_id", "prompt_id"),
        "no model": has_text(pl.col("model")),
        "empty completion": has_text(pl.col("text")),
        "no metadata": pl.col("metadata").is_not_null(),
    },
)
RATINGS = Table(
    name="ratings",
    schema=pl.Schema(
        {
            **strings("completion_id", "rater", "aspect"),
            "value": pl.Float64(),
            "scale_min": pl.Float64(),
            "scale_max": pl.Float64(),
            "rationale": pl.String(),
        }
    ),
    key=("completion_id", "rater", "aspect"),
    rules={
        **_are_ids("completion_id"),
        "no rater": has_text(pl.col("rater")),
        "no aspect": has_text(pl.col("aspect")),
        # Out of scale is an issue for the audit to show, not a reason to lose what was said.
        "value is not a finite number": pl.col("value").is_null() | pl.col("value").is_finite(),
        "scale is empty": pl.col("scale_min") < pl.col("scale_max"),
    },
)
ISSUES = Table(
    name="issues",
    schema=pl.Schema(
        {
            **strings("rule", "prompt_id", "completion_id", "severity"),
            "score": pl.Float64(),
            "evidence": pl.String(),
        }
    ),
    key=("rule", "prompt_id", "completion_id"),
    rules={
        "no rule": has_text(pl.col("rule")),
        **_are_ids("prompt_id"),
        "unknown severity": pl.col("severity").is_in(SEVERITIES),
        "score is not a finite number": pl.col("score").is_finite(),
        "no evidence": has_text(pl.col("evidence")),
    },
)
FINDINGS = Table(
    name="findings",
    schema=pl.Schema(
        {
            **strings("rule", "severity", "subject"),
            **dict.fromkeys(("value", "low", "high"), pl.Float64()),
            "n": pl.Int64(),
            "evidence": pl.String(),
        }
    ),
    key=("rule", "subject"),
    rules={
        "no rule": has_text(pl.col("rule")),
        "unknown severity": pl.col("severity").is_in(SEVERITIES),
        "no subject": has_text(pl.col("subject")),
        "no evidence": has_text(pl.col("evidence")),
    },
)
PREFERENCES = Table(
    name="preferences",
    schema=pl.Schema(
        {
            **strings("preference_id", "prompt_id", "chosen_id", "rejected_id"),
            "margin": pl.Float64(),
            "strategy": pl.String(),
        }
    ),
    key=("preference_id", "strategy"),
    rules={
        **_are_ids("preference_id", "prompt_id", "chosen_id", "rejected_id"),
        "chosen is rejected": pl.col("chosen_id") != pl.col("rejected_id"),
        "margin is not a finite number": pl.col("margin").is_finite(),
        "no strategy": has_text(pl.col("strategy")),
    },
)
DROPPED = Table(
    name="dropped",
    schema=pl.Schema(strings("prompt_id", "strategy", "reason")),
    # A prompt that several raters compared, or that makes several pairs, can lose several.
    key=(),
    rules={
        **_are_ids("prompt_id"),
        "no strategy": has_text(pl.col("strategy")),
        "no reason": has_text(pl.col("reason")),
    },
)
TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        PROMPTS,
        COMPLETIONS,
        RATINGS,
        ISSUES,
        FINDINGS,
        PREFERENCES,
        DROPPED,
        REFUSED,
    )
}
