"""The quick reading of regular lines says exactly what the reader says, or nothing."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notus.data.columns import Row, as_row
from notus.data.files.streams import read_line
from notus.data.formats import ultrafeedback
from notus.data.formats.regular import decoder, ultrafeedback_line
from notus.data.intake import Intake, metadata_text

NUMBERS = [0, 1, 5.5, -1.0, 1e999, float("nan"), 10**400, True, "3", " 4 ", "N/A", "7.5", "x"]
TEXTS = ["", " ", "text", "\u00e9\u2028", "1", "overall"]
scalars = st.sampled_from([None, *NUMBERS, *TEXTS])
values = st.one_of(scalars, st.lists(scalars, max_size=1), st.dictionaries(st.just("k"), scalars))


def regular() -> dict[str, Any]:
    """A row as nearly all rows of the real files are."""
    notes: dict[str, Any] = {
        aspect: {"Rating": rating, "Rationale": f"{aspect}."}
        for aspect, rating in zip(("honesty", "helpfulness"), ("N/A", "5"), strict=True)
    }
    notes["helpfulness"] |= {"Type": ["1"], "Rationale For Rating": "So."}
    answer = {
        "model": "m",
        "principle": "honesty",
        "response": "Because.",
        "critique": "Good.",
        "overall_score": 7.5,
        "annotations": notes,
    }
    other = answer | {"model": "n", "overall_score": 8.0}
    return {
        "source": "flan",
        "instruction": "Why?",
        "models": ["n"],
        "completions": [answer, other],
    }


def agrees(row: dict[str, Any]) -> bool:
    """Compare with the reader; tell whether the row was regular."""
    return line_agrees(json.dumps(row, ensure_ascii=False).encode())


def line_agrees(line: bytes) -> bool:
    """Compare with the reader; tell whether the line was regular."""
    found = ultrafeedback_line(line)
    if found is None:
        return False
    value = read_line(line)
    assert isinstance(value, dict)
    assert written(found) == written(as_row(ultrafeedback.parse(value)))
    return True


def written(row: Row) -> str:
    """A row's text, in which a 1 is no 1.0; metadata as they are stored, whatever their order."""
    answers = [answer._replace(metadata={}) for answer in row.answers]
    metadata = [metadata_text(it.metadata) for it in (row, *row.answers)]
    return repr((row._replace(metadata={}, answers=answers), metadata))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything inside a JSON value."""
    items = enumerate(value) if isinstance(value, list) else getattr(value, "items", tuple)()
    inner = [places(item, (*path, key)) for key, item in items]
    return [path] * bool(path) + [found for below in inner for found in below]


PLACES = places(regular())


def test_a_regular_row_is_read_quickly() -> None:
    assert agrees(regular())
    assert agrees({"source": "s", "instruction": "Why?", "completions": []})


@given(st.lists(st.tuples(st.sampled_from(PLACES), values), min_size=1, max_size=3))
def test_a_mutated_row_is_read_alike_or_left_to_the_reader(changes: list[Any]) -> None:
    row = regular()
    for path, value in changes:
        within: Any = row
        try:
            for key in path[:-1]:
                within = within[key]
            within[path[-1]] = copy.deepcopy(value)
        except (TypeError, KeyError, IndexError):
            continue  # An earlier change took the place away.
    agrees(row)


@pytest.mark.parametrize("path", PLACES, ids=str)
def test_a_field_may_be_missing(path: tuple[Any, ...]) -> None:
    row = regular()
    within: Any = row
    for key in path[:-1]:
        within = within[key]
    del within[path[-1]]
    agrees(row)


@pytest.mark.parametrize("name", ["overall", " ", "humour"])
def test_an_aspect_may_have_any_name(name: str) -> None:
    row = regular()
    row["completions"][0]["annotations"][name] = {"Rating": "3", "Rationale": "r"}
    assert agrees(row) == (name == "humour")


def test_the_rater_may_be_named() -> None:
    assert not agrees(regular() | {"rater": "judge"})


@pytest.mark.parametrize("kept", [1, None, "text"])
def test_a_field_without_a_name_is_left_to_the_reader(kept: object) -> None:
    assert not agrees(regular() | {"kept": kept})
    for part in ("completions", "annotations"):
        row = regular()
        within = row["completions"][0] if part == "completions" else row["completions"][0][part]
        within = within if part == "completions" else within["honesty"]
        assert agrees(row)
        within["kept"] = kept
        assert not agrees(row)


@given(
    st.integers(0, 2000),
    st.sampled_from(
        [b"\xff", b"\x00", b"\t", b'"', b"\\", b"\\ud800", b"}", b",", b"9" * 400, b"e"]
    ),
    st.booleans(),
)
def test_a_damaged_line_is_read_alike_or_left_to_the_reader(
    place: int, damage: bytes, instead: bool
) -> None:
    line = json.dumps(regular()).encode()
    place %= len(line)
    line_agrees(line[:place] + damage + line[place + instead :])


def test_a_format_without_a_quick_reader_is_read_as_json() -> None:
    assert decoder("hh-rlhf") is read_line
    assert decoder(ultrafeedback.NAME)(b'{"source": 1}') == {"source": 1}


def test_both_ways_make_equal_tables() -> None:
    rows: list[Any] = [regular(), regular() | {"instruction": "Who?"}, regular() | {"source": 1}, 1]
    rows += copy.deepcopy(rows)
    rows[4]["completions"][0]["overall_score"] = 1.0
    tables, facts = [], []
    for decode in (decoder(ultrafeedback.NAME), read_line):
        intake = Intake(ultrafeedback.parse, decode)
        for line, row in enumerate(rows, start=1):
            intake.add(intake.decode(json.dumps(row).encode()), "x.jsonl", line)
        tables.append(intake.take("0" * 64))
        facts.append(intake.facts())
    assert facts[0] == facts[1]
    assert all(one.equals(other) for one, other in zip(*tables, strict=True))
    assert tables[0][2]["rater"].str.contains("@").sum() == 1


@pytest.mark.shared
def test_real_rows_agree(shared_data: Path) -> None:
    path = shared_data / "ultrafeedback" / "raw_rows" / "uf_real_rows.jsonl"
    regular_rows = 0
    for line in path.read_bytes().splitlines():
        line_agrees(line)
        row = json.loads(line)
        # What the excerpts have or lack beside the data set itself.
        row["completions"] = [item for item in row["completions"] if "annotations" in item]
        for name in ("_partial", "_provenance"):
            del row[name]
        for item in row["completions"]:
            item |= {"critique": "Good.", "overall_score": 7.5, "fine-grained_score": 3.75}
        regular_rows += agrees(row)
    # One has no rationales, one is of the first release.
    assert regular_rows == 1
