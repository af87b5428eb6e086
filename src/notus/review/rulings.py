"""What a ruling is, which of them are in force, and what follows where reviewers differ.

A ruling answers a question about an item. drop, keep, flip and choose answer one question, the
verdict; re-rate answers one question an aspect. Of the rulings of one reviewer on one question that
were not taken back, the latest is in force; when it is taken back, the one before it is again. A
note answers nothing. Where reviewers differ, the answer of more than half of those who ruled is
taken; without one nothing is applied and the question is contested.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from notus.data.schema import PREFERENCE
from notus.errors import UsageError, explain
from notus.review.tables import CONTESTED, DECISIONS, KINDS

UNDO = "undo"
NOTE = "note"
VERDICT = "verdict"
QUESTION = ("kind", "item", "question")

_ID = re.compile("[0-9a-f]{32}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00")


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One row to be appended: a person's ruling, note or undo."""

    kind: str
    """A member of `KINDS`."""
    item: str
    """prompt_id, completion_id or preference_id."""
    action: str
    """A key of `ACTIONS`."""
    reviewer: str
    value: object = None
    """What the action needs: choose a completion_id, re-rate {"aspect", "value"}, others None."""
    note: str = ""
    decided_at: str | None = None
    """UTC, ISO 8601 to the microsecond; None: when it is appended."""
    undoes: int | None = None
    """Id of the decision that an undo takes back."""


class Action(NamedTuple):
    """What a reviewer may do."""

    kinds: tuple[str, ...]
    """Kinds of items that it fits."""
    problem: Callable[[Decision], str | None]
    """Says what is wrong with a decision's value, note or undoes; None: nothing."""
    help: str


class Settled(NamedTuple):
    """Rulings to be applied, and those that are not because reviewers differ."""

    rulings: pl.DataFrame
    """kind, item, question, action, value, reviewers, decisions, note, reason (in words)."""
    contested: pl.DataFrame
    """Table `CONTESTED`."""


def require_valid(decision: Decision) -> None:
    """Raise UsageError unless a decision can be believed."""
    problem = problem_of(decision)
    if problem is not None:
        shown = f"{decision.action} of {decision.kind} {decision.item}"
        actions = "; ".join(f"{name}: {action.help}" for name, action in ACTIONS.items())
        raise UsageError(
            explain(found=problem, expected=actions, where=shown, remedy="correct the decision")
        )


def problem_of(decision: Decision) -> str | None:
    """Say what is wrong with a decision in itself, whatever the data set; None: nothing."""
    action = ACTIONS.get(decision.action)
    if action is None:
        return f"unknown action {decision.action!r}"
    if decision.kind not in KINDS:
        return f"unknown kind of item {decision.kind!r}"
    if _ID.fullmatch(decision.item) is None:
        return f"item {decision.item!r} is not 32 hex digits"
    if not decision.reviewer.strip() or not decision.reviewer.isprintable():
        return f"reviewer {decision.reviewer!r} is no name"
    if decision.decided_at is not None and _TIME.fullmatch(decision.decided_at) is None:
        return f"time {decision.decided_at!r} is not UTC to the microsecond"
    if decision.kind not in action.kinds:
        return f"{decision.action} does not fit a {decision.kind}, only a {_or(action.kinds)}"
    if decision.undoes is not None and decision.action != UNDO:
        return f"{decision.action} takes nothing back"
    return action.problem(decision)


def value_text(value: object) -> str:
    """Write a decision's value as canonical JSON text: equal values, equal texts."""
    if isinstance(value, Mapping):
        value = {k: float(v) if isinstance(v, int) else v for k, v in value.items()}
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def current(decisions: pl.DataFrame) -> pl.DataFrame:
    """Keep the rulings in force, with the question that each answers.

    "Latest" is by time and then by id, so that files of several machines can be merged.

    Args:
        decisions: Table `DECISIONS`, in any order.

    Returns:
        Its columns but `undoes`, and `question`; sorted by id.
    """
    undone = decisions["undoes"].drop_nulls().implode()
    rulings = decisions.filter(
        ~pl.col("action").is_in([UNDO, NOTE]) & ~pl.col("id").is_in(undone)
    ).drop("undoes")
    questions = map(_question, rulings["action"], rulings["value"])
    rulings = rulings.with_columns(pl.Series("question", list(questions), dtype=pl.String))
    latest = rulings.sort("decided_at", "id").unique(
        subset=[*QUESTION, "reviewer"], keep="last", maintain_order=True
    )
    return latest.sort("id")


def settle(current: pl.DataFrame) -> Settled:
    """Take, for each question, the answer of more than half of its reviewers.

    Args:
        current: What `current` returns.
    """
    votes = (
        current.sort("id")
        .group_by(*QUESTION, "action", "value", maintain_order=True)
        .agg("reviewer", "id", "note")
        .rename({"reviewer": "reviewers", "id": "decisions", "note": "notes"})
        .with_columns(all=pl.col("reviewers").list.len().sum().over(*QUESTION))
        .sort(*QUESTION, "action", "value")
    )
    taken = votes.filter(2 * pl.col("reviewers").list.len() > pl.col("all"))
    open_ = votes.join(taken, on=list(QUESTION), how="anti")
    notes = [_notes(row) for row in taken["notes"]]
    rows = zip(taken["decisions"], taken["reviewers"], notes, strict=True)
    return Settled(
        taken.drop("notes", "all").with_columns(
            pl.Series("note", notes, dtype=pl.String),
            pl.Series("reason", [_reason(*row) for row in rows], dtype=pl.String),
        ),
        open_.select(CONTESTED.schema.names()).cast(CONTESTED.schema),
    )


def frame_of(rows: Iterable[tuple[object, ...]]) -> pl.DataFrame:
    """Bring rows into the table `DECISIONS`."""
    return pl.DataFrame(list(rows), schema=DECISIONS.schema, orient="row")


def _question(action: str, value: str) -> str:
    return f"rating {json.loads(value)['aspect']}" if action == "re-rate" else VERDICT


def _notes(notes: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(note.strip() for note in notes if note.strip()))


def _reason(ids: Iterable[int], reviewers: Iterable[str], note: str) -> str:
    each = [f"{i} of {name}" for i, name in zip(ids, reviewers, strict=True)]
    text = f"decision{'s' if len(each) > 1 else ''} {', '.join(each)}"
    return f"{text}: {note}" if note else text


def _or(words: Iterable[str]) -> str:
    return " or ".join(words)


def _no_value(decision: Decision) -> str | None:
    return None if decision.value is None else f"a value ({decision.value!r}) that nothing uses"


def _an_id(decision: Decision) -> str | None:
    value = decision.value
    good = isinstance(value, str) and _ID.fullmatch(value) is not None
    return None if good else f"value {value!r} is no completion_id"


def _a_rating(decision: Decision) -> str | None:
    value = decision.value
    if not isinstance(value, Mapping) or set(value) != {"aspect", "value"}:
        return f"value {value!r} is not an aspect and a value"
    aspect, number = value["aspect"], value["value"]
    if not isinstance(aspect, str) or not aspect.strip():
        return f"aspect {aspect!r} is no name"
    if aspect == PREFERENCE:
        return f"aspect {aspect!r} is decided by choosing, not by rating"
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    if number is not None and not (is_number and math.isfinite(number)):
        return f"rating {number!r} is neither a finite number nor null (N/A)"
    return None


def _a_note(decision: Decision) -> str | None:
    return _no_value(decision) if decision.note.strip() else "a note without text"


def _an_undo(decision: Decision) -> str | None:
    return "an undo of nothing" if decision.undoes is None else _no_value(decision)


ACTIONS: dict[str, Action] = {
    "keep": Action(KINDS, _no_value, "it stays as it is"),
    "drop": Action(KINDS, _no_value, "it leaves the data set"),
    "flip": Action(("preference",), _no_value, "the rejected answer is the better one"),
    "choose": Action(("prompt",), _an_id, "this answer is the best of its prompt"),
    "re-rate": Action(("completion",), _a_rating, "this is its rating on an aspect"),
    NOTE: Action(KINDS, _a_note, "a remark; it decides nothing"),
    UNDO: Action(KINDS, _an_undo, "an earlier decision of the same reviewer does not count"),
}
