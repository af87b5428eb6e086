"""The training stage with every loss and objective, through `fit`: the loss falls."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_runs import make_recipe, metrics, train_stage, write_inputs

from notus.loss_settings import LOSS_SETTINGS
from notus.pipeline import reference_root
from notus.stages import model as model_stages
from notus.store import StageResult


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Feedback, preferences and base of a few prompts."""
    return write_inputs(tmp_path_factory.mktemp("run"), num=16)


@pytest.fixture(scope="module")
def trained(root: Path) -> Callable[..., StageResult]:
    """Train four epochs on two steps each, so that every example is met again."""

    def run(name: str, **train: Any) -> StageResult:
        settings = {"holdout": 0.25, "max_steps": 8, "pairs_per_step": 6, "epochs": 4}
        return train_stage(root, name, **settings | train)

    return run


def losses(result: StageResult) -> list[float]:
    return [row["loss"] for row in metrics(result.directory) if "loss" in row]


CASES: dict[str, dict[str, Any]] = {
    **{name: {"loss": name} for name in LOSS_SETTINGS},
    "cdpo": {"loss": "sigmoid", "label_smoothing": 0.1},
    "rpo": {"loss": {"sigmoid": 1.0, "nll": 0.2}},
    "sft": {"objective": "sft"},
}


@pytest.mark.parametrize("name", CASES)
def test_the_loss_falls_and_the_held_out_side_is_measured(
    name: str, root: Path, trained: Callable[..., StageResult]
) -> None:
    result = trained(name, **CASES[name])
    values, facts = losses(result), result.manifest.facts
    assert len(values) == 8
    assert sum(values[-2:]) < sum(values[:2]), values
    last = [row for row in metrics(result.directory) if "eval_loss" in row][-1]
    assert torch.isfinite(torch.tensor(last["eval_loss"]))
    known = LOSS_SETTINGS[
        "sigmoid" if name in {"cdpo", "rpo"} else name if name != "sft" else "nll"
    ]
    assert ("reference_key" in facts) == known.needs_reference
    assert ("eval_perplexity" in last) == (name == "sft")
    if name in {"kto", "bco"}:
        assert (facts["votes_train"], facts["votes_heldout"]) == (24, 8)
    if name == "sft":
        assert (facts["demonstrations_train"], facts["demonstrations_heldout"]) == (12, 4)


@pytest.mark.parametrize("name", ["simpo", "orpo", "nll", "sft"])
def test_without_a_reference_no_reference_pass_is_run(name: str, root: Path) -> None:
    seen: list[str] = []
    train_stage(
        root,
        f"{name} alone",
        lambda what, done, total: seen.append(what),
        max_steps=1,
        **CASES[name],
    )
    assert "train" in seen
    assert "reference" not in seen


def test_dpo_goes_on_from_what_supervised_fine_tuning_made(
    root: Path, trained: Callable[..., StageResult]
) -> None:
    """Base, SFT, DPO: a second recipe names the first run's model, which is its reference, too."""
    sft = trained("sft", **CASES["sft"]).directory / "model"
    result = model_stages.train(
        make_recipe(sft, max_steps=3, loss="sigmoid"),
        feedback=root / "feedback",
        preferences=root / "preferences",
        base=sft,
        out=root / "dpo after sft",
        reference=root / "reference",
    )
    assert losses(result)[0] == pytest.approx(0.693147, abs=1e-5)
    before, after = (
        load_file(path / "model.safetensors") for path in (sft, result.directory / "model")
    )
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_sweep_of_six_runs_pays_one_reference_pass(root: Path, tmp_path: Path) -> None:
    """Over losses and betas, KTO among them: its mismatched completions alone are new."""
    said: list[str] = []
    sweep: list[dict[str, Any]] = [
        {"loss": "sigmoid"},
        {"loss": "sigmoid", "beta": 0.5},
        {"loss": "ipo"},
        {"loss": {"apo_zero": 1.0, "nll": 0.1}},
        {"loss": "bco", "seed": 3},
        {"loss": "kto"},
    ]
    for i, train in enumerate(sweep):
        model_stages.train(
            make_recipe(root / "base", max_steps=1, **train),
            feedback=root / "feedback",
            preferences=root / "preferences",
            base=root / "base",
            out=tmp_path / f"run-{i}" / "training",
            reference=reference_root(tmp_path / f"run-{i}"),
            say=said.append,
        )
    counts = [line for line in said if line.startswith("reference: ")]
    assert counts[:5] == [
        "reference: 0 log-probs reused, 32 computed",
        *["reference: 32 log-probs reused, 0 computed"] * 4,
    ]
    assert counts[5].startswith("reference: 32 log-probs reused, ")
