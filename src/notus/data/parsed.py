"""What a reader makes of one source row, before ids and duplicates are looked at."""

from collections.abc import Mapping
from typing import NamedTuple

from notus.data.schema import Message


class ParsedRating(NamedTuple):
    """What one rater said about one aspect of a completion; value None means N/A."""

    rater: str
    aspect: str
    value: float | None
    scale_min: float
    scale_max: float
    rationale: str | None


class ParsedCompletion(NamedTuple):
    """One answer as a reader found it, with everything anyone said about it."""

    model: str
    text: str
    metadata: dict[str, object]
    ratings: list[ParsedRating]


class Refusal(NamedTuple):
    """One item that a reader would not take; `level` is "row", "completion" or "rating"."""

    level: str
    reason: str
    raw: object


class Parsed(NamedTuple):
    """What a reader makes of one source row; `messages` is None if the row itself is refused."""

    messages: list[Message] | None
    source: str
    metadata: dict[str, object]
    completions: list[ParsedCompletion]
    refusals: list[Refusal]


def refused_row(reason: str, row: Mapping[str, object]) -> Parsed:
    """Refuse a whole row."""
    return Parsed(None, "", {}, [], [Refusal("row", reason, row)])
