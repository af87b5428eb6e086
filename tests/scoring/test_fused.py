"""The loss fused into the head: the same loss and gradients as over log-probs of the whole row."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import VOCABULARY, assert_parity, assert_same_gradients, make_model, padded_logps
from torch import Tensor
from torch.nn.functional import logsigmoid

from notus.scoring import fused
from notus.scoring.attention import use_tree_attention
from notus.scoring.forest import Forest
from notus.scoring.tree import TokenTree


def pairs(count: int = 6, seed: int = 0) -> list[TokenTree]:
    """Pairs with all that pairs may have: one prompt for several, a shared answer, equal starts."""
    rng = np.random.default_rng(seed)

    def tokens(low: int = 2, high: int = 12) -> list[int]:
        return rng.integers(0, VOCABULARY, rng.integers(low, high)).tolist()

    def pair(prompt: list[int], chosen: list[int], rejected: list[int]) -> TokenTree:
        return TokenTree.from_sequences([prompt + chosen, prompt + rejected], [len(prompt)] * 2)

    found = [pair([3, *tokens()], tokens(), tokens()) for _ in range(count)]
    prompt, answer = [3, 4, *tokens()], tokens()
    found += [pair(prompt, answer, tokens()), pair(prompt, answer, tokens())]
    return [*found, pair(prompt, answer[:2], answer[:2] + tokens())]


TREES = pairs()
FOREST = Forest.from_trees([TokenTree.merge(TREES)])


def dpo(logps: Tensor, units: Tensor) -> Tensor:
    """A loss in which no two pairs weigh alike."""
    return (-logsigmoid(0.3 * (logps[0::2] - logps[1::2])) * (1.0 + units)).sum()


def trained(model: Any, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    (loss * 0.7).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("llama", torch.float64),
        ("llama", torch.float32),
        ("phi", torch.float64),
        ("gemma2", torch.float32),  # its softmax is float32 in any type
    ],
)
@pytest.mark.parametrize("rows", [1, 20, 1000])
def test_is_the_loss_of_plain_rows(
    name: str, rows: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Units in many parts, a few and one; heads of one product, with a bias (phi), capped."""
    monkeypatch.setattr(fused, "LOGITS_PER_CHUNK", rows * VOCABULARY)
    monkeypatch.setattr(fused, "LOGITS_AT_ONCE", 2 * rows * VOCABULARY)
    model = make_model(name, dtype)
    slow = dpo(padded_logps(model, TREES), torch.arange(len(TREES)))
    wanted = trained(model, slow)
    with use_tree_attention(model):
        fast = fused.fused_loss(model, FOREST, dpo, unit_size=2)
        assert_same_gradients(trained(model, fast), wanted)
    assert_parity(fast, slow, "loss")


def test_every_unit_once_and_only_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call brings both log-probs of each of its pairs, complete."""
    monkeypatch.setattr(fused, "LOGITS_PER_CHUNK", VOCABULARY)
    model = make_model("llama", torch.float64)
    expected = padded_logps(model, TREES).detach()
    calls: list[list[int]] = []

    def remember(logps: Tensor, units: Tensor) -> Tensor:
        calls.append(units.tolist())
        own = torch.stack([2 * units, 2 * units + 1], 1).flatten()
        assert_parity(logps.detach(), expected[own], f"log-probs of pairs {units.tolist()}")
        return logps.sum()

    with use_tree_attention(model):
        fused.fused_loss(model, FOREST, remember, unit_size=2)
    # The three pairs of one prompt predict their first token at one position: they go together.
    assert sorted(calls) == [[0], [1], [2], [3], [4], [5], [6, 7, 8]]


def test_units_without_scored_tokens_have_log_prob_zero() -> None:
    model = make_model("llama", torch.float64)
    trees = [TREES[0], TokenTree.from_sequences([[1, 2, 3], [1, 2]], [3, 2])]
    forest = Forest.from_trees(trees)
    seen: dict[int, list[float]] = {}

    def remember(logps: Tensor, units: Tensor) -> Tensor:
        seen.update(zip(units.tolist(), logps.detach().view(-1, 2).tolist(), strict=True))
        return logps.sum()

    with use_tree_attention(model):
        fused.fused_loss(model, forest, remember, unit_size=2)
        assert seen[1] == [0.0, 0.0]
        only = fused.fused_loss(model, Forest.from_trees(trees[1:]), remember, unit_size=2)
    assert float(only.detach()) == 0.0


def test_a_token_too_unlikely_for_float32_keeps_its_log_prob() -> None:
    """exp(-150) underflows; the log-prob must not."""
    hidden, weight = torch.ones(1, 1), torch.tensor([[150.0], [0.0], [1.0]])
    part = fused._Part(slice(0, 1), torch.tensor([0]), torch.tensor([1]), torch.tensor([0]))
    probabilities, _, logps = fused._scored(hidden, weight, part)
    assert probabilities[0, 1] == 0.0
    assert logps.tolist() == pytest.approx([-150.0])


def test_bfloat16_logits_of_scored_tokens_are_not_rounded() -> None:
    """As if the row of rounded logits had the exact one of its scored token."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(64, 96, generator=generator).bfloat16()
    weight = torch.randn(500, 96, generator=generator).bfloat16()
    logits = (hidden @ weight.t()).double()
    at, token = torch.arange(64), torch.randint(0, 500, (64,), generator=generator)
    token[::2] = logits.argmax(-1)[::2]
    part = fused._Part(slice(0, 64), at, token, torch.zeros(64, dtype=torch.int64))
    _, _, logps = fused._scored(hidden, weight, part)
    rounded = logits.log_softmax(-1)[at, token]
    logits[at, token] = (hidden.double() @ weight.double().t())[at, token]
    expected = logits.log_softmax(-1)[at, token]
    assert float((rounded - expected).abs().max()) > 0.01
    assert logps.tolist() == pytest.approx(expected.tolist(), abs=1e-4)


def test_a_real_vocabulary_keeps_float32s_precision() -> None:
    """On the CPU torch's softmax of spread logits is off by 4e-6: 4e-3 nats over a long answer."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(64, 32, generator=generator)
    weight = torch.randn(49_152, 32, generator=generator)
    token = torch.randint(0, 49_152, (64,), generator=generator)
    part = fused._Part(slice(0, 64), torch.arange(64), token, torch.arange(64))
    exact = (hidden.double() @ weight.double().t()).log_softmax(-1)[part.at, token]
    *_, logps = fused._scored(hidden, weight, part)
    assert abs(float((logps.double() - exact).mean())) < 1e-6
    forest = Forest.from_trees([TokenTree.from_sequences([[1, *token.tolist()]], [1])])
    gradients = []
    for dtype in (torch.float32, torch.float64):
        inputs = [x.to(dtype).requires_grad_() for x in (hidden, weight)]
        value = fused._FusedHead.apply(*inputs, forest, lambda logps, _: -logps.sum(), 1)
        gradients.append(torch.autograd.grad(value, inputs))
    for name, found, wanted in zip(("hidden", "weight"), *gradients, strict=True):
        error = float((found - wanted).norm() / wanted.norm())
        assert error < 1e-6, f"gradient of {name}: {error:.2g}"


def test_without_gradient_only_the_loss_is_made() -> None:
    model = make_model("llama", torch.float64)
    with use_tree_attention(model):
        with_gradient = fused.fused_loss(model, FOREST, dpo, unit_size=2)
        with torch.no_grad():
            without = fused.fused_loss(model, FOREST, dpo, unit_size=2)
    assert not without.requires_grad
    assert_parity(without, with_gradient.detach(), "loss")
