"""`notus train` on real pairs of UltraFeedback, from the file to the tuned model."""

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from small_runs import metrics
from typer.testing import CliRunner

from notus.cli import app
from notus.models import load
from tiny import save_model

NUM_PAIRS = 64


@pytest.fixture
def recipe(shared_data: Path, tmp_path: Path) -> Path:
    source = shared_data / "ultrafeedback" / "binarized" / "train_clean.jsonl"
    with source.open(encoding="utf-8") as file:
        rows = [next(file) for _ in range(NUM_PAIRS)]
    (tmp_path / "pairs.jsonl").write_text("".join(rows), encoding="utf-8")
    content: dict[str, Any] = {
        "name": "real-pairs",
        "model": {"base": str(save_model(tmp_path / "tiny", window=256))},
        "data": {
            "source": "pairs.jsonl",
            "format": "pairs",
            "max_refused": 0.1,
            "max_length": 256,
            "max_prompt_length": 128,
            "holdout": 0.125,
        },
        "binarize": {"strategy": "given"},
        "train": {
            "pairs_per_step": 16,
            "learning_rate": 3e-3,
            "max_tokens": 2048,
            "precision": "float32",
            "warmup_ratio": 0,
            # A token is a byte here, and one rejected answer is a zero-width space.
            "accept_findings": ["truncation", "empty"],
        },
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return tmp_path / "recipe.yaml"


@pytest.mark.shared
def test_train_on_64_real_pairs(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ["train", str(recipe), "--out", str(out), "--set", "train.epochs=2", "--json"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["reused"] == dict.fromkeys(
        ("ingest", "binarize", "base", "train"), False
    )
    manifest = json.loads((out / "training" / "manifest.json").read_text())
    facts = manifest["facts"]
    prompts = pl.read_parquet(out / "feedback" / "prompts.parquet").height
    refused = pl.read_parquet(out / "feedback" / "refused.parquet").height
    dropped = pl.read_parquet(out / "preferences" / "dropped.parquet").height
    assert prompts + refused >= NUM_PAIRS
    assert facts["pairs_train"] + facts["pairs_heldout"] + facts["dropped"] == prompts - dropped
    assert facts["pairs_heldout"] > 0
    assert facts["completions_cut"] > 0, "real answers are longer than 256 bytes"
    rows = [row for row in metrics(out / "training") if "loss" in row]
    assert len(rows) == facts["steps"] == 2 * math.ceil(facts["pairs_train"] / 16)
    assert rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert min(row["loss"] for row in rows) < math.log(2) - 0.05
    assert load(str(out / "training" / "model")).window == 256
    again = CliRunner().invoke(app, command, catch_exceptions=False)
    assert all(json.loads(again.stdout)["reused"].values())
