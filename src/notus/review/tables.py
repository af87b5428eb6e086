"""The tables of review: what was decided, and what became of it when it was replayed.

They stand here and not in `data.schema` because nothing outside of review writes them.
"""

import polars as pl

from notus.data.schema import RATINGS, Table

KINDS = ("prompt", "completion", "preference")
"""What a ruling can be about; each is known by its content hash."""

_ID = "^[0-9a-f]{32}$"
_WHY = {"reason": pl.String(), "decisions": pl.List(pl.Int64())}
"""Why, in words, and the ids of the decisions behind it."""


def _about(*names: str) -> dict[str, pl.DataType]:
    return dict.fromkeys(names, pl.String())


def _rules() -> dict[str, pl.Expr]:
    return {
        "unknown kind": pl.col("kind").is_in(KINDS),
        "item is not a content hash": pl.col("item").str.contains(_ID),
    }


DECISIONS = Table(
    name="decisions",
    schema=pl.Schema(
        {
            "id": pl.Int64(),
            **_about("kind", "item", "action", "value", "note", "reviewer", "decided_at"),
            "undoes": pl.Int64(),
        }
    ),
    key=("id",),
    rules=_rules(),
)
"""One row a ruling, note or undo; `value` is JSON text, `undoes` an id or null."""

WITHHELD = Table(
    name="withheld",
    schema=pl.Schema({**_about("kind", "item", "prompt_id"), **_WHY}),
    key=("kind", "item"),
    rules=_rules(),
)
"""Every row that left the data set by a ruling, also those that went along with their prompt."""

OVERRIDDEN = Table(
    name="overridden",
    schema=pl.Schema({**RATINGS.schema, **_WHY}),
    key=RATINGS.key,
    rules=RATINGS.rules,
)
"""Ratings, as they were, that a reviewer's rating stands in for."""

UNMATCHED = Table(
    name="unmatched",
    schema=pl.Schema({**_about("kind", "item", "action", "value"), **_WHY}),
    key=(),
    rules=_rules(),
)
"""Rulings that fit nothing in this data set; the reason says why."""

CONTESTED = Table(
    name="contested",
    schema=pl.Schema(
        {
            **_about("kind", "item", "question", "action", "value"),
            "reviewers": pl.List(pl.String()),
            "decisions": pl.List(pl.Int64()),
        }
    ),
    key=("kind", "item", "question", "action", "value"),
    rules=_rules(),
)
"""Every answer to a question on which no answer has more than half of the reviewers."""
