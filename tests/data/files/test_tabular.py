"""Rows of files with columns."""

import io
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from notus.data.files import streams
from notus.data.files.streams import read_batches
from notus.data.files.tabular import read_csv
from notus.data.parsed import Refusal
from notus.errors import DataError

ROWS = [{"a": i, "b": None if i % 2 else f"t{i}", "c": [{"d": i}]} for i in range(7)]


def rows_of(path: Path) -> list[tuple[int, object]]:
    return [row for rows, _ in read_batches(path) for row in rows]


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_arrow(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.Table.from_pylist(ROWS)
    writer = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
    with writer(str(tmp_path / "x.arrow"), table.schema) as out:
        out.write_table(table, max_chunksize=4)
    monkeypatch.setattr(streams, "BATCH_ROWS", 3)
    batches = list(read_batches(tmp_path / "x.arrow"))
    assert [len(rows) for rows, _ in batches] == [3, 1, 3, 0]
    assert rows_of(tmp_path / "x.arrow") == list(enumerate(ROWS, start=1))
    assert batches[-1][1] == (tmp_path / "x.arrow").stat().st_size


def csv_rows(content: bytes) -> list[Any]:
    return [row for _, row in read_csv(io.BytesIO(content))]


def test_csv_cells_are_texts_and_empty_ones_null() -> None:
    content = b'\xef\xbb\xbfprompt,chosen,rejected\n"A\nB?","say ""a""",\nC?,1\n'
    assert csv_rows(content) == [
        {"prompt": "A\nB?", "chosen": 'say "a"', "rejected": None},
        {"prompt": "C?", "chosen": "1", "rejected": None},
    ]
    long = "x" * 200_000
    assert csv_rows(f"a\n{long}\n".encode()) == [{"a": long}]
    assert csv_rows(b"") == []


def test_bad_csv_rows_are_refused_in_their_place() -> None:
    first, second, third = csv_rows(b"a,b\n1,2,3\n\xff,2\n3,4\n")
    assert isinstance(first, Refusal)
    assert first.reason == "more fields than the header"
    assert isinstance(second, Refusal)
    assert second.reason == "not UTF-8: column 1"
    assert third == {"a": "3", "b": "4"}


@pytest.mark.parametrize("name", ["x.arrow", "x.parquet"])
def test_a_damaged_file_is_an_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    frame = pl.DataFrame({"a": ["text" * 50] * 500})
    frame.write_parquet(path) if name == "x.parquet" else frame.write_ipc_stream(path)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"\x00" * 100, b"", b"ARROW1\x00\x00" * 9):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=f"damaged file: .*\n.*complete file\n.*{name}"):
            rows_of(path)


def test_text_that_is_no_text_is_an_error_not_a_crash(tmp_path: Path) -> None:
    raw = pa.array([b"good", b"\xff\xfe"], pa.binary())
    column = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    pa.parquet.write_table(pa.table({"a": column}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"damaged file: .*(?i:utf-?8)"):
        rows_of(tmp_path / "x.parquet")
