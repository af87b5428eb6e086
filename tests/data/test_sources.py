"""Ingest, from files to tables."""

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from notus.data.files import streams
from notus.data.formats import ultrafeedback
from notus.data.formats.readers import READERS
from notus.data.schema import TABLES, check, completion_id, prompt_id
from notus.data.sources import ingest
from notus.errors import DataError, UsageError
from notus.store import StageResult, read_feedback, read_table

Source = Callable[[Sequence[Any]], Path]
NOTHING = {"rows": 0, "prompts": 0, "completions": 0, "ratings": 0}


def uf_row(instruction: str, *answers: str, **fields: Any) -> dict[str, Any]:
    completions = [
        {
            "model": f"m{i}",
            "response": text,
            "overall_score": 5.0,
            "annotations": {"honesty": {"Rating": str(1 + i % 5), "Rationale": "r"}},
        }
        for i, text in enumerate(answers)
    ]
    return {"source": "s", "instruction": instruction, "completions": completions} | fields


@pytest.fixture
def source(tmp_path: Path) -> Source:
    def write(rows: Sequence[Any]) -> Path:
        path = tmp_path / "source.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


def tables(result: StageResult) -> dict[str, pl.DataFrame]:
    names = ("prompts", "completions", "ratings", "refused")
    return {name: read_table(result.directory, name).collect() for name in names}


def test_ids_places_and_order(source: Source, tmp_path: Path) -> None:
    path = source([uf_row("A?", "b", "a"), "", uf_row("B?", "c")])
    result = ingest(path, tmp_path / "out")
    found = tables(result)
    first = prompt_id([{"role": "user", "content": "A?"}])
    assert found["prompts"]["prompt_id"][0] == first
    assert [origin["line"] for origin in found["prompts"]["origin"]] == [1, 3]
    digest = result.manifest.inputs["source.jsonl"]
    assert {origin["sha256"] for origin in found["prompts"]["origin"]} == {digest}
    assert found["completions"]["text"].to_list() == ["b", "a", "c"]
    assert found["completions"]["completion_id"][0] == completion_id(first, "m0", "b")
    assert [origin["line"] for origin in found["completions"]["origin"]] == [1, 1, 3]
    assert {origin["sha256"] for origin in found["completions"]["origin"]} == {digest}
    assert result.manifest.facts == {
        "format": "ultrafeedback",
        "rows": 2,
        "kept": 2,
        "refused_rows": 0,
        "repeated": NOTHING,
        "prompts": 2,
        "completions": 3,
        "ratings": 6,
        "refused": {},
    }
    assert {output.path: output.rows for output in result.manifest.outputs} == {
        "completions.parquet": 3,
        "prompts.parquet": 2,
        "ratings.parquet": 6,
        "refused.parquet": 0,
    }


def test_what_is_refused_says_where_and_why(source: Source, tmp_path: Path) -> None:
    bad = uf_row("C?", "x", "", "y")
    bad["completions"][2]["annotations"]["honesty"]["Rating"] = "good"
    rows = ['{"source": "s", "instruction": "cut', [1], uf_row("A?", "b", "b"), bad, uf_row(" ")]
    result = ingest(source(rows), tmp_path / "out", max_refused=0.9)
    found = tables(result)
    assert found["refused"].select("place", "reason").rows() == [
        (
            "source.jsonl:1",
            "not valid JSON: Unterminated string starting at: line 1 column 32 (char 31)",
        ),
        ("source.jsonl:2", "not an object: list"),
        ("source.jsonl:4", "empty completion"),
        ("source.jsonl:4", "rating cannot be read: 'good' is not a number"),
        ("source.jsonl:5", "empty prompt"),
    ]
    assert found["refused"]["raw"][0] == '{"source": "s", "instruction": "cut'
    # In the third row the second completion has another model's name: it is no repetition.
    assert found["completions"]["text"].to_list() == ["b", "b", "x", "y"]
    assert found["ratings"].height == 7
    facts = result.manifest.facts
    assert (facts["rows"], facts["kept"], facts["refused_rows"]) == (5, 2, 3)


def test_too_many_refused_rows_stop_the_stage(source: Source, tmp_path: Path) -> None:
    rows: list[Any] = [uf_row(f"{i}?", "a") for i in range(96)] + ["{"] * 3 + [uf_row(" ")]
    with pytest.raises(DataError) as caught:
        ingest(source(rows), tmp_path / "out")
    message = str(caught.value)
    assert "4 of 100 rows refused (not valid JSON: 3; empty prompt: 1)" in message
    assert "at most 1.00% of each refused" in message
    assert "source.jsonl:97 (not valid JSON: Expecting" in message
    assert "source.jsonl:99" in message
    assert "source.jsonl:100" not in message
    assert "--max-refused 0.041" in message
    assert not list(tmp_path.glob("*out*"))
    accepted = ingest(source(rows), tmp_path / "out", max_refused=0.041)
    assert accepted.manifest.facts["refused"] == {"not valid JSON": 3, "empty prompt": 1}


@given(refused=st.integers(1, 60), good=st.integers(1, 60))
@settings(max_examples=10)
def test_the_share_that_a_message_names_is_accepted(
    tmp_path_factory: pytest.TempPathFactory, refused: int, good: int
) -> None:
    folder = tmp_path_factory.mktemp("share")
    rows = [uf_row(f"{i}?", "a") for i in range(good)]
    text = "\n".join([json.dumps(row) for row in rows] + ["{"] * refused)
    (folder / "x.jsonl").write_text(text)
    try:
        ingest(folder / "x.jsonl", folder / "out")
    except DataError as error:
        share = float(str(error).rsplit("--max-refused ", maxsplit=1)[1])
        ingest(folder / "x.jsonl", folder / "out", max_refused=share)
    else:
        assert refused <= 0.01 * (refused + good)


@pytest.mark.parametrize("kind", ["completion", "rating"])
def test_completions_and_ratings_are_limited_too(source: Source, tmp_path: Path, kind: str) -> None:
    rows = [uf_row(f"{i}?", "a", "b") for i in range(10)]
    if kind == "completion":
        rows[0]["completions"][0]["response"] = " "
        found = r"1 of 20 completions refused \(empty completion: 1\)"
    else:
        rows[0]["completions"][0]["overall_score"] = "x"
        found = r"1 of 40 ratings refused \(rating cannot be read: 1\)"
    with pytest.raises(DataError, match=found):
        ingest(source(rows), tmp_path / "out")


@pytest.mark.parametrize("rows", [["{"], [], [uf_row(" ")]], ids=["broken", "empty", "refused"])
def test_nothing_left_is_an_error(source: Source, tmp_path: Path, rows: list[Any]) -> None:
    with pytest.raises(DataError, match=r"rows? refused[^$]*at least one good row"):
        ingest(source(rows), tmp_path / "out", format="ultrafeedback", max_refused=1.0)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([{"question": "x", "answer": "y"}], "rows with the fields question, answer"),
        (["[1, 2]"], "no JSON objects"),
        ([], "no JSON objects"),
    ],
)
def test_an_unknown_format_shows_what_is_there(
    source: Source, tmp_path: Path, rows: list[Any], found: str
) -> None:
    with pytest.raises(DataError) as caught:
        ingest(source(rows), tmp_path / "out")
    message = str(caught.value)
    assert message.startswith(found)
    for name, reader in READERS.items():
        assert f"{name}: {reader.fields}" in message
    assert "source.jsonl" in message


def test_wrong_usage(source: Source, tmp_path: Path) -> None:
    path = source([uf_row("A?", "a")])
    with pytest.raises(UsageError, match=r"format 'csv'\n.*auto, ultrafeedback, .*\n.*--format"):
        ingest(path, tmp_path / "out", format="csv")
    for share in (-0.1, 1.5, float("nan")):
        with pytest.raises(UsageError, match=r"a share of .*\n.*0 to 1\n.*--max-refused"):
            ingest(path, tmp_path / "out", max_refused=share)


def test_a_source_must_be_there_and_readable(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing there[^$]*\.jsonl, \.jsonl\.gz, "):
        ingest(tmp_path / "missing.jsonl", tmp_path / "out")
    (tmp_path / "table.txt").write_text("a,b")
    with pytest.raises(DataError, match=r"no file of feedback \(table\.txt\)"):
        ingest(tmp_path / "table.txt", tmp_path / "out")
    with pytest.raises(DataError, match=r"no file of feedback \(table\.txt\)"):
        ingest(tmp_path, tmp_path / "out")


def test_formats_are_told_apart(source: Source, tmp_path: Path) -> None:
    pair = {"prompt": "A?", "chosen": "a", "rejected": "b"}
    result = ingest(source([pair]), tmp_path / "out")
    assert result.manifest.facts["format"] == "pairs"
    assert result.manifest.config["format"] == "auto"
    with pytest.raises(DataError, match="1 of 1 rows refused"):
        ingest(source([pair]), tmp_path / "other", format="ultrafeedback")


def test_the_rules_for_messages_hold_for_every_reader(source: Source, tmp_path: Path) -> None:
    good = {"prompt": "A?", "chosen": "a", "rejected": "b"}
    rows = [
        good,
        good | {"prompt": [{"role": "robot", "content": "B?"}]},
        good | {"prompt": [{"role": "assistant", "content": "C?"}]},
        good | {"prompt": ""},
    ]
    found = tables(ingest(source(rows), tmp_path / "out", max_refused=1.0))
    assert found["refused"]["reason"].to_list() == [
        "unknown role: 'robot'",
        "last message is not the user's: 'assistant'",
        "empty prompt",
    ]


MAPPING = """
prompt: q
completions:
  - {text: a, ratings: [{aspect: good, value: v, scale: [0, 9]}]}
"""


def test_a_mapping_says_which_field_is_which(source: Source, tmp_path: Path) -> None:
    path, mapping = source([{"q": "A?", "a": "b", "v": 3}]), tmp_path / "mine.yaml"
    mapping.write_text(MAPPING)
    first = ingest(path, tmp_path / "out", map=mapping)
    assert first.manifest.facts["format"] == "mine"
    assert tables(first)["ratings"].select("rater", "aspect", "value").rows() == [
        ("mine", "good", 3.0)
    ]
    assert sorted(first.manifest.inputs) == ["mapping", "source.jsonl"]
    assert ingest(path, tmp_path / "out", map=mapping).reused
    mapping.write_text(MAPPING.replace("good", "fine"))
    again = ingest(path, tmp_path / "out", map=mapping)
    assert not again.reused
    assert tables(again)["ratings"]["aspect"].to_list() == ["fine"]
    # Its name is the rater's, so that makes a difference, too.
    renamed = ingest(path, tmp_path / "out", map=mapping.rename(tmp_path / "other.yaml"))
    assert tables(renamed)["ratings"]["rater"].to_list() == ["other"]


def test_a_mapping_is_a_format_of_its_own(source: Source, tmp_path: Path) -> None:
    path, mapping = source([{"q": "A?", "a": "b"}]), tmp_path / "mine.yaml"
    with pytest.raises(UsageError, match="no file that can be read"):
        ingest(path, tmp_path / "out", map=mapping)
    mapping.write_text(MAPPING)
    with pytest.raises(UsageError, match=r"'pairs' and the mapping mine\.yaml\n.*one of the two"):
        ingest(path, tmp_path / "out", map=mapping, format="pairs")
    assert not (tmp_path / "out").exists()


def test_a_source_may_be_given_as_text(source: Source, tmp_path: Path) -> None:
    assert ingest(str(source([uf_row("A?", "a")])), tmp_path / "out").manifest.facts["rows"] == 1


def test_all_kinds_of_files_give_the_same_tables(source: Source, tmp_path: Path) -> None:
    rows = [uf_row(f"{i}?", *"abcd"[: i % 5], extra={"k": i}) for i in range(1, 30)]
    rows[3]["completions"][0]["annotations"]["truthfulness"] = {"Rating": "N/A", "Type": ["1"]}
    path = source(rows)
    (tmp_path / "source.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(tmp_path / "source.parquet")
    found = [
        tables(ingest(tmp_path / name, tmp_path / f"out-{name}"))
        for name in ("source.jsonl", "source.jsonl.gz", "source.parquet")
    ]
    for other in found[1:]:
        for name, table in other.items():
            # Origins name the file, and so they differ.
            assert_frame_equal(
                table.drop("origin", strict=False), found[0][name].drop("origin", strict=False)
            )


def test_a_directory_is_read_file_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "b.jsonl").write_text(json.dumps(uf_row("B?", "b")))
    (folder / "a.jsonl").write_text(json.dumps(uf_row("A?", "a")) + "\n{")
    (folder / "README.md").write_text("no data")
    calls: list[tuple[int, int]] = []
    result = ingest(
        folder,
        tmp_path / "out",
        max_refused=0.5,
        progress=lambda done, total: calls.append((done, total)),
    )
    found = tables(result)
    assert found["completions"]["text"].to_list() == ["a", "b"]
    assert found["refused"]["place"].to_list() == ["a.jsonl:2"]
    assert sorted(result.manifest.inputs) == ["a.jsonl", "b.jsonl"]
    size = sum(path.stat().st_size for path in folder.glob("*.jsonl"))
    assert calls == [((folder / "a.jsonl").stat().st_size, size), (size, size)]


def test_ingesting_twice_changes_nothing(source: Source, tmp_path: Path) -> None:
    path = source([uf_row("A?", "a")])
    first = ingest(path, tmp_path / "out")
    again = ingest(path, tmp_path / "out")
    assert (first.reused, again.reused) == (False, True)
    assert again.manifest == first.manifest
    path.write_text(path.read_text() + json.dumps(uf_row("B?", "b")))
    more = ingest(path, tmp_path / "out")
    assert not more.reused
    assert tables(more)["prompts"].height == 2


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
answers = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["m", "n", "", None]),
        "response": st.one_of(texts, st.none(), st.integers()),
        "annotations": st.one_of(
            st.none(),
            st.just("bad"),
            st.dictionaries(
                st.sampled_from(["honesty", "helpfulness", "overall"]),
                st.one_of(
                    st.none(),
                    st.integers(),
                    st.fixed_dictionaries(
                        {"Rating": st.sampled_from(["1", "5", "N/A", "x", 3, None])},
                        optional={"Rationale": st.one_of(texts, st.integers())},
                    ),
                ),
            ),
        ),
        "overall_score": st.sampled_from([1, 10.0, "N/A", "x", None]),
    }
)
any_rows = st.lists(
    st.one_of(
        st.integers(),
        st.fixed_dictionaries(
            {
                "instruction": st.one_of(texts, st.none(), st.sampled_from(["A?", "B?"])),
                "completions": st.one_of(st.none(), st.lists(answers, max_size=4)),
            },
            optional={"source": st.one_of(texts, st.integers()), "x": st.floats()},
        ),
    ),
    max_size=6,
)


@given(rows=any_rows, size=st.integers(1, 3))
@settings(max_examples=40)
def test_whatever_comes_in_only_good_rows_come_out(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Any], size: int
) -> None:
    """Any JSON: good tables, keys that meet, and each row and completion here or in refused."""
    folder = tmp_path_factory.mktemp("any")
    path = folder / "x.jsonl"
    path.write_text("\n".join(map(json.dumps, [*rows, uf_row("last?", "z")])), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "BATCH_ROWS", size)
        result = ingest(path, folder / "out", format="ultrafeedback", max_refused=1.0)
    found = tables(result)
    for name, table in found.items():
        assert check(TABLES[name], table).refused.is_empty()
    prompts, completions = set(found["prompts"]["prompt_id"]), found["completions"]
    assert set(completions["prompt_id"]) <= prompts
    assert set(found["ratings"]["completion_id"]) <= set(completions["completion_id"])
    for metadata in (*found["prompts"]["metadata"], *completions["metadata"]):
        json.loads(metadata, parse_constant=pytest.fail)
    facts = result.manifest.facts
    assert sum(facts["refused"].values()) == found["refused"].height
    assert facts["rows"] == len(rows) + 1 == facts["kept"] + facts["refused_rows"]
    assert facts["kept"] == found["prompts"].height + facts["repeated"]["prompts"]
    assert said_in(found) == said_by(*rows, uf_row("last?", "z"))


def said_in(found: dict[str, pl.DataFrame]) -> set[tuple[Any, ...]]:
    """Completions with their ratings as the source's own raters gave them."""
    ratings = found["ratings"].with_columns(pl.col("rater").str.split("@").list.first())
    columns = ("completion_id", "rater", "aspect", "value")
    said = set(ratings.select(columns).rows())
    return said | {(completion,) for completion in found["completions"]["completion_id"]}


def said_by(*rows: Any) -> set[tuple[Any, ...]]:
    """The same, slowly and obviously, from the rows themselves."""
    said: set[tuple[Any, ...]] = set()
    for row in rows:
        parsed = ultrafeedback.parse(row) if isinstance(row, dict) else None
        if parsed is None or parsed.messages is None:
            continue
        for model, text, _, ratings in parsed.completions:
            key = completion_id(prompt_id(parsed.messages), model, text)
            said |= {(key,), *((key, *rating[:3]) for rating in ratings)}
    return said


@pytest.mark.shared
def test_real_raw_rows_of_both_releases(shared_data: Path, tmp_path: Path) -> None:
    """Three partial rows: 4 + 4 + 1 completions; 16, 4 and (in one-element lists) 4 ratings."""
    path = shared_data / "ultrafeedback" / "raw_rows" / "uf_real_rows.jsonl"
    result = ingest(path, tmp_path / "out")
    assert result.manifest.facts == {
        "format": "ultrafeedback",
        "rows": 3,
        "kept": 3,
        "refused_rows": 0,
        "repeated": NOTHING,
        "prompts": 3,
        "completions": 9,
        "ratings": 24,
        "refused": {},
    }
    feedback = read_feedback(tmp_path / "out")
    values = (
        feedback.completions.join(feedback.ratings, on="completion_id")
        .filter(pl.col("model") == "llama-2-70b-chat")
        .select("aspect", "value")
        .collect()
    )
    assert dict(values.iter_rows()) == {
        "instruction_following": 3.0,
        "honesty": 2.0,
        "truthfulness": 3.0,
        "helpfulness": 2.0,
    }
    metadata = [json.loads(text) for text in feedback.prompts.collect()["metadata"]]
    assert metadata[0]["models"] == ["alpaca-7b", "pythia-12b", "starchat", "vicuna-33b"]
    assert "reference_answers" in metadata[2]


@pytest.mark.shared
def test_real_pairs(shared_data: Path, tmp_path: Path) -> None:
    """1,200 pairs, 2 with an answer of nothing but white space; no prompt occurs twice."""
    result = ingest(shared_data / "ultrafeedback" / "binarized", tmp_path / "out")
    facts = result.manifest.facts
    assert facts["format"] == "pairs"
    assert facts["rows"] == 1200
    assert facts["refused"] == {"empty completion": 2}
    assert facts["repeated"] == NOTHING
    assert (facts["prompts"], facts["completions"], facts["ratings"]) == (1198, 2396, 4792)
