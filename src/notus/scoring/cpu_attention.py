"""Exact attention over a forest on the CPU, forward and backward, in two ways.

`flash`: the row is cut into causal chains and full rectangles (forest.py), each is one flash call,
and where a query got several partial results they are merged by log-sum-exp. The backward hands the
merged output and log-sum-exp to flash's own backward for each part, which makes every part's
gradient exact.

`matmul`: each chain, with the keys of its ancestors copied before its own, is cut into blocks of
queries; a block is two batched matrix products around a softmax, and is computed again in the
backward. Nothing above one block of logits is ever kept.

Which is faster where: `uses_matmul`; the figures are in docs/LOG.md.

Legend: T tokens in the row, H query heads, J key heads, G = H / J query heads a key head, D size,
B queries of a block, N keys that a block sees.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from notus.scoring.forest import Forest

SHORT = 512  # tokens below which float32's backward is faster than bfloat16's (flash_backward.py)
BLOCK = 128  # queries of a block: its logits stay in the cache
LONG = 64  # tokens of a mean chain that make blocks worth while
_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default


def cpu_attention(
    query: Tensor, key: Tensor, value: Tensor, forest: Forest, scale: float
) -> Tensor:
    """Attend over a forest: [1, H, T, D], [1, J, T, D] x 2 -> [1, T, H, D], differentiable."""
    way: Any = _Blocks if uses_matmul(query.dtype, forest) else _Cascade
    return way.apply(query, key, value, forest, scale)


def uses_matmul(dtype: torch.dtype, forest: Forest) -> bool:
    """Tell which way is faster: products, where the CPU multiplies bfloat16 and chains are long.

    In float32 the two are within a tenth of one another; a CPU that emulates bfloat16 does flash's
    conversions in its registers and the products' in memory. Rows of many short answers make more
    blocks than flash makes calls.
    """
    long = len(forest.parent) >= LONG * len(forest.chains)
    return dtype == torch.bfloat16 and long and computes_bfloat16()


@cache
def computes_bfloat16() -> bool:
    """Tell whether this CPU has instructions for bfloat16 products (AVX512-BF16 or AMX)."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


class _Cascade(torch.autograd.Function):
    """Exact forest attention from flash calls; [1, H, T, D], [1, J, T, D] x 2 -> [1, T, H, D]."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, forest: Forest, scale: float
    ) -> Tensor:
        q, k, v = _grouped(query, key, value)
        J, G, T, D = q.shape
        wide = torch.promote_types(q.dtype, torch.float32)
        merged = q.new_empty(T, J, G, D, dtype=wide).permute(1, 2, 0, 3)
        lse = q.new_empty(J, G, T, dtype=wide)
        for at in forest.chains:
            merged[:, :, at], lse[:, :, at] = _flash(
                q[:, :, at], k[:, :, at], v[:, :, at], 0.0, True, scale=scale
            )
        for queries, keys in forest.crosses:
            out, new = _flash(
                q[:, :, queries], k[:, :, keys], v[:, :, keys], 0.0, False, scale=scale
            )
            old = lse[:, :, queries]
            share = torch.sigmoid(new - old)  # e^new / (e^new + e^old), the new part's weight
            merged[:, :, queries].lerp_(out.to(wide), share[..., None])
            torch.logaddexp(old, new, out=old)
        result = merged.to(q.dtype)
        ctx.save_for_backward(query, key, value, result, lse)
        ctx.forest, ctx.scale = forest, scale
        return result.permute(2, 0, 1, 3).reshape(1, T, J * G, D)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, lse = ctx.saved_tensors
        q, k, v = _grouped(query, key, value)
        J, G, T, D = q.shape
        g = grad.view(T, J, G, D).permute(1, 2, 0, 3)
        dq = torch.empty_like(q, dtype=lse.dtype)
        dk, dv = (torch.empty_like(x[0], dtype=lse.dtype) for x in (key, value))

        def part(at: slice, keys: slice, *, causal: bool) -> tuple[Tensor, Tensor, Tensor]:
            short = max(at.stop - at.start, keys.stop - keys.start) < SHORT
            places = ((g, at), (q, at), (k, keys), (v, keys), (out, at))
            inputs = [x[:, :, i].to(lse.dtype if short else x.dtype) for x, i in places]
            x, y, z = _flash_backward(*inputs, lse[:, :, at], 0.0, causal, scale=ctx.scale)
            return x, y.sum(1), z.sum(1)

        for at in ctx.forest.chains:  # these cover the row once: nothing to add to
            dq[:, :, at], dk[:, at], dv[:, at] = part(at, at, causal=True)
        for queries, keys in ctx.forest.crosses:
            x, y, z = part(queries, keys, causal=False)
            dq[:, :, queries] += x
            dk[:, keys] += y
            dv[:, keys] += z
        dq = dq.reshape(1, J * G, T, D)
        return dq.to(q.dtype), dk[None].to(k.dtype), dv[None].to(v.dtype), None, None


def _grouped(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """View [1, H, T, D] and [1, J, T, D] as [J, G, T, D]: stride 0 over G copies no keys."""
    _, H, T, D = query.shape
    J = key.shape[1]
    shape = (J, H // J, T, D)
    return query[0].view(shape), key[0][:, None].expand(shape), value[0][:, None].expand(shape)


class _Blocks(torch.autograd.Function):
    """By matrix products; [1, H, T, D], [1, J, T, D] x 2 -> [1, T, H, D]."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, forest: Forest, scale: float
    ) -> Tensor:
        q, k, v = _by_key_head(query, key), key[0], value[0]
        J, G, T, D = q.shape
        result = q.new_empty(T, J, G, D)
        out = result.permute(1, 2, 0, 3)
        for chain, above in forest.paths:
            keys, values = (_gathered(x, above, chain) for x in (k, v))
            for block, N in _blocks(chain, keys.shape[1]):
                p = _weights(q[:, :, block], keys[:, :N], scale)
                out[:, :, block] = torch.bmm(p, values[:, :N]).view(J, G, -1, D)
        ctx.save_for_backward(query, key, value)
        ctx.forest, ctx.scale = forest, scale
        return result.view(1, T, J * G, D)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        q, k, v = _by_key_head(query, key), key[0], value[0]
        J, G, T, D = q.shape
        g = grad.view(T, J, G, D).permute(1, 2, 0, 3)
        wide = torch.promote_types(q.dtype, torch.float32)
        dq = torch.empty_like(query)
        by_head = _by_key_head(dq, key)
        dk, dv = (torch.zeros_like(x, dtype=wide) for x in (k, v))
        for chain, above in ctx.forest.paths:
            keys, values = (_gathered(x, above, chain) for x in (k, v))
            d_keys, d_values = (torch.zeros_like(x, dtype=wide) for x in (keys, values))
            for block, N in _blocks(chain, keys.shape[1]):
                x, y = (_rows(t[:, :, block]) for t in (q, g))
                p = _weights(q[:, :, block], keys[:, :N], ctx.scale)
                dp = torch.bmm(y, values[:, :N].transpose(1, 2))
                d_values[:, :N] += torch.bmm(p.transpose(1, 2), y)
                ds = torch._softmax_backward_data(dp, p, -1, p.dtype).mul_(ctx.scale)
                by_head[:, :, block] = torch.bmm(ds, keys[:, :N]).view(J, G, -1, D)
                d_keys[:, :N] += torch.bmm(ds.transpose(1, 2), x)
            start = 0
            for at in (*above, chain):
                end = start + at.stop - at.start
                dk[:, at] += d_keys[:, start:end]
                dv[:, at] += d_values[:, start:end]
                start = end
        return dq, dk[None].to(k.dtype), dv[None].to(v.dtype), None, None


def _by_key_head(query: Tensor, key: Tensor) -> Tensor:
    """View [1, H, T, D] as [J, G, T, D]."""
    _, H, T, D = query.shape
    J = key.shape[1]
    return query[0].view(J, H // J, T, D)


def _gathered(x: Tensor, above: tuple[slice, ...], chain: slice) -> Tensor:
    """What a chain's queries see, [J, N, D]: their ancestors before the chain, then the chain."""
    parts = [x[:, at] for at in (*above, chain)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _blocks(chain: slice, num_keys: int) -> Iterator[tuple[slice, int]]:
    """Cut a chain of queries; with each block, how many of the keys its last query sees."""
    for start in range(chain.start, chain.stop, BLOCK):
        end = min(start + BLOCK, chain.stop)
        yield slice(start, end), num_keys - (chain.stop - end)


def _rows(x: Tensor) -> Tensor:
    """[J, G, B, D] -> [J, G * B, D]."""
    return x.reshape(len(x), -1, x.shape[-1])


def _weights(q: Tensor, keys: Tensor, scale: float) -> Tensor:
    """Attention weights [J, G * B, N] of a block's queries [J, G, B, D] over keys [J, N, D]."""
    J, G, B, _ = q.shape
    N = keys.shape[1]
    logits = torch.baddbmm(q.new_empty(1), _rows(q), keys.transpose(1, 2), beta=0, alpha=scale)
    future = torch.ones(B, B, dtype=torch.bool).triu_(1)
    logits.view(J, G, B, N)[..., N - B :].masked_fill_(future, float("-inf"))
    return torch.softmax(logits, -1)
