"""Divergence along trees against full logits of padded sequences, one at a time."""

import copy
from collections.abc import Sequence
from typing import Any

import peft
import pytest
import torch
from tiny_models import VOCABULARY, assert_parity, make_model, make_trees
from torch import Tensor

from notus.scoring import kl
from notus.scoring.kl import sequential_kl
from notus.scoring.tree import TokenTree


def other_weights(model: Any) -> Any:
    """The same architecture with weights that differ a little, so that the divergence is small."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in other.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter += 0.02 * noise.to(parameter.dtype)
    return other


def by_full_logits(policy: Any, reference: Any, trees: Sequence[TokenTree]) -> Tensor:
    """[S]: every sequence by itself, every distribution written out."""
    sums = []
    for tree in trees:
        for sequence, start in zip(tree.sequences, tree.score_from.tolist(), strict=True):
            ids = torch.from_numpy(sequence)[None]
            q, p = (
                torch.log_softmax(model(ids, use_cache=False).logits[0].double(), -1)
                for model in (policy, reference)
            )
            at = slice(start - 1, max(start, len(sequence)) - 1)
            sums.append((p[at].exp() * (p[at] - q[at])).sum())
    return torch.stack(sums)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("llama", torch.float64),
        ("llama", torch.float32),
        ("gemma2", torch.float32),
        ("phi", torch.float32),
    ],
)
@pytest.mark.parametrize("max_tokens", [1, 50, 10_000])
def test_it_is_the_sum_over_full_distributions(
    name: str, dtype: torch.dtype, max_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with heads cut into chunks of three positions, soft-capped, and with a bias."""
    monkeypatch.setattr(kl, "LOGITS_PER_CHUNK", 6 * VOCABULARY)
    policy = make_model(name, dtype)
    reference, trees = other_weights(policy), make_trees()
    with torch.no_grad():
        expected = by_full_logits(policy, reference, trees)
        turned = by_full_logits(reference, policy, trees)
    found = sequential_kl(policy, reference, trees, max_tokens=max_tokens)
    assert_parity(found, expected, "divergence", dtype)
    assert (expected - turned).abs().max() > 1e-2, "the direction is not tested"
    assert found.min() >= 0
    assert found.max() > 0.1


def test_of_a_model_from_itself_it_is_0_whatever_its_dropout() -> None:
    model = make_model("llama", torch.float64)
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    model.train()
    assert sequential_kl(model, model, make_trees()).abs().max() == 0
    assert model.training


def test_it_never_holds_more_logits_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kl, "LOGITS_PER_CHUNK", 8 * VOCABULARY)
    model, seen = make_model("llama"), []
    other = other_weights(model)
    sequential_kl(model, other, make_trees())  # the proof of the layout runs the head, too
    model.lm_head.register_forward_hook(lambda _, inputs, output: seen.append(output.numel()))
    sequential_kl(model, other, make_trees())
    assert max(seen) == 4 * VOCABULARY, "half of the chunk: there are two models"


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "lm_head"]])
def test_without_a_reference_it_is_from_the_policy_without_its_adapters(targets: Any) -> None:
    base = make_model("llama", torch.float64)
    trees = make_trees()
    config = peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        policy = peft.get_peft_model(copy.deepcopy(base), config).to(torch.float64)
    with torch.no_grad():
        expected = by_full_logits(policy, base, trees)
    assert_parity(sequential_kl(policy, None, trees), expected, "divergence")
    assert expected.max() > 0.1
