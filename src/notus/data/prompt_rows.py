"""Feedback as one row a prompt, with its completions and what was said of them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import polars as pl

from notus.data.places import rows_at
from notus.data.schema import Feedback

BATCH_PROMPTS = 5_000

Row = dict[str, Any]


class PromptRow(NamedTuple):
    """A prompt and everything about it, as rows of the three tables."""

    prompt: Row
    completions: list[Row]
    opinions: dict[str, list[Row]]
    """completion_id -> its ratings; of this prompt's completions and of others."""


def prompt_rows(feedback: Feedback) -> Iterator[PromptRow]:
    """Go through the prompts in their order, with the completions and the ratings in theirs.

    A batch of `BATCH_PROMPTS` prompts is in memory at a time, beside 8 bytes for every completion
    and every rating that say where it stands.
    """
    prompts = feedback.prompts.select("prompt_id").with_row_index("#prompt")
    completions = feedback.completions.select("completion_id", "prompt_id").with_row_index("#row")
    completions = completions.join(prompts, on="prompt_id").drop("prompt_id")
    ratings = feedback.ratings.select("completion_id").with_row_index("#row")
    ratings = ratings.join(completions.drop("#row"), on="completion_id")
    places = _places(completions), _places(ratings)
    number = prompts.select(pl.len()).collect().item()
    for start in range(0, number, BATCH_PROMPTS):
        batch = feedback.prompts.slice(start, BATCH_PROMPTS).collect()
        answers = _grouped(feedback.completions, places[0], start, "prompt_id")
        opinions = _grouped(feedback.ratings, places[1], start, "completion_id")
        for prompt in batch.iter_rows(named=True):
            yield PromptRow(prompt, answers.get(prompt["prompt_id"], []), opinions)


def _places(rows: pl.LazyFrame) -> pl.DataFrame:
    """Where the rows of each prompt stand: (#prompt, #row), sorted."""
    return rows.select("#prompt", "#row").sort("#prompt", "#row").collect(engine="streaming")


def _grouped(
    table: pl.LazyFrame, places: pl.DataFrame, start: int, key: str
) -> dict[str, list[Row]]:
    """Read the rows of a batch of prompts, grouped by a column."""
    first, last = (places["#prompt"].search_sorted(end) for end in (start, start + BATCH_PROMPTS))
    wanted = places["#row"].slice(first, last - first)
    groups: dict[str, list[Row]] = {}
    if wanted.len():
        for row in rows_at(table, wanted).drop("#row").iter_rows(named=True):
            groups.setdefault(row[key], []).append(row)
    return groups
