"""Adapters: merged they are the base plus their update, checkpointing changes nothing, and 4 bits.

The 4-bit path needs CUDA and bitsandbytes; here its refusal is tested, on a GPU its training.
"""

import importlib.util
import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_runs import (
    assert_same_gradients,
    exact_llama,
    make_trainer,
    metrics,
    old_name_warns,
    random_pairs,
    step,
    train_stage,
    write_inputs,
)

from notus.errors import MissingExtraError, ModelError
from notus.models import load
from notus.train_section import LoraSection, TrainSection
from notus.training.adapters import add_lora, quantization_of

pytestmark = old_name_warns


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("adapters"), num=40)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_merged_is_base_plus_update(root: Path, dtype: str) -> None:
    """W' = W + (alpha / r) B A, computed in float32 and rounded to the weights' type once.

    In bfloat16 the sum is rounded to 8 bits: at most half a unit in the last place, 2**-8 of it.
    """
    precision = "bfloat16" if dtype == "bfloat16" else "float32"
    lora = {"r": 4, "alpha": 8}
    settings = {"lora": lora, "dtype": dtype, "precision": precision, "learning_rate": 3e-2}
    directory = train_stage(root, f"merge-{dtype}", **settings).directory
    kind = getattr(torch, dtype)
    base = load(str(root / "base"), dtype=kind).model.state_dict()
    merged = load_file(directory / "model" / "model.safetensors")
    adapter = load_file(directory / "adapter" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in merged.values()} == {kind}
    updated = 0
    for name, weight in merged.items():
        key = f"base_model.model.{name.removesuffix('.weight')}"
        expected = base[name].float()
        if f"{key}.lora_A.weight" in adapter:
            a, b = (adapter[f"{key}.lora_{side}.weight"].float() for side in "AB")
            expected = expected + 2.0 * (b @ a)
            updated += 1
            assert float((expected - base[name].float()).abs().max()) > 1e-3
        allowed = 2**-8 * expected.abs() + 1e-3 if dtype == "bfloat16" else 1e-6
        assert bool(((weight.float() - expected).abs() <= allowed).all()), name
    assert updated == 14  # Seven products in each of two layers.
    assert json.loads((directory / "adapter" / "adapter_config.json").read_text())["r"] == 4


def test_a_bfloat16_model_learns_and_stays_one(root: Path) -> None:
    directory = train_stage(root, "half", dtype="bfloat16", precision="bfloat16").directory
    losses = [row["loss"] for row in metrics(directory) if "loss" in row]
    assert losses[0] == pytest.approx(math.log(2), abs=5e-2)
    assert losses[-1] < losses[0]
    assert load(str(directory / "model"), dtype=torch.bfloat16).model.dtype == torch.bfloat16


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "v_proj"]])
def test_checkpointing_gives_adapters_the_same_gradients(targets: str | list[str]) -> None:
    """Every layer runs a second time in the backward, and nothing else is different."""
    pairs, found, calls = random_pairs(6), [], []
    for checkpointing in (False, True):
        model = add_lora(exact_llama(), LoraSection(r=3, target_modules=targets), seed=0).double()
        with torch.no_grad():
            draws = torch.Generator().manual_seed(1)
            for name, parameter in model.named_parameters():
                if "lora_B" in name:  # They begin at 0, and A's gradient would be 0 with them.
                    parameter.copy_(torch.randn(parameter.shape, generator=draws) * 0.1)
        trainer = make_trainer(model, pairs)
        if checkpointing:  # As the trainer does at the beginning of a training.
            model.activation_checkpointing_enable()
        step(trainer, pairs)  # The first one also proves that the layout is exact.
        ran: list[int] = []
        first = model.model.model.layers[0]
        first.mlp.register_forward_pre_hook(lambda *_, ran=ran: ran.append(1))
        found.append(step(trainer, pairs))
        calls.append(len(ran))
    assert calls[1] == 2 * calls[0]
    (loss, gradients), (again, same) = found
    assert again == pytest.approx(loss, rel=1e-12)
    assert len(gradients) == (28 if targets == "all-linear" else 8)
    assert_same_gradients(same, gradients)


def test_a_checkpointed_run_is_the_same_run(root: Path) -> None:
    plain = train_stage(root, "plain-lora", lora={"r": 2}, learning_rate=1e-2).directory
    saved = train_stage(
        root, "saved-lora", lora={"r": 2}, learning_rate=1e-2, gradient_checkpointing=True
    ).directory
    files = [load_file(d / "adapter" / "adapter_model.safetensors") for d in (plain, saved)]
    for name, tensor in files[0].items():
        assert torch.allclose(tensor, files[1][name], atol=1e-6), name
    assert max(float(t.abs().max()) for name, t in files[1].items() if "lora_B" in name) > 1e-3


def test_four_bits_are_refused_where_they_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    train = TrainSection.model_validate({"lora": {"load_in_4bit": True}})
    assert quantization_of(TrainSection(lora=LoraSection())) is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match=r"(?s)no CUDA device.*load_in_4bit=false"):
        quantization_of(train)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"(?s)'bitsandbytes'.*pip install bitsandbytes"):
        quantization_of(train)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_four_bits_train_and_merge_into_the_unrounded_base(root: Path) -> None:
    pytest.importorskip("bitsandbytes")
    lora = {"r": 4, "load_in_4bit": True}
    settings = {"lora": lora, "precision": "bfloat16", "learning_rate": 1e-2}
    directory = train_stage(root, "four", **settings).directory
    losses = [row["loss"] for row in metrics(directory) if "loss" in row]
    assert losses[-1] < losses[0]
    base = load_file(root / "base" / "model.safetensors")
    merged = load_file(directory / "model" / "model.safetensors")
    assert torch.equal(merged["model.norm.weight"], base["model.norm.weight"])
    # An update of rank 4 on the unrounded weights, no rounding error of full rank.
    difference = (
        merged["model.layers.0.mlp.up_proj.weight"] - base["model.layers.0.mlp.up_proj.weight"]
    )
    assert int(torch.linalg.matrix_rank(difference, tol=1e-5)) <= 4
