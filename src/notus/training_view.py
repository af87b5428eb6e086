"""What the report says about a training: plain values, made from the run's own files.

training/metrics.jsonl   curves, quantiles, groups, time, utilisation
training/warnings.jsonl  signs that set in
training/samples.jsonl   answers of the base and of the policy
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from notus import plots
from notus.metric_names import parse
from notus.run_facts import RunFacts
from notus.stats import wilson
from notus.training_plots import band, bars

Rows = Sequence[Mapping[str, Any]]

CURVES: tuple[tuple[str, str, Mapping[str, str], float | None], ...] = (
    ("Loss", "Starts at ln 2 = 0.693 (dashed): before the first step policy and reference agree.",
     {"training": "loss", "held-out": "eval_loss"}, math.log(2)),
    ("Reward margin", "Implicit reward of the chosen minus the rejected answer.",
     {"training": "rewards/margins", "held-out": "eval_rewards/margins"}, 0.0),
    ("Reward accuracy", "Share of pairs whose chosen answer has the higher implicit reward.",
     {"training": "rewards/accuracies", "held-out": "eval_rewards/accuracies"}, 0.5),
    ("Change of log-probability", "Policy minus reference, in nats a token. When both fall, chosen"
     " answers became less likely too.",
     {"chosen": "delta_logps_per_token/chosen", "rejected": "delta_logps_per_token/rejected"}, 0.0),
    ("Displaced pairs", "Share whose chosen answer is less likely than under the reference.",
     {"training": "displaced", "held-out": "eval_displaced"}, 0.5),
    ("Displacement", "What chosen answers lost, in nats a token; risen ones count as 0.",
     {"training": "displacement", "held-out": "eval_displacement"}, 0.0),
    ("KL to the reference", "On sampled answers, in nats a token.",
     {"KL": "answers/kl", "entropy": "answers/entropy"}, 0.0),
    ("Sample answers", "Length beside the base's, and repeated 4-grams.",
     {"length ratio": "answers/length_ratio", "repetition": "answers/repetition"}, 1.0),
    ("Learning rate", "The schedule as it was run.", {"learning rate": "learning_rate"}, None),
    ("Gradient norm", "Before clipping.", {"gradient norm": "grad_norm"}, None),
)  # fmt: skip
STEP_PARTS = ("data", "forward", "backward", "optimiser")


def training_view(run: RunFacts) -> dict[str, Any]:
    """Gather what the report's training section shows; parts without data are empty or None."""
    folder = run.directory / "training"
    warnings = _lines(folder / "warnings.jsonl")
    samples = _lines(folder / "samples.jsonl")
    return {
        "curves": _curves(run.metrics),
        "margins": _margins(run.metrics),
        "groups": [g for kind in ("source", "strategy") if (g := _groups(run.metrics, kind))],
        "time": _time(run.metrics),
        "mfu": _median(run.metrics, "mfu"),
        "ceiling": _median(run.metrics, "ceiling"),
        "tokens_per_second": _median(run.metrics, "tokens_per_second"),
        "clipped": _mean(run.metrics, "clipped"),
        "warnings": warnings,
        "watched": (folder / "warnings.jsonl").is_file(),
        "stopped": run.training.facts.get("stopped") if run.training else None,
        "answers": _answers(samples),
    }


def _curves(metrics: Rows) -> list[dict[str, str]]:
    views = []
    for number, (title, caption, wanted, reference) in enumerate(CURVES):
        series = {label: found for label, key in wanted.items() if (found := _series(metrics, key))}
        if series:
            svg = plots.curves(
                series,
                name=f"curve-{number}",
                label=f"{title} over the training steps",
                reference=reference,
            )
            views.append({"title": title, "caption": caption, "svg": svg})
    return views


def _margins(metrics: Rows) -> str | None:
    names = [f"rewards/margins_{quantile}" for quantile in ("p10", "p50", "p90")]
    rows = [row for row in metrics if all(_finite(row.get(name)) for name in names)]
    if not rows:
        return None
    low, middle, high = ([row[name] for row in rows] for name in names)
    return band(
        [row["step"] for row in rows],
        low,
        middle,
        high,
        name="margins",
        label="Quantiles of the reward margin over the training steps",
    )


def _groups(metrics: Rows, kind: str) -> dict[str, Any] | None:
    """Every group's last numbers, held out where there are any, and its curves of training."""
    last: dict[tuple[str, bool], dict[str, float]] = defaultdict(dict)
    for row in metrics:
        for key, value in row.items():
            name = parse(key)
            if name is not None and name.kind == kind and name.group is not None:
                last[name.group, name.is_evaluation][name.metric] = value
    groups = sorted({group for group, _ in last})
    rows = [
        {"group": group, "part": part, **numbers, **_interval(numbers)}
        for group in groups
        for evaluated, part in ((False, "training"), (True, "held-out"))
        if (numbers := last.get((group, evaluated)))
    ]
    charts = [
        {"title": group, "svg": svg}
        for number, group in enumerate(groups)
        if (svg := _group_chart(metrics, kind, group, number))
    ]
    return {"kind": kind, "rows": rows, "charts": charts} if rows else None


def _interval(numbers: Mapping[str, float]) -> dict[str, float]:
    """Ends of the interval of a group's accuracy, where it has one."""
    accuracy, n = numbers.get("rewards/accuracies"), int(numbers["num_examples"])
    if not _finite(accuracy):
        return {}
    estimate = wilson(accuracy * n, n)  # type: ignore[operator]
    return {"low": estimate.low, "high": estimate.high}


def _group_chart(metrics: Rows, kind: str, group: str, number: int) -> str | None:
    series = {
        side: found
        for side in ("chosen", "rejected")
        if (found := _series(metrics, f"{kind}/{group}/delta_logps_per_token/{side}"))
    }
    if not series:
        return None
    label = f"Change of log-probability a token over the training steps, {kind} {number + 1}"
    return plots.curves(series, name=f"{kind}-{number}", label=label, reference=0.0)


def _time(metrics: Rows) -> dict[str, Any] | None:
    """Seconds by part over the whole training, and a bar for each."""
    seconds: dict[str, float] = defaultdict(float)
    for row in metrics:
        for key, value in row.items():
            if key.startswith("seconds/"):
                seconds[key.removeprefix("seconds/")] += value
    total = sum(seconds.values())
    if not total:
        return None
    shares = {part: spent / total for part, spent in seconds.items()}
    svg = bars(shares, strong=STEP_PARTS, name="time", label="Share of time by part")
    return {"seconds": total, "shares": shares, "svg": svg}


def _answers(samples: Rows) -> list[dict[str, Any]]:
    """For each prompt the base's answers beside the policy's last ones, greedy first."""
    last = max((row["step"] for row in samples if row["model"] == "policy"), default=None)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in samples:
        if row["model"] == "base" or row["step"] == last:
            found.setdefault((row["prompt_id"], row["mode"]), {})[row["model"]] = row
    views: dict[str, dict[str, Any]] = {}
    for (prompt_id, mode), pair in found.items():
        if len(pair) == 2:
            view = views.setdefault(prompt_id, {"prompt": pair["base"]["prompt"], "modes": {}})
            view["modes"][mode] = pair
    return list(views.values())


def _series(metrics: Rows, key: str) -> tuple[list[float], list[float]] | None:
    found = [(row["step"], row[key]) for row in metrics if _finite(row.get(key))]
    if not found:
        return None
    steps, values = zip(*found, strict=True)
    return list(steps), list(values)


def _values(metrics: Rows, key: str) -> Iterable[float]:
    return [row[key] for row in metrics if _finite(row.get(key))]


def _median(metrics: Rows, key: str) -> float | None:
    values = _values(metrics, key)
    return median(values) if values else None


def _mean(metrics: Rows, key: str) -> float | None:
    values = list(_values(metrics, key))
    return sum(values) / len(values) if values else None


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
