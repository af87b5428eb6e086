"""A whole recipe on a tiny model: complete, reused, and killed in every stage.

The runs are real processes of the command line on real feedback tables; only the model is random
and tiny, so that nothing is learnt but everything happens.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from notus.stages.feedback import write_prompts
from notus.store import read_manifest
from tiny import save_model

STAGES = (
    "feedback",
    "audit",
    "preferences",
    "base",
    "training",
    "answers-base",
    "answers-tuned",
    "evaluation",
)


def raw_feedback(path: Path, prompts: Path) -> None:
    """Raw UltraFeedback rows with two rated answers for each prompt of a prompts file."""
    rng = np.random.default_rng(0)
    lines = []
    for line in prompts.read_text("utf-8").splitlines():
        prompt = json.loads(line)
        completions = []
        for model in ("one", "two"):
            ratings = rng.integers(1, 6, size=4)
            annotations = {
                aspect: {"Rating": str(rating), "Rationale": "because"}
                for aspect, rating in zip(
                    ("instruction_following", "honesty", "truthfulness", "helpfulness"),
                    ratings,
                    strict=True,
                )
            }
            completions.append(
                {
                    "model": model,
                    "response": f"Answer {model} {rng.integers(1000)}.",
                    "annotations": annotations,
                    "overall_score": float(rng.integers(1, 11)),
                    "critique": "It is an answer.",
                }
            )
        lines.append(
            {
                "source": prompt["source"],
                "instruction": prompt["messages"][-1]["content"],
                "models": ["one", "two"],
                "completions": completions,
            }
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in lines), "utf-8")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    write_prompts(folder / "train.jsonl", split="train", per_family=1, seed=0)
    write_prompts(folder / "test.jsonl", split="test", per_family=1, seed=0)
    raw_feedback(folder / "feedback.jsonl", folder / "train.jsonl")
    save_model(folder / "model", window=1024)
    content = {
        "name": "tiny",
        "model": {"base": str(folder / "model")},
        "data": {
            "source": "feedback.jsonl",
            "max_length": 320,
            "max_prompt_length": 256,
            "holdout": 0.25,
        },
        "binarize": {"strategy": "argilla-v1", "compare": "h4-v2"},
        "train": {
            "learning_rate": "1e-3",
            "pairs_per_step": 4,
            "epochs": 2,
            "save_steps": 2,
            "max_tokens": 1024,
            "report_to": [],
        },
        "evaluate": {"prompts": "test.jsonl", "max_new_tokens": 8, "resamples": 200},
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    return path


def start(recipe: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "notus.cli", "run", str(recipe), "--out", str(out), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Bit-for-bit repetition is promised for equal numbers of threads.
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out, err


def digests(run: Path) -> dict[str, object]:
    """What a run made: the content of every stage's outputs, times left out."""
    found: dict[str, object] = {}
    for stage in STAGES:
        outputs = {o.path: o.sha256 for o in read_manifest(run / stage).outputs}
        # The training log says how fast it was.
        outputs.pop("metrics.jsonl", None)
        found[stage] = outputs
    return found


@pytest.fixture(scope="module")
def finished(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "whole"
    finish(start(recipe, run))
    return run


def test_a_run_leaves_all_that_it_promises(finished: Path) -> None:
    assert (finished / "report.html").read_text("utf-8").startswith("<!doctype html>")
    assert (finished / "MODEL_CARD.md").read_text("utf-8").startswith("---\n")
    results = json.loads((finished / "evaluation" / "results.json").read_text("utf-8"))
    overall = [r for r in results["paired"] if r["family"] is None]
    assert {(r["benchmark"], r["mode"]) for r in overall} == {
        ("verifiable", "greedy"),
        ("verifiable", "sampled"),
        ("preferences", None),
    }
    assert all(r["n"] > 0 and r["low"] <= r["difference"] <= r["high"] for r in overall)
    steps = [
        json.loads(line)
        for line in (finished / "training" / "metrics.jsonl").read_text("utf-8").splitlines()
    ]
    precision = read_manifest(finished / "training").facts["precision"]
    # Policy and reference are packed differently: bfloat16 products then differ in their last bit.
    allowed = {"float32": 1e-5, "bfloat16": 5e-3}[precision]
    assert abs(steps[0]["loss"] - np.log(2)) < allowed
    assert not (finished / "training" / "checkpoints").exists()


def test_a_second_run_reuses_every_stage_and_says_so(recipe: Path, finished: Path) -> None:
    before = digests(finished)
    out, err = finish(start(recipe, finished, "--json"))
    result = json.loads(out)
    assert set(result["reused"].values()) == {True}
    assert err.count("reused, nothing to do") == len(STAGES)
    assert digests(finished) == before


def test_another_setting_rebuilds_only_what_depends_on_it(recipe: Path, finished: Path) -> None:
    setting = ["--set", "evaluate.max_new_tokens=6"]
    out, _ = finish(start(recipe, finished, "--json", *setting))
    again = {name for name, reused in json.loads(out)["reused"].items() if not reused}
    assert again == {"answers of base", "answers of tuned", "evaluate"}
    finish(start(recipe, finished))  # Back, for the tests that compare with it.


@pytest.mark.parametrize("key", ["evaluate.prompts", "data.planted"])
def test_a_file_that_the_last_stage_needs_is_missed_before_the_first(
    recipe: Path, tmp_path: Path, key: str
) -> None:
    process = start(recipe, tmp_path / "run", "--set", f"{key}=not-there.jsonl")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "no file 'not-there.jsonl'" in err
    assert not (tmp_path / "run").exists()


def kill_in(stage: str, recipe: Path, run: Path) -> bool:
    """Start a run and kill it while it writes a stage; False if the stage was over too soon."""
    process = start(recipe, run)
    partial = run / f".{stage}.partial"
    while process.poll() is None:
        if partial.is_dir() and any(partial.iterdir()):
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            return not (run / stage / "manifest.json").is_file()
        if (run / stage / "manifest.json").is_file():
            process.kill()
            process.communicate()
            return False
        time.sleep(0.0005)
    raise AssertionError(process.communicate()[1])


def test_killed_in_every_stage_it_ends_the_same(
    recipe: Path, finished: Path, tmp_path: Path
) -> None:
    run = tmp_path / "killed"
    killed = [stage for stage in STAGES if kill_in(stage, recipe, run)]
    # Stages of milliseconds may be over before the kill; the long ones never are.
    assert {"base", "training", "answers-base", "answers-tuned"} <= set(killed)
    assert len(killed) >= 6, killed
    finish(start(recipe, run))
    assert digests(run) == digests(finished)
    assert not [path.name for path in run.iterdir() if path.name.endswith((".partial", ".old"))]
