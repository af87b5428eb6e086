"""Score token trees with a model: by the tree layout, or by the slow and obvious padded one.

The padded layout repeats every prefix, pads to the longest sequence and keeps full logits. It looks
at `TokenTree.sequences` only and shares no code with the tree layout, which is tested against it;
it also scores the models that trees cannot (`UnsupportedModelError`).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from notus.errors import UsageError, explain
from notus.scoring.attention import evaluation_mode, use_tree_attention
from notus.scoring.forest import pack
from notus.scoring.logps import token_scores
from notus.scoring.tree import IntArray, TokenTree

Progress = Callable[[int, int], None]


class SequenceScores(NamedTuple):
    """Scores of S sequences, counted through the trees in the caller's order; on the CPU."""

    logps: Tensor
    """[S] sum of the scored tokens' log-probabilities; float32, or float64 for such a model."""
    num_tokens: Tensor
    """[S] scored tokens; 0 has log-prob 0."""
    is_greedy: Tensor
    """[S] whether every scored token is the model's most likely one there."""


def score(
    model: nn.Module,
    trees: Sequence[TokenTree],
    *,
    max_tokens: int = 8192,
    layout: str = "tree",
    progress: Progress | None = None,
) -> SequenceScores:
    """Score every sequence of `trees`, without gradient and without dropout.

    Args:
        model: A transformers causal language model, or a PeftModel of one.
        trees: The trees; neither their order nor their grouping changes a score.
        max_tokens: Most tokens in a row (tree) or batch with padding (padded); what is larger
            goes alone.
        layout: "tree" or "padded".
        progress: Called with (sequences done, S) after each row or batch.

    Raises:
        UnsupportedModelError: layout "tree" cannot score this model exactly.
    """
    if layout not in LAYOUTS:
        raise UsageError(
            explain(
                found=f"layout {layout!r}",
                expected=f"one of {', '.join(LAYOUTS)}",
                where="score",
                remedy="correct the name",
            )
        )
    with torch.inference_mode(), evaluation_mode(model):
        return LAYOUTS[layout](model, trees, max_tokens, progress or (lambda done, total: None))


def _tree_layout(
    model: nn.Module, trees: Sequence[TokenTree], max_tokens: int, progress: Progress
) -> SequenceScores:
    num_tokens = torch.from_numpy(np.concatenate([tree.num_scored for tree in trees]))
    logps = torch.zeros(len(num_tokens))
    is_greedy = torch.ones(len(num_tokens), dtype=torch.bool)
    done = 0
    with use_tree_attention(model):
        for forest in pack(trees, max_tokens):
            scores = token_scores(model, forest.to(next(model.parameters()).device))
            values, greedy = scores.logps.cpu(), scores.is_greedy.cpu()
            logps = logps.to(values.dtype)
            index = torch.from_numpy(forest.sequence_index)[forest.scored_sequence]
            logps.index_add_(0, index, values)
            is_greedy[index[~greedy]] = False
            progress(done := done + forest.num_sequences, len(logps))
    return SequenceScores(logps, num_tokens, is_greedy)


def _padded_layout(
    model: nn.Module, trees: Sequence[TokenTree], max_tokens: int, progress: Progress
) -> SequenceScores:
    sequences = [sequence for tree in trees for sequence in tree.sequences]
    starts = [int(start) for tree in trees for start in tree.score_from]
    order = sorted(range(len(sequences)), key=lambda s: len(sequences[s]))
    found: dict[int, tuple[Tensor, int, bool]] = {}
    batch: list[int] = []
    for place, s in enumerate(order):
        batch.append(s)
        longest = len(sequences[order[place + 1]]) if place + 1 < len(order) else max_tokens
        if (len(batch) + 1) * longest > max_tokens or place + 1 == len(order):
            logps, is_greedy = padded_token_logps(model, [sequences[s] for s in batch])
            for row, b in enumerate(batch):
                scored = slice(starts[b] - 1, len(sequences[b]) - 1)
                values = logps[row, scored].cpu()
                found[b] = values.sum(), len(values), bool(is_greedy[row, scored].all())
            progress(len(found), len(order))
            batch = []
    scores = [found[s] for s in range(len(order))]
    return SequenceScores(
        torch.stack([logp for logp, _, _ in scores]),
        torch.tensor([num_tokens for _, num_tokens, _ in scores]),
        torch.tensor([greedy for _, _, greedy in scores]),
    )


def padded_token_logps(model: nn.Module, sequences: Sequence[IntArray]) -> tuple[Tensor, Tensor]:
    """Run sequences as a right-padded batch through the plain model, differentiable.

    Returns:
        [B, L - 1] log-probability of each token but the first, and whether each is the argmax;
        values at padding mean nothing.
    """
    device = next(model.parameters()).device
    rows = [torch.from_numpy(sequence) for sequence in sequences]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
    ones = [torch.ones_like(row) for row in rows]
    real = nn.utils.rnn.pad_sequence(ones, batch_first=True).to(device)
    logits = cast(Tensor, model(input_ids=ids, attention_mask=real, use_cache=False).logits)[:, :-1]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    logps = torch.log_softmax(logits, -1).gather(-1, ids[:, 1:, None])[..., 0]
    return logps, logits.argmax(-1) == ids[:, 1:]


LAYOUTS: dict[str, Callable[[nn.Module, Sequence[TokenTree], int, Progress], SequenceScores]] = {
    "tree": _tree_layout,
    "padded": _padded_layout,
}
