"""Score token trees with a model: by the tree layout, or by the slow and obvious padded one.

The padded layout repeats every prefix, pads to the longest sequence and keeps full logits. It looks
at `TokenTree.sequences` only and shares no code with the tree layout, which is tested against it;
it also scores the models that trees cannot (`UnsupportedModelError`).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from notus.errors import UsageError, explain_unknown
from notus.scoring.attention import evaluation_mode, use_tree_attention
from notus.scoring.forest import pack
from notus.scoring.logps import token_scores
from notus.scoring.tree import IntArray, TokenTree

Progress = Callable[[int, int], None]


class SequenceScores(NamedTuple):
    """Scores of S sequences, counted through the trees in the caller's order; on the CPU."""

    logps: Tensor
    """[S] float64 sum of the scored tokens' log-probabilities, in nats."""
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
        raise UsageError(explain_unknown("layout", layout, LAYOUTS, where="score"))
    with torch.no_grad(), evaluation_mode(model):
        return LAYOUTS[layout](model, trees, max_tokens, progress or (lambda done, total: None))


def _tree_layout(
    model: nn.Module, trees: Sequence[TokenTree], max_tokens: int, progress: Progress
) -> SequenceScores:
    num_tokens = [n for tree in trees for n in tree.num_scored.tolist()]
    logps = torch.zeros(len(num_tokens), dtype=torch.float64)
    is_greedy = torch.ones(len(num_tokens), dtype=torch.bool)
    done = 0
    with use_tree_attention(model):
        for forest in pack(trees, max_tokens):
            scores = token_scores(model, forest.to(next(model.parameters()).device))
            index = torch.from_numpy(forest.sequence_index)[forest.scored_sequence]
            logps.index_add_(0, index, scores.logps.cpu().double())
            is_greedy[index[~scores.is_greedy.cpu()]] = False
            progress(done := done + forest.num_sequences, len(logps))
    return SequenceScores(logps, torch.tensor(num_tokens, dtype=torch.int64), is_greedy)


def _padded_layout(
    model: nn.Module, trees: Sequence[TokenTree], max_tokens: int, progress: Progress
) -> SequenceScores:
    sequences = [sequence for tree in trees for sequence in tree.sequences]
    starts = [int(start) for tree in trees for start in tree.score_from]
    logps = torch.zeros(len(sequences), dtype=torch.float64)
    num_tokens = torch.zeros(len(sequences), dtype=torch.int64)
    is_greedy = torch.ones(len(sequences), dtype=torch.bool)
    batches: list[list[int]] = []
    for s in sorted(range(len(sequences)), key=lambda s: len(sequences[s])):
        if not batches or (len(batches[-1]) + 1) * len(sequences[s]) > max_tokens:
            batches.append([])
        batches[-1].append(s)
    done = 0
    for batch in batches:
        values, greedy = padded_token_logps(model, [sequences[s] for s in batch])
        for row, s in enumerate(batch):
            scored = slice(starts[s] - 1, len(sequences[s]) - 1)
            logps[s] = values[row, scored].double().sum()
            num_tokens[s] = values[row, scored].numel()
            is_greedy[s] = greedy[row, scored].all()
        progress(done := done + len(batch), len(sequences))
    return SequenceScores(logps, num_tokens, is_greedy)


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
    # Not log_softmax: on the CPU its exponentials are approximate (docs/LOG.md).
    logps = logits.gather(-1, ids[:, 1:, None])[..., 0] - logits.logsumexp(-1)
    return logps, logits.argmax(-1) == ids[:, 1:]


LAYOUTS: dict[str, Callable[[nn.Module, Sequence[TokenTree], int, Progress], SequenceScores]] = {
    "tree": _tree_layout,
    "padded": _padded_layout,
}
