"""The verbs of review: decide, undo, list, export and import decisions, compare the reviewers.

The web app calls the same functions, so a ruling is one whoever takes it down.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from notus.data.exports.argilla_responses import read_argilla_records
from notus.data.files.streams import read_batches
from notus.data.parsed import Refusal
from notus.errors import DataError, UsageError, explain, explain_unknown
from notus.review.decisions import Decisions
from notus.review.reviewers import answers_of, compare
from notus.review.rulings import (
    ACTIONS,
    UNDO,
    Decision,
    current,
    problem_of,
    require_valid,
    value_text,
)
from notus.review.tables import DECISIONS
from notus.shelf import SHORTEST, Shelf
from notus.stages.files import write_lines
from notus.store import read_table

NOT_APPLICABLE = "N/A"


def decide(
    decisions: Path,
    data: Path,
    item: str,
    action: str,
    *,
    reviewer: str,
    value: str | None = None,
    note: str = "",
) -> dict[str, Any]:
    """Take down one ruling on an item that is there.

    Args:
        decisions: The file; made if it is missing.
        data: A Feedback directory, one of preferences, or a folder with both.
        item: Id of a preference, completion or prompt in it, or its first digits.
        action: A key of `ACTIONS`, undo aside.
        reviewer: Who decides.
        value: choose: id of the completion, or its first digits; re-rate: ASPECT=NUMBER, or
            ASPECT=N/A.
        note: Why.

    Raises:
        UsageError: The action does not fit the item, or the value neither.
        DataError: No such item.
    """
    if action not in ACTIONS or action == UNDO:
        known = {name: one.help for name, one in ACTIONS.items() if name != UNDO}
        raise UsageError(
            explain_unknown("action", action, known, where="notus review decide", notes=known)
        )
    shelf = Shelf([data])
    kind, identifier = shelf.find(item)
    row = Decision(
        kind=kind, item=identifier, action=action, reviewer=reviewer, value=value, note=note
    )
    if value is not None and action in VALUES and kind in ACTIONS[action].kinds:
        holder = next(stage for stage in shelf.stages if stage.holds(kind, identifier))
        row = replace(row, value=VALUES[action](holder.directory, identifier, value))
    require_valid(row)
    with Decisions(decisions) as file:
        made = file.append(row)
    return {"id": made, "kind": kind, "item": identifier, "action": action, "value": row.value}


def undo(
    decisions: Path, *, reviewer: str, decision: int | None = None, note: str = ""
) -> dict[str, Any]:
    """Take back a reviewer's own last ruling, or the one of an id."""
    with Decisions(decisions, create=False) as file:
        return {"undone": file.undo(reviewer, decision, note=note)}


def listed(decisions: Path, *, every: bool = False) -> list[dict[str, Any]]:
    """List the rulings in force; with `every` all rows, also notes, undos and what they undid."""
    rows = _read(decisions)
    return _with_values(rows if every else current(rows))


def export_decisions(decisions: Path, out: Path) -> dict[str, Any]:
    """Write every row as JSONL (gzipped when OUT ends in .gz), for another file to import."""
    rows = _with_values(_read(decisions))
    write_lines(out, rows)
    return {"decisions": len(rows), "file": str(out)}


def import_decisions(decisions: Path, source: Path) -> dict[str, Any]:
    """Append the rows that the file does not have yet; all of them or none.

    Args:
        decisions: The file of decisions; made if it is not there.
        source: What `export_decisions` wrote, or the records of an Argilla 2 server (.json).

    Raises:
        DataError: A line that is no decision, or records that are no review of ours.
    """
    if source.suffix == ".json":
        answers = [Decision(**ruling._asdict()) for ruling in read_argilla_records(source)]
        with Decisions(decisions) as file:
            known = set(map(_said, file.rows().iter_rows(named=True)))
            new = [answer for answer in answers if _said(_plain(answer)) not in known]
            added, total = len(file.extend(new)), len(answers)
    else:
        rows = list(_read_export(source))
        with Decisions(decisions) as file:
            added, total = file.merge(rows), len(rows)
    return {"decisions": total, "added": added, "known": total - added}


def agreement(decisions: Path, *, feedback: Path | None = None, seed: int = 0) -> dict[str, Any]:
    """Compare the reviewers on what several of them ruled on.

    Args:
        decisions: The file of decisions.
        feedback: The Feedback that they looked at: how often two choose the same answer by chance
            depends on how many there are. Without it choices have no kappa and no alpha.
        seed: Of the bootstrap.
    """
    completions = None
    if feedback is not None:
        table = read_table(feedback, "completions")
        completions = table.select("prompt_id", "completion_id").collect()
    answers = answers_of(current(_read(decisions)), completions)
    compared = compare(answers, rng=np.random.default_rng(seed))
    return {"rulings": answers.height, "reviewers": answers["reviewer"].n_unique(), **compared}


def _read(decisions: Path) -> pl.DataFrame:
    with Decisions(decisions, create=False) as file:
        return file.rows()


def _with_values(rows: pl.DataFrame) -> list[dict[str, Any]]:
    return [row | {"value": json.loads(row["value"])} for row in rows.iter_rows(named=True)]


def _plain(decision: Decision) -> dict[str, Any]:
    return {**vars(decision), "value": value_text(decision.value)}


def _said(row: Mapping[str, Any]) -> tuple[object, ...]:
    """Who said what of which item: records have no time, so a second import adds nothing."""
    return tuple(row[name] for name in ("kind", "item", "action", "value", "note", "reviewer"))


def _read_export(source: Path) -> Iterator[tuple[int, Decision]]:
    for rows, _ in read_batches(source):
        for line, row in rows:
            yield _imported(row, f"{source.name}:{line}")


def _imported(row: object, where: str) -> tuple[int, Decision]:
    """Read one line of an export: its id there, and the decision with its time."""
    problem = None
    if not isinstance(row, Mapping):
        problem = row.reason if isinstance(row, Refusal) else "not an object"
    elif set(row) != set(DECISIONS.schema):
        problem = f"fields {', '.join(map(str, row))}"
    elif not all(_fits(name, value) for name, value in row.items()):
        problem = f"values of other types: {dict(row)!r:.200}"
    else:
        fields = dict(row)
        identifier = fields.pop("id")
        decision = Decision(**fields)
        problem = problem_of(decision)
        if problem is None:
            return identifier, decision
    raise DataError(
        explain(
            found=str(problem),
            expected=f"a decision with {', '.join(DECISIONS.schema)}",
            where=where,
            remedy="give what `notus review export` wrote; nothing was imported",
        )
    )


def _fits(name: str, value: object) -> bool:
    if name == "value":
        return True
    if name in ("id", "undoes"):
        return type(value) is int or (value is None and name == "undoes")
    return isinstance(value, str)


def _one_answer(data: Path, prompt: str, text: str) -> str:
    """Find the answer of a prompt that an id or its first digits name."""
    column = pl.col("completion_id")
    answers = read_table(data, "completions").filter(prompt_id=prompt).select(column)
    prefix = text.strip().lower()
    found = answers.filter(column.str.starts_with(prefix)).collect()["completion_id"]
    if len(found) == 1 and len(prefix) >= SHORTEST:
        return str(found[0])
    known = sorted(answers.collect()["completion_id"])
    raise UsageError(
        explain(
            found=f"{text!r}, which begins the id of {len(found)} answers",
            expected=f"one of {', '.join(known)}, or its first {SHORTEST} or more digits",
            where=f"--value of choose, prompt {prompt}",
            remedy=f"see the answers with `notus trace {prompt[:12]} {data}`",
        )
    )


def _rating(data: Path, completion: str, text: str) -> dict[str, object]:
    """Read ASPECT=NUMBER, and see that the data set knows the aspect and its scale the number."""
    aspect, _, number = (part.strip() for part in text.partition("="))
    ratings = read_table(data, "ratings").select("aspect", "scale_min", "scale_max").unique()
    scales = {name: (low, high) for name, low, high in sorted(ratings.collect().iter_rows())}
    where = f"--value of re-rate, completion {completion}"
    if aspect not in scales:
        raise UsageError(explain_unknown("aspect", aspect, scales, where=where))
    if number == NOT_APPLICABLE:
        return {"aspect": aspect, "value": None}
    low, high = scales[aspect]
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise UsageError(
            explain(
                found=f"{number!r} for {aspect}",
                expected=f"a number from {low:g} to {high:g}, or {NOT_APPLICABLE}",
                where=where,
                remedy=f"for example --value {aspect}={low:g}",
            )
        )
    return {"aspect": aspect, "value": value}


VALUES: dict[str, Callable[[Path, str, str], object]] = {
    "choose": _one_answer,
    "re-rate": _rating,
}
"""Actions that need a value -> how its text is read and held against the data."""
