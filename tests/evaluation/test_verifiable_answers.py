"""Answers to verifiable prompts: what is asked, what is kept, what counts as a pass."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import tiny
from notus.chat_template import render_prompt
from notus.data.prompts import read_prompts
from notus.errors import DataError
from notus.evaluation.verifiable import SAMPLES_SCHEMA, answer_prompts
from notus.generation import generate
from notus.stages.feedback import write_prompts

SETTINGS: dict[str, Any] = {"label": "x", "temperature": 1.0, "max_new_tokens": 6, "seed": 3}


def prompts_file(path: Path, *constraints: dict[str, Any], **metadata: Any) -> Any:
    rows = [
        {
            "prompt": f"Say {i}",
            "metadata": {"family": "f", "constraints": list(constraints), **metadata},
        }
        for i in range(4)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return read_prompts(path)


LAX = {"check": "max_words", "params": {"limit": 1000}}


def test_answers_are_those_of_generate(tmp_path: Path) -> None:
    model = tiny.make_model()
    prompts = prompts_file(tmp_path / "p.jsonl", LAX)
    calls: list[tuple[int, int]] = []
    found = answer_prompts(
        prompts, model, samples=2, progress=lambda a, b: calls.append((a, b)), **SETTINGS
    )
    assert dict(found.schema) == dict(SAMPLES_SCHEMA)
    assert found.group_by("mode", "sample").len().sort("mode", "sample").rows() == [
        ("greedy", 0, 4),
        ("sampled", 0, 4),
        ("sampled", 1, 4),
    ]
    assert calls[-1] == (12, 12)
    conversations = prompts["messages"].to_list()
    greedy = generate(model, conversations, max_new_tokens=6)
    rows = found.rows(named=True)
    assert [row["text"] for row in rows[:4]] == [answer.text for answer in greedy]
    assert rows[0]["rendered"] == render_prompt(model.tokenizer, conversations[0])
    one, two = ([row["text"] for row in rows[i : i + 4]] for i in (4, 8))
    assert one != two, "each sample has draws of its own"
    again = answer_prompts(prompts, model, samples=2, **SETTINGS)
    assert again.equals(found)


def test_a_cut_answer_and_a_broken_constraint_do_not_pass(tmp_path: Path) -> None:
    model = tiny.make_model()
    never = {"check": "min_words", "params": {"limit": 1000}}
    found = answer_prompts(
        prompts_file(tmp_path / "p.jsonl", LAX, never), model, samples=0, **SETTINGS
    )
    assert not found["passed"].any()
    verdicts = json.loads(found["verdicts"][0])
    assert [v["check"] for v in verdicts] == ["max_words", "min_words"]
    assert not verdicts[1]["passed"]
    cut = answer_prompts(
        prompts_file(tmp_path / "p.jsonl", LAX), model, samples=0, **(SETTINGS | {"seed": 0})
    ).filter(~pl.col("finished"))
    assert cut.height > 0, "the tiny model ends no answer within six tokens: nothing is tested"
    assert not cut["passed"].any()


def test_families_kept_out_of_training_are_marked(tmp_path: Path) -> None:
    write_prompts(tmp_path / "p.jsonl", split="test", per_family=1, seed=0)
    prompts = read_prompts(tmp_path / "p.jsonl")
    found = answer_prompts(prompts, tiny.make_model(window=1024), samples=0, **SETTINGS)
    marked = dict(found.select("family", "seen").iter_rows())
    unseen = {name for name, seen in marked.items() if not seen}
    assert unseen == {"greeting"}
    assert found.height == prompts.height == len(marked)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"constraints": []}, "constraints"),
        ({"family": ""}, "family"),
        ({"constraints": [{"check": "no_such", "params": {}}]}, "no_such"),
        ({"constraints": [{"check": "max_words", "params": {"most": 1}}]}, "most"),
    ],
)
def test_prompts_that_cannot_be_checked_stop_before_the_first_answer(
    tmp_path: Path, metadata: dict[str, Any], words: str
) -> None:
    prompts = prompts_file(tmp_path / "p.jsonl", LAX, **metadata)
    with pytest.raises(DataError, match=words):
        # A model of None would fail differently at the first answer.
        answer_prompts(prompts, None, samples=0, **SETTINGS)  # type: ignore[arg-type]
