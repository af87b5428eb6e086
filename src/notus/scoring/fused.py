"""A loss of sequence log-probs fused into the LM head: its gradient is made in the forward pass.

A loss that looks at one unit of sequences at a time (a pair, a vote) needs the logits of that unit
alone. While they are there, its log-probs, its loss and the loss's gradient are worked out, and two
matrix products turn that into the gradients of the hidden states and of the head. The logits are
computed once and never kept: three products with the head's weight instead of the four of a head
that recomputes (logps.py), and no logits beyond LOGITS_AT_ONCE.

For a row of logits x with softmax p and g the loss's gradient of log p(token):

    d hidden = g (W[token] - p W)        d W = g (onehot(token) - p)^T hidden

so p is used as the softmax left it, and the one-hot parts are a few rows.

Legend: T tokens in the row, S sequences, U positions that predict any scored token, V vocabulary,
D hidden size, K scored tokens, N units of S / N sequences each.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from notus.scoring.forest import Forest
from notus.scoring.logps import (
    LOGITS_PER_CHUNK,
    as_autocast,
    linear_head,
    predicting_states,
    sequence_logps,
    unrounded,
)

LOGITS_AT_ONCE = 2 * LOGITS_PER_CHUNK
"""A unit with more logits is computed in parts, twice: first its log-probs, then its gradient."""
TINY = (
    1e-30  # a probability below it is taken from the logits: as a float32 it may have underflowed
)

UnitLoss = Callable[[Tensor, Tensor], Tensor]
"""(log-probs [n * S / N] of n units' sequences, indices [n] of the units) -> loss, a scalar."""


class _Part(NamedTuple):
    """Some of the U positions, and the scored tokens that they predict."""

    rows: slice
    at: Tensor
    """[k] which of `rows` predicts the token."""
    token: Tensor
    """[k] token ids."""
    sequence: Tensor
    """[k] the sequence that the token counts for."""


class _Segment(NamedTuple):
    """Positions that together hold all scored tokens of some units, in parts that fit."""

    units: Tensor
    """[n] indices of the units, ascending."""
    parts: list[_Part]


def fused_loss(
    model: nn.Module, forest: Forest, loss_of: UnitLoss, *, unit_size: int = 1
) -> Tensor:
    """Return the sum of `loss_of` over a forest's units, differentiable, never with full logits.

    The model must be inside `use_tree_attention`. Heads that are more than one matrix product take
    the general way: log-probs of the whole row, one call of `loss_of`.

    Args:
        model: A transformers causal language model, also inside of PEFT's or DDP's wrapper.
        forest: The packed row, on the model's device.
        loss_of: Called on whole units, each once, in any grouping; its value must be a sum over
            units of something that depends on the unit's own log-probs alone.
        unit_size: Sequences of a unit: unit u has u * unit_size and those behind it.
    """
    num_units = forest.num_sequences // unit_size
    if linear_head(model) is None:
        everything = torch.arange(num_units)
        return loss_of(sequence_logps(model, forest), everything)
    # The head's weight is read after the forward: that is when a sharded model has it whole.
    head, hidden = predicting_states(model, forest)
    args = (hidden, as_autocast(head.weight), forest, loss_of, unit_size)
    return cast(Tensor, _FusedHead.apply(*args))  # type: ignore[no-untyped-call]


class _FusedHead(torch.autograd.Function):
    """The loss of hidden states [U, D] under weight [V, D], with both gradients."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, forest: Forest, loss_of: UnitLoss, unit_size: int
    ) -> Tensor:
        with_grad = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        wide = torch.promote_types(hidden.dtype, torch.float32)
        d_hidden = torch.zeros_like(hidden) if with_grad else None
        d_weight = torch.zeros_like(weight, dtype=wide) if ctx.needs_input_grad[1] else None
        loss = hidden.new_zeros((), dtype=wide)
        for segment in _segments(forest, unit_size, len(weight)):
            loss += _segment(segment, hidden, weight, loss_of, unit_size, d_hidden, d_weight)
        ctx.save_for_backward(d_hidden, d_weight)
        ctx.types = hidden.dtype, weight.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradients = zip(ctx.saved_tensors, ctx.types, strict=True)
        d_hidden, d_weight = (
            None if d is None else d.mul_(grad.to(d.dtype)).to(kind) for d, kind in gradients
        )
        return d_hidden, d_weight, None, None, None


def _segment(
    segment: _Segment,
    hidden: Tensor,
    weight: Tensor,
    loss_of: UnitLoss,
    unit_size: int,
    d_hidden: Tensor | None,
    d_weight: Tensor | None,
) -> Tensor:
    """Return a segment's loss; add its gradients to `d_hidden` and `d_weight`, where given."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    logps = hidden.new_zeros(len(segment.units) * unit_size, dtype=wide)
    kept: list[tuple[Tensor, Tensor]] = []
    for part in segment.parts:
        p, sums, values = _scored(hidden[part.rows], weight, part)
        logps.index_add_(0, _local(part, segment, unit_size), values)
        if len(segment.parts) == 1:
            kept.append((p, sums))
    if d_hidden is None:
        return loss_of(logps, segment.units).detach()
    with torch.enable_grad():
        logps.requires_grad_()
        loss = loss_of(logps, segment.units)
        (by_sequence,) = torch.autograd.grad(loss, logps)
    for part in segment.parts:
        x = hidden[part.rows]
        p, sums = kept.pop() if kept else _scored(x, weight, part)[:2]
        g = by_sequence[_local(part, segment, unit_size)]
        total = g.new_zeros(len(x)).index_add_(0, part.at, g) / sums
        p = p.to(weight.dtype)
        through = torch.mm(p, weight).to(wide).mul_(-total[:, None])
        through.index_add_(0, part.at, g[:, None] * weight[part.token])
        d_hidden[part.rows] = through.to(d_hidden.dtype)
        if d_weight is not None:
            scaled = (x * -total[:, None]).to(x.dtype)
            if d_weight.dtype == p.dtype:
                d_weight.addmm_(p.t(), scaled)
            else:
                d_weight += p.t() @ scaled
            d_weight.index_add_(0, part.token, g[:, None] * x[part.at])
    return loss.detach()


def _scored(hidden: Tensor, weight: Tensor, part: _Part) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities [rows, V], their sums [rows], and log-probs [k] of the scored tokens, all wide.

    The sums should be 1. On the CPU torch's softmax has approximate exponentials: on real logits
    they are off by up to 2e-5, which is 2 to 4 thousandths of a nat over an answer. So whoever
    takes probabilities divides by their sum.
    """
    logits = hidden @ weight.t()
    wide = torch.promote_types(logits.dtype, torch.float32)
    rounded = logits[part.at, part.token].to(wide)
    p = torch.softmax(logits, -1, dtype=wide)
    scored = p[part.at, part.token]
    sums = p.sum(-1)
    logps = (scored / sums[part.at]).log()
    if bool((low := scored < TINY).any()):
        again = (hidden[part.at[low]] @ weight.t()).to(wide)
        logps[low] = rounded[low] - torch.logsumexp(again, -1)
    return p, sums, unrounded(logps, rounded, hidden, weight, part.at, part.token)


def _local(part: _Part, segment: _Segment, unit_size: int) -> Tensor:
    """Place of each scored token's sequence among the sequences of the segment's units."""
    unit = torch.searchsorted(segment.units, part.sequence // unit_size)
    return unit * unit_size + part.sequence % unit_size


def _segments(forest: Forest, unit_size: int, num_tokens: int) -> Iterator[_Segment]:
    """Cut the U positions where no unit has scored tokens on both sides.

    Neighbours are joined up to LOGITS_PER_CHUNK logits: a matrix product of few rows is slow. Units
    without any scored token come along with the first segment.
    """
    unit = (forest.scored_sequence // unit_size).cpu().numpy()
    head = forest.scored_head.cpu().numpy()
    num_units, num_heads = forest.num_sequences // unit_size, len(forest.head_position)
    reaches = np.zeros(
        max(1, num_heads), dtype=np.int64
    )  # from each position: how far its units go
    last = np.zeros(num_units, dtype=np.int64)
    np.maximum.at(last, unit, head)
    np.maximum.at(reaches, head, last[unit])
    ends = np.flatnonzero(np.maximum.accumulate(reaches) == np.arange(len(reaches))) + 1
    joined = max(1, LOGITS_PER_CHUNK // num_tokens)
    unseen = np.setdiff1d(np.arange(num_units), unit)
    start = 0
    for i, end in enumerate(ends.tolist()):
        following = ends[i + 1] if i + 1 < len(ends) else None
        if following is not None and following - start <= joined:
            continue
        pairs = slice(forest.head_offsets[start], forest.head_offsets[min(end, num_heads)])
        units = np.union1d(unit[pairs], unseen)
        unseen = unseen[:0]
        yield _Segment(
            torch.from_numpy(units).to(forest.scored_head.device),
            list(_parts(forest, start, min(end, num_heads), num_tokens)),
        )
        start = end


def _parts(forest: Forest, start: int, end: int, num_tokens: int) -> Iterator[_Part]:
    """One part where its logits may all be alive at once, else parts of LOGITS_PER_CHUNK."""
    fits = (end - start) * num_tokens <= LOGITS_AT_ONCE
    size = max(1, end - start if fits else LOGITS_PER_CHUNK // num_tokens)
    for low in range(start, max(end, start + 1), size):
        high = min(low + size, end)
        pairs = slice(forest.head_offsets[low], forest.head_offsets[high])
        yield _Part(
            slice(low, high),
            forest.scored_head[pairs] - low,
            forest.scored_token[pairs],
            forest.scored_sequence[pairs],
        )
