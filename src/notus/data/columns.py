"""A source row as ingest takes it: what a reader made of it, with each completion's ratings turned.

Ratings come as columns and not as objects, because the tables are columns: a million completions
carry five million ratings, and an object for each would cost more than its hash.
"""

from typing import NamedTuple

from notus.data.parsed import Parsed, Refusal
from notus.data.schema import Message

Columns = tuple[tuple[object, ...], ...]
"""Ratings as six columns in the order of ParsedRating, all of one length; () if there are none."""


class Answer(NamedTuple):
    """A completion whose ratings are columns."""

    model: str
    text: str
    metadata: dict[str, object]
    ratings: Columns


class Row(NamedTuple):
    """A source row whose ratings are columns; `messages` is None if the row itself is refused."""

    messages: list[Message] | None
    source: str
    metadata: dict[str, object]
    answers: list[Answer]
    refusals: list[Refusal]


def as_row(parsed: Parsed) -> Row:
    """Turn the ratings of what a reader made of a row."""
    answers = [
        Answer(found.model, found.text, found.metadata, tuple(zip(*found.ratings, strict=True)))
        for found in parsed.completions
    ]
    return Row(parsed.messages, parsed.source, parsed.metadata, answers, parsed.refusals)
