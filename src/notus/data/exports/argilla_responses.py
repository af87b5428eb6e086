"""What people answered on an Argilla 2 server, read back as rulings.

    dataset.records.to_json(FILE) on the server's side -> read_argilla_records -> decisions

Every answer becomes a ruling, or a note where no ruling corresponds to it, but for one: the server
fills in what was suggested, so an answer that is the suggestion says nothing about its user.
The SDK's JSON does not say whether a response was submitted, is a draft or was discarded: ask the
server for records with submitted responses only.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from notus.data.exports.argilla import OVERALL_VALUES, PROMPT, RULINGS
from notus.data.schema import OVERALL
from notus.errors import DataError, explain

LATER = {"choose": 1, "drop": 2}
"""Of a reviewer's answers to one question the last one counts: a choice among what is kept is more
than to keep it, and what is dropped is not chosen from."""


class Ruling(NamedTuple):
    """One answer, in the terms of the decisions table."""

    kind: str
    """What `item` is: prompt, completion or preference."""
    item: str
    action: str
    """keep, drop, flip, choose, re-rate or note."""
    value: object
    """choose: a completion_id; re-rate: {"aspect", "value"}; others None."""
    note: str
    reviewer: str
    """The user's id on the server."""


class _Response(BaseModel):
    value: Any
    user_id: UUID


class _Suggestion(BaseModel):
    value: Any


class _Metadata(BaseModel):
    model_config = ConfigDict(extra="allow")

    kind: Literal["preference", "prompt"]


class _Record(BaseModel):
    """What is read of a record; what else the server has put there does not matter."""

    id: Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")]
    metadata: _Metadata
    responses: dict[str, list[_Response]] | None = None
    suggestions: dict[str, _Suggestion] | None = None


def read_argilla_records(path: Path) -> list[Ruling]:
    """Read the responses of records that `notus export --to argilla-records` wrote.

    Args:
        path: JSON that `dataset.records.to_json` wrote; it is read as a whole.

    Returns:
        The rulings in the order of the records, and in each by user.

    Raises:
        DataError: no such file, no records, or records of something else.
    """
    try:
        records = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise _error("no such file", str(path)) from error
    except (ValueError, RecursionError) as error:
        raise _error(f"text that is not JSON: {error}", path.name) from error
    if not isinstance(records, list):
        raise _error(f"a {type(records).__name__} and no list", path.name)
    rulings: list[Ruling] = []
    for number, found in enumerate(records, start=1):
        try:
            rulings += _rulings(_Record.model_validate(found))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the record"
            where = f"{path.name}, record {number}"
            raise _error(f"{place}: {first['msg']}", where) from error
    return rulings


def _rulings(record: _Record) -> Iterator[Ruling]:
    kind, suggestions = record.metadata.kind, record.suggestions or {}
    by_user: dict[str, dict[str, Any]] = {}
    for question, responses in (record.responses or {}).items():
        for response in responses:
            by_user.setdefault(str(response.user_id), {})[question] = response.value
    for user, answers in by_user.items():
        note = answers.pop("note", "")
        note = note if isinstance(note, str) else _words(note)
        rulings = [
            _ruling(record, question, value, note, user)
            for question, value in answers.items()
            if question not in suggestions or suggestions[question].value != value
        ]
        if note.strip() and not any(ruling.note == note for ruling in rulings):
            rulings.append(Ruling(kind, record.id, "note", None, note, user))
        yield from sorted(rulings, key=lambda ruling: LATER.get(ruling.action, 0))


def _ruling(record: _Record, question: str, value: object, note: str, user: str) -> Ruling:
    """Put the answer to one question into a ruling, or into words."""
    kind, item = record.metadata.kind, record.id
    if question == "ruling" and value in RULINGS[kind]:
        return Ruling(kind, item, str(value), None, note, user)
    best = _completion(record, str(value))
    if question == "best" and kind == PROMPT and best is not None:
        return Ruling(kind, item, "choose", best, "", user)
    rated = _completion(record, question.removeprefix(f"{OVERALL}_"))
    if rated is not None and type(value) is int and value in OVERALL_VALUES:
        rating = {"aspect": OVERALL, "value": value}
        return Ruling("completion", rated, "re-rate", rating, "", user)
    return Ruling(kind, item, "note", None, f"{question}: {_words(value)}", user)


def _completion(record: _Record, field: str) -> str | None:
    """Name the completion that a field of a record holds; None if it holds none."""
    found = (record.metadata.model_extra or {}).get(f"{field}_id")
    is_id = isinstance(found, str) and re.fullmatch("[0-9a-f]{32}", found) is not None
    return found if is_id and field != PROMPT else None


def _words(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _error(found: str, where: str) -> DataError:
    return DataError(
        explain(
            found=found,
            expected="JSON that dataset.records.to_json wrote, of records that `notus export --to"
            " argilla-records` made",
            where=where,
            remedy="export the records from the server again",
        )
    )
