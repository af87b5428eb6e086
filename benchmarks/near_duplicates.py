"""Near-duplicate prompts: time and memory at 64,000 prompts, recall against brute force, a peer.

Prompts are real sentences in random order, of which one in a hundred is a copy of an earlier prompt
with a few words changed. The time is measured in a child process. Recall is measured on a sample
small enough to compare all pairs. The peer is datasketch (MinHash of 128 hashes and its LSH at 0.8,
the same shingles) on the same prompts, with their words already split; it runs in an interpreter
that has it.

    python benchmarks/near_duplicates.py --data ../shared/data [--peer PYTHON]

Writes benchmarks/results/near_duplicates_DATE.md.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from real_prompts import peak_gib, real_prompts, synthetic_prompts, turn_table

from notus.audit.near_duplicates import MIN_JACCARD, SHINGLE, near_duplicates
from notus.audit.tokens import folded_words
from notus.manifest import hardware, threads, versions
from notus.stats import wilson

RESULTS = Path(__file__).parent / "results"
SEED = 20251125
LIMIT_SECONDS, LIMIT_GIB = 60.0, 2.0
SAMPLE = 4_000
PEER = """
import json, sys, time
from datasketch import MinHash, MinHashLSH
texts = json.load(open(sys.argv[1]))
start, lsh, found = time.perf_counter(), MinHashLSH(threshold=0.8, num_perm=128), 0
for number, text in enumerate(texts):
    words = text.split(" ")
    shingles = {" ".join(words[i : i + 5]).encode() for i in range(len(words) - 4)}
    if shingles:
        sketch = MinHash(num_perm=128)
        sketch.update_batch(list(shingles))
        found += bool(lsh.query(sketch))
        lsh.insert(number, sketch)
print(json.dumps({"seconds": time.perf_counter() - start, "found": found}))
"""


def with_copies(prompts: pl.DataFrame, share: float) -> pl.DataFrame:
    """Put copies with up to 5 % of their words changed in the place of a share of the prompts."""
    rng = np.random.default_rng(SEED)
    texts = prompts["text"].to_list()
    for place in (
        rng.choice(len(texts) // 2, int(share * len(texts)), replace=False)
        + len(texts)
        - len(texts) // 2
    ):
        parts = texts[int(rng.integers(len(texts) // 2))].split(" ")
        for _ in range(int(rng.integers(0, max(2, len(parts) // 20 + 1)))):
            parts[int(rng.integers(len(parts)))] = f"other{int(rng.integers(1000))}"
        texts[int(place)] = " ".join(parts)
    return prompts.with_columns(text=pl.Series(texts))


def brute_force(turns: pl.DataFrame) -> tuple[dict[str, float], dict[str, float]]:
    """Compare all prompts that share a shingle with the earlier ones.

    Returns:
        Prompt -> highest Jaccard coefficient with an earlier one; once where it is at least
        `MIN_JACCARD`, once where it lies in the 0.1 below.
    """
    lists = turns.select("prompt_id", words=folded_words(pl.col("text")).str.split(" "))
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    sets: list[set[tuple[str, ...]]] = []
    names: list[str] = []
    best: dict[str, float] = {}
    for part in lists.group_by("prompt_id", maintain_order=True).agg("words").iter_rows():
        number = len(names)
        names.append(part[0])
        sets.append({tuple(w[i : i + SHINGLE]) for w in part[1] for i in range(len(w) - 4)})
        shared = Counter(other for shingle in sets[-1] for other in holders[shingle])
        for other, count in shared.items():
            jaccard = count / (len(sets[-1]) + len(sets[other]) - count)
            best[part[0]] = max(best.get(part[0], 0.0), jaccard)
        for shingle in sets[-1]:
            holders[shingle].append(number)
    near = {name: value for name, value in best.items() if value >= MIN_JACCARD}
    below = {name: value for name, value in best.items() if 0 <= MIN_JACCARD - value < 0.1}
    return near, {name: value for name, value in below.items() if name not in near}


def compare(name: str, turns: pl.DataFrame) -> str:
    """Compare with brute force, as one row of a table."""
    near, below = brute_force(turns)
    found = {
        prompt: jaccard
        for prompt, _, jaccard in near_duplicates(turns).iter_rows()
        if prompt in near or prompt in below
    }
    extra = near_duplicates(turns).filter(~pl.col("prompt_id").is_in(list(near)))
    hit = sum(prompt in found for prompt in near)
    exact = sum(abs(found[prompt] - near[prompt]) < 1e-9 for prompt in near if prompt in found)
    share = wilson(hit, max(len(near), 1)) if near else None
    recall = f"{100 * share.value:.2f} % ({100 * share.low:.2f} to 100)" if share else "-"
    prompts = turns["prompt_id"].n_unique()
    short = extra.filter(pl.col("jaccard") == 1).height
    return (
        f"| {name} | {prompts} | {len(near)} | {hit}: {recall} | {exact} | {extra.height - short} "
        f"| {short} | {len(below)} |"
    )


def child(path: Path) -> None:
    """Search prompts; print the figures as JSON."""
    turns = pl.read_parquet(path)
    start, processor = time.perf_counter(), time.process_time()
    found = near_duplicates(turns)
    figures = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - processor,
        "load": os.getloadavg()[0],
        "peak": peak_gib(),
        "prompts": turns.height,
        "found": found.height,
    }
    print(json.dumps(figures))


def run_child(turns: pl.DataFrame, times: int = 3) -> dict[str, Any]:
    """Search prompts in a process of its own, several times; the fastest counts."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompts.parquet"
        turns.write_parquet(path)
        command = [sys.executable, __file__, "--child", str(path)]
        runs = [
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for _ in range(times)
        ]
    best: dict[str, Any] = min(runs, key=lambda run: run["seconds"])
    return best


def run_peer(interpreter: str, turns: pl.DataFrame, ours: dict[str, Any]) -> str:
    """Let datasketch search the same prompts."""
    texts = turns.select(folded_words(pl.col("text")))["text"].to_list()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.json"
        path.write_text(json.dumps(texts))
        command = [interpreter, "-c", PEER, str(path)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    peer = json.loads(answer)
    return (
        f"| datasketch, the same prompts | {peer['seconds']:.1f} s without splitting the words, "
        f"{peer['found']} found and not verified; {peer['seconds'] / ours['seconds']:.1f} times as "
        "long |\n"
    )


def main() -> None:
    """Parse the arguments, measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="the folder of real data")
    parser.add_argument("--prompts", type=int, default=64_000)
    parser.add_argument("--peer", help="an interpreter that has datasketch")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
        return
    real = real_prompts(arguments.data)
    many = with_copies(synthetic_prompts(real, arguments.prompts, seed=SEED), 0.01)
    speed = run_child(many)
    peer = run_peer(arguments.peer, many, speed) if arguments.peer else ""
    sample = with_copies(synthetic_prompts(real, SAMPLE, seed=SEED + 1), 0.25)
    rows = [compare("synthetic, a quarter copies", sample)]
    rows += [compare(name, turn_table({name: prompts})) for name, prompts in real.items()]
    machine, installed = hardware(), versions()
    within = speed["seconds"] <= LIMIT_SECONDS and speed["peak"] <= LIMIT_GIB
    text = f"""# Near-duplicate prompts

| | |
| --- | --- |
| prompts | {speed["prompts"]:,}, real sentences in random order, 1 % copies |
| wall time | {speed["seconds"]:.1f} s, the fastest of three; \
{"within" if within else "ABOVE"} the limits of {LIMIT_SECONDS:g} s and {LIMIT_GIB:g} GiB |
| processor time | {speed["cpu_seconds"]:.1f} s; load of the machine {speed["load"]:.1f} |
| peak memory | {speed["peak"]:.2f} GiB, prompts included |
| found | {speed["found"]} |
{peer}| machine | {machine["cpu"]}, {machine["cores"]} cores, {machine["memory_gib"]} GiB, \
{threads()["polars"]} Polars threads |
| versions | {", ".join(f"{k} {installed.get(k)}" for k in ("python", "polars", "numpy"))} |

## Against brute force

A prompt is near if its highest Jaccard coefficient with an earlier prompt is at least
{MIN_JACCARD}. "False" are found ones that are not near; "no shingles" are found ones whose turns
are all under {SHINGLE} words and the same but for case and layout, which brute force does not see;
"just below" had a coefficient in the 0.1 below and were rightly not found.

| prompts | n | near | found | same coefficient | false | no shingles | just below |
| --- | --- | --- | --- | --- | --- | --- | --- |
{chr(10).join(rows)}

Command: `python benchmarks/near_duplicates.py --data ../shared/data --peer PYTHON`
"""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"near_duplicates_{datetime.date.today():%Y-%m-%d}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
