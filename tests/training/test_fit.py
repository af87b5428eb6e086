"""The training stage on a tiny model: what it learns and writes, and that a kill changes nothing.

Inputs come from the real stages (ingest, binarize, base). Each test trains a handful of steps.
"""

import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import small_runs
import torch
from safetensors.torch import load_file
from small_runs import (
    lasting,
    make_recipe,
    metrics,
    old_name_warns,
    train_stage,
    write_inputs,
)
from torch import Tensor

from notus.errors import DataError, ModelError, TrainingError
from notus.models import load
from notus.store import StageResult, read_feedback, read_table
from notus.training.callbacks import last_checkpoint, remove_checkpoints
from notus.training.fit import fit

BY_THE_CLOCK = {"seconds/answers", "seconds/reference", "seconds/evaluation", "seconds/saving"}
"""Parts that not every step has."""
TRAINING_ROW = {
    "step",
    "epoch",
    "loss",
    "grad_norm",
    "learning_rate",
    "rewards/chosen",
    "rewards/rejected",
    "rewards/margins",
    "rewards/margins_p10",
    "rewards/margins_p50",
    "rewards/margins_p90",
    "rewards/accuracies",
    "rewards/accuracies_low",
    "rewards/accuracies_high",
    "logps/chosen",
    "logps/rejected",
    "delta_logps/chosen",
    "delta_logps/rejected",
    "delta_logps_per_token/chosen",
    "delta_logps_per_token/rejected",
    "displaced",
    "displacement",
    "clipped",
    "num_examples",
    "tokens_per_second",
    "mfu",
    "ceiling",
    "seconds/data",
    "seconds/forward",
    "seconds/backward",
    "seconds/optimiser",
    "seconds/logging",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Feedback, preferences and base of 140 prompts; more than one shard of the reference pass."""
    return write_inputs(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def plain(root: Path) -> StageResult:
    """Six steps without interruption."""
    return train_stage(root, "plain", eval_steps=3)


@pytest.fixture
def run_fit(root: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run `fit` in a folder of its own; the reference pass is shared, if `plain` ran before."""

    def run(name: str = "out", *, base: Path | None = None, **options: Any) -> dict[str, Any]:
        progress = options.pop("progress", None)
        reference = options.pop("reference", root / "reference")
        num = options.pop("num", 20)
        recipe = make_recipe(base or root / "base", **options)
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        preferences = read_table(root / "preferences", "preferences").sort("preference_id")
        facts = fit(
            recipe,
            preferences.head(num).collect(),
            read_feedback(root / "feedback"),
            base or root / "base",
            directory,
            reference_root=reference,
            progress=progress,
        )
        return dict(facts)

    return run


def weights(directory: Path) -> dict[str, Tensor]:
    return load_file(directory / "model" / "model.safetensors")


def assert_same_weights(found: Path, expected: Path) -> None:
    a, b = weights(found), weights(expected)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def largest_change(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    return max(float((found[name] - expected[name]).abs().max()) for name in expected)


def test_it_begins_at_the_reference_and_learns(plain: StageResult) -> None:
    rows = [row for row in metrics(plain.directory) if "loss" in row]
    assert rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert rows[0]["delta_logps/chosen"] == pytest.approx(0, abs=1e-4)
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.05
    facts = plain.manifest.facts
    assert facts["train_loss"] == pytest.approx(sum(row["loss"] for row in rows) / len(rows))
    assert facts["heldout"]["rewards/accuracies"] > 0.5
    assert facts["heldout"]["delta_logps/chosen"] > facts["heldout"]["delta_logps/rejected"]


def test_metrics_have_one_row_a_step_and_one_an_evaluation(plain: StageResult) -> None:
    rows = metrics(plain.directory)
    training = [row for row in rows if "loss" in row]
    assert [row["step"] for row in training] == [1, 2, 3, 4, 5, 6]
    assert all(set(row) - BY_THE_CLOCK == TRAINING_ROW for row in training)
    assert [row["num_examples"] for row in training] == [4] * 6
    # The last step is also where the final evaluation is: one row for both.
    evaluation = [row for row in rows if "eval_loss" in row]
    assert [row["step"] for row in evaluation] == [3, 6]
    scores = {name for name in TRAINING_ROW if "/" in name and "seconds" not in name}
    scores |= {"loss", "num_examples", "displaced", "displacement"}
    assert {f"eval_{name}" for name in scores} <= set(evaluation[0])
    assert {row["eval_num_examples"] for row in evaluation} == {14}


def test_it_writes_a_model_a_split_and_no_checkpoint(root: Path, plain: StageResult) -> None:
    directory = plain.directory
    loaded = load(str(directory / "model"))
    assert loaded.tokenizer.chat_template == load(str(root / "base")).tokenizer.chat_template
    assert not (directory / "checkpoints").exists()
    split = pl.read_parquet(directory / "split.parquet")
    known = read_table(root / "preferences", "preferences").collect()
    assert sorted(split["preference_id"]) == sorted(known["preference_id"])
    assert split["split"].value_counts(sort=True).rows() == [("train", 126), ("heldout", 14)]
    facts = plain.manifest.facts
    assert (facts["pairs_train"], facts["pairs_heldout"], facts["steps"]) == (126, 14, 6)
    assert facts["trainable_parameters"] == sum(p.numel() for p in loaded.model.parameters())
    before = load_file(root / "base" / "model.safetensors")
    assert largest_change(weights(directory), before) > 1e-3


def test_without_a_holdout_nothing_is_evaluated(
    run_fit: Callable[..., dict[str, Any]], tmp_path: Path, plain: StageResult
) -> None:
    facts = run_fit(holdout=0, eval_steps=1, max_steps=2)
    assert facts["heldout"] == {}
    assert (facts["pairs_train"], facts["pairs_heldout"]) == (20, 0)
    rows = metrics(tmp_path / "out")
    assert [set(row) - BY_THE_CLOCK for row in rows] == [TRAINING_ROW] * 2


def test_pairs_that_are_not_drawn_are_counted_and_named(
    root: Path, run_fit: Callable[..., dict[str, Any]], tmp_path: Path, plain: StageResult
) -> None:
    facts = run_fit(max_pairs=5, holdout=0.2, max_steps=1)
    counts = [facts[f"pairs_{name}"] for name in ("train", "left_out", "heldout")]
    assert counts == [5, 11, 4]
    split = pl.read_parquet(tmp_path / "out" / "split.parquet")
    assert split["split"].value_counts(sort=True).rows() == [
        ("left out", 11),
        ("train", 5),
        ("heldout", 4),
    ]
    assert split["preference_id"].n_unique() == 20
    everything = run_fit("all", holdout=0.2, max_steps=1)
    assert (everything["pairs_train"], everything["pairs_left_out"]) == (16, 0)
    heldout = [
        pl.read_parquet(tmp_path / name / "split.parquet").filter(split="heldout")
        for name in ("out", "all")
    ]
    assert heldout[0].equals(heldout[1])


def test_a_finished_training_is_reused(root: Path, plain: StageResult) -> None:
    again = train_stage(root, "plain", eval_steps=3)
    assert again.reused
    assert not train_stage(root, "plain-2", max_steps=1).reused


@pytest.fixture(scope="module")
def killed(root: Path, plain: StageResult) -> Path:
    """A training in a process of its own, killed by SIGKILL at the end of step 5."""
    here = Path(small_runs.__file__).parent
    command = [sys.executable, small_runs.__file__, str(root), "killed", "train", "5"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(here.parent), *sys.path]),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    partial = root / ".killed.partial"
    assert not (root / "killed").exists()
    checkpoints = sorted(path.name for path in (partial / "checkpoints").iterdir())
    assert checkpoints == ["checkpoint-2", "checkpoint-4"]
    return partial


def resume(root: Path, killed: Path, name: str) -> Path:
    """A copy of what the killed process left, under another name."""
    shutil.copytree(killed, root / f".{name}.partial")
    return root / f".{name}.partial" / "checkpoints"


def assert_same_result(found: StageResult, expected: StageResult) -> None:
    assert_same_weights(found.directory, expected.directory)
    assert lasting(metrics(found.directory)) == lasting(metrics(expected.directory))
    for name in ("samples.jsonl", "warnings.jsonl"):
        texts = [(r.directory / name).read_text() for r in (found, expected)]
        assert texts[0] == texts[1], name
    split = [pl.read_parquet(r.directory / "split.parquet") for r in (found, expected)]
    assert split[0].equals(split[1])
    assert found.manifest.facts == expected.manifest.facts


def test_killed_and_run_again_is_the_uninterrupted_training_bit_for_bit(
    root: Path, killed: Path, plain: StageResult
) -> None:
    resume(root, killed, "resumed")
    steps: list[tuple[str, int]] = []
    result = train_stage(
        root, "resumed", lambda what, done, total: steps.append((what, done)), eval_steps=3
    )
    assert not result.reused
    steps = [step for step in steps if step[0] != "preflight"]
    assert steps == [("train", 5), ("train", 6)], "from step 4, without a reference pass"
    assert_same_result(result, plain)


def test_a_checkpoint_without_its_mark_is_not_believed(
    root: Path, killed: Path, plain: StageResult
) -> None:
    """What a kill in the middle of saving leaves: the mark is written last."""
    checkpoint = resume(root, killed, "unmarked") / "checkpoint-4"
    (checkpoint / "complete").unlink()
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    steps: list[tuple[str, int]] = []
    result = train_stage(
        root, "unmarked", lambda what, done, total: steps.append((what, done)), eval_steps=3
    )
    assert [done for what, done in steps if what == "train"] == [3, 4, 5, 6]
    assert_same_result(result, plain)


def test_killed_after_the_last_step_trains_no_step_more(
    run_fit: Callable[..., dict[str, Any]], tmp_path: Path, plain: StageResult
) -> None:
    """Killed while the model is written, in the middle of an epoch; rows are not doubled."""
    expected = run_fit("whole", holdout=0.3)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("notus.training.fit._save", die)
        with pytest.raises(KeyboardInterrupt):
            run_fit("cut", holdout=0.3)
    assert run_fit("cut", holdout=0.3) == expected
    assert lasting(metrics(tmp_path / "cut")) == lasting(metrics(tmp_path / "whole"))
    assert_same_weights(tmp_path / "cut", tmp_path / "whole")


def test_a_metrics_line_cut_by_a_kill_is_written_again(
    run_fit: Callable[..., dict[str, Any]], tmp_path: Path, plain: StageResult
) -> None:
    """Also: a resume in the third of four epochs, each of which has its own order."""
    settings = {"num": 10, "epochs": 4, "max_steps": None, "eval_steps": 4}
    run_fit("whole", **settings)

    def die(what: str, done: int, total: int) -> None:
        if (what, done, total) == ("train", 9, 12):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_fit("cut", progress=die, **settings)
    file = tmp_path / "cut" / "metrics.jsonl"
    steps = [row["step"] for row in metrics(tmp_path / "cut")]
    assert steps == [1, 2, 3, 4, 4, 4, 5, 6, 7, 8, 8, 8], "an evaluation has two rows"
    file.write_text(file.read_text() + '{"step": 9, "epo')
    run_fit("cut", **settings)
    assert lasting(metrics(tmp_path / "cut")) == lasting(metrics(tmp_path / "whole"))
    assert_same_weights(tmp_path / "cut", tmp_path / "whole")


def test_incomplete_checkpoints_are_removed_and_the_newest_complete_one_is_found(
    tmp_path: Path,
) -> None:
    assert last_checkpoint(tmp_path / "none") is None
    for step, marked in ((8, True), (9, True), (10, True), (11, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if marked:
            (tmp_path / f"checkpoint-{step}" / "complete").touch()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-11").exists()


def test_checkpoints_lose_their_marks_before_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while they are removed, a half-removed one must not be gone on from."""
    for step in (2, 4):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "complete").touch()

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            remove_checkpoints(tmp_path)
    assert last_checkpoint(tmp_path) is None
    remove_checkpoints(tmp_path)
    assert not tmp_path.exists()


@old_name_warns
def test_lora_trains_adapters_alone_and_merges_them(
    root: Path, run_fit: Callable[..., dict[str, Any]], tmp_path: Path, plain: StageResult
) -> None:
    facts = run_fit(lora={"r": 4, "alpha": 8}, learning_rate=1e-2)
    adapter = load_file(tmp_path / "out" / "adapter" / "adapter_model.safetensors")
    assert facts["trainable_parameters"] == sum(tensor.numel() for tensor in adapter.values())
    assert all("lora_" in name for name in adapter)
    assert max(float(t.abs().max()) for name, t in adapter.items() if "lora_B" in name) > 1e-3
    adapted = load(str(tmp_path / "out" / "adapter")).model
    merged = load(str(tmp_path / "out" / "model")).model
    before = load(str(root / "base")).model
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        expected = adapted(ids).logits
        # Rounding goes by the largest terms of a sum, not by the sum.
        scale = expected.abs().max()
        torch.testing.assert_close(merged(ids).logits / scale, expected / scale, rtol=0, atol=1e-5)
        assert not torch.allclose(before(ids).logits, expected, atol=0.1)
    with adapted.disable_adapter(), torch.no_grad():
        torch.testing.assert_close(before(ids).logits, adapted(ids).logits, rtol=0, atol=0)


@old_name_warns
def test_lora_with_dropout_resumes_bit_for_bit(
    run_fit: Callable[..., dict[str, Any]], tmp_path: Path, plain: StageResult
) -> None:
    """The state of the random numbers is part of a checkpoint; B = 0 keeps step 0 at ln 2."""
    settings = {"lora": {"r": 4, "dropout": 0.3}, "learning_rate": 1e-2}

    def die(what: str, done: int, total: int) -> None:
        if (what, done) == ("train", 5):
            raise KeyboardInterrupt

    run_fit("whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        run_fit("cut", progress=die, **settings)
    run_fit("cut", **settings)
    assert_same_weights(tmp_path / "cut", tmp_path / "whole")
    run_fit("other", **settings | {"lora": {"r": 4}})
    assert largest_change(weights(tmp_path / "other"), weights(tmp_path / "whole")) > 0


@old_name_warns
def test_adapters_start_from_the_seed(
    run_fit: Callable[..., dict[str, Any]], tmp_path: Path, plain: StageResult
) -> None:
    """Whatever random numbers the process has drawn before."""
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        torch.rand(7)
        run_fit(name, lora={"r": 2}, seed=seed, max_steps=1)
    adapters = [
        load_file(tmp_path / name / "adapter" / "adapter_model.safetensors")
        for name in ("one", "again", "two")
    ]
    assert largest_change(adapters[0], adapters[1]) == 0
    assert largest_change(adapters[0], adapters[2]) > 0


def test_the_seed_orders_the_pairs_and_keeps_the_holdout(
    run_fit: Callable[..., dict[str, Any]], tmp_path: Path, plain: StageResult
) -> None:
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        run_fit(name, seed=seed, max_steps=3)
    splits = [pl.read_parquet(tmp_path / name / "split.parquet") for name in ("one", "two")]
    assert splits[0].equals(splits[1])
    assert_same_weights(tmp_path / "one", tmp_path / "again")
    assert largest_change(weights(tmp_path / "one"), weights(tmp_path / "two")) > 0


@pytest.mark.parametrize("ratio", [0.0, 0.1])
def test_a_cosine_ends_where_the_recipe_says(
    run_fit: Callable[..., dict[str, Any]], tmp_path: Path, plain: StageResult, ratio: float
) -> None:
    """SmolLM3's APO ends at a tenth: r + (1 - r) (1 + cos(pi t / T)) / 2 of the peak."""
    run_fit(schedule="cosine", min_lr_ratio=ratio, warmup_ratio=0, max_steps=4, learning_rate=1e-4)
    rates = [row["learning_rate"] for row in metrics(tmp_path / "out") if "loss" in row]
    cosine = [(1 + math.cos(math.pi * t / 4)) / 2 for t in range(4)]
    assert rates == pytest.approx([1e-4 * (ratio + (1 - ratio) * part) for part in cosine])


@pytest.mark.parametrize(("optimizer", "size"), [("adamw_torch", 1e-4), ("rmsprop", 1e-3)])
def test_first_update_of_each_optimizer(
    root: Path,
    run_fit: Callable[..., dict[str, Any]],
    tmp_path: Path,
    plain: StageResult,
    optimizer: str,
    size: float,
) -> None:
    """By algebra, for one step at learning rate 1e-4 and gradients far above epsilon.

    AdamW corrects both moments for their start: g / sqrt(g^2), so every weight moves by 1e-4.
    RMSprop does not: its mean square is 0.01 g^2 after one step, so it moves by 1e-4 / 0.1.
    """
    run_fit(
        optimizer=optimizer,
        max_steps=1,
        learning_rate=1e-4,
        schedule="constant_with_warmup",
        warmup_ratio=0,
        max_grad_norm=1e9,
    )
    before = load_file(root / "base" / "model.safetensors")
    after = weights(tmp_path / "out")
    moved = (
        after["model.layers.0.mlp.down_proj.weight"] - before["model.layers.0.mlp.down_proj.weight"]
    ).abs()
    assert float(moved.median()) == pytest.approx(size, rel=1e-2)
    assert float(moved.max()) <= size * 1.01


@pytest.mark.parametrize("lora", [None, pytest.param({"r": 2}, marks=old_name_warns)])
def test_gradient_checkpointing_trains_to_the_same_weights(
    run_fit: Callable[..., dict[str, Any]], tmp_path: Path, plain: StageResult, lora: Any
) -> None:
    run_fit("plain", lora=lora)
    run_fit("recomputed", lora=lora, gradient_checkpointing=True)
    change = largest_change(weights(tmp_path / "recomputed"), weights(tmp_path / "plain"))
    assert change <= 1e-5


def test_micro_batches_change_no_number(
    run_fit: Callable[..., dict[str, Any]], tmp_path: Path, plain: StageResult
) -> None:
    """One pair in a forward pass, or a whole step's: equal up to rounding after six steps."""
    run_fit("one", max_tokens=1)
    run_fit("all", max_tokens=100_000)
    rows = [metrics(tmp_path / name) for name in ("one", "all")]
    for one, all_ in zip(*map(lasting, rows), strict=True):
        # While the policy is the reference, rounding alone says what is above what.
        signs = {name for name in one if "accuracies" in name or name == "displaced"}
        signs = signs if one["step"] < 3 else set()
        expected = {name: value for name, value in all_.items() if name not in signs}
        assert {name: one[name] for name in expected} == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_bfloat16_trains_and_starts_at_its_own_reference(
    root: Path, run_fit: Callable[..., dict[str, Any]], tmp_path: Path, plain: StageResult
) -> None:
    facts = run_fit(precision="bfloat16", max_steps=4)
    rows = [row for row in metrics(tmp_path / "out") if "loss" in row]
    assert facts["precision"] == "bfloat16"
    assert facts["reference_key"] != plain.manifest.facts["reference_key"]
    assert rows[0]["loss"] == pytest.approx(math.log(2), abs=5e-3)
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert {tensor.dtype for tensor in weights(tmp_path / "out").values()} == {torch.float32}


def test_trackers_get_every_step_and_stdout_nothing(
    run_fit: Callable[..., dict[str, Any]],
    tmp_path: Path,
    plain: StageResult,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_fit(report_to=["tensorboard"], max_steps=3)
    assert capsys.readouterr().out == ""
    events = EventAccumulator(str(tmp_path / "out" / "tensorboard")).Reload()
    logged = {event.step: event.value for event in events.Scalars("train/rewards/margins")}
    rows = {r["step"]: r["rewards/margins"] for r in metrics(tmp_path / "out") if "loss" in r}
    assert logged == pytest.approx(rows, rel=1e-6)
    assert len(events.Scalars("eval/loss")) == 1


def test_the_store_of_another_reference_stops_the_training(
    root: Path, run_fit: Callable[..., dict[str, Any]], tmp_path: Path, plain: StageResult
) -> None:
    """Numbers that do not belong to the model: caught before the first update."""
    store = tmp_path / "reference"
    shutil.copytree(root / "reference", store)
    for file in store.rglob("*.parquet"):
        wrong = pl.col("logp") * pl.lit(1.5)
        pl.read_parquet(file).with_columns(logp=wrong).write_parquet(file)
    with pytest.raises(
        TrainingError, match=r"(?s)stored reference log-probs are not this model.*delete this"
    ):
        run_fit(reference=store)
    assert not (tmp_path / "out" / "model").exists()


def test_lengths_beyond_the_window_are_refused(run_fit: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(ModelError, match=r"(?s)data.max_length 129.*at most 128 tokens"):
        run_fit(max_length=129)


def test_nothing_to_train_on_is_said(run_fit: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(DataError, match=r"(?s)0 preferences.*at least one pair"):
        run_fit(num=0)


def test_a_model_that_trees_cannot_score_is_refused(
    root: Path, run_fit: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    from transformers import AutoTokenizer, MambaConfig, MambaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(root / "base")
    config = MambaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        state_size=4,
        num_hidden_layers=1,
        eos_token_id=tokenizer.eos_token_id,
    )
    MambaForCausalLM(config).save_pretrained(tmp_path / "mamba")
    tokenizer.save_pretrained(tmp_path / "mamba")
    with pytest.raises(TrainingError, match=r"attention: .* layer 0 of kind linear_attention"):
        run_fit(base=tmp_path / "mamba")
