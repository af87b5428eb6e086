"""Log-probabilities of a forest's scored tokens: one pass through the model, no full logits.

The head runs only at positions that predict a scored token, one chunk of positions at a time, and
the backward recomputes a chunk's logits instead of keeping them. A plain linear head has a
hand-written backward that works in place: for 700 positions of SmolLM2's head (576 x 49,152,
float32, 2 cores) it takes 15 % less CPU time than torch.utils.checkpoint, 18 % less where the head
is frozen. Heads of any other kind take that general way.

Legend: T tokens in the row, S sequences, K scored tokens, U positions that predict any, V
vocabulary, D hidden size.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from notus.scoring.forest import Forest

LOGITS_PER_CHUNK = 2**25
"""Logits alive at once: 128 MiB in float32, 682 positions of SmolLM2."""

_Logits = Callable[[Tensor], Tensor]


class TokenScores(NamedTuple):
    """What the model says about each scored token, in the order of `Forest.scored_token`."""

    logps: Tensor
    """[K] log-probability given all tokens before."""
    is_greedy: Tensor
    """[K] whether it is the model's most likely token there."""


def token_logps(model: nn.Module, forest: Forest) -> Tensor:
    """Return the log-probability of each scored token, [K], differentiable.

    The model must be inside `use_tree_attention`. It is called once and through its own forward,
    so that PEFT, autocast and gradient checkpointing do what they do in any other call. Sums over
    the vocabulary are in float32, or float64 where the logits are.

    Args:
        model: A transformers causal language model, also inside of PEFT's or DDP's wrapper.
        forest: The packed row, on the model's device.
    """
    head, hidden = predicting_states(model, forest)
    weight = linear_head(model)
    if weight is not None:
        return cast(Tensor, _LinearHead.apply(hidden, as_autocast(weight), forest))  # type: ignore[no-untyped-call]
    logits = _head_logits(head, _softcap(model))
    parts = [
        checkpoint(_logps, logits, hidden[rows], *targets, use_reentrant=False)
        for rows, _, *targets in _chunks(forest, head.out_features)
    ]
    return torch.cat(parts)


def sequence_logps(model: nn.Module, forest: Forest) -> Tensor:
    """Return the sum of each sequence's scored log-probabilities, [S], differentiable.

    Sequences are in the order of `forest.sequence_index`; one without scored tokens has 0.
    """
    logps = token_logps(model, forest)
    return logps.new_zeros(forest.num_sequences).index_add(0, forest.scored_sequence, logps)


@torch.no_grad()
def token_scores(model: nn.Module, forest: Forest) -> TokenScores:
    """Return `token_logps` without gradient, and whether each token is the argmax."""
    head, hidden = predicting_states(model, forest)
    logits = _head_logits(head, _softcap(model))
    weight = linear_head(model)
    logps, is_greedy = [], []
    for rows, _, at, token in _chunks(forest, head.out_features):
        chunk = logits(hidden[rows])
        rounded = chunk[at, token]
        values = rounded - torch.logsumexp(chunk, -1)[at]
        if weight is not None:
            values = unrounded(values, rounded, hidden[rows], as_autocast(weight), at, token)
        logps.append(values)
        is_greedy.append(chunk.argmax(-1)[at] == token)
    return TokenScores(torch.cat(logps), torch.cat(is_greedy))


def linear_head(model: nn.Module) -> Tensor | None:
    """Return the weight [V, D] of a head that is one matrix product and nothing else, or None."""
    head = _unwrapped(model).get_output_embeddings()
    plain = type(head) is nn.Linear and head.bias is None and _softcap(model) is None
    return cast(Tensor, head.weight) if plain else None


def predicting_states(model: nn.Module, forest: Forest) -> tuple[Any, Tensor]:
    """Run the model without its head; returns the head and the [U, D] states it would get.

    The head is given no rows, and what it would have been given is taken from its input: final
    norms and scalings before the head are thus the model's own.
    """
    head = _unwrapped(model).get_output_embeddings()
    states: list[Tensor] = []

    def divert(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        states.append(inputs[0])
        return (inputs[0][:, :0],)

    hook = head.register_forward_pre_hook(divert)
    try:
        model(
            input_ids=forest.input_ids,
            position_ids=forest.position_ids,
            use_cache=False,
            forest=forest,
        )
    finally:
        hook.remove()
    return head, as_autocast(states[0][0].index_select(0, forest.head_position))


def _unwrapped(model: Any) -> Any:
    """PEFT's wrapper hands attributes through; DDP's does not."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def _softcap(model: nn.Module) -> float | None:
    """Gemma 2 squeezes logits x to cap * tanh(x / cap)."""
    config = _unwrapped(model).config.get_text_config()
    return cast(float | None, getattr(config, "final_logit_softcapping", None))


def _head_logits(head: nn.Module, cap: float | None) -> _Logits:
    def logits(hidden: Tensor) -> Tensor:
        x = _widened(head(hidden))
        return x if cap is None else cap * torch.tanh(x / cap)

    return logits


def _logps(logits: _Logits, hidden: Tensor, at: Tensor, token: Tensor) -> Tensor:
    chunk = logits(hidden)
    return chunk[at, token] - torch.logsumexp(chunk, -1)[at]


class _Chunk(NamedTuple):
    """Some of the U positions and the scored tokens they predict."""

    rows: slice
    pairs: slice
    at: Tensor
    """[pairs] which of `rows` predicts the token."""
    token: Tensor
    """[pairs] token ids."""


def _chunks(forest: Forest, num_tokens: int) -> Iterator[_Chunk]:
    """Cut the U positions so that a chunk has at most LOGITS_PER_CHUNK logits; at least one."""
    size, num_heads = max(1, LOGITS_PER_CHUNK // num_tokens), len(forest.head_position)
    for start in range(0, max(1, num_heads), size):
        end = min(start + size, num_heads)
        pairs = slice(forest.head_offsets[start], forest.head_offsets[end])
        at = forest.scored_head[pairs] - start
        yield _Chunk(slice(start, end), pairs, at, forest.scored_token[pairs])


class _LinearHead(torch.autograd.Function):
    """Token log-probs [K] of hidden [U, D] under weight [V, D], logits recomputed backward."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, forest: Forest) -> Tensor:
        logps, lse = [], []
        for rows, _, at, token in _chunks(forest, len(weight)):
            logits = _widened(hidden[rows] @ weight.t())
            lse.append(torch.logsumexp(logits, -1))
            rounded = logits[at, token]
            values = rounded - lse[-1][at]
            logps.append(unrounded(values, rounded, hidden[rows], weight, at, token))
        ctx.save_for_backward(hidden, weight, torch.cat(lse))
        ctx.forest = forest
        return torch.cat(logps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """For g the gradient of log p(token): d logits = g (onehot(token) - softmax(logits))."""
        hidden, weight, lse = ctx.saved_tensors
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        for rows, pairs, at, token in _chunks(ctx.forest, len(weight)):
            g = grad[pairs]
            d_logits = _widened(hidden[rows] @ weight.t())
            total = lse.new_zeros(len(d_logits)).index_add_(0, at, g)
            d_logits.sub_(lse[rows, None]).exp_().mul_(-total[:, None])
            d_logits.index_put_((at, token), g, accumulate=True)
            d_logits = d_logits.to(weight.dtype)
            torch.mm(d_logits, weight, out=d_hidden[rows])
            if d_weight is not None:
                d_weight.addmm_(d_logits.t(), hidden[rows], beta=int(rows.start > 0))
        return d_hidden, d_weight, None


def unrounded(
    logps: Tensor, rounded: Tensor, hidden: Tensor, weight: Tensor, at: Tensor, token: Tensor
) -> Tensor:
    """Put the scored tokens' logits, in float32, in the place of their rounded ones.

    bfloat16 rounds a logit of 16 to 32 by up to a sixteenth. Over the hundreds of tokens of an
    answer that is most of what separates two passes over it (docs/LOG.md has the figures).

    Args:
        logps: [k] log-probs of tokens, from rounded logits.
        rounded: [k] those logits.
        hidden: [n, D] what the head was given.
        weight: [V, D] of the head.
        at: [k] which of the n predicts the token.
        token: [k] token ids.
    """
    if hidden.dtype == logps.dtype:
        return logps
    exact = (hidden[at].to(logps.dtype) * weight[token].to(logps.dtype)).sum(-1)
    off = exact - rounded
    return logps + off - torch.log1p(logps.exp() * torch.expm1(off))


def _widened(logits: Tensor) -> Tensor:
    """float16 and bfloat16 to float32; wider types as they are."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def head_logits(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the function from the states [U, D] of `predicting_states` to logits [U, V]."""
    return _head_logits(_unwrapped(model).get_output_embeddings(), _softcap(model))


def as_autocast(tensor: Tensor) -> Tensor:
    """Cast as autocast casts operands, for hand-written gradients that it does not reach."""
    kind = tensor.device.type
    enabled = torch.is_autocast_enabled(kind)
    return tensor.to(torch.get_autocast_dtype(kind)) if enabled else tensor
