"""The data half against pandas and datasets.map: the same work, the same answers, one run.

    python benchmarks/data_speed.py [--rows 63967] [--repetitions 3] [--folder DIR]
                                    [--growth 16000 32000 64000 128000 256000]

Each contender reads simulated UltraFeedback (`benchmarks/faults/simulator.py`), makes tables with
content-hash ids, binarizes by argilla-v1 and h4-v2, and looks for score_conflict, scale, arity,
identical, ties and flips. Contenders take turns, each in a process of its own, and must give the
same answers. Then notus alone does larger and larger data. Writes
benchmarks/results/data_speed_DATE.md, .json and .svg. The largest file takes 3.6 GB.
"""

import argparse
import datetime
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from faults import marginals
from faults.simulator import simulate, write
from speed.answers import Stopwatch, peak_gib
from speed.report import Run, as_json, plot, render

RESULTS = Path(__file__).parent / "results"
WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
CONTENDERS = ("notus", "pandas", "pandas_frames", "datasets")


def child(name: str, source: Path) -> None:
    """Do the work as one contender, and print the figures as JSON."""
    module = importlib.import_module(f"speed.with_{name}")
    clock = Stopwatch()
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        began = time.perf_counter()
        answer = module.work(source, Path(folder), clock)
        wall = time.perf_counter() - began
    cpu = sum(sum(resource.getrusage(who)[:2]) for who in WHO)
    figures = {"answer": answer, "seconds": clock.seconds, "wall": wall, "cpu": cpu}
    figures["peak_gib"] = peak_gib()
    print(json.dumps(figures))


def measure(name: str, source: Path) -> Run:
    """Run one contender in a fresh process."""
    command = [sys.executable, __file__, "--child", name, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-3000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: {figures['wall']:.1f} s, {figures['peak_gib']:.2f} GiB", file=sys.stderr)
    return Run(name, **figures)


def make_source(path: Path, rows: int) -> Path:
    """Write simulated rows with the real set's oddities, but no prompt twice.

    `datasets.map` sees one row at a time, and could not bring the two together.
    """
    seen: set[str] = set()
    unique = (
        row
        for row in simulate(rows, seed=0)
        if row["instruction"] not in seen and not seen.add(row["instruction"])
    )
    write(path, unique)
    # Read once, so that it is in memory for whoever comes first.
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass
    return path


def compare(folder: Path, rows: int, repetitions: int) -> list[Run]:
    """Let the contenders take turns."""
    source = make_source(folder / "rows.jsonl", rows)
    runs = [measure(name, source) for _ in range(repetitions) for name in CONTENDERS]
    for run in runs[1:]:
        different = {
            key: (runs[0].answer[key], run.answer[key])
            for key in runs[0].answer
            if runs[0].answer[key] != run.answer[key]
        }
        if different:
            raise RuntimeError(f"{run.name} answers otherwise: {different}")
    source.unlink()
    return runs


def grow(folder: Path, sizes: list[int]) -> list[Run]:
    """Let notus alone do larger and larger data."""
    runs = []
    for rows in sizes:
        source = make_source(folder / f"rows-{rows}.jsonl", rows)
        runs.append(measure("notus", source))
        source.unlink()
    return runs


def main() -> None:
    """Parse the arguments, measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=marginals.ROWS)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument(
        "--growth", type=int, nargs="*", default=[16_000, 32_000, 64_000, 128_000, 256_000]
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Path(options.child[1]))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        runs = compare(Path(folder), options.rows, options.repetitions)
        growth = grow(Path(folder), options.growth)
    command = (
        f"python benchmarks/data_speed.py --rows {options.rows} --repetitions {options.repetitions}"
    )
    path = options.results / f"data_speed_{datetime.date.today():%Y-%m-%d}.md"
    text = render(runs, growth, command, path.stem)
    options.results.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.with_suffix(".json").write_text(json.dumps(as_json(runs, growth), indent=1) + "\n")
    if growth:
        plot(growth, path.with_suffix(".svg"))
    print(text)


if __name__ == "__main__":
    main()
