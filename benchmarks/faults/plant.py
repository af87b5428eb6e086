"""What a planted fault is, and what all planters share.

A planter changes rows in place, as many as a share says, and says which items it spoiled. Items are
known by the content hashes that ingest will give them, so what the audit flags can be compared.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from notus.data.schema import completion_id, prompt_id

Row = dict[str, Any]


class Planted(NamedTuple):
    """Spoiled rows, and what is wrong with them."""

    rows: list[Row]
    groups: list[frozenset[str]]
    """A group for each planted fault: ids (of completions or prompts) any of which shows it."""


Planter = Callable[[list[Row], np.random.Generator, float], Planted]


class Place(NamedTuple):
    """One completion of one row."""

    row: Row
    completion: Row


def key_of_prompt(row: Row) -> str:
    """The id of a row's prompt, in either form."""
    text = row["instruction"] if "instruction" in row else row["prompt"]
    return prompt_id([{"role": "user", "content": text}])


def key_of_completion(place: Place) -> str:
    """The id of a completion of a row in UltraFeedback's form."""
    completion = place.completion
    return completion_id(key_of_prompt(place.row), completion["model"], completion["response"])


def places(rows: Sequence[Row]) -> Iterator[Place]:
    """Every completion, row by row."""
    return (Place(row, completion) for row in rows for completion in row["completions"])


def draw_places(
    rows: Sequence[Row],
    rng: np.random.Generator,
    share: float,
    *,
    where: Callable[[Row], bool] = lambda completion: True,
) -> list[Place]:
    """Draw as many completions as a share of all, among those that qualify.

    Raises:
        ValueError: none qualifies.
    """
    every = list(places(rows))
    able = [place for place in every if where(place.completion)]
    if not able:
        raise ValueError("no completion qualifies for this fault: take more rows")
    count = min(len(able), max(1, round(share * len(every))))
    return [able[index] for index in sorted(rng.choice(len(able), count, replace=False))]


def draw_rows(
    rows: Sequence[Row],
    rng: np.random.Generator,
    share: float,
    *,
    where: Callable[[Row], bool] = lambda row: True,
) -> list[Row]:
    """Draw as many rows as a share of all, among those that qualify."""
    able = [row for row in rows if where(row)]
    if not able:
        raise ValueError("no row qualifies for this fault: take more rows")
    count = min(len(able), max(1, round(share * len(rows))))
    return [able[index] for index in sorted(rng.choice(len(able), count, replace=False))]


def completions_planted(rows: list[Row], spoiled: Sequence[Place]) -> Planted:
    """Say that each of some completions shows a fault of its own."""
    return Planted(rows, [frozenset({key_of_completion(place)}) for place in spoiled])


def prompts_planted(rows: list[Row], spoiled: Sequence[Row]) -> Planted:
    """Say that each of some rows shows a fault of its own."""
    return Planted(rows, [frozenset({key_of_prompt(row)}) for row in spoiled])


def whole_set_planted(rows: list[Row]) -> Planted:
    """Say that the fault is in the data set as a whole."""
    return Planted(rows, [])
