"""Counted model FLOPs against torch's own counter of the operations that run."""

from typing import Any

import peft
import pytest
import torch
from small_runs import old_name_warns
from torch.utils.flop_counter import FlopCounterMode

from notus.scoring.forest import Forest
from notus.scoring.tree import TokenTree
from notus.training.flops import count_flops, forest_flops, matmul_ceiling
from tiny import make_llama, make_tokenizer

T = 24


def measured(model: Any, ids: list[int]) -> int:
    """All matrix products of one forward and backward pass over one plain sequence."""
    counter = FlopCounterMode(display=False)
    with counter:
        model(input_ids=torch.tensor([ids]), use_cache=False).logits.sum().backward()
    return counter.get_total_flops()


def test_full_weights_agree_with_torchs_counter() -> None:
    """Every token scored but the first; torch's eager attention computes the masked half too."""
    llama = make_llama(make_tokenizer())
    llama.set_attn_implementation("eager")
    ids = list(range(T + 1))
    flops = count_flops(llama)
    forest = Forest.from_trees([TokenTree.from_sequences([ids], [1])])
    assert len(forest.head_position) == forest.input_ids.numel() == T
    masked = flops.per_attention_pair * (T * T - T * (T + 1) // 2)
    assert forest_flops(flops, [forest]) + masked == measured(llama, ids[:-1])


@old_name_warns
def test_frozen_weights_need_two_thirds() -> None:
    llama = make_llama(make_tokenizer())
    before = count_flops(llama)
    config = peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(llama, config)
    after = count_flops(model)
    adapters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert after.per_token == before.per_token * 4 / 6 + 6 * adapters
    assert after.per_scored_position == before.per_scored_position * 4 / 6
    assert after.per_attention_pair == before.per_attention_pair


def test_shared_tokens_count_once_and_the_head_where_it_is_asked() -> None:
    """Prompt of 10, answers of 4 and 6: 18 inputs (the leaves predict nothing), 9 heads.

    The last prompt token predicts both first tokens. Pairs: 10*11/2 in the prompt, then
    3 and 5 inputs that see the 10 and themselves.
    """
    llama = make_llama(make_tokenizer())
    flops = count_flops(llama)
    prompt = list(range(10))
    sequences = [[*prompt, *range(20, 24)], [*prompt, *range(30, 36)]]
    forest = Forest.from_trees([TokenTree.from_sequences(sequences, [10, 10])])
    pairs = 55 + (3 * 10 + 6) + (5 * 10 + 15)
    expected = 18 * flops.per_token + 9 * flops.per_scored_position
    assert forest_flops(flops, [forest]) == expected + pairs * flops.per_attention_pair


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_ceiling_is_a_plausible_rate(dtype: torch.dtype) -> None:
    found = matmul_ceiling(torch.device("cpu"), dtype)
    assert 1e8 < found < 1e14
