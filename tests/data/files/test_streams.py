"""Rows from files: good lines, bad lines, and damaged files."""

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notus.data.files import streams
from notus.data.files.streams import (
    _read_line_slowly,
    file_names,
    read_batches,
    read_line,
    source_files,
)
from notus.data.parsed import Refusal
from notus.errors import DataError


def rows_of(path: Path) -> list[tuple[int, object]]:
    return [row for rows, _ in read_batches(path) for row in rows]


def test_lines_are_numbered_and_blank_ones_skipped(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n  \n[2]\n"three"')
    assert rows_of(path) == [(1, {"a": 1}), (4, [2]), (5, "three")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": "cut of', "not valid JSON: Unterminated string"),
        (b"{'a': 1}", "not valid JSON: Expecting property name"),
        (b"[" * 100_000, "not valid JSON: maximum recursion depth"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON: Exceeds the limit"),
        (b'{"a": "\xff"}', "not UTF-8: invalid start byte"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8: invalid continuation byte"),
        (b'{"a": "\\ud800"}', "not valid Unicode: half of a surrogate pair"),
        (b'{"a": "\\uDFFF"}', "not valid Unicode: half of a surrogate pair"),
    ],
    ids=["truncated", "quotes", "deep", "huge number", "latin-1", "surrogate", "escape", "ESCAPE"],
)
def test_a_bad_line_is_refused_and_the_next_one_read(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(line + b'\n{"a": 1}\n')
    (first, refusal), second = rows_of(path)
    assert second == (2, {"a": 1})
    assert first == 1
    assert isinstance(refusal, Refusal)
    assert refusal.level == "row"
    assert refusal.reason.startswith(reason)


@pytest.mark.parametrize("row", ['{"a":' * 201 + "1" + "}" * 201, "[" * 400 + "]" * 400])
def test_what_could_be_read_but_not_written_again_is_refused(tmp_path: Path, row: str) -> None:
    path = tmp_path / "x.jsonl"
    shallow = json.dumps({"a": "[" * 900, "b": [[]] * 300})
    path.write_text(f"{row}\n{shallow}\n")
    (_, refusal), second = rows_of(path)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "nested more than 200 deep"
    assert second == (2, json.loads(shallow))


def test_whole_surrogate_pairs_are_characters(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a": "\\ud83d\\ude00"}')
    assert rows_of(path) == [(1, {"a": "\U0001f600"})]


def test_nan_is_null(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": NaN, "b": -Infinity}')
    assert rows_of(path) == [(1, {"a": None, "b": None})]


@given(
    rows=st.lists(st.dictionaries(st.text(), st.text(), max_size=3), max_size=9),
    size=st.integers(1, 4),
)
def test_all_kinds_of_files_give_the_same_rows_in_any_batches(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], size: int
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (folder / "x.jsonl").write_bytes(text)
    (folder / "x.jsonl.gz").write_bytes(gzip.compress(text))
    array = json.dumps(rows, indent=1).encode()
    (folder / "x.json").write_bytes(array)
    (folder / "x.json.gz").write_bytes(gzip.compress(array))
    columns = {"json": [json.dumps(row) for row in rows]}
    pl.DataFrame(columns, schema={"json": pl.String}).write_parquet(folder / "x.parquet")
    expected = list(enumerate(rows, start=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "BATCH_ROWS", size)
        for name in ("x.jsonl", "x.jsonl.gz", "x.json", "x.json.gz"):
            batches = list(read_batches(folder / name))
            assert [row for part, _ in batches for row in part] == expected
            assert all(len(part) <= size for part, _ in batches)
            positions = [position for _, position in batches]
            assert positions == sorted(positions)
            assert positions[-1] == (folder / name).stat().st_size
        found = [(n, json.loads(row["json"])) for n, row in rows_of(folder / "x.parquet")]  # type: ignore[index]
        assert found == expected


def test_parquet_tells_its_position_in_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pl.DataFrame({"a": range(5000)}).write_parquet(path)
    positions = [position for _, position in read_batches(path)]
    size = path.stat().st_size
    assert positions == [size * 2000 // 5000, size * 4000 // 5000, size]


def test_a_cut_gzip_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 1000)[:-20])
    with pytest.raises(DataError, match=r"damaged file: .*\n.*complete file\n.*x\.jsonl\.gz"):
        rows_of(path)


@pytest.mark.parametrize("name", ["x.parquet", "x.jsonl.gz"])
def test_a_file_that_is_no_such_file_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"what is this? nothing we know")
    with pytest.raises(DataError, match=f"damaged file: .*\n.*\n.*{name}"):
        rows_of(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (' \n[{"a": 1}, {"a": NaN}]\n', [(1, {"a": 1}), (2, {"a": None})]),
        ('{\n "a": 1\n}', [(1, {"a": 1})]),
        ('{"a": 1}', [(1, {"a": 1})]),
        ('{"a": 1}\n\n{"a": 2}\n', [(1, {"a": 1}), (3, {"a": 2})]),
        ("", []),
        ("[]", []),
        ("\ufeff[7]", [(1, 7)]),
    ],
    ids=["array", "one row", "one line", "lines", "empty", "no rows", "byte order mark"],
)
def test_what_a_json_file_may_hold(tmp_path: Path, text: str, expected: Any) -> None:
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    assert rows_of(tmp_path / "x.json") == expected


def test_a_bad_element_is_refused_and_the_next_one_read(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"[1, {'a': 1}, \"\xff\", , 5]")
    rows = rows_of(tmp_path / "x.json")
    assert [number for number, _ in rows] == [1, 2, 3, 4, 5]
    reasons = [row.reason.split(":")[0] for _, row in rows if isinstance(row, Refusal)]
    assert reasons == ["not valid JSON", "not UTF-8", "not valid JSON"]
    assert rows[4] == (5, 5)


def test_bad_first_lines_of_a_json_file_are_lines(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": 1\n{"a": 2}\n')
    (first, refusal), second = rows_of(tmp_path / "x.json")
    assert (first, second) == (1, (2, {"a": 2}))
    assert isinstance(refusal, Refusal)


@pytest.mark.parametrize("text", ["[1, 2", "[1] 2", '[1, "a'])
def test_a_damaged_array_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=r"damaged file: .*\n.*complete file\n.*x\.json"):
        rows_of(tmp_path / "x.json")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def test_folders_are_searched_to_the_bottom(tmp_path: Path) -> None:
    touch(tmp_path, "b.jsonl", "train/data-0.arrow", "test/data-0.arrow", "data/x.csv.gz")
    touch(tmp_path, "README.md", "dataset_dict.json", "train/state.json", "train/dataset_info.json")
    touch(tmp_path, ".cache/x.jsonl", "train/cache-1.arrow", "manifest.json")
    files = source_files(tmp_path)
    names = ["b.jsonl", "data/x.csv.gz", "test/data-0.arrow", "train/data-0.arrow"]
    assert [path.relative_to(tmp_path).as_posix() for path in files] == names
    assert file_names(files) == names
    assert file_names(files[2:]) == names[2:]
    assert file_names(files[2:3]) == ["data-0.arrow"]


def test_wildcards_stand_for_files(tmp_path: Path) -> None:
    touch(tmp_path, "a/train-0.jsonl", "a/train-1.parquet", "a/train.md", "b/train-2.json")
    assert file_names(source_files(tmp_path / "a" / "train*")) == [
        "train-0.jsonl",
        "train-1.parquet",
    ]
    assert len(source_files(tmp_path / "*" / "train*")) == 3
    with pytest.raises(DataError, match=r"no file of feedback \(nothing there\)"):
        source_files(tmp_path / "test*")


def test_a_saved_data_set_is_a_source(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"prompt": f"{i}?", "chosen": "a", "rejected": "b"} for i in range(5)]
    part = datasets.Dataset.from_list(rows)
    datasets.DatasetDict(train=part, test=part).save_to_disk(tmp_path / "saved", num_shards=None)
    files = source_files(tmp_path / "saved")
    assert file_names(files) == [
        "test/data-00000-of-00001.arrow",
        "train/data-00000-of-00001.arrow",
    ]
    assert [rows_of(path) for path in files] == [list(enumerate(rows, start=1))] * 2


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text()
    | st.sampled_from(["\ud800", "\U0001f600", "\u2028", "1" * 25]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES, st.booleans(), st.integers(0, 3), st.randoms(use_true_random=False))
@settings(max_examples=400)
def test_the_quick_way_to_read_a_line_is_the_slow_one(
    value: object, escaped: bool, damages: int, random: Any
) -> None:
    line = bytearray(json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass"))
    for _ in range(damages):
        line[random.randrange(len(line))] = random.choice(b'0-+.eE"\\{}[],:nNI \t\xff\xef')
    quick, slow = read_line(bytes(line)), _read_line_slowly(bytes(line))
    assert json.dumps(quick) == json.dumps(slow)


@pytest.mark.parametrize("line", ["-0", "-0.0", "1E400", "1e-400", "0.1", "-1.5e-7", "1" * 18])
def test_numbers_are_read_alike(line: str) -> None:
    quick, slow = read_line(line.encode()), _read_line_slowly(line.encode())
    assert repr(quick) == repr(slow)
