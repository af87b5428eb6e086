"""How far a policy is from its reference along known texts: divergence summed over their tokens.

At every position that predicts a scored token the whole distribution over the vocabulary counts,
not the token that stands there. Logits of both models exist for a few positions at a time.

Legend: S sequences, K scored tokens, U positions that predict any, V vocabulary.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from notus.scoring.attention import evaluation_mode, use_tree_attention
from notus.scoring.forest import Forest, pack
from notus.scoring.logps import LOGITS_PER_CHUNK, head_logits, predicting_states
from notus.scoring.tree import TokenTree


def sequential_kl(
    policy: nn.Module,
    reference: nn.Module | None,
    trees: Sequence[TokenTree],
    *,
    max_tokens: int = 8192,
) -> Tensor:
    """Sum KL(reference || policy) over each sequence's scored tokens, without gradient and dropout.

    D_SeqKL(x, y; ref || policy) = sum over t of KL(ref(. | x, y_<t) || policy(. | x, y_<t)).

    Args:
        policy: A transformers causal language model, or a PeftModel of one.
        reference: The same of the reference; None: the policy with its adapters switched off.
        trees: What to go along; sequences are counted through them in this order.
        max_tokens: Most tokens in a row of packed trees.

    Returns:
        [S] float64 in nats, on the CPU.

    Source: Zeng et al. 2024 (TDPO, arXiv 2404.11999), the sequential KL divergence of section 4.
    """
    total = torch.zeros(sum(tree.num_sequences for tree in trees), dtype=torch.float64)
    device = next(policy.parameters()).device
    with torch.no_grad():
        for forest in pack(trees, max_tokens):
            kl_U = _kl_of_positions(policy, reference, forest.to(device))
            index = torch.from_numpy(forest.sequence_index)[forest.scored_sequence]
            total.index_add_(0, index, kl_U[forest.scored_head])
    return total


def _kl_of_positions(policy: Any, reference: nn.Module | None, forest: Forest) -> Tensor:
    """KL(reference || policy) at each of the U positions, [U] float64 on the CPU."""
    other: nn.Module = policy if reference is None else reference
    switched = nullcontext if reference is not None else policy.disable_adapter
    here = _states(policy, forest)
    with switched():
        there = _states(other, forest)
    found = torch.zeros(len(here), dtype=torch.float64)
    size = max(1, LOGITS_PER_CHUNK // (2 * policy.config.get_text_config().vocab_size))
    for start in range(0, len(here), size):
        rows = slice(start, start + size)
        q = _log_probabilities(head_logits(policy)(here[rows]))
        with switched():  # the head may have an adapter, too
            p = _log_probabilities(head_logits(other)(there[rows]))
        found[rows] = (p.exp() * (p - q)).sum(-1).double().cpu()
    return found


def _log_probabilities(logits: Tensor) -> Tensor:
    # Not log_softmax: on the CPU its exponentials are approximate (docs/LOG.md).
    return logits - logits.logsumexp(-1, keepdim=True)


def _states(model: nn.Module, forest: Forest) -> Tensor:
    """[U, D] states that predict the scored tokens."""
    with evaluation_mode(model), use_tree_attention(model):
        return predicting_states(model, forest)[1]
