"""Kill a small training at random moments, run it again, compare with a run that nobody killed.

    python benchmarks/kill_resume.py [--kills 20] [--seed 0] [--folder FOLDER]

What is on disk changes only at a few hundred calls (create, write, rename, remove), so a moment is
one of these calls below the stage's directory: the preparation, every step's metrics, each file of
each checkpoint (a write is cut in half), the removal of an old checkpoint, the final model, the
manifest. Half of the runs train all weights, half LoRA with dropout. Model, adapter, split, the
state of optimiser, schedule and random numbers in the last checkpoint, metrics (without what the
clock says) and the manifest's facts must be the same, bit for bit. Writes
benchmarks/results/kill_resume_DATE.md.
"""

import argparse
import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "training")]

KINDS: dict[str, dict[str, Any]] = {
    "all weights": {},
    "LoRA, dropout 0.3": {"lora": {"r": 4, "dropout": 0.3}},
}
CLOCK = ("tokens_per_second", "runtime", "per_second", "total_flos", "seconds/", "mfu", "ceiling")


def main() -> None:
    """Kill, resume, compare, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--child", nargs=2, metavar=("NAME", "KIND"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        train(options.folder, *options.child)
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = options.folder or Path(temporary)
        rows = kill_and_resume(root, options.kills, seed=options.seed)
    name = f"kill_resume_{datetime.date.today():%Y-%m-%d}.md"
    (HERE / "results" / name).write_text(render(rows), encoding="utf-8")
    print(render(rows))
    raise SystemExit(any(row["differences"] for row in rows))


def train(root: Path, name: str, kind: str) -> None:
    """Run the stage in this process; its checkpoints are kept beside it for the comparison."""
    from small_runs import train_stage

    from notus.training import fit

    def keep(folder: Path) -> None:
        shutil.rmtree(root / f"{name}-checkpoints", ignore_errors=True)
        if folder.is_dir():
            folder.rename(root / f"{name}-checkpoints")

    fit.remove_checkpoints = keep
    settings = {"eval_steps": 3, "max_steps": 7, "learning_rate": 1e-2, **KINDS[kind]}
    train_stage(root, name, **settings)


def kill_and_resume(root: Path, kills: int, *, seed: int) -> list[dict[str, Any]]:
    """One row a kill: where it was and what differs in the end."""
    from small_runs import write_inputs

    write_inputs(root)
    library = build_killer(root)
    rng = np.random.default_rng(seed)
    rows = []
    whole = {kind: run(root, f"whole-{i}", kind, library) for i, kind in enumerate(KINDS)}
    for i in range(kills):
        kind = list(KINDS)[i % len(KINDS)]
        at = int(rng.integers(1, whole[kind] + 1))
        name, expected = f"killed-{i}", f"whole-{list(KINDS).index(kind)}"
        run(root, name, kind, library, kill_at=at)
        left = what_is_left(root / f".{name}.partial")
        run(root, name, kind, library)
        found = differences(root, name, expected)
        row = {"kind": kind, "call": at, "of": whole[kind], "left": left, "differences": found}
        rows.append(row)
        print(row, flush=True)
    return rows


def build_killer(root: Path) -> Path:
    """Compile the library that kills."""
    library = root / "kill_at.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-o", library, HERE / "kill_at.c", "-ldl"]
    subprocess.run(command, check=True)
    return library


def run(root: Path, name: str, kind: str, library: Path, kill_at: int = 0) -> int:
    """Run the stage in a process of its own; return how often it changed files."""
    count = root / "count"
    count.unlink(missing_ok=True)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "LD_PRELOAD": str(library),
        "KILL_BELOW": str(root / f".{name}."),
        "KILL_AT": str(kill_at),
        "KILL_COUNT": str(count),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, __file__, "--folder", root, "--child", name, kind]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    expected = -signal.SIGKILL if kill_at else 0
    if done.returncode != expected:
        raise RuntimeError(f"exit code {done.returncode}, not {expected}: {done.stderr[-2000:]}")
    return int(count.read_text()) if count.is_file() else 0


def what_is_left(partial: Path) -> str:
    """Say what a killed run left: its last metrics row and its checkpoints."""
    metrics = partial / "metrics.jsonl"
    steps = metrics.read_text().count('"loss"') if metrics.is_file() else 0
    folders = sorted(partial.glob("checkpoints/checkpoint-*"), key=lambda path: path.name)
    parts = [
        path.name.removeprefix("checkpoint-") + ("" if (path / "complete").is_file() else " (cut)")
        for path in folders
    ]
    model = "; the model" if (partial / "model").is_dir() else ""
    return f"{steps} steps; checkpoints {', '.join(parts) or 'none'}{model}"


def differences(root: Path, found: str, expected: str) -> list[str]:
    """Name what is not the same in two finished runs."""
    pairs = [(root / found, root / expected)]
    pairs += [(root / f"{found}-checkpoints", root / f"{expected}-checkpoints")]
    different = []
    for one, other in pairs:
        names = {p.relative_to(one) for p in one.rglob("*") if p.is_file()}
        names |= {p.relative_to(other) for p in other.rglob("*") if p.is_file()}
        different += [str(n) for n in sorted(names) if content(one / n) != content(other / n)]
    return different


def content(path: Path) -> Any:
    """Bytes of a file, without what the clock or a folder's name decides."""
    if not path.is_file():
        return None
    if path.name == "manifest.json":
        return json.loads(path.read_text())["facts"]
    if path.name == "metrics.jsonl":
        return [without_clock(json.loads(line)) for line in path.read_text().splitlines()]
    if path.name == "trainer_state.json":
        return without_clock(json.loads(path.read_text()))
    if path.name == "training_args.bin":
        return b""  # Holds the output directory's name.
    return path.read_bytes()


def without_clock(value: Any) -> Any:
    """Leave out the times in a tree of JSON values."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not any(part in k for part in CLOCK)}
        return {k: without_clock(v) for k, v in kept.items()}
    return [without_clock(v) for v in value] if isinstance(value, list) else value


def render(rows: list[dict[str, Any]]) -> str:
    """The table, and what it says in one sentence."""
    same = sum(not row["differences"] for row in rows)
    lines = [
        "# A training that is killed and run again",
        "",
        f"{len(rows)} runs killed by SIGKILL at a random change of files, then run again: {same} "
        "end bit for bit as the run that nobody killed (weights, adapter, optimiser, schedule and "
        "random numbers of the last checkpoint, metrics, split, manifest's facts). CPU, float32, "
        "one thread; `python benchmarks/kill_resume.py`.",
        "",
        "| run | killed at call | of | what was left | different afterwards |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        different = ", ".join(row["differences"]) or "nothing"
        cells = (row["kind"], row["call"], row["of"], row["left"], different)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
