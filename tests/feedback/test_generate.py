"""Sampling completions: one sampler a completion, resumable by shards, the same bytes again."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import tiny
from notus.data.prompts import read_prompts
from notus.data.schema import COMPLETIONS, check, completion_id
from notus.errors import DataError
from notus.feedback import generate as generating
from notus.feedback.generate import generate_completions, samplers
from notus.generation import generate
from notus.settings import GenerateSection

SETTINGS = GenerateSection(temperatures=[0.0, 1.0], max_new_tokens=6, seed=4)


@pytest.fixture
def prompts(tmp_path: Path) -> pl.DataFrame:
    path = tmp_path / "prompts.jsonl"
    rows = [json.dumps({"prompt": f"Say the word {i}"}) + "\n" for i in range(7)]
    path.write_text("".join(rows), "utf-8")
    return read_prompts(path)


def make(prompts: pl.DataFrame, folder: Path, settings: GenerateSection = SETTINGS) -> Any:
    folder.mkdir(exist_ok=True)
    facts = generate_completions(prompts, tiny.make_model(), settings, folder, model_name="tiny")
    return facts, pl.read_parquet(folder / "completions.parquet")


def test_every_prompt_is_answered_by_every_sampler(prompts: pl.DataFrame, tmp_path: Path) -> None:
    facts, found = make(prompts, tmp_path / "out")
    assert check(COMPLETIONS, found).refused.is_empty()
    assert facts["completions"] + facts["empty"] + facts["duplicates"] == 14
    assert found.height == facts["completions"]
    assert set(found["model"]) == {"tiny-t0", "tiny-t1"}
    greedy = generate(tiny.make_model(), prompts["messages"].to_list(), max_new_tokens=6)
    texts = {row["prompt_id"]: row for row in found.iter_rows(named=True) if "t0" in row["model"]}
    for prompt, answer in zip(prompts["prompt_id"], greedy, strict=True):
        if answer.text:
            row = texts[prompt]
            assert row["text"] == answer.text
            assert row["completion_id"] == completion_id(prompt, "tiny-t0", answer.text)
            metadata = json.loads(row["metadata"])
            assert (metadata["finished"], metadata["temperature"]) == (answer.finished, 0.0)
    assert not (tmp_path / "out" / "shards").exists()


def test_progress_counts_completions_and_is_drawn_within_a_shard(
    prompts: pl.DataFrame, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    (tmp_path / "out").mkdir()
    settings = GenerateSection(temperatures=[0.0, 1.0], max_new_tokens=6, batch_tokens=120)
    generate_completions(
        prompts,
        tiny.make_model(),
        settings,
        tmp_path / "out",
        model_name="tiny",
        progress=lambda done, total: seen.append((done, total)),
    )
    counts = [done for done, _ in seen]
    assert counts == sorted(counts)
    assert len(set(counts)) > 4, "one shard, and more than one step of progress"
    assert {total for _, total in seen} == {14}
    assert counts[-1] == 14


def test_a_principle_is_a_system_turn_and_no_part_of_the_prompt(
    prompts: pl.DataFrame, tmp_path: Path
) -> None:
    settings = GenerateSection(temperatures=[0.0, 0.01], principles=[None, "Be odd."])
    _, found = make(prompts, tmp_path / "out", settings)
    assert set(found["model"]) == {"tiny-t0", "tiny-t0.01-p1"}
    told = found.filter(pl.col("model") == "tiny-t0.01-p1")
    assert {json.loads(m)["custom_system_prompt"] for m in told["metadata"]} == {"Be odd."}
    assert set(told["prompt_id"]) <= set(prompts["prompt_id"])
    asked = [[{"role": "system", "content": "Be odd."}, *m] for m in prompts["messages"].to_list()]
    answers = generate(
        tiny.make_model(), asked, max_new_tokens=48, temperature=0.01, seed=1, batch_tokens=8192
    )
    assert set(told["text"]) == {answer.text for answer in answers if answer.text}


def test_shards_change_nothing_and_are_kept_by_a_second_try(
    prompts: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole = make(prompts, tmp_path / "whole")
    monkeypatch.setattr(generating, "PROMPTS_PER_SHARD", 2)
    real, calls = generating.sample, []

    def dies(*arguments: Any, **settings: Any) -> Any:
        calls.append(len(arguments[1]))
        if len(calls) == 5:  # two samplers a shard: in the third shard
            raise KeyboardInterrupt
        return real(*arguments, **settings)

    monkeypatch.setattr(generating, "sample", dies)
    with pytest.raises(KeyboardInterrupt):
        make(prompts, tmp_path / "cut")
    assert len(list((tmp_path / "cut" / "shards").glob("[0-9]*"))) == 2
    calls.clear()
    calls.extend([0] * 10)
    _, found = make(prompts, tmp_path / "cut")
    assert sum(calls) == 2 * 3, "only the prompts of the last two shards are answered again"
    assert found.equals(whole)


KILLED = """
import os, signal, sys
from pathlib import Path
import polars as pl
import tiny
from notus.data.prompts import read_prompts
from notus.feedback import generate as generating
from notus.settings import GenerateSection

generating.PROMPTS_PER_SHARD = 2
def progress(done, total):
    if done >= int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
root = Path(sys.argv[1])
settings = GenerateSection(temperatures=[0.0, 1.0], max_new_tokens=6, seed=4)
generating.generate_completions(
    read_prompts(root / "prompts.jsonl"), tiny.make_model(), settings, root / "killed",
    model_name="tiny", progress=progress)
"""


def test_a_killed_process_goes_on(
    prompts: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole = make(prompts, tmp_path / "whole")
    (tmp_path / "killed").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), "9"],
        env={**os.environ, "PYTHONPATH": str(Path(tiny.__file__).parent)},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    shards = sorted((tmp_path / "killed" / "shards").glob("[0-9]*"))
    before = [(path / "completions.parquet").stat().st_mtime_ns for path in shards]
    assert len(before) == 2
    monkeypatch.setattr(generating, "PROMPTS_PER_SHARD", 2)
    _, found = make(prompts, tmp_path / "killed")
    assert found.equals(whole)


def test_samplers_need_names_of_their_own() -> None:
    names = [s.name for s in samplers("m", GenerateSection(temperatures=[0.6, 1.0, 1.2]))]
    assert names == ["m-t0.6", "m-t1", "m-t1.2"]
    with pytest.raises(DataError, match="different temperatures"):
        samplers("m", GenerateSection(temperatures=[1.0, 1.0]))
