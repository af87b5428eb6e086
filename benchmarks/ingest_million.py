"""Ingest a million completions: wall time, rate and peak memory of `notus.data.sources.ingest`.

Writes raw UltraFeedback of realistic row size (about 15 kB for four rated completions, as in the
real files) to a temporary folder, ingests it in a child process, and writes the figures to
benchmarks/results/ingest_million_DATE.md. Needs about 6 GB of disk for the time it runs.

What a source's size alone costs is taken apart: hashing its bytes, and reading them, which is from
lines of bytes to JSON values. Both are timed alone, in the child before it ingests; ingest does
them once more, and what it takes beyond is the time after the read: rows to checked, merged tables
with content-hash ids, in compressed files that are hashed and on the disk.

    python benchmarks/ingest_million.py [--rows 250000] [--folder DIR]
"""

import argparse
import collections
import datetime
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from notus.data.files.streams import read_batches
from notus.data.schema import ASPECTS
from notus.data.sources import ingest
from notus.manifest import file_digest, hardware, threads, versions
from notus.store import read_manifest

RESULTS = Path(__file__).parent / "results"
LIMIT_GIB = 4.0
MODELS = [f"model-{number}" for number in range(17)]
# Median length in characters of each kind of text.
LENGTHS = {"instruction": 500, "response": 800, "critique": 560, "rationale": 180, "system": 150}


class Writer:
    """Draws rows; every text is a random stretch of one long random text."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        letters = self.rng.integers(97, 123, size=(30_000, 9), dtype=np.uint8)
        ends = self.rng.integers(2, 10, size=30_000)
        words = [bytes(row[:end]).decode() for row, end in zip(letters, ends, strict=True)]
        common = np.minimum(self.rng.zipf(1.3, size=4_000_000) - 1, 29_999)
        self.text = " ".join(words[i] for i in common)

    def stretch(self, kind: str) -> str:
        """Cut a text with log-normal length."""
        length = int(LENGTHS[kind] * self.rng.lognormal(0, 0.7)) + 1
        start = int(self.rng.integers(len(self.text) - length))
        return self.text[start : start + length].strip() or "yes"

    def rows(self, count: int) -> Iterator[dict[str, Any]]:
        """Draw rows in the raw UltraFeedback schema, with N/A and shuffled completions."""
        for number in range(count):
            models = sorted(self.rng.choice(MODELS, size=4, replace=False).tolist())
            order = self.rng.permutation(4)
            yield {
                "source": "sharegpt",
                "instruction": f"{self.stretch('instruction')} ({number})",
                "models": models,
                "completions": [self.completion(models[i]) for i in order],
                "correct_answers": ["None"],
                "incorrect_answers": ["None"],
            }

    def completion(self, model: str) -> dict[str, Any]:
        """Draw one rated completion."""
        annotations: dict[str, Any] = {}
        for aspect in ASPECTS:
            rating = str(self.rng.integers(1, 6)) if self.rng.random() > 0.0133 else "N/A"
            annotations[aspect] = {"Rating": rating, "Rationale": self.stretch("rationale")}
            if aspect in ("truthfulness", "helpfulness"):
                extra = {"Type": ["1", "2"], "Rationale For Rating": self.stretch("rationale")}
                annotations[aspect] |= extra
        return {
            "model": model,
            "principle": "helpfulness",
            "custom_system_prompt": self.stretch("system"),
            "response": self.stretch("response"),
            "critique": self.stretch("critique"),
            "overall_score": float(self.rng.integers(2, 21)) / 2,
            "fine-grained_score": 3.25,
            "annotations": annotations,
        }


def peak_gib() -> float:
    """Peak resident memory of this process: VmHWM, which begins anew with each program."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**20
    raise RuntimeError("no VmHWM in /proc/self/status: this benchmark needs Linux")


def child(source: Path, out: Path) -> None:
    """Ingest, and print the figures as JSON."""
    hashing = seconds_of(lambda: file_digest(source))
    # As ingest reads: the collector would walk the rows again and again.
    gc.disable()
    reading = seconds_of(lambda: collections.deque(read_batches(source), maxlen=0))
    gc.enable()
    before = time.process_time()
    seconds = seconds_of(lambda: ingest(source, out))
    figures = {
        "hash": hashing,
        "read": reading,
        "seconds": seconds,
        "cpu_seconds": time.process_time() - before,
        "peak": peak_gib(),
    }
    print(json.dumps(figures | read_manifest(out).facts))


def seconds_of(work: Callable[[], object]) -> float:
    """Wall time of some work."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(folder: Path, rows: int) -> dict[str, Any]:
    """Write the source, ingest it in a fresh process, and take the figures."""
    source = folder / "ultrafeedback.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for row in Writer(seed=0).rows(rows):
            file.write(json.dumps(row) + "\n")
    command = [sys.executable, __file__, "--child", str(source), str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    figures["load"] = os.getloadavg()[1]
    figures["source_bytes"] = source.stat().st_size
    figures["output_bytes"] = sum(path.stat().st_size for path in (folder / "out").iterdir())
    return figures


def report(figures: dict[str, Any]) -> str:
    """Render the result file."""
    machine, installed = hardware(), versions()
    rate = figures["completions"] / figures["seconds"]
    after = figures["seconds"] - figures["hash"] - figures["read"]
    parts = (
        f"{figures['hash']:.1f} s to hash the source, {figures['read']:.1f} s to read its rows, "
        f"{after:.1f} s after the read ({after / figures['completions'] * 1e6:.1f} us a completion)"
    )
    verdict = "within" if figures["peak"] <= LIMIT_GIB else "ABOVE"
    return f"""# Ingest of {figures["completions"]:,} completions

| | |
| --- | --- |
| source | raw UltraFeedback JSONL, {figures["source_bytes"] / 1e9:.2f} GB, synthetic, \
{figures["rows"]:,} rows of {figures["source_bytes"] / figures["rows"] / 1e3:.1f} kB |
| read | {figures["prompts"]:,} prompts, {figures["completions"]:,} completions, \
{figures["ratings"]:,} ratings, refused {figures["refused"]} |
| wall time | {figures["seconds"]:.1f} s: {parts} |
| processor time | {figures["cpu_seconds"]:.1f} s; load of the machine {figures["load"]:.1f} |
| rate | {rate:,.0f} completions/s, {figures["source_bytes"] / 1e6 / figures["seconds"]:.0f} MB/s |
| peak memory | {figures["peak"]:.2f} GiB, {verdict} the limit of {LIMIT_GIB:g} GiB |
| written | {figures["output_bytes"] / 1e9:.2f} GB of Parquet |
| machine | {machine["cpu"]}, {machine["cores"]} cores, {machine["memory_gib"]} GiB, \
{threads()["polars"]} Polars threads |
| versions | {", ".join(f"{k} {installed.get(k)}" for k in ("python", "polars", "pyarrow"))} |

Command: `python benchmarks/ingest_million.py --rows {figures["rows"]}`
"""


def main() -> None:
    """Parse the arguments, measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=250_000)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--child", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        figures = measure(Path(folder), arguments.rows)
    text = report(figures)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"ingest_million_{datetime.date.today():%Y-%m-%d}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
