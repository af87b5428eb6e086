"""Contamination: recall of planted evaluation items, false hits on real prompts, and speed.

Every item of TruthfulQA, GSM8K and MT-Bench is planted once in each way, as a prompt of its own
beside 1,000 real prompts of UltraFeedback: verbatim, with each kind of small edit, and inside a
longer real prompt between any two of its words. Turns are searched one by one, so planting all
items at once finds what planting 1 % of them a hundred times would find. False hits are counted
over real prompts of seven data sets, against all benchmarks, and each was judged by eye (`JUDGED`).
The speed is measured in a child process, on prompts made of real sentences in random order.

    python benchmarks/contamination.py --data ../shared/data [--prompts 64000]

Writes benchmarks/results/contamination_DATE.md.
"""

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from real_prompts import peak_gib, real_prompts, synthetic_prompts, turn_table

from notus.audit.overlap import overlaps
from notus.audit.tokens import words
from notus.data.evaluation_items import read_items
from notus.manifest import hardware, threads, versions
from notus.stats import wilson

RESULTS = Path(__file__).parent / "results"
SEED = 20251125
PLANTED = {
    "TruthfulQA": "benchmarks/truthfulqa/TruthfulQA_v1.csv",
    "GSM8K": "benchmarks/gsm8k/test.jsonl",
    "MT-Bench": "judging/mt_bench/question.jsonl",
}
HELD_OUT = {
    "ARC": "benchmarks/arc/ARC-Challenge-Test.jsonl",
    "AlpacaEval": "judging/alpaca_eval/zephyr-7b-beta/model_outputs.json",
    "IFEval": "benchmarks/ifeval/input_data.jsonl",
}
"""Benchmarks that were not looked at when the thresholds were chosen."""
FURTHER = (
    "judging/mt_bench/question.jsonl",
    "judging/alpaca_eval/zephyr-7b-beta/model_outputs.json",
)
TARGETS = {
    "verbatim": "100 %",
    "small edits": "at least 95 %",
    "inside longer prompts": "at least 99 %",
}
LIMIT_SECONDS, LIMIT_GIB = 10.0, 2.0
JUDGED = {
    ("ultrafeedback eval:18", "drop"): "true: the passage of these items, with another question",
    ("ultrafeedback train:737", "hellaswag"): "false: another premise of a like wording",
    ("llamafactory dpo:111", "mmlu"): "false: the term in a definition, not the item",
    ("finegrained_rlhf:418", "mmlu"): "false: the same book, another question",
    ("finegrained_rlhf:336", "mmlu"): "false: another championship",
    ("hh_rlhf:1095", "truthfulqa"): "true: the item with two words changed",
    ("llmbar natural:3", "mt_bench"): "true: the item",
    ("llmbar natural:10", "gsm8k"): "true: the item with other numbers",
    ("llmbar natural:10", "mt_bench"): "true: the item",
    ("llmbar natural:14", "model_outputs"): "true: the item",
    ("llmbar natural:15", "model_outputs"): "true: the item as a command",
    ("llmbar natural:19", "mt_bench"): "true: both turns of the item",
    ("llmbar natural:70", "model_outputs"): "true: the item after two words",
}
"""What each hit in the real prompts is, read by eye."""

Edit = Callable[[list[str], np.random.Generator, Sequence[str]], list[str]]


def replace(text: list[str], rng: np.random.Generator, others: Sequence[str]) -> list[str]:
    """Put a word of some other prompt for one of the words."""
    place = int(rng.integers(len(text)))
    return [*text[:place], others[int(rng.integers(len(others)))], *text[place + 1 :]]


def drop(text: list[str], rng: np.random.Generator, _: Sequence[str]) -> list[str]:
    """Leave a word out."""
    place = int(rng.integers(len(text)))
    return [*text[:place], *text[place + 1 :]] if len(text) > 1 else text


def swap(text: list[str], rng: np.random.Generator, _: Sequence[str]) -> list[str]:
    """Swap two neighbours."""
    place = int(rng.integers(max(len(text) - 1, 1)))
    return [*text[:place], *reversed(text[place : place + 2]), *text[place + 2 :]]


def misspell(text: list[str], rng: np.random.Generator, _: Sequence[str]) -> list[str]:
    """Put in, leave out, change or swap letters inside one of the words."""
    place = int(rng.integers(len(text)))
    word = text[place]
    at = int(rng.integers(1, max(len(word) - 1, 2)))
    letter = chr(97 + int(rng.integers(26)))
    forms = (
        word[:at] + letter + word[at:],
        word[:at] + word[at + 1 :],
        word[:at] + letter + word[at + 1 :],
        word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :],
    )
    return [*text[:place], forms[int(rng.integers(4))], *text[place + 1 :]]


WORD_EDITS: dict[str, Edit] = {
    "words replaced": replace,
    "words dropped": drop,
    "neighbours swapped": swap,
    "words misspelt": misspell,
}
OTHER_EDITS: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "no punctuation": lambda text: re.sub(r"[^\w\s]", "", text),
    "other punctuation": lambda text: re.sub(r"[?.]", " !", text).replace("'", "\u2019"),
    "an opening": lambda text: f"Please answer: {text}",
}
EDITS = (*WORD_EDITS, *OTHER_EDITS)


def edited(text: str, kind: str, rng: np.random.Generator, others: Sequence[str]) -> str:
    """Edit a text; one or two words where words are edited."""
    if kind in OTHER_EDITS:
        return OTHER_EDITS[kind](text)
    parts = text.split()
    for _ in range(int(rng.integers(1, 3))):
        parts = WORD_EDITS[kind](parts, rng, others)
    return " ".join(parts)


def inside(text: str, rng: np.random.Generator, prompts: Sequence[str]) -> str:
    """Put a text between two words of a real prompt of at least 30 words."""
    while True:
        host = prompts[int(rng.integers(len(prompts)))].split(" ")
        if len(host) >= 30:
            place = int(rng.integers(1, len(host)))
            return " ".join([*host[:place], text, *host[place:]])


def recall(data: Path, clean: pl.DataFrame, sets: dict[str, str]) -> pl.DataFrame:
    """Plant every item in every way: benchmark, treatment, edit, short (under 8 words), found."""
    rng = np.random.default_rng(SEED)
    others = " ".join(clean["text"]).split()
    hosts = clean["text"].to_list()
    parts = []
    for name, file in sets.items():
        items = read_items([data / file]).items
        texts = items["text"].to_list()
        ways = {("verbatim", "-"): texts}
        for kind in EDITS:
            ways["small edits", kind] = [edited(text, kind, rng, others) for text in texts]
        ways["inside longer prompts", "-"] = [inside(text, rng, hosts) for text in texts]
        for (treatment, kind), planted in ways.items():
            rows = pl.DataFrame({"prompt_id": items["item"], "text": planted})
            hits = overlaps(pl.concat([clean, rows]), items)
            found = hits.filter(pl.col("prompt_id") == pl.col("item"))["item"]
            parts.append(
                items.select(
                    benchmark=pl.lit(name),
                    treatment=pl.lit(treatment),
                    edit=pl.lit(kind),
                    short=pl.Series(words(items["text"]).counts < 8),
                    found=pl.col("item").is_in(found.implode()),
                )
            )
    return pl.concat(parts)


def rate(found: pl.DataFrame) -> str:
    """Write the share of found rows with its count and Wilson interval."""
    if not found.height:
        return "-"
    share = wilson(int(found["found"].sum()), found.height)
    return (
        f"{100 * share.value:.1f} % ({int(found['found'].sum())} of {found.height}; "
        f"{100 * share.low:.1f} to {100 * share.high:.1f})"
    )


def child(prompts: Path, data: Path) -> None:
    """Search prompts for the eight benchmarks; print the figures as JSON."""
    start = time.perf_counter()
    items = read_items([data / "benchmarks"]).items
    turns = pl.read_parquet(prompts)
    read = time.perf_counter()
    processor = time.process_time()
    found = overlaps(turns, items)
    figures = {
        "read_seconds": read - start,
        "seconds": time.perf_counter() - read,
        "cpu_seconds": time.process_time() - processor,
        "load": os.getloadavg()[0],
        "peak": peak_gib(),
        "items": items.height,
        "prompts": turns.height,
        "words": int(words(turns["text"][:4000]).counts.mean() * turns.height),
        "overlaps": found.height,
    }
    print(json.dumps(figures))


def measure_speed(data: Path, real: dict[str, list[list[str]]], count: int) -> dict[str, Any]:
    """Search synthetic prompts in a process of its own, three times; the fastest counts."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompts.parquet"
        synthetic_prompts(real, count, seed=SEED).write_parquet(path)
        command = [sys.executable, __file__, "--child", str(path), "--data", str(data)]
        runs = [
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for _ in range(3)
        ]
    best: dict[str, Any] = min(runs, key=lambda run: run["seconds"])
    return best | {"all_seconds": [run["seconds"] for run in runs]}


def recall_tables(found: pl.DataFrame) -> str:
    """Write the tables of recall: by treatment, by kind of edit, and of items under 8 words."""
    names = found["benchmark"].unique(maintain_order=True).to_list()
    lines = ["| treatment | target | " + " | ".join([*names, "together"]) + " |"]
    lines.append("| --- | --- |" + " --- |" * (len(names) + 1))
    for treatment, target in TARGETS.items():
        rows = found.filter(pl.col("treatment") == treatment)
        cells = [rate(rows.filter(pl.col("benchmark") == name)) for name in names]
        lines.append(f"| {treatment} | {target} | {' | '.join([*cells, rate(rows)])} |")
        rows = rows.filter("short")
        cells = [rate(rows.filter(pl.col("benchmark") == name)) for name in names]
        lines.append(f"| ... items under 8 words | | {' | '.join([*cells, rate(rows)])} |")
    lines += ["", "| small edit | " + " | ".join([*names, "together"]) + " |"]
    lines.append("| --- |" + " --- |" * (len(names) + 1))
    for kind in EDITS:
        rows = found.filter(pl.col("edit") == kind)
        cells = [rate(rows.filter(pl.col("benchmark") == name)) for name in names]
        lines.append(f"| {kind} | {' | '.join([*cells, rate(rows)])} |")
    return "\n".join(lines)


def false_hits(real: dict[str, list[list[str]]], items: pl.DataFrame) -> str:
    """Search the real prompts for all items, and write what was found and how it was judged."""
    found = overlaps(turn_table(real), items)
    judged = [
        JUDGED.get((prompt, f"{benchmark} {item}"), JUDGED.get((prompt, benchmark), "NOT YET"))
        for prompt, benchmark, item in found.select("prompt_id", "benchmark", "item").iter_rows()
    ]
    hits = found.with_columns(
        judged=pl.Series(judged, dtype=pl.String), set=pl.col("prompt_id").str.extract("^(.*):")
    )
    lines = ["| prompts of | n | with a hit | false hits |", "| --- | --- | --- | --- |"]
    for name, prompts in [*((name, len(several)) for name, several in real.items()), ("all", 0)]:
        part = hits if name == "all" else hits.filter(pl.col("set") == name)
        total = prompts or sum(map(len, real.values()))
        wrong = part.filter(pl.col("judged").str.starts_with("false"))["prompt_id"].n_unique()
        share = wilson(wrong, total)
        interval = f"{100 * share.low:.2f} to {100 * share.high:.2f}"
        lines.append(
            f"| {name} | {total} | {part['prompt_id'].n_unique()} "
            f"| {wrong}: {100 * share.value:.2f} % ({interval}) |"
        )
    lines += ["", "| prompt | benchmark | items | kind | coverage | judged |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    grouped = hits.group_by("prompt_id", "benchmark", "kind", "judged", maintain_order=True).agg(
        pl.len(), pl.col("item").first(), pl.col("coverage").max()
    )
    for prompt, benchmark, kind, verdict, count, item, coverage in grouped.iter_rows():
        several = item if count == 1 else f"{item} and {count - 1} more"
        lines.append(
            f"| {prompt} | {benchmark} | {several} | {kind} | {coverage:.2f} | {verdict} |"
        )
    return "\n".join(lines)


def report(found: pl.DataFrame, held_out: pl.DataFrame, false: str, speed: dict[str, Any]) -> str:
    """Render the figures as Markdown."""
    machine, installed = hardware(), versions()
    within = speed["seconds"] <= LIMIT_SECONDS and speed["peak"] <= LIMIT_GIB
    runs = ", ".join(f"{seconds:.1f}" for seconds in speed["all_seconds"])
    return f"""# Contamination: recall, false hits, speed

## Recall

Every item planted once in each way beside 1,000 real prompts. Shares with counts and Wilson's 95 %
interval. Edits of words change one or two words, drawn anew for each item.

{recall_tables(found)}

The thresholds for small edits were chosen on TruthfulQA, edited with other random numbers, and on
the prompts below except those of LLMBar. Benchmarks that were not looked at for it:

{recall_tables(held_out)}

## False hits

Real prompts, all their user turns, against the eight benchmarks, AlpacaEval and MT-Bench. Rows are
counted from 1 in the source's file; hits were judged by eye.

{false}

## Speed

| | |
| --- | --- |
| prompts | {speed["prompts"]:,}, of {speed["words"]:,} words, real sentences in random order |
| items | {speed["items"]:,} of eight benchmarks, read in {speed["read_seconds"]:.1f} s |
| wall time | {speed["seconds"]:.1f} s, the fastest of three ({runs}), items indexed anew; \
{"within" if within else "ABOVE"} the limits of {LIMIT_SECONDS:g} s and {LIMIT_GIB:g} GiB |
| processor time | {speed["cpu_seconds"]:.1f} s; load of the machine {speed["load"]:.1f} |
| peak memory | {speed["peak"]:.2f} GiB, prompts and items included |
| found | {speed["overlaps"]} overlaps |
| machine | {machine["cpu"]}, {machine["cores"]} cores, {machine["memory_gib"]} GiB, \
{threads()["polars"]} Polars threads |
| versions | {", ".join(f"{k} {installed.get(k)}" for k in ("python", "polars", "numpy"))} |

Command: `python benchmarks/contamination.py --data ../shared/data`
"""


def main() -> None:
    """Parse the arguments, measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="the folder of real data")
    parser.add_argument("--prompts", type=int, default=64_000)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    data: Path = arguments.data
    if arguments.child:
        child(arguments.child, data)
        return
    real = real_prompts(data)
    speed = measure_speed(data, real, arguments.prompts)
    clean = turn_table({"clean": real["ultrafeedback train"]})
    found, held_out = recall(data, clean, PLANTED), recall(data, clean, HELD_OUT)
    items = read_items([data / "benchmarks", *(data / file for file in FURTHER)]).items
    text = report(found, held_out, false_hits(real, items), speed)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"contamination_{datetime.date.today():%Y-%m-%d}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
