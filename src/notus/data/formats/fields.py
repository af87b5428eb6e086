"""Reading single fields of a source row: names, numbers and what is left over.

Every reader follows the same rules. A field that is null counts as missing, so that Parquet, which
fills every column, reads like JSON. Nothing that cannot be read is guessed: it is a ValueError, and
its text is the reason of the refusal. What no column of the tables takes goes to metadata.
"""

import math
from collections.abc import Iterable, Mapping

from notus.data.parsed import ParsedRating, Refusal

NOT_APPLICABLE = frozenset({"", "n/a", "na", "nan", "none", "null"})
WORDS = {"true": 1.0, "false": 0.0}


class Fields:
    """A row whose fields are taken one by one; `rest` is what nobody took."""

    def __init__(self, row: Mapping[str, object]) -> None:
        self.row = row
        self.taken: set[str] = set()

    def take(self, *names: str) -> object:
        """Take the first of some fields that has a value; None if none has."""
        for name in names:
            value = self.row.get(name)
            if value is not None:
                self.taken.add(name)
                return value
        return None

    def text(self, *names: str, default: str = "") -> str:
        """Take a field that holds a name or a text; `default` if it is missing or blank.

        Raises:
            ValueError: the field holds something else.
        """
        for name in names:
            value = self.take(name)
            if not isinstance(value, str | None):
                raise ValueError(f"{name} is not text: {type(value).__name__}")
            if value and value.strip():
                return value
        return default

    def rest(self) -> dict[str, object]:
        """Keep the fields that have a value and that nobody took."""
        return others(self.row, self.taken)


def others(
    fields: Mapping[str, object], known: tuple[str, ...] | frozenset[str] | set[str]
) -> dict[str, object]:
    """Keep the fields that have a value and no column of their own."""
    return {
        name: value for name, value in fields.items() if name not in known and value is not None
    }


def number(value: object) -> float | None:
    """Read a score that may be a number, its decimal text, or one of several words for N/A.

    Raises:
        ValueError: anything else, NaN text aside; above all no default for what cannot be read.
    """
    if value is None or (isinstance(value, str) and value.strip().lower() in NOT_APPLICABLE):
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"{shown(value)} is not a number")
    try:
        found = float(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{shown(value)} is not a number") from error
    if isinstance(value, float) and math.isnan(value):
        return None
    if not math.isfinite(found):
        raise ValueError(f"{shown(value)} is not a finite number")
    return found


def flag(value: object) -> float | None:
    """Read a yes or no as 1 or 0: a boolean, "true" or "false", 1 or 0; None for N/A.

    Raises:
        ValueError: anything else.
    """
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and value.strip().lower() in WORDS:
        return WORDS[value.strip().lower()]
    found = number(value)
    if found not in (None, 0.0, 1.0):
        raise ValueError(f"{shown(value)} is neither true nor false")
    return found


def whole(value: object, allowed: range) -> int:
    """Read a whole number out of a range.

    Raises:
        ValueError: anything else, booleans and text included.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value not in allowed:
        raise ValueError(f"{shown(value)} is none of {', '.join(map(str, allowed))}")
    return int(value)


def shown(value: object) -> str:
    """Show a value in a reason; a long one is cut, so that reasons stay readable."""
    text = repr(value) if isinstance(value, (str, int, float, type(None))) else str(type(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_rating(
    rater: str,
    aspect: str,
    value: object,
    scale: tuple[float, float],
    rationale: object = None,
) -> ParsedRating | Refusal:
    """Read one rating, or say why it cannot be read.

    A value outside the scale stays as it is: the audit `scale` shows it, and nobody has lost it.
    """
    if not isinstance(rationale, str | None):
        reason = f"rationale is not text: {type(rationale).__name__}"
        return Refusal("rating", reason, {aspect: value, "rationale": rationale})
    try:
        return ParsedRating(rater, aspect, number(value), *scale, rationale)
    except ValueError as error:
        return Refusal("rating", f"rating cannot be read: {error}", {aspect: value})


def apart(found: Iterable[ParsedRating | Refusal]) -> tuple[list[ParsedRating], list[Refusal]]:
    """Separate the ratings from the refusals."""
    items = list(found)
    return (
        [item for item in items if isinstance(item, ParsedRating)],
        [item for item in items if isinstance(item, Refusal)],
    )
