"""People's rulings and lineage at full size: appends a second, a replay, a trace.

Writers are processes that append one ruling a transaction to one file, all at once. Then 15,000
rulings by three reviewers are replayed onto simulated UltraFeedback, and ids are traced to their
raw rows.

    python benchmarks/review_speed.py [--rows 63967] [--each 2000] [--folder DIR]

Writes benchmarks/results/review_speed_DATE.md.
"""

import argparse
import datetime
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from faults.simulator import simulate, write
from faults.tables import table

from notus.data.sources import ingest
from notus.lineage import trace
from notus.manifest import hardware, versions
from notus.review.decisions import Decisions
from notus.review.rulings import Decision
from notus.stages.apply import apply
from notus.stages.binarize import binarize
from notus.store import read_table

RESULTS = Path(__file__).parent / "results"
WRITERS = (1, 2, 4)
REVIEWERS = ("anna", "ben", "cleo")
RULINGS = 15_000
TRACED = 20
WRITER = """
import sys, time
from pathlib import Path
from notus.review.decisions import Decisions
from notus.review.rulings import Decision
path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with Decisions(path) as decisions:
    print("ready", flush=True)
    sys.stdin.readline()
    for i in range(count):
        decisions.append(
            Decision(kind="prompt", item=f"{i:032x}", action="drop", reviewer=name)
        )
"""


def appends(folder: Path, writers: int, each: int) -> float:
    """Commits a second of some processes that begin together."""
    path = folder / f"writers-{writers}.sqlite"
    pipes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), f"reviewer-{number}", str(each)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(writers)
    ]
    for pipe in pipes:
        if pipe.stdout is None or pipe.stdout.readline() != "ready\n":
            raise RuntimeError("a writer did not start")
    began = time.perf_counter()
    for pipe in pipes:
        if pipe.stdin is not None:
            pipe.stdin.write("\n")
            pipe.stdin.flush()
    if any(pipe.wait() for pipe in pipes):
        raise RuntimeError("a writer failed")
    seconds = time.perf_counter() - began
    with Decisions(path, create=False) as decisions:
        rows = decisions.rows().height
    if rows != writers * each:
        raise RuntimeError(f"{rows} rows of {writers * each}")
    return rows / seconds


def replayed(feedback: Path, folder: Path) -> tuple[float, float]:
    """Seconds to append rulings on random answers in one transaction, and to replay them."""
    ids = read_table(feedback, "completions").select("completion_id").collect().to_series()
    chosen = np.random.default_rng(0).choice(len(ids), RULINGS, replace=False)
    rulings = [
        Decision(kind="completion", item=ids[int(place)], action="drop", reviewer=REVIEWERS[n % 3])
        for n, place in enumerate(chosen)
    ]
    began = time.perf_counter()
    with Decisions(folder / "decisions.sqlite") as decisions:
        decisions.extend(rulings)
    between = time.perf_counter()
    result = apply(feedback, folder / "applied", decisions=folder / "decisions.sqlite")
    kept = read_table(result.directory, "completions").collect().height
    if kept != len(ids) - RULINGS:
        raise RuntimeError(f"{kept} answers are left of {len(ids)} after {RULINGS} drops")
    done = time.perf_counter()
    return between - began, done - between


def traced(source: Path, feedback: Path, folder: Path) -> dict[str, list[float]]:
    """Seconds to follow each of some preferences: to its file and line, and to the raw row."""
    made = binarize(feedback, folder / "preferences", strategy="argilla-v1").directory
    ids = read_table(made, "preferences").select("preference_id").collect().to_series()
    times: dict[str, list[float]] = {"file and line": [], "the raw row": []}
    for identifier in ids.gather_every(len(ids) // TRACED).head(TRACED):
        for (end, seconds), given in zip(times.items(), (None, source), strict=True):
            began = time.perf_counter()
            found = trace(
                identifier, [made, feedback], source=given, decisions=folder / "decisions.sqlite"
            )
            seconds.append(time.perf_counter() - began)
            if len(found["completions"]) < 2:
                raise RuntimeError(f"{identifier} has no two completions: {end}")
    return times


def main() -> None:
    """Parse the arguments, measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=63_967)
    parser.add_argument("--each", type=int, default=2_000, help="rulings of each writer")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        source = folder / "rows.jsonl"
        write(source, simulate(options.rows, seed=0))
        feedback = ingest(source, folder / "feedback", max_refused=1.0).directory
        rates = [(n, n * options.each, f"{appends(folder, n, options.each):,.0f}") for n in WRITERS]
        appended, applied = replayed(feedback, folder)
        times = traced(source, feedback, folder)
    traces = "\n".join(
        f"| trace of one preference to {end}, median of {len(seconds)} "
        f"| {statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}) |"
        for end, seconds in times.items()
    )
    machine, installed = hardware(), versions()
    text = f"""# Speed of rulings and lineage, {datetime.date.today():%Y-%m-%d}

{options.rows:,} simulated rows. {machine["cpu"]}, {machine["cores"]} cores, \
{machine["memory_gib"]} GiB; {", ".join(f"{k} {installed[k]}" for k in ("python", "polars"))}.

Command: `python benchmarks/review_speed.py --rows {options.rows} --each {options.each}`

## Appends, one ruling a transaction, all writers at once on one file

{table(("writers", "rulings", "commits/s"), rates)}

Every ruling was found again.

## Replay and trace

| | |
| --- | --- |
| {RULINGS:,} rulings appended in one transaction | {appended:.1f} s |
| the same replayed onto the feedback, result written | {applied:.1f} s |
{traces}
"""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"review_speed_{datetime.date.today():%Y-%m-%d}.md"
    path.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
