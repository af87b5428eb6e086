"""The forecast's counts against what torch really keeps and computes, on small real models.

What a layer keeps for its backward is counted by autograd itself, in both types of products, for
all weights and for adapters, with and without checkpointing. Whole numbers of 7B models are derived
from their published shapes.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from small_runs import old_name_warns, random_pairs
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from notus.architectures import ARCHITECTURES
from notus.recipe import ModelSection
from notus.scoring.attention import use_tree_attention
from notus.scoring.forest import Forest, pack
from notus.scoring.logps import sequence_logps
from notus.train_section import LoraSection
from notus.training.adapters import add_lora
from notus.training.forecast import (
    Load,
    Setup,
    Shape,
    activation_bytes,
    largest_micro_batch,
    mean_load,
    memory,
    operations,
    total,
)
from notus.training.skeleton import skeleton

pytestmark = old_name_warns
SIZES = {"hidden_size": 64, "intermediate_size": 160, "num_attention_heads": 4}
SIZES |= {"num_key_value_heads": 2, "vocab_size": 512}


def llama(layers: int, dtype: torch.dtype = torch.float32) -> Any:
    config = LlamaConfig(**SIZES, num_hidden_layers=layers, max_position_embeddings=512)
    return LlamaForCausalLM(config).to(dtype).train()


def shape_of(layers: int, rank: int = 0) -> Shape:
    """Counted from the sizes above: 14 x 64 x 64 and so on, independently of `skeleton`."""
    linears = {"q": (64, 64), "k": (64, 32), "v": (64, 32), "o": (64, 64)}
    linears |= {"gate": (64, 160), "up": (64, 160), "down": (160, 64)}
    matrices = sum(a * b for a, b in linears.values())
    return Shape(
        hidden=64,
        layers=layers,
        heads=4,
        queries=64,
        keys=32,
        feedforward=160,
        vocabulary=512,
        parameters=layers * (matrices + 2 * 64) + 2 * 512 * 64 + 64,
        matrices=layers * matrices,
        rank=rank,
        adapters=layers * rank * sum(a + b for a, b in linears.values()) if rank else 0,
        adapted=sum(a for a, _ in linears.values()) if rank else 0,
        adapted_products=7 if rank else 0,
    )


def saved_bytes(model: Any, forest: Forest, *, half: bool) -> int:
    """Bytes that autograd keeps for the backward: each storage once, without the weights."""
    storages: dict[int, int] = {}
    keep = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        keep.append(tensor)  # Freed memory could be used again under the same address.
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with use_tree_attention(model):
        hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
        with hooks, torch.autocast("cpu", torch.bfloat16, enabled=half):
            sequence_logps(model, forest)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    return sum(size for at, size in storages.items() if at not in weights)


@pytest.fixture(scope="module")
def forests() -> list[Forest]:
    """Two rows; what they differ in is tokens alone."""
    return [pack([pair.tree for pair in random_pairs(n)], 4096)[0] for n in (8, 40)]


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize(
    ("half", "dtype"), [(False, "float32"), (True, "float32"), (True, "bfloat16")]
)
def test_what_a_layer_keeps_for_its_backward(
    forests: list[Forest], rank: int, half: bool, dtype: str
) -> None:
    """The difference of two layers and of two rows leaves one layer's bytes a token."""

    def per_token(layers: int) -> float:
        model = llama(layers, getattr(torch, dtype))
        if rank:
            model = add_lora(model, LoraSection(r=rank), seed=0)
        small, large = (saved_bytes(model, forest, half=half) for forest in forests)
        return (large - small) / (forests[1].input_ids.numel() - forests[0].input_ids.numel())

    found = per_token(3) - per_token(2)
    setup = Setup(weight_bytes=2 if dtype == "bfloat16" else 4, product_bytes=2 if half else 4)
    assert activation_bytes(shape_of(3, rank), setup) == pytest.approx(found, rel=0.01)


@pytest.mark.parametrize("rank", [0, 4])
def test_checkpointing_keeps_one_input_a_layer(forests: list[Forest], rank: int) -> None:
    found = []
    for layers in (2, 3):
        model = llama(layers)
        if rank:
            model = add_lora(model, LoraSection(r=rank), seed=0)
        model.activation_checkpointing_enable()
        small, large = (saved_bytes(model, forest, half=True) for forest in forests)
        found.append(large - small)
    tokens = forests[1].input_ids.numel() - forests[0].input_ids.numel()
    assert (found[1] - found[0]) / tokens == pytest.approx(4 * 64, rel=0.01)
    setup = Setup(product_bytes=2, checkpointing=True)
    one, two = (memory(shape_of(n), setup, tokens=100)["activations"] for n in (2, 3))
    assert two - one == 100 * 4 * 64


def test_operations_are_those_that_torch_counts(forests: list[Forest]) -> None:
    """Torch counts products; attention is our own and left out."""
    forest, model, shape = forests[1], llama(2), shape_of(2)
    with use_tree_attention(model):
        sequence_logps(model, forest)  # The proof of the layout is not part of a step.
        with FlopCounterMode(display=False) as forward, torch.no_grad():
            sequence_logps(model, forest)
        with FlopCounterMode(display=False) as both:
            sequence_logps(model, forest).sum().backward()
    tokens, scored = forest.input_ids.numel(), len(forest.head_position)
    load = Load(tokens=tokens, scored=scored, attended=0)
    one = operations(shape, load, backward=False, setup=Setup())
    two = operations(shape, load, backward=True, setup=Setup())
    assert total(one) == pytest.approx(products(forward), rel=1e-9)
    # It knows no addmm_, with which the head adds up the gradient of its weights.
    assert total(two) - one["head"] == pytest.approx(products(both), rel=1e-9)
    again = operations(shape, load, backward=True, setup=Setup(checkpointing=True))
    assert again["body"] - two["body"] == one["body"]
    adapted = operations(shape_of(2, 4), load, backward=True, setup=Setup())
    assert two["body"] * 2 / 3 < adapted["body"] < two["body"]


def products(counter: FlopCounterMode) -> int:
    counts = counter.get_flop_counts()["Global"]
    return sum(n for name, n in counts.items() if "attention" not in str(name))


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_known_models_have_the_parameters_that_they_are_published_with(name: str) -> None:
    section = ModelSection(base="org/unknown", architecture=name)
    built = skeleton(section, None)
    assert built.shape.parameters == ARCHITECTURES[name].parameters
    for hub_id in ARCHITECTURES[name].hub_ids:
        assert skeleton(ModelSection(base=hub_id), None).shape == built.shape


def test_mistral_by_hand() -> None:
    """4096 x 4096 twice, 4096 x 1024 twice, 3 x 4096 x 14336: 218,103,808 in each of 32 layers."""
    shape = skeleton(ModelSection(base="x/y", architecture="mistral-7b"), None).shape
    assert shape.matrices == 32 * 218_103_808
    lora = LoraSection(r=64, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"])
    adapted = skeleton(ModelSection(base="x/y", architecture="mistral-7b"), lora).shape
    # (4096 + 4096) twice and (4096 + 1024) twice, times the rank.
    assert adapted.trainable == 32 * 64 * (2 * 8192 + 2 * 5120) == 54_525_952
    setup = Setup(device="cuda", product_bytes=2)
    full = memory(shape, setup, tokens=4096)
    assert (full["weights"], full["optimiser"]) == (4 * 7_241_732_096, 8 * 7_241_732_096)
    frozen = memory(adapted, setup, tokens=4096)
    assert frozen["optimiser"] == 8 * 54_525_952
    four = memory(adapted, replace(setup, four_bit=True), tokens=4096)
    # 4.127 bits instead of 32 in the layers; embeddings, head and norms as they were.
    assert frozen["weights"] - four["weights"] == pytest.approx((32 - 4.127) / 8 * shape.matrices)


def test_what_is_shared_is_divided() -> None:
    shape, setup = shape_of(2), Setup(device="cuda", processes=4)
    alone = memory(shape, replace(setup, processes=1), tokens=10)
    copied = memory(shape, setup, tokens=10)
    assert copied["buckets"] == alone["gradients"]
    assert copied["weights"] == alone["weights"]
    zero2 = memory(shape, replace(setup, sharding="zero2"), tokens=10)
    assert zero2["optimiser"] == alone["optimiser"] / 4
    assert zero2["weights"] == alone["weights"]
    fsdp = memory(shape, replace(setup, sharding="fsdp"), tokens=10)
    assert fsdp["weights"] == alone["weights"] / 4
    # Both layers at once, and what is in none of them.
    assert fsdp["gathered weights"] == alone["weights"]
    assert memory(shape, replace(setup, sharding="zero3-offload"), tokens=10)["weights"] == 0


def test_the_largest_micro_batch_fills_the_room() -> None:
    shape, setup = shape_of(3), Setup(checkpointing=True)
    most = largest_micro_batch(shape, setup, room=2**30, pairs=1000)
    assert total(memory(shape, setup, tokens=most, pairs=1000)) <= 2**30
    assert total(memory(shape, setup, tokens=most + 2, pairs=1000)) > 2**30


def test_a_pair_of_mean_lengths() -> None:
    """Prompt 2, completions 3: causal within each part, and both completions see the prompt."""
    load = mean_load(10, 2, 3)
    assert (load.tokens, load.scored) == (80, 60)
    assert load.attended == 10 * (2 + 2 * 2 * 3 + 9)
