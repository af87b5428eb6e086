"""Foreign text means nothing in Markdown."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notus.markdown import escape_code, escape_text, fence, table

texts = st.text(st.sampled_from(list("ab `|\\*_[]<>#~${}\n\r\t\u2028-")), max_size=30)


@given(text=texts)
def test_a_line_stays_a_line_of_plain_text(text: str) -> None:
    found = escape_text(text)
    assert len(found.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(?:\\\\)*[`|*_\[\]<>#~${}]", found)
    assert re.sub(r"\\(.)", r"\1", found) == " ".join(text.split())


@given(text=texts)
def test_a_code_span_stays_closed_in_its_cell(text: str) -> None:
    found = escape_code(text)
    assert "`" not in found
    assert all(run == "\\" for run in re.findall(r"(\\*)\|", found))
    assert len(found.splitlines()) <= 1


@given(text=texts)
def test_a_fence_is_not_closed_by_what_it_holds(text: str) -> None:
    first, *inside, last = fence(text, "sh").split("\n")
    assert first == last + "sh"
    assert set(last) == {"`"}
    assert len(last) >= 3
    assert not any(line.strip().startswith(last) for line in inside)


@pytest.mark.parametrize("numbers", [0, 1, 2])
def test_a_table(numbers: int) -> None:
    rules = ["---"] * (2 - numbers) + ["---:"] * numbers
    lines = table(("a", "b"), [("1", "2"), ("3", "4")], numbers=numbers).split("\n")
    assert lines == ["| a | b |", f"| {' | '.join(rules)} |", "| 1 | 2 |", "| 3 | 4 |"]
