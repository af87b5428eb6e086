"""Preferences in other tools' columns: exact rows, round trips, splits, batches, scores."""

import gzip
import json
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from exported import read_pairs, save_feedback, save_preferences
from hypothesis import given, settings
from hypothesis import strategies as st

from notus.data import places
from notus.data.exports import pair_rows
from notus.data.exports import writers as exporting
from notus.data.exports.pair_rows import hold_out, pair_batches, plan_pairs, scores
from notus.data.exports.pair_schemas import PAIR_SCHEMAS, prompt_hash
from notus.data.schema import Feedback, completion_id, prompt_id
from notus.data.sources import ingest
from notus.errors import DataError, UsageError
from notus.stages.binarize import binarize
from notus.stages.export import export
from notus.store import read_feedback, read_table

Make = Callable[[Mapping[str, Any]], Feedback]

SCHEMAS = sorted(PAIR_SCHEMAS)
characters = st.characters(exclude_categories=["Cs"])
awkward = st.sampled_from(["\u2028", "\u2029", "\x85", "\r\n", "\x00", "\x1f", '"', "\\", "</s>"])
texts = st.one_of(
    st.text(characters, min_size=1, max_size=12),
    st.lists(st.one_of(awkward, st.text(characters, max_size=3)), min_size=1).map("".join),
    st.integers(1, 40_000).map(lambda length: "long " * length),
).filter(str.strip)
answers = st.lists(texts, min_size=2, max_size=3, unique=True)
prompts = st.lists(
    st.tuples(texts, answers),
    min_size=1,
    max_size=4,
    unique_by=lambda item: unicodedata.normalize("NFC", item[0]),
)


@pytest.fixture
def directories(make_feedback: Make, tmp_path: Path) -> tuple[Path, Path]:
    """Three prompts with 2, 3 and 2 answers; two pairs of the second prompt, none of the third."""
    overall = {"a": 7.0, "b": 3.0, "c": None}
    feedback = make_feedback(
        {
            prompt: [
                (model, f"{prompt} {model}", {"honesty": 4.0, "helpfulness": 5.0, "overall": score})
                for model, score in list(overall.items())[:number]
            ]
            for prompt, number in (("Zeta?", 2), ("Alpha?", 3), ("Mu?", 2))
        }
    )
    source = save_feedback(tmp_path / "feedback", feedback)
    pairs = [(1, 2, 3), (1, 2, 4), (0, 0, 1)]
    return source, save_preferences(tmp_path / "preferences", source, pairs)


def lines(path: Path) -> list[dict[str, Any]]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.decode().split("\n") if line]


def turn(role: str, content: str) -> dict[str, str]:
    return {"content": content, "role": role}


def test_rows_of_each_schema(directories: tuple[Path, Path], tmp_path: Path) -> None:
    feedback, preferences = directories
    found = {}
    for to in SCHEMAS:
        facts = export(feedback, tmp_path / f"{to}.jsonl", to=to, preferences=preferences)
        assert facts == {"schema": to, "rows": 3}
        found[to] = lines(tmp_path / f"{to}.jsonl")
    user, good, bad = turn("user", "Zeta?"), "Zeta? a", "Zeta? b"
    chosen, rejected = turn("assistant", good), turn("assistant", bad)
    assert found["trl"][0] == {"prompt": [user], "chosen": [chosen], "rejected": [rejected]}
    assert found["argilla"][0] == {
        "source": "test",
        "prompt": "Zeta?",
        "chosen": [user, chosen],
        "chosen-rating": 4.5,
        "chosen-model": "a",
        "rejected": [user, rejected],
        "rejected-rating": 4.5,
        "rejected-model": "b",
    }
    assert found["h4"][0] == {
        "prompt": "Zeta?",
        "prompt_id": prompt_hash("Zeta?"),
        "chosen": [user, chosen],
        "rejected": [user, rejected],
        "messages": [user, chosen],
        "score_chosen": 7.0,
        "score_rejected": 3.0,
    }
    # In the order of the prompts, not of their ids; N/A is null.
    assert [row["prompt"] for row in found["h4"]] == ["Zeta?", "Alpha?", "Alpha?"]
    assert sorted(str(row["score_rejected"]) for row in found["h4"][1:]) == ["3.0", "None"]


def test_prompt_hash_is_that_of_the_published_set() -> None:
    # The first row of HuggingFaceH4/ultrafeedback_binarized, train_prefs.
    assert prompt_hash("how can i develop a habit of drawing daily") == (
        "086b3e24f29b8956a01059f79c56db35d118a06fb6b844b095737d042795cd43"
    )


@given(rows=prompts, to=st.sampled_from(SCHEMAS), ending=st.sampled_from([".jsonl", ".parquet"]))
@settings(max_examples=25)
def test_pairs_come_back_as_they_were(
    make_feedback: Make,
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, list[str]]],
    to: str,
    ending: str,
) -> None:
    folder = tmp_path_factory.mktemp("round")
    said = {
        prompt: [(f"m{i}", text, {"honesty": 3.0}) for i, text in enumerate(texts)]
        for prompt, texts in rows
    }
    feedback = save_feedback(folder / "feedback", make_feedback(said))
    starts = [sum(len(texts) for _, texts in rows[:i]) for i in range(len(rows))]
    pairs = [(i, start + 1, start) for i, start in enumerate(starts)]
    preferences = save_preferences(folder / "preferences", feedback, pairs)
    export(feedback, folder / f"out{ending}", to=to, preferences=preferences)
    expected = sorted(((f"user: {prompt}",), texts[1], texts[0]) for prompt, texts in rows)
    assert read_pairs(folder / f"out{ending}", folder / "again") == expected


@pytest.mark.parametrize("to", SCHEMAS)
def test_conversations_come_back_whole(to: str, make_feedback: Make, tmp_path: Path) -> None:
    messages = [
        {"role": role, "content": text}
        for role, text in (("system", "s"), ("user", "u"), ("assistant", "a"), ("user", "last"))
    ]
    one = make_feedback({"last": [("m", "yes", {"honesty": 3.0}), ("n", "no", {"honesty": 1.0})]})
    key = prompt_id(messages)
    ids = [completion_id(key, model, text) for model, text in (("m", "yes"), ("n", "no"))]
    feedback = Feedback(
        prompts=one.prompts.with_columns(
            prompt_id=pl.lit(key), messages=pl.lit(pl.Series([messages]))
        ),
        completions=one.completions.with_columns(
            prompt_id=pl.lit(key), completion_id=pl.Series(ids)
        ),
        ratings=one.ratings.with_columns(completion_id=pl.Series(ids)),
    )
    source = save_feedback(tmp_path / "feedback", feedback)
    preferences = save_preferences(tmp_path / "preferences", source, [(0, 0, 1)])
    export(source, tmp_path / "out.jsonl.gz", to=to, preferences=preferences)
    turns = tuple(f"{m['role']}: {m['content']}" for m in messages)
    assert read_pairs(tmp_path / "out.jsonl.gz", tmp_path / "again") == [(turns, "yes", "no")]


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".parquet"])
def test_equal_rows_give_equal_bytes(
    directories: tuple[Path, Path], tmp_path: Path, ending: str
) -> None:
    feedback, preferences = directories
    first, second = tmp_path / f"first{ending}", tmp_path / "elsewhere" / f"second{ending}"
    for path in (first, second):
        export(feedback, path, to="h4", preferences=preferences)
    assert first.read_bytes() == second.read_bytes()


def test_batches_and_shards_change_no_row(
    directories: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feedback, preferences = directories
    export(feedback, tmp_path / "whole.jsonl", to="argilla", preferences=preferences)
    monkeypatch.setattr(pair_rows, "BATCH_PAIRS", 1)
    monkeypatch.setattr(places, "BLOCK_ROWS", 2)
    monkeypatch.setattr(exporting, "SHARD_ROWS", 2)
    export(feedback, tmp_path / "parts.jsonl", to="argilla", preferences=preferences)
    assert (tmp_path / "parts.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    export(feedback, tmp_path / "out", to="argilla", preferences=preferences)
    shards = sorted((tmp_path / "out" / "data").iterdir())
    assert [path.name for path in shards] == [
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
    ]
    rows = pl.concat([pl.read_parquet(path) for path in shards]).to_dicts()
    assert rows == lines(tmp_path / "whole.jsonl")


@given(number=st.integers(0, 29), seed=st.integers(0, 3), num_pairs=st.integers(1, 3))
@settings(max_examples=30)
def test_a_prompt_is_never_in_both_splits(number: int, seed: int, num_pairs: int) -> None:
    ids = [f"{i:032x}" for i in range(30) for _ in range(num_pairs)]
    plan = pl.DataFrame({"prompt_id": ids})
    train, test = hold_out(plan, number, seed)
    assert test["prompt_id"].n_unique() == number
    assert not set(train["prompt_id"]) & set(test["prompt_id"])
    assert train.height + test.height == plan.height
    shuffled = hold_out(plan.reverse(), number, seed).test
    assert shuffled["prompt_id"].to_list() == test["prompt_id"].reverse().to_list()


def test_another_seed_draws_others_and_a_removed_prompt_moves_no_other() -> None:
    plan = pl.DataFrame({"prompt_id": [f"{i:032x}" for i in range(200)]})
    held = set(hold_out(plan, 50, 1).test["prompt_id"])
    assert 5 < len(held & set(hold_out(plan, 50, 2).test["prompt_id"])) < 25
    gone = min(set(plan["prompt_id"]) - held)
    left = plan.filter(pl.col("prompt_id") != gone)
    assert set(hold_out(left, 50, 1).test["prompt_id"]) == held


@pytest.mark.parametrize("number", [-1, 2, 3])
def test_something_must_be_left_to_train_on(number: int) -> None:
    plan = pl.DataFrame({"prompt_id": ["a" * 32, "b" * 32]})
    with pytest.raises(UsageError, match=rf"^{number} prompts to hold out of 2\n"):
        hold_out(plan, number, 0)


@pytest.mark.parametrize(
    ("ratings", "overall_first", "meaning", "score"),
    [
        ({"honesty": 4.0, "overall": 8.0}, False, "mean of the ratings of honesty, on 1..5", 4.0),
        ({"honesty": 4.0, "overall": 8.0}, True, "mean of the ratings of overall, on 1..10", 8.0),
        ({"overall": 8.0}, False, "mean of the ratings of overall, on 1..10", 8.0),
        (
            {"honesty": 4.0, "truth": 1.0},
            True,
            "mean of the ratings of honesty, truth, on 1..5",
            2.5,
        ),
        ({"honesty": 4.0, "overall": None}, True, "mean of the ratings of honesty, on 1..5", 4.0),
        ({"preference": 1.0}, True, "null: no aspect is rated", None),
    ],
)
def test_scores(
    make_feedback: Make,
    ratings: dict[str, float | None],
    overall_first: bool,
    meaning: str,
    score: float | None,
) -> None:
    feedback = make_feedback({"A?": [("m", "a", ratings)]})
    found = scores(feedback.ratings, overall_first=overall_first)
    assert found.meaning == meaning
    assert found.frame.collect()["score"].to_list() == ([] if score is None else [score])


def test_ratings_on_different_scales_have_no_mean(make_feedback: Make) -> None:
    feedback = make_feedback({"A?": [("m", "a", {"honesty": 4.0, "grade": 1.0})]})
    other = pl.when(pl.col("aspect") == "grade").then(100.0).otherwise(5.0)
    found = scores(feedback.ratings.with_columns(scale_max=other), overall_first=False)
    assert found.meaning == "null: grade, honesty are rated on different scales"
    assert found.frame.collect().is_empty()


def test_preferences_over_what_is_not_there_are_an_error(
    directories: tuple[Path, Path], tmp_path: Path
) -> None:
    feedback = read_feedback(directories[0])
    preferences = read_table(directories[1], "preferences").collect()
    fewer = Feedback(
        prompts=feedback.prompts, completions=feedback.completions.head(3), ratings=feedback.ratings
    )
    with pytest.raises(DataError, match=r"^2 preferences whose prompt or completions are not in"):
        plan_pairs(fewer, preferences)
    with pytest.raises(DataError, match=r"^no preferences\n"):
        plan_pairs(feedback, preferences.clear())


def test_what_fails_leaves_nothing_behind(
    directories: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feedback, preferences = directories
    batches = pair_batches

    def fails_at_the_second(*arguments: Any) -> Any:
        yield next(batches(*arguments))
        raise OSError("the disk is gone")

    monkeypatch.setattr(pair_rows, "BATCH_PAIRS", 1)
    monkeypatch.setattr(exporting, "pair_batches", fails_at_the_second)
    before = sorted(tmp_path.iterdir())
    for name in ("out.jsonl", "out.jsonl.gz", "out.parquet", "out"):
        with pytest.raises(OSError, match="the disk is gone"):
            export(feedback, tmp_path / name, to="trl", preferences=preferences)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.shared
@pytest.mark.parametrize("to", SCHEMAS)
def test_real_pairs_come_back_as_they_were(shared_data: Path, tmp_path: Path, to: str) -> None:
    source = shared_data / "ultrafeedback" / "binarized" / "train_clean.jsonl"
    ingest(source, tmp_path / "feedback")
    binarize(tmp_path / "feedback", tmp_path / "preferences", strategy="given")
    out, options = tmp_path / "out.jsonl.gz", {"preferences": tmp_path / "preferences"}
    facts = export(tmp_path / "feedback", out, to=to, **options)
    first = read_pairs(source, tmp_path / "first")
    second = read_pairs(out, tmp_path / "second")
    # Two rows with an empty answer were refused on reading; four pairs are of equal texts.
    different = [pair for pair in first if pair[1] != pair[2]]
    assert second == different
    assert facts["rows"] == len(different) == 994
