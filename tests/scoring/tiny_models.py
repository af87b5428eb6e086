"""Tiny random causal models from config objects, trees to score with them, and the parity check.

Policy of the tests in this folder: whatever is clever (tree, cascade, recomputed head) is compared
with the padded layout or with the textbook formula, forward and gradient. TOLERANCE is stated here
once and is never relaxed. Models are drawn with an initializer_range of 0.3: with the usual 0.02
attention is nearly uniform, logits are nearly equal and many mistakes would pass.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from notus.scoring.score import padded_token_logps
from notus.scoring.tree import TokenTree

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
VOCABULARY = 61

_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_GROUPED = _SIZES | {"num_key_value_heads": 2, "head_dim": 8}

CONFIGS: dict[str, Callable[..., Any]] = {
    "llama": lambda **kw: transformers.LlamaConfig(**_GROUPED | kw),
    "qwen2": lambda **kw: transformers.Qwen2Config(**_GROUPED | kw),
    "qwen3": lambda **kw: transformers.Qwen3Config(**_GROUPED | kw),
    "gemma": lambda **kw: transformers.GemmaConfig(**_GROUPED | kw),
    "gemma2": lambda **kw: transformers.Gemma2Config(**_GROUPED | kw),
    "gemma3": lambda **kw: transformers.Gemma3TextConfig(**_GROUPED | kw),
    "gpt_neox": lambda **kw: transformers.GPTNeoXConfig(**_SIZES | kw),
    "mistral": lambda **kw: transformers.MistralConfig(**_GROUPED | kw),
    "phi": lambda **kw: transformers.PhiConfig(**_SIZES | kw),
}


class ExactNorm(nn.Module):
    """RMS norm in the dtype of its input: transformers' own rounds float64 to float32."""

    def __init__(self, norm: Any, offset: float) -> None:
        super().__init__()
        self.weight = norm.weight
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (self.weight + self.offset)


def make_model(name: str, dtype: torch.dtype = torch.float32, **config: Any) -> Any:
    """The tiny model of a family, with random weights that do not depend on other tests."""
    with torch.random.fork_rng():
        torch.manual_seed(sum(map(ord, name)))
        model = transformers.AutoModelForCausalLM.from_config(CONFIGS[name](**config))
    if dtype == torch.float64:
        for module in list(model.modules()):
            for child_name, child in module.named_children():
                if "RMSNorm" in type(child).__name__:
                    offset = 1.0 if "Gemma" in type(child).__name__ else 0.0
                    setattr(module, child_name, ExactNorm(child, offset))
    return model.to(dtype).eval()


def make_trees(seed: int = 0) -> list[TokenTree]:
    """Trees with everything that a tree may have, 30 sequences in all."""
    rng = np.random.default_rng(seed)

    def tokens(n: int) -> list[int]:
        return rng.integers(0, VOCABULARY, n).tolist()

    def under(prompt: list[int], completions: Sequence[list[int]]) -> TokenTree:
        rows = [prompt + completion for completion in completions]
        return TokenTree.from_sequences(rows, [len(prompt)] * len(rows))

    stem, other = tokens(4), tokens(1)
    pairs = [under(tokens(n), [tokens(5), tokens(9)]) for n in (1, 7, 12)]
    choices = [under(tokens(6), [[t] for t in (3, 5, 7, 9)])]
    deep = [under(tokens(3), [stem + tokens(3), stem + tokens(2), stem[:2] + tokens(4), tokens(2)])]
    prefixes = [under(tokens(2), [stem, stem[:1], stem[:3], stem, stem + other])]
    roots = [
        TokenTree.from_sequences(
            [[4, 1, 2, 3], [5, 1, 2], [4, 1, 7, 7, 7], [6], [5], [5, 1, 2]], [1, 2, 3, 1, 9, 3]
        )
    ]
    alone = [TokenTree.from_sequences([[11]], [1]), under(tokens(2), [tokens(20)])]
    shared_prompt = tokens(8)
    split = [under(shared_prompt, [tokens(4)]), under(shared_prompt, [tokens(6), tokens(6)])]
    return pairs + choices + deep + prefixes + roots + alone + split


def padded_logps(model: Any, trees: Sequence[TokenTree]) -> Tensor:
    """[S] by the oracle, in the caller's order, differentiable."""
    sequences = [sequence for tree in trees for sequence in tree.sequences]
    starts = [int(start) for tree in trees for start in tree.score_from]
    values, _ = padded_token_logps(model, sequences)
    parts = [
        values[row, start - 1 : max(start, len(sequence)) - 1].sum()
        for row, (sequence, start) in enumerate(zip(sequences, starts, strict=True))
    ]
    return torch.stack(parts)


def gradients(model: Any, logps: Tensor) -> dict[str, Tensor]:
    """Gradients of all trainable parameters for a loss that weighs every sequence differently."""
    weights = torch.linspace(-1.0, 1.5, len(logps), dtype=logps.dtype)
    model.zero_grad(set_to_none=True)
    (logps * weights).sum().backward()
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in model.named_parameters()
        if p.requires_grad
    }


def assert_parity(fast: Tensor, slow: Tensor, what: str, dtype: torch.dtype | None = None) -> None:
    """Each difference, relative to its value where that is above 1, is within TOLERANCE."""
    assert fast.shape == slow.shape, what
    error = ((fast - slow).abs() / slow.abs().clamp(min=1.0)).detach().flatten()
    tolerance = TOLERANCE[dtype or slow.dtype]
    worst = float(error.max()) if len(error) else 0.0
    assert worst <= tolerance, f"{what}: error {worst:.3g} > {tolerance}"


def assert_same_gradients(fast: dict[str, Tensor], slow: dict[str, Tensor]) -> None:
    """Each gradient's largest difference, relative to its largest entry, is within TOLERANCE."""
    assert fast.keys() == slow.keys()
    assert any(float(gradient.abs().max()) > 0.1 for gradient in slow.values())
    for name, gradient in slow.items():
        scale = max(1.0, float(gradient.abs().max()))
        assert_parity(fast[name] / scale, gradient / scale, f"gradient of {name} (/ {scale:.3g})")
