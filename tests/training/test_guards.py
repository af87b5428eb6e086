"""Numbers that are none, a disk that is full: the training stops, and what it has stays sound.

The full disk is a real one, a small file system in memory, where the tests may mount it.
"""

import math
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from small_runs import (
    exact_llama,
    lasting,
    make_trainer,
    metrics,
    random_pairs,
    step,
    train_stage,
    with_own_references,
    write_inputs,
)

from notus.errors import StageError, TrainingError, UsageError
from notus.processes import Place
from notus.training.guards import check_processes, check_resume


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("guards"))


@pytest.fixture
def small_disk(root: Path) -> Iterator[Path]:
    """A file system with room for two checkpoints of the small model and half of a third."""
    folder = root / "disk"
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=1200k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("NO SMALL DISK: these tests may not mount one")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_leaves_the_checkpoints_before(root: Path, small_disk: Path) -> None:
    # The preflight sees it coming; this is about a disk that fills up all the same.
    settings = {"max_steps": 8, "accept_findings": ["disk"]}
    with pytest.raises(StageError, match=r"(?s)could not be written.*goes on from checkpoint-4"):
        train_stage(root, "disk/training", **settings)
    checkpoints = small_disk / ".training.partial" / "checkpoints"
    whole = sorted(path.parent.name for path in checkpoints.glob("*/complete"))
    assert whole == ["checkpoint-2", "checkpoint-4"]
    # Room is made, and the same command goes on.
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    steps: list[int] = []
    result = train_stage(
        root,
        "disk/training",
        lambda what, done, total: steps.append(done) if what == "train" else None,
        **settings,
    )
    assert steps == [5, 6, 7, 8]
    unbroken = train_stage(root, "unbroken", **settings)
    assert lasting(metrics(result.directory)) == lasting(metrics(unbroken.directory))
    found, expected = (
        load_file(r.directory / "model" / "model.safetensors") for r in (result, unbroken)
    )
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_weights_that_explode_stop_at_the_step_and_name_its_pairs(root: Path) -> None:
    """A learning rate of a billion: the second step has no loss that is a number."""
    with pytest.raises(TrainingError, match=r"of 4 examples at step \d") as caught:
        train_stage(root, "exploded", learning_rate=1e9, warmup_ratio=0, save_steps=1)
    assert "no finite loss" in str(caught.value)
    named = str(caught.value).split("where:")[1].split("\n")[0].strip().split(", ")
    split = pl.read_parquet(root / ".exploded.partial" / "split.parquet").filter(split="train")
    assert named != []
    assert set(named) <= set(split["preference_id"])


def test_a_gradient_that_is_no_number_changes_no_weight() -> None:
    """The loss is finite still; after the update no weight would be."""
    model = exact_llama(torch.float32)
    pairs = with_own_references(model, random_pairs(8))
    weight = model.model.layers[0].mlp.up_proj.weight
    weight.register_hook(lambda gradient: gradient * math.nan)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trainer = make_trainer(model, pairs, max_steps=2, learning_rate=1e-2)
    with pytest.raises(TrainingError, match=r"(?s)a gradient of norm nan at step 1.*one of "):
        trainer.train()
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_a_loss_that_is_no_number_names_its_pair() -> None:
    model = exact_llama()
    pairs: list[Any] = with_own_references(model, random_pairs(4))
    pairs[2] = pairs[2].with_reference(math.nan, 0.0)
    with pytest.raises(TrainingError, match=r"(?s)1 of 4 examples at step 2.*where: +2\n"):
        step(make_trainer(model, pairs), pairs)


def test_processes_that_accelerate_does_not_see_are_refused() -> None:
    with pytest.raises(UsageError, match=r"(?s)2 processes, of which accelerate sees 1"):
        check_processes(Place(rank=1, size=2), seen=1, pairs_per_step=8)
    with pytest.raises(UsageError, match=r"(?s)8 processes for 4 pairs a step"):
        check_processes(Place(size=8), seen=8, pairs_per_step=4)
    check_processes(Place(size=8), seen=8, pairs_per_step=8)


def test_dropout_goes_on_in_as_many_processes_as_before(tmp_path: Path) -> None:
    for rank in range(2):
        (tmp_path / f"rng_state_{rank}.pth").touch()
    check_resume(tmp_path, Place(size=2), dropout=0.1)
    check_resume(tmp_path, Place(size=4), dropout=0.0)
    check_resume(None, Place(size=4), dropout=0.1)
    with pytest.raises(UsageError, match=r"(?s)of 2 processes, to go on with in 1"):
        check_resume(tmp_path, Place(), dropout=0.1)
