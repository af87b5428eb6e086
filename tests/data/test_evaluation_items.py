import gzip
import json
import zipfile
from pathlib import Path

import polars as pl
import pytest

from notus.data.evaluation_items import ITEMS, item_texts, read_items
from notus.data.item_files import list_files
from notus.data.schema import REFUSED, check
from notus.errors import DataError


def write_lines(path: Path, rows: list[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        ({"Question": "Why?", "Best Answer": "So."}, ["Why?"]),
        ({"passage": "A hill.", "question": "Where?"}, ["A hill.\nWhere?"]),
        ({"context": "Passage: A hill.\nQuestion: Where?"}, ["Passage: A hill.\nQuestion: Where?"]),
        ({"turns": ["First.", "Second."], "category": "writing"}, ["First.", "Second."]),
        ({"instruction": "Add.", "input": "1 2", "output": "3"}, ["Add.\n1 2"]),
        ({"instruction": "Say hi.", "input": "", "output": "hi"}, ["Say hi."]),
        ({"ind": 4, "ctx_a": "A man", "ctx_b": "he", "ctx": "A man he"}, ["A man he"]),
        (
            {
                "context_options": ["The cup beat Al so Al", "The cup beat Al so Bo"],
                "continuation": "lost.",
            },
            ["The cup beat Al so _ lost."],
        ),
        ({"question": {"stem": "Which?", "choices": []}}, ["Which?"]),
        (
            {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]},
            ["u"],
        ),
        (
            {"conversations": [{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}]},
            ["u"],
        ),
        ({"answer": "42", "question": None}, None),
        ({"question": "  "}, None),
    ],
)
def test_the_question_of_a_row_is_its_text(row, texts) -> None:
    assert item_texts(row) == texts


def test_files_of_every_kind_are_read(tmp_path: Path) -> None:
    rows = [{"question": "One?"}, {"question": "Two,\n2?"}]
    write_lines(tmp_path / "a.jsonl", rows)
    (tmp_path / "b.json").write_text(json.dumps({"version": 1, "data": rows}))
    (tmp_path / "c.json").write_text(json.dumps(rows))
    (tmp_path / "d.csv").write_text('question,answer\nOne?,1\n"Two,\n2?",2\n')
    (tmp_path / "e.tsv").write_text('question\tanswer\nOne?\t1\n"Two,\n2?"\t2\n')
    pl.DataFrame(rows).write_parquet(tmp_path / "f.parquet")
    (tmp_path / "g.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    paths = sorted(tmp_path.iterdir())
    found = read_items(paths)
    assert found.items.schema == ITEMS
    assert found.refused.is_empty()
    for name in "abcdefg":
        part = found.items.filter(pl.col("benchmark") == name)
        assert part["text"].to_list() == ["One?", "Two,\n2?"], name
        assert part["item"].n_unique() == 2


def test_text_files_hold_an_item_a_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text(
        "One?\n\n{'instruction': 'Two?', 'n': [1]}\n{\"prompt\": \"Three?\"}\n{Four?}\n"
    )
    found = read_items([path])
    assert found.items.rows() == [
        ("mine", "mine.txt:1", "One?"),
        ("mine", "mine.txt:3", "Two?"),
        ("mine", "mine.txt:4", "Three?"),
        ("mine", "mine.txt:5", "{Four?}"),
    ]


def test_an_archive_gives_its_test_split_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "mmlu.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/README.txt", "About this data")
        archive.writestr("data/test/law_test.csv", '"One, or two?",1,2,3,4,A\nThree?,1,2,3,4,B\n')
        archive.writestr("data/dev/law_dev.csv", "Shown?,1,2,3,4,A\n")
        archive.writestr("data/val/art_val.csv", "Only here?,1,2,3,4,A\n")
    found = read_items([path])
    assert set(found.items["benchmark"]) == {"mmlu"}
    assert found.items["text"].to_list() == ["One, or two?", "Three?", "Only here?"]
    assert found.items["item"][0] == "mmlu.zip/data/test/law_test.csv:1"
    assert found.refused["place"].to_list() == ["mmlu.zip/data/dev/law_dev.csv"]


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    path = tmp_path / "quiz.jsonl"
    lines = [
        '{"question": "Why is that?"}',
        "{broken",
        '{"question": "why is THAT"}',
        '{"question": "?!"}',
        '{"answer": "none"}',
        "[1]",
        '{"question": "half \\ud800"}',
        "",
    ]
    path.write_text("\n".join(lines))
    found = read_items([path])
    assert found.items["text"].to_list() == ["Why is that?"]
    assert check(REFUSED, found.refused).refused.is_empty()
    reasons = dict(found.refused.select("place", "reason").iter_rows())
    assert {place: reason[:12] for place, reason in reasons.items()} == {
        "quiz.jsonl:2": "not valid JS",
        "quiz.jsonl:3": "repeats quiz",
        "quiz.jsonl:4": "no words",
        "quiz.jsonl:5": "no field of ",
        "quiz.jsonl:6": "not an objec",
        "quiz.jsonl:7": "not valid Un",
    }


def test_rows_of_another_width_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "quiz.csv"
    path.write_text("question,answer\nOne?,1\nTwo?\nThree?,3\n")
    found = read_items([path])
    assert found.items["text"].to_list() == ["One?", "Three?"]
    assert found.refused["reason"].to_list() == ["1 columns instead of 2"]


def test_benchmarks_are_called_by_file_or_folder(tmp_path: Path) -> None:
    row = [{"question": "Why?"}]
    for name in ("gsm8k/test.jsonl", "arc/easy.jsonl", "arc/deep/hard.jsonl", "PROVENANCE.md"):
        write_lines(tmp_path / "all" / name, row)
    assert [f.benchmark for f in list_files(tmp_path / "all/gsm8k/test.jsonl")] == ["gsm8k"]
    assert [f.benchmark for f in list_files(tmp_path / "all/arc/easy.jsonl")] == ["easy"]
    assert [f.benchmark for f in list_files(tmp_path / "all")] == ["arc", "arc", "gsm8k"]
    assert {f.benchmark for f in list_files(tmp_path / "all/arc")} == {"deep", "arc"}


def test_two_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    paths = [write_lines(tmp_path / name / "quiz.jsonl", [{"question": name}]) for name in "ab"]
    found = read_items([*paths, paths[0]])
    assert found.items.select("benchmark", "text").rows() == [("quiz", "a"), ("b/quiz", "b")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("quiz.jsonl", '{"answer": 1}', "no field of an item among answer"),
        ("quiz.csv", "a,b\n1,2\n", "no field of an item among a, b"),
        ("quiz.json", '{"a": 1}', "no field of an item among a"),
        ("quiz.txt", "", "an empty file"),
        ("quiz.zip", "no archive", "damaged"),
        ("quiz.jsonl.gz", "no archive", "damaged"),
        ("quiz.parquet", "no parquet", "damaged"),
        ("quiz.csv", b"question\n\xff\n", "not UTF-8"),
        ("quiz.md", "One?", "a file of another kind"),
    ],
)
def test_a_file_without_items_is_one_clear_error(tmp_path: Path, name, content, message) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as caught:
        read_items([path])
    assert "do this:" in str(caught.value)


def test_a_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file of items"):
        read_items([tmp_path / "nowhere"])


@pytest.mark.shared
def test_the_eight_benchmarks_are_read(shared_data) -> None:
    found = read_items([shared_data / "benchmarks"])
    counts = dict(found.items["benchmark"].value_counts().iter_rows())
    assert counts == {
        "arc": 1170,
        "drop": 8660,
        "gsm8k": 1319,
        "hellaswag": 1000,
        "ifeval": 542,
        "mmlu": 13857,
        "truthfulqa": 819,
        "winogrande": 1267,
    }
    # All else repeats an item, is of another split, or is no file of items.
    reasons = found.refused["reason"].str.extract("^(repeats|another split|no field of an item)")
    assert reasons.null_count() == 0
    assert (reasons == "no field of an item").sum() == 1


@pytest.mark.shared
def test_files_named_alone_are_read(shared_data) -> None:
    expected = {
        "judging/mt_bench/question.jsonl": ("mt_bench", 160),
        "judging/alpaca_eval/zephyr-7b-beta/model_outputs.json": ("model_outputs", 805),
        "ultrafeedback/truthfulqa_prompts/truthful_qa.pydicts.txt": ("truthful_qa", 817),
        "benchmarks/truthfulqa/mc_task_v1.json": ("mc_task_v1", 817),
        "benchmarks/drop/drop_v0_dev.jsonl.gz": ("drop_v0_dev", 8660),
    }
    for file, (benchmark, count) in expected.items():
        items = read_items([shared_data / file]).items
        assert items.height == count, file
        assert set(items["benchmark"]) == {benchmark}
