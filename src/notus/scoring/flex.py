"""Attention over a forest on a GPU: FlexAttention, masked by the forest's one integer a token.

FlexAttention skips blocks of 128 x 128 that the mask leaves empty, so trees that are packed into
one row cost what they cost alone. On the CPU it has no backward (torch 2.13); its forward there
serves the tests.

Legend: T tokens in the row, H query heads, J key heads, D size.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from notus.scoring.forest import Forest


def block_mask(forest: Forest) -> BlockMask:
    """Build the mask `k <= q < subtree_end[k]` of a forest, once a forest."""
    found = _masks.get(id(forest.subtree_end))
    if found is None or found[0] is not forest:
        end, length = forest.subtree_end, len(forest.subtree_end)

        def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return (key <= query) & (query < end[key])

        mask = create_block_mask(sees, None, None, length, length, device=str(end.device))
        _masks.clear()  # One row is worked on at a time, by all layers.
        _masks[id(end)] = found = (forest, mask)
    return found[1]


def flex(
    query: Tensor, key: Tensor, value: Tensor, forest: Forest, scale: float, softcap: float | None
) -> Tensor:
    """Attend over a forest: [1, H, T, D], [1, J, T, D] x 2 -> [1, T, H, D].

    With a softcap, logits x become softcap * tanh(x / softcap) (Gemma 2, arXiv 2408.00118).
    """

    def capped(score: Tensor, *_: Tensor) -> Tensor:
        return score if softcap is None else softcap * torch.tanh(score / softcap)

    attend = _compiled() if query.is_cuda else flex_attention
    out = attend(
        query,
        key,
        value,
        score_mod=None if softcap is None else capped,
        block_mask=block_mask(forest),
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out.transpose(1, 2).contiguous()


@cache
def _compiled() -> Any:
    # Uncompiled it would materialise the whole matrix. Rows have any length: one dynamic kernel.
    return torch.compile(flex_attention, dynamic=True)


_masks: dict[int, tuple[Forest, BlockMask]] = {}
