"""Raw rows are found again by digest and line, whatever the file, and never from another file."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from notus.data.origins import Origins, raw_row
from notus.errors import DataError
from notus.manifest import file_digest

ROWS = [{"prompt": f"q{i}", "n": i} for i in range(1, 4)]
# Spaces, a number's form and a repeated key are part of the raw bytes and must not be lost.
LINES = ['{"prompt":  "q1", "n": 1.0}', "", '{"n": 1, "n": 2, "prompt": "q2"}', "not json \\ud800"]


def test_a_line_is_quoted_as_it_stands(tmp_path: Path) -> None:
    text = "\r\n".join(LINES).encode() + b"\n\xff\xfe\n"
    (tmp_path / "a.jsonl").write_bytes(text)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text))
    for name in ("a.jsonl", "a.jsonl.gz"):
        found = [raw_row(tmp_path / name, line) for line in range(1, 7)]
        assert found == [*LINES, "\\xff\\xfe", None]


def test_an_element_or_a_row_is_written_as_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(ROWS))
    pl.DataFrame(ROWS).write_parquet(tmp_path / "a.parquet")
    for name in ("a.json", "a.parquet"):
        found = [raw_row(tmp_path / name, line) for line in range(1, 5)]
        assert [json.loads(text) for text in found if text is not None] == ROWS
        assert found[3] is None


def test_a_bad_element_is_quoted_too(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"a": 1}, {"a": "\\ud800"}]')
    assert raw_row(tmp_path / "a.json", 2) == '{"a": "\\ud800"}'


def test_files_are_known_by_their_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"{name}": 1}}\n')
    digest = file_digest(tmp_path / "b.jsonl")
    (tmp_path / "b.jsonl").rename(tmp_path / "moved.jsonl")
    origins = Origins(tmp_path)
    assert origins.find(digest) == tmp_path / "moved.jsonl"
    assert origins.find("0" * 64) is None
    assert origins.digest_of("moved.jsonl") == digest
    assert origins.digest_of("b.jsonl") is None
    with pytest.raises(DataError, match="no file of feedback"):
        Origins(tmp_path / "none")
