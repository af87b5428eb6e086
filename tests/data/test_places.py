"""Rows by their place, and prompts with what belongs to them, against reading everything."""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notus.data import places, prompt_rows
from notus.data.places import rows_at
from notus.data.schema import Feedback


@given(
    height=st.integers(1, 40),
    wanted=st.lists(st.integers(0, 39), min_size=1, max_size=20),
    block=st.integers(1, 45),
)
def test_rows_are_those_of_the_whole_table(height: int, wanted: list[int], block: int) -> None:
    wanted = [place % height for place in wanted]
    table = pl.DataFrame({"value": [f"row {i}" for i in range(height)]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "BLOCK_ROWS", block)
        found = rows_at(table.lazy(), pl.Series(wanted))
    assert found["#row"].to_list() == sorted(set(wanted))
    assert found["value"].to_list() == [f"row {i}" for i in sorted(set(wanted))]


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_prompts_find_what_is_theirs_in_any_order_of_the_tables(
    make_feedback: Callable[[Mapping[str, Any]], Feedback],
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
) -> None:
    said = {
        f"{i}?": [(f"m{j}", f"{i} {j}", {"honesty": 1.0, "overall": 2.0}) for j in range(i)]
        for i in range(5)
    }
    feedback = make_feedback(said)
    shuffled = Feedback(
        prompts=feedback.prompts,
        completions=feedback.completions.collect().sample(fraction=1, shuffle=True, seed=1).lazy(),
        ratings=feedback.ratings.collect().reverse().lazy(),
    )
    monkeypatch.setattr(prompt_rows, "BATCH_PROMPTS", batch)
    order = shuffled.completions.collect()["text"].to_list()
    for i, row in enumerate(prompt_rows.prompt_rows(shuffled)):
        assert row.prompt["messages"][0]["content"] == f"{i}?"
        texts = [item["text"] for item in row.completions]
        assert texts == sorted((f"{i} {j}" for j in range(i)), key=order.index)
        for item in row.completions:
            aspects = [rating["aspect"] for rating in row.opinions[item["completion_id"]]]
            assert aspects == ["overall", "honesty"]
    assert i == 4


def test_no_prompts_are_no_rows(make_feedback: Callable[[Mapping[str, Any]], Feedback]) -> None:
    assert list(prompt_rows.prompt_rows(make_feedback({}))) == []
