"""The head: chunks, recomputed logits, wrapped and capped heads, autocast, wrappers."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from tiny_models import (
    VOCABULARY,
    assert_parity,
    assert_same_gradients,
    gradients,
    make_model,
    make_trees,
    padded_logps,
)
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from notus.scoring import logps as logps_module
from notus.scoring.attention import use_tree_attention
from notus.scoring.forest import Forest
from notus.scoring.logps import sequence_logps, token_logps, token_scores
from notus.scoring.tree import TokenTree

TREES = make_trees()
FOREST = Forest.from_trees(TREES)


def with_general_head(model: Any) -> Any:
    """The same function with a head that is not exactly nn.Linear."""

    class Head(nn.Linear):
        pass

    head = model.get_output_embeddings()
    other = Head(head.in_features, head.out_features, bias=False, dtype=head.weight.dtype)
    other.weight = head.weight
    model.set_output_embeddings(other)
    return model


def test_token_logps_are_those_of_full_logits() -> None:
    """On one sequence, which needs no tree: the model's own logits say what is expected."""
    model = make_model("llama", torch.float64)
    row = [5, 9, 30, 2, 2, 17]
    forest = Forest.from_trees([TokenTree.from_sequences([row], [2])])
    own = model(input_ids=torch.tensor([row])).logits[0].log_softmax(-1)
    expected = torch.stack([own[i - 1, row[i]] for i in range(2, 6)])
    with use_tree_attention(model):
        assert_parity(token_logps(model, forest), expected, "token log-probs")
        scores = token_scores(model, forest)
    assert_parity(scores.logps, expected.detach(), "token scores")
    assert scores.is_greedy.tolist() == [int(own[i - 1].argmax()) == row[i] for i in range(2, 6)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("general", [False, True])
@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_chunks_change_nothing(
    dtype: torch.dtype, general: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of 1, 7 and all positions, by the hand-written backward and by recomputation."""
    monkeypatch.setattr(logps_module, "LOGITS_PER_CHUNK", rows * VOCABULARY + 5)
    model = make_model("llama", dtype)
    slow = padded_logps(model, TREES)
    wanted = gradients(model, slow)
    model = with_general_head(model) if general else model
    with use_tree_attention(model):
        fast = sequence_logps(model, FOREST)
        assert_same_gradients(gradients(model, fast), wanted)
        assert_parity(fast, slow, "log-probs")
        scores = token_scores(model, FOREST)
    total = torch.zeros_like(slow).index_add(0, FOREST.scored_sequence, scores.logps)
    assert_parity(total, slow, "scores")


@pytest.mark.parametrize("general", [False, True])
def test_head_never_sees_more_than_a_chunk(general: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """No product of the forward or the backward has more than 5 rows of logits."""
    monkeypatch.setattr(logps_module, "LOGITS_PER_CHUNK", 5 * VOCABULARY)
    model = make_model("llama")
    model = with_general_head(model) if general else model
    sizes: list[int] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            out = func(*args, **(kwargs or {}))
            # 32 rows: the weight's own gradient, [hidden size, vocabulary]
            if func is torch.ops.aten.mm.default and out.shape[1] == VOCABULARY and len(out) != 32:
                sizes.append(len(out))
            return out

    with use_tree_attention(model), Watch():
        sequence_logps(model, FOREST).sum().backward()
    assert max(sizes) == 5
    assert len(FOREST.head_position) > 90


def test_frozen_head_gets_no_gradient_and_passes_it_on() -> None:
    model = make_model("llama", torch.float64)
    model.lm_head.weight.requires_grad_(False)
    wanted = gradients(model, padded_logps(model, TREES))
    assert "lm_head.weight" not in wanted
    with use_tree_attention(model):
        assert_same_gradients(gradients(model, sequence_logps(model, FOREST)), wanted)


def test_tied_head_adds_up_with_the_embedding() -> None:
    model = make_model("llama", torch.float64, tie_word_embeddings=True)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    wanted = gradients(model, padded_logps(model, TREES))
    with use_tree_attention(model):
        assert_same_gradients(gradients(model, sequence_logps(model, FOREST)), wanted)


@pytest.mark.parametrize("general", [False, True])
def test_nothing_scored_is_zero_with_zero_gradient(general: bool) -> None:
    model = make_model("llama")
    model = with_general_head(model) if general else model
    forest = Forest.from_trees([TokenTree.from_sequences([[3], [3, 4, 5]], [1, 3])])
    with use_tree_attention(model):
        logps = sequence_logps(model, forest)
        assert logps.tolist() == [0.0, 0.0]
        logps.sum().backward()
        scores = token_scores(model, forest)
    assert model.lm_head.weight.grad.abs().max() == 0
    assert len(scores.logps) == len(scores.is_greedy) == 0


@pytest.mark.parametrize("general", [False, True])
def test_autocast_runs_the_head_in_bfloat16_and_sums_in_float32(general: bool) -> None:
    model = make_model("llama")
    wanted = gradients(model, padded_logps(model, TREES))
    model = with_general_head(model) if general else model
    with use_tree_attention(model):
        exact = sequence_logps(model, FOREST)
        with torch.autocast("cpu", torch.bfloat16):
            logps = sequence_logps(model, FOREST)
    assert logps.dtype == torch.float32
    assert 1e-4 < ((logps - exact).abs().max() / exact.abs().max()).item() < 0.02
    found = gradients(model, logps)
    for name, gradient in wanted.items():
        assert found[name].dtype == torch.float32
        similarity = nn.functional.cosine_similarity(found[name].flatten(), gradient.flatten(), 0)
        assert similarity > 0.98, name


def test_autocast_inside_the_model_leaves_a_float32_head() -> None:
    """As under accelerate, which wraps the model's forward; the proof must allow its rounding."""
    model = make_model("llama")

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model
            self.config = model.config
            self.get_output_embeddings = model.get_output_embeddings

        def forward(self, **inputs: Any) -> Any:
            with torch.autocast("cpu", torch.bfloat16):
                return self.inner(**inputs)

    wrapped = Wrapped()
    with use_tree_attention(wrapped):
        exact = sequence_logps(model, FOREST)
        logps = sequence_logps(wrapped, FOREST)
        logps.sum().backward()
    assert logps.dtype == torch.float32
    assert 1e-4 < ((logps - exact).abs().max() / exact.abs().max()).item() < 0.02


DISTRIBUTED = """
import os, sys, traceback
import torch
from tiny_models import assert_parity, assert_same_gradients, gradients, make_model, make_trees
from tiny_models import padded_logps
from torch.distributed import HashStore, init_process_group
from torch.nn.parallel import DistributedDataParallel
from notus.scoring.attention import use_tree_attention
from notus.scoring.forest import Forest
from notus.scoring.logps import sequence_logps

def main():
    trees, model = make_trees(), make_model("llama", torch.float64)
    slow = padded_logps(model, trees)
    wanted = gradients(model, slow)
    init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    wrapped = DistributedDataParallel(model)
    with use_tree_attention(wrapped):
        for _ in range(2):
            fast = sequence_logps(wrapped, Forest.from_trees(trees))
            found = gradients(wrapped, fast)
    assert_parity(fast, slow, "log-probs")
    assert_same_gradients({k.removeprefix("module."): g for k, g in found.items()}, wanted)
    print("same", flush=True)
    os._exit(0)

try:
    main()
except BaseException:
    traceback.print_exc()
    sys.stderr.flush()
    os._exit(1)
"""


def test_distributed_wrapper_parity() -> None:
    """One gloo process: the reducer must see the forward, the head outside of it included.

    In a process that ends without taking the group down: gloo's thread may want the interpreter
    lock that the reducer's destructor holds while it waits for that thread (seen once, for ever).
    """
    command = [sys.executable, "-c", DISTRIBUTED]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "same\n"), done.stderr


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_disabled_adapter_is_the_base_model() -> None:
    """What a reference without a second copy of the model rests on."""
    base = make_model("llama", torch.float64)
    expected = padded_logps(base, TREES).detach()
    config = peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = peft.get_peft_model(base, config)
    with use_tree_attention(model), torch.no_grad():
        assert (sequence_logps(model, FOREST) - expected).abs().max() > 0.1
        with model.disable_adapter():
            assert_parity(sequence_logps(model, FOREST), expected, "without adapter")


def test_hook_is_gone_after_an_error() -> None:
    model = make_model("llama")
    broken = Forest.from_trees(TREES)
    object.__setattr__(broken, "input_ids", broken.input_ids + VOCABULARY)
    with use_tree_attention(model), pytest.raises(IndexError):
        token_logps(model, broken)
    assert not model.lm_head._forward_pre_hooks
