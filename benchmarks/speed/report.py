"""The figures of the speed comparison as a page, as JSON and as a plot."""

import datetime
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from faults.tables import table

from notus.manifest import hardware, threads, versions

STAGES = ("ingest", "binarize", "audit")
LIMIT_SECONDS, LIMIT_GIB, LIMIT_RATIO = 10.0, 4.0, 10.0


class Run(NamedTuple):
    """One contender, once."""

    name: str
    answer: dict[str, Any]
    seconds: dict[str, float]
    wall: float
    cpu: float
    """Seconds of processor time of the process and its children, start and reading included."""
    peak_gib: float

    @property
    def after_read(self) -> float:
        """Seconds of the compared work behind the reading of the file."""
        return sum(self.seconds[stage] for stage in STAGES)

    @property
    def other_rules(self) -> float:
        """Seconds of the cheap rules that only notus has."""
        return sum(s for name, s in self.seconds.items() if name.startswith("rule "))


def render(runs: Sequence[Run], growth: Sequence[Run], command: str, stem: str) -> str:
    """Write the page."""
    machine, installed = hardware(), versions()
    kept = ("python", "polars", "pandas", "datasets", "pyarrow", "numpy")
    notus = [run for run in runs if run.name == "notus"]
    first = notus[0]
    parts = [
        f"# Speed of the data half, {datetime.date.today():%Y-%m-%d}",
        f"{first.answer['prompts']:,} prompts, {first.answer['completions']:,} completions, "
        f"{first.answer['ratings']:,} ratings of simulated UltraFeedback; "
        f"{len(notus)} repetitions, contenders taking turns, each in a process of its own. The "
        "answers are the same: tables, flagged ids, ties, flips and both sides of every pair.",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{threads()['polars']} Polars threads; "
        + ", ".join(f"{name} {installed[name]}" for name in kept if installed.get(name))
        + f".\n\nCommand: `{command}`",
        "## Against pandas and datasets.map\n\n"
        "Seconds, median (smallest to largest). `read` is the file's bytes to rows (JSON); "
        "`ingest` rows to tables with ids, written as Parquet; `ratio` is how many times as long "
        "as notus took in the same round; `processor s` is of the whole process, with its start, "
        "its reading, and for notus all cheap rules. `pandas` is tuned by hand (plain loops, then "
        "frames), `pandas_frames` is json_normalize as the manual has it, `datasets` has two "
        "processes and keeps nested rows: it writes no tables of completions and ratings.\n\n"
        + _comparison(runs),
        "## All cheap rules of notus\n\n" + _cheap(notus),
    ]
    if growth:
        parts.append(f"## Growth\n\n{_growth(growth)}\n\n![seconds and memory]({stem}.svg)")
    return "\n\n".join(parts) + "\n"


def as_json(runs: Sequence[Run], growth: Sequence[Run]) -> dict[str, object]:
    """All figures, for machines."""
    return {
        "runs": [run._asdict() for run in runs],
        "growth": [run._asdict() for run in growth],
        "hardware": hardware(),
        "versions": versions(),
    }


def plot(growth: Sequence[Run], path: Path) -> None:
    """Draw seconds and memory over the number of completions."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    count = np.array([run.answer["completions"] for run in growth]) / 1000
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    FigureCanvasSVG(figure)
    left, right = figure.subplots(1, 2)
    total = np.array([_whole(run) for run in growth])
    left.plot(count, total, "o-", color="#1b6e74", label="notus, after the read")
    slope = float(count @ total / (count @ count))
    left.plot(count, slope * count, "--", color="#999999", label="in proportion")
    right.plot(count, [run.peak_gib for run in growth], "o-", color="#1b6e74")
    right.axhline(LIMIT_GIB, linestyle="--", color="#999999")
    for axes, label in ((left, "seconds"), (right, "peak memory, GiB")):
        axes.set_xlabel("completions, thousands")
        axes.set_ylabel(label)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False)
    figure.savefig(path, format="svg", metadata={"Date": None})


def _whole(run: Run) -> float:
    return run.after_read + run.other_rules


def _spread(values: Sequence[float], digits: int = 1) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _comparison(runs: Sequence[Run]) -> str:
    names = list(dict.fromkeys(run.name for run in runs))
    by_name = {name: [run for run in runs if run.name == name] for name in names}
    columns: dict[str, Callable[[Run], float]] = {
        "read": lambda run: run.seconds["read"],
        **{stage: lambda run, stage=stage: run.seconds[stage] for stage in STAGES},
        "after the read": lambda run: run.after_read,
    }
    rows = []
    for name in names:
        own = by_name[name]
        pairs = list(zip(own, by_name["notus"], strict=True))
        rows.append(
            (
                name,
                *(_spread([value(run) for run in own]) for value in columns.values()),
                _spread([a.after_read / b.after_read for a, b in pairs]),
                _spread([_with_read(a) / _with_read(b) for a, b in pairs]),
                _spread([run.cpu for run in own]),
                _spread([run.peak_gib for run in own], 2),
            )
        )
    return table(("", *columns, "ratio", "ratio with read", "processor s", "peak GiB"), rows)


def _with_read(run: Run) -> float:
    return run.after_read + run.seconds["read"]


def _cheap(notus: Sequence[Run]) -> str:
    whole = [_whole(run) for run in notus]
    verdict = "within" if statistics.median(whole) <= LIMIT_SECONDS else "ABOVE"
    rules = [name for name in notus[0].seconds if name.startswith("rule ")]
    rows = [
        (name.removeprefix("rule "), f"{statistics.median(run.seconds[name] for run in notus):.2f}")
        for name in rules
    ]
    rows.append(
        ("the compared ones", f"{statistics.median(r.seconds['audit'] for r in notus):.2f}")
    )
    return (
        f"Ingest, two binarizations and every cheap rule: {_spread(whole)} s after the read, "
        f"{verdict} the limit of {LIMIT_SECONDS:g} s.\n\n{table(('rule', 's'), rows)}"
    )


def _growth(growth: Sequence[Run]) -> str:
    rows = [
        (
            f"{run.answer['completions']:,}",
            f"{run.seconds['read']:.1f}",
            f"{run.seconds['ingest']:.1f}",
            f"{run.seconds['binarize']:.1f}",
            f"{run.seconds['audit'] + run.other_rules:.1f}",
            f"{_whole(run):.1f}",
            f"{1e6 * _whole(run) / run.answer['completions']:.1f}",
            f"{run.peak_gib:.2f}",
        )
        for run in growth
    ]
    header = (
        *("completions", "read", "ingest", "binarize", "cheap rules", "after the read"),
        *("microseconds a completion", "peak GiB"),
    )
    logs = np.log([[run.answer["completions"], _whole(run)] for run in growth])
    slope = np.polyfit(logs[:, 0], logs[:, 1], 1)[0] if len(growth) > 1 else float("nan")
    return (
        f"{table(header, rows)}\n\nSeconds grow as the number of completions to the power of "
        f"{slope:.2f} (1 is in proportion)."
    )
