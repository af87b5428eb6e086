"""The fault bench: plant each kind of fault, see what the audit catches, and write the figures.

    python benchmarks/faults/run.py [--rows 3000] [--seeds 1 2 3] [--full 63967] [--only KIND ...]

About twelve minutes on two cores, half of them for the data of full size. Writes
benchmarks/results/faults_DATE.md and .json; with --only or --full 0 it prints and writes nothing.
"""

import argparse
import datetime
import itertools
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from faults import marginals
from faults.bench import run_fault
from faults.clean import alarms
from faults.kinds import FAULTS
from faults.rediscover import on_demo, on_simulator
from faults.report import Figures, as_json, by_kind, render

DOSES = (0.5, 0.25)
RESULTS = Path(__file__).resolve().parents[1] / "results"


def main() -> None:
    """Parse the arguments, run, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=3000, help="simulated rows for each kind")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--full",
        type=int,
        default=marginals.ROWS,
        help="rows of the clean and the blind data (0: leave them out)",
    )
    parser.add_argument("--only", nargs="+", choices=FAULTS, metavar="KIND", default=None)
    options = parser.parse_args()
    figures = Figures(rows=options.rows, seeds=options.seeds)
    plant(figures, options.only or list(FAULTS))
    if options.full and not options.only:
        weaken(figures)
        look_at_clean(figures, options.full)
        rediscover(figures, options.full)
    command = f"python benchmarks/faults/run.py --rows {options.rows} --full {options.full}"
    text = render(figures, command)
    print(text)
    if options.full and not options.only:
        path = RESULTS / f"faults_{datetime.date.today():%Y-%m-%d}.md"
        RESULTS.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.with_suffix(".json").write_text(json.dumps(as_json(figures), indent=1) + "\n", "utf-8")


def plant(figures: Figures, kinds: list[str]) -> None:
    """Run every kind with every seed; seeds are the outer loop, as they share simulated rows."""
    for seed in figures.seeds:
        for kind in kinds:
            began = time.perf_counter()
            figures.outcomes.append(run_fault(kind, rows=figures.rows, seed=seed))
            (last,) = by_kind(figures.outcomes[-1:])
            verdict = "caught" if last.caught else f"NOT caught {last.skipped}"
            print(f"{seed} {kind}: {verdict} {time.perf_counter() - began:.1f} s", file=sys.stderr)


def weaken(figures: Figures) -> None:
    """Run the faults of the whole set in smaller shares."""
    whole = [name for name, fault in FAULTS.items() if fault.shown != "items" and fault.share]
    for seed, kind, dose in itertools.product(figures.seeds, whole, DOSES):
        figures.weaker.append(run_fault(kind, rows=figures.rows, seed=seed, dose=dose))


def look_at_clean(figures: Figures, rows: int) -> None:
    """Audit data without faults, at full size."""
    seed = figures.seeds[0]
    figures.clean += alarms("ultrafeedback", rows, seed=seed)
    figures.clean += alarms("pairs", rows, seed=seed)
    figures.clean += alarms("ultrafeedback", rows, seed=seed, quirks=True)


def rediscover(figures: Figures, rows: int) -> None:
    """Look for 1 read as 10 without any rating of an aspect."""
    seed = figures.seeds[0]
    figures.blind += on_simulator(rows, seed=seed, quirks=False)
    figures.blind += on_simulator(rows, seed=seed, quirks=True)
    figures.blind += on_demo()


if __name__ == "__main__":
    main()
