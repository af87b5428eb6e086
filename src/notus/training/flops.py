"""Model FLOPs of a training step, and the ceiling of the machine that they are held against.

Model FLOPs are what the mathematics needs, not what the code does: recomputed activations count
once, padding not at all, and tokens that completions share count once because they are computed
once. So two layouts of the same tree have the same utilisation only if they take equally long.

    body       6 a weight and token: 2 forward, 2 for the gradient of its input, 2 for its own
    head       the same, at positions that predict a scored token only
    attention  12 * heads * head size a layer and (query, key) pair: two products, forward 4,
               backward 8; only the pairs that the mask lets through

A frozen weight (LoRA's base) needs no gradient of its own: 4 instead of 6. Norms, activations,
embeddings and the softmax are left out; they are under 1 % for models of usual width.
Source: Kaplan et al. 2020 (arXiv 2001.08361), section 2.1; Chowdhery et al. 2022 (PaLM, arXiv
2204.02311), appendix B, whose 12 L H Q T a token counts full attention: ours counts the mask.

Experts that are not `nn.Linear` are not counted, and routed ones that are, all count as used.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from notus.scoring.forest import Forest

PROBE_SECONDS = 0.15


class Flops(NamedTuple):
    """Operations of one forward and backward pass, by what they go with."""

    per_token: float
    per_scored_position: float
    per_attention_pair: float
    """All layers together."""


def count_flops(model: Any) -> Flops:
    """Count a model's operations; `model` may be wrapped by PEFT or DDP."""
    unwrapped = getattr(model, "module", model)
    head = unwrapped.get_output_embeddings()
    body = 0
    for module in unwrapped.modules():
        if isinstance(module, nn.Linear) and module is not head:
            body += _linear(module)
    config = unwrapped.config.get_text_config()
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return Flops(body, _linear(head), 12 * config.num_hidden_layers * heads * size)


def forest_flops(flops: Flops, forests: Sequence[Forest]) -> float:
    """Operations of a forward and backward pass over packed trees."""
    total = 0.0
    for forest in forests:
        index = torch.arange(len(forest.subtree_end), device=forest.subtree_end.device)
        pairs = int((forest.subtree_end - index).sum())
        total += flops.per_token * forest.input_ids.numel()
        total += flops.per_scored_position * len(forest.head_position)
        total += flops.per_attention_pair * pairs
    return total


def matmul_ceiling(device: torch.device, dtype: torch.dtype) -> float:
    """Measure what a matrix product reaches here, in operations a second: the best of some runs.

    On a CPU the product is 1024 x 1024 x 1024, on a GPU 8192 x 8192 x 8192: large enough to be at
    the ceiling. It takes PROBE_SECONDS, and at least three runs.
    """
    size = 1024 if device.type == "cpu" else 8192
    # Drawn, not ones: a GPU's clock depends on how many bits flip.
    draws = torch.Generator(device).manual_seed(0)
    left, right = (torch.randn(size, size, generator=draws, device=device) for _ in range(2))
    left, right = left.to(dtype), right.to(dtype)
    best, start, runs = float("inf"), time.perf_counter(), 0
    while runs < 3 or time.perf_counter() - start < PROBE_SECONDS:
        began = time.perf_counter()
        product = left @ right
        product[-1, -1].item()  # Waits for the device.
        best, runs = min(best, time.perf_counter() - began), runs + 1
    return 2 * size**3 / best


def _linear(module: Any) -> int:
    # By features, not by the weight's elements: 4-bit and sharded weights hide their shape.
    size = int(module.in_features * module.out_features)
    return (6 if module.weight.requires_grad else 4) * size
