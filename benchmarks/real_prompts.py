"""The prompts that benchmarks of the audit measure on: real ones, and many made of their sentences.

Not a benchmark itself. Needs the folder of real data.
"""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

LENGTH_MEDIAN, LENGTH_SIGMA, LENGTH_MOST = 95, 1.0, 2500
"""Log-normal lengths of synthetic prompts, in words: mean about 160, some over 2,000."""


def json_rows(path: Path) -> list[dict[str, Any]]:
    """Read JSON or JSONL, gzipped or not."""
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    if path.suffix == ".json":
        return list(json.loads(text))
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def real_prompts(data: Path) -> dict[str, list[list[str]]]:
    """Read the user turns of every prompt, by data set."""

    def turns(row: dict[str, Any]) -> list[str]:
        if "conversations" in row:
            return [turn["value"] for turn in row["conversations"] if turn["from"] == "human"]
        return [turn["content"] for turn in row["messages"] if turn["role"] == "user"]

    def human(row: dict[str, Any]) -> list[str]:
        asked = row["chosen"].split("\n\nHuman:")[1:]
        return [turn.split("\n\nAssistant:")[0].strip() for turn in asked]

    def field(name: str) -> Callable[[dict[str, Any]], list[str]]:
        return lambda row: [row[name]]

    preferences, binarized = data / "preferences", data / "ultrafeedback/binarized"
    sources = {
        "ultrafeedback train": (binarized / "train_clean.jsonl", field("prompt")),
        "ultrafeedback eval": (binarized / "eval_clean.jsonl", field("prompt")),
        "llamafactory dpo": (preferences / "llamafactory_dpo/dpo_en_demo.json", turns),
        "llamafactory kto": (preferences / "llamafactory_dpo/kto_en_demo.json", turns),
        "hh_rlhf": (preferences / "hh_rlhf/harmless-base_test.jsonl.gz", human),
        "finegrained_rlhf": (
            preferences / "finegrained_rlhf/dev_feedback.json",
            field("question"),
        ),
        "llmbar natural": (data / "judging/llmbar/Natural.json", field("input")),
        "llmbar adversarial": (data / "judging/llmbar/Adv_Neighbor.json", field("input")),
        "pku_saferlhf": (preferences / "pku_saferlhf/train_sample.json", field("prompt")),
    }
    return {name: [take(row) for row in json_rows(path)] for name, (path, take) in sources.items()}


def turn_table(prompts: dict[str, list[list[str]]]) -> pl.DataFrame:
    """Lay prompts out a row a turn; prompt_id is "data set:row", rows counted from 1."""
    rows = [
        (f"{name}:{number}", turn)
        for name, several in prompts.items()
        for number, turns in enumerate(several, start=1)
        for turn in turns
    ]
    return pl.DataFrame(rows, schema=["prompt_id", "text"], orient="row")


def synthetic_prompts(
    prompts: dict[str, list[list[str]]], count: int, *, seed: int
) -> pl.DataFrame:
    """Make prompts of real sentences in random order."""
    rng = np.random.default_rng(seed)
    text = "\n".join(turn for several in prompts.values() for turns in several for turn in turns)
    sentences = [part for part in re.split(r"(?<=[.!?\n])\s+", text) if part.strip()]
    sizes = [len(sentence.split()) for sentence in sentences]
    lengths = np.minimum(rng.lognormal(np.log(LENGTH_MEDIAN), LENGTH_SIGMA, count), LENGTH_MOST)
    texts = []
    for wanted in lengths.tolist():
        chosen: list[str] = []
        have = 0
        while have < wanted:
            pick = int(rng.integers(len(sentences)))
            chosen.append(sentences[pick])
            have += sizes[pick]
        texts.append(" ".join(chosen))
    return pl.DataFrame({"prompt_id": [str(n) for n in range(count)], "text": texts})


def peak_gib() -> float:
    """Peak resident memory of this process: VmHWM, which begins anew with each program."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**20
    return float("nan")
