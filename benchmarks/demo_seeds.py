"""Train the demo with several seeds and say what each does to the held-out pass rate.

    python benchmarks/demo_seeds.py [--seeds 0 1 2] [--recipe recipes/demo.yaml] [--set a.b=c ...]

Only `train.seed` changes (the order of the pairs): holdout, base answers and sampling draws stay,
so the runs are compared on the same items. Stages that the runs share are linked from the first
run, not computed again. Writes benchmarks/results/demo_seeds_DATE.md.
"""

import argparse
import datetime
import json
import os
import shutil
import time
from pathlib import Path

from notus.console import Talk
from notus.manifest import hardware, versions
from notus.pipeline import run
from notus.recipe_file import load_recipe
from notus.store import read_manifest

HERE = Path(__file__).parent
SHARED = ("feedback", "audit", "preferences", "base", "answers-base")


def main() -> None:
    """Run every seed and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipe", type=Path, default=HERE.parent / "recipes" / "demo.yaml")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--set", nargs="*", default=[], dest="overrides")
    options = parser.parse_args()
    talk, rows, first = Talk(), [], None
    for seed in options.seeds:
        out = options.runs / f"demo-seed-{seed}"
        if first is not None:
            share(first, out)
        recipe = load_recipe(options.recipe, [*options.overrides, f"train.seed={seed}"])
        start = time.perf_counter()
        run(recipe, out, talk=talk)
        rows.append((seed, time.perf_counter() - start, out))
        first = first or out
    text = render(rows, options.overrides)
    path = HERE / "results" / f"demo_seeds_{datetime.date.today():%Y-%m-%d}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(text)


def share(source: Path, target: Path) -> None:
    """Hard-link the stages that do not depend on the seed."""
    for name in SHARED:
        if (source / name).is_dir() and not (target / name).exists():
            shutil.copytree(source / name, target / name, copy_function=os.link)


def render(rows: list[tuple[int, float, Path]], overrides: list[str]) -> str:
    """The table of all seeds, and below it the families of the first."""
    machine = hardware()
    lines = [
        "# The demo over seeds of training",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, matrix products in "
        f"{read_manifest(rows[0][2] / 'training').facts['precision']}; "
        f"torch {versions()['torch']}, transformers {versions()['transformers']}; "
        f"recipe recipes/demo.yaml {' '.join(overrides)}".rstrip(),
        "",
        "Pass rates on held-out prompts in per cent; differences with 95 % bootstrap intervals "
        "over prompts and the exact McNemar test.",
        "",
        "| seed | mode | prompts | n | base | tuned | difference | p | gained | lost | train s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for seed, _, out in rows:
        seconds = read_manifest(out / "training").wall_seconds
        for row in paired(out):
            if row["family"] is not None and not row["family"].startswith("unseen:"):
                continue
            lines.append(f"| {seed} | {cells(row)} | {seconds:.0f} |")
    lines += ["", f"By family, seed {rows[0][0]}:", ""]
    lines += [
        "| mode | family | n | base | tuned | difference | p | gained | lost |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [f"| {cells(row)} |" for row in paired(rows[0][2]) if row["family"] is not None]
    return "\n".join(lines) + "\n"


def paired(out: Path) -> list[dict[str, object]]:
    """The paired pass rates of a run."""
    results = json.loads((out / "evaluation" / "results.json").read_text("utf-8"))
    return [row for row in results["paired"] if row["metric"] == "pass_rate"]


def cells(row: dict[str, object]) -> str:
    """One row's cells, as per cent."""
    p = "" if row["p_value"] is None else f"{row['p_value']:.2g}"
    low, high = 100 * row["low"], 100 * row["high"]
    return (
        f"{row['mode']} | {row['family'] or 'all seen families'} | {row['n']} | "
        f"{100 * row['base']:.1f} | {100 * row['tuned']:.1f} | "
        f"{100 * row['difference']:+.1f} [{low:+.1f}, {high:+.1f}] | {p} | "
        f"{row['gained']} | {row['lost']}"
    )


if __name__ == "__main__":
    main()
