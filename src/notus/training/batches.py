"""Preferences as token trees, and batches of them by token budget.

A pair is one tree: the prompt once, its two completions as branches. An optimiser step's pairs are
packed into forests of at most `max_tokens` tokens; the loss is weighted by pairs, so how they were
packed changes no number.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.utils.data import Sampler

from notus.chat_template import Encoder, encode_pairs
from notus.data.schema import DROPPED, Feedback
from notus.scoring.forest import Forest, pack
from notus.scoring.tree import TokenTree


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One preference as tokens, with its reference log-probs."""

    preference_id: str
    prompt_id: str
    prompt_ids: list[int]
    """Prompt tokens, shared by both completions."""
    chosen_ids: list[int]
    rejected_ids: list[int]
    reference_chosen: float = float("nan")
    """Summed log-prob of the chosen completion under the reference, in nats; NaN: not yet known."""
    reference_rejected: float = float("nan")
    prompt_cut: int = 0
    """Tokens that the prompt lost to max_prompt_length."""
    chosen_cut: int = 0
    """Tokens that the chosen completion lost to max_length."""
    rejected_cut: int = 0

    @property
    def num_tokens(self) -> int:
        """Tokens of the tree, before completions share any."""
        return len(self.prompt_ids) + len(self.chosen_ids) + len(self.rejected_ids)

    @property
    def tree(self) -> TokenTree:
        """The pair as a tree that scores its completions: sequence 0 chosen, 1 rejected."""
        return TokenTree.from_sequences(
            [[*self.prompt_ids, *self.chosen_ids], [*self.prompt_ids, *self.rejected_ids]],
            [len(self.prompt_ids)] * 2,
        )

    def with_reference(self, chosen: float, rejected: float) -> "Pair":
        """The same pair with its reference log-probs."""
        return replace(self, reference_chosen=chosen, reference_rejected=rejected)


@dataclass(frozen=True, kw_only=True)
class EncodedPreferences:
    """What became of a preferences table."""

    pairs: list[Pair]
    dropped: pl.DataFrame
    """Preferences that cannot be trained on, with the reason."""
    num_prompts_cut: int
    """Pairs whose prompt lost tokens to max_prompt_length."""
    num_completions_cut: int
    """Completions that lost tokens to max_length."""


@dataclass(frozen=True, kw_only=True)
class PairBatch:
    """The pairs of one optimiser step, packed."""

    forests: list[Forest]
    pair_indices: list[list[int]]
    """For each forest the indices (in the batch) of its pairs, in the order of its sequences."""
    num_tokens: int
    """Tokens that the model will see."""


def encode_preferences(
    preferences: pl.DataFrame, feedback: Feedback, encode: Encoder
) -> EncodedPreferences:
    """Tokenise preferences; drop those whose completions become the same tokens.

    Args:
        preferences: A preferences table.
        feedback: The tables that its ids point into.
        encode: Encoder with the run's lengths.
    """
    pairs, dropped, prompts_cut, completions_cut = [], [], 0, 0
    for pair in encode_pairs(preferences, feedback, encode):
        chosen, rejected = pair.chosen, pair.rejected
        prompts_cut += chosen.prompt_cut > 0
        completions_cut += (chosen.completion_cut > 0) + (rejected.completion_cut > 0)
        if chosen.completion_ids == rejected.completion_ids:
            reason = "equal tokens after template and truncation"
            dropped.append((pair.prompt_id, pair.strategy, reason))
            continue
        pairs.append(
            Pair(
                preference_id=pair.preference_id,
                prompt_id=pair.prompt_id,
                prompt_ids=chosen.prompt_ids,
                chosen_ids=chosen.completion_ids,
                rejected_ids=rejected.completion_ids,
                prompt_cut=chosen.prompt_cut,
                chosen_cut=chosen.completion_cut,
                rejected_cut=rejected.completion_cut,
            )
        )
    return EncodedPreferences(
        pairs=pairs,
        dropped=pl.DataFrame(dropped, schema=DROPPED.schema, orient="row"),
        num_prompts_cut=prompts_cut,
        num_completions_cut=completions_cut,
    )


def split_by_prompt(
    prompt_ids: Sequence[str], *, holdout: float, seed: int
) -> tuple[frozenset[str], frozenset[str]]:
    """Split prompts into (training, held out), keyed by content.

    A prompt's side depends on its id and the seed alone, so it stays when other prompts come or go
    as far as the share allows; no prompt is ever on both sides.
    """
    unique = sorted(set(prompt_ids), key=lambda p: hashlib.sha256(f"{seed}|{p}".encode()).digest())
    count = round(holdout * len(unique))
    return frozenset(unique[count:]), frozenset(unique[:count])


def draw_pairs(pairs: Sequence[Pair], count: int | None, *, seed: int) -> list[Pair]:
    """Draw `count` pairs (None: all), keyed by content; they keep their order."""
    keys = [hashlib.sha256(f"{seed}|{pair.preference_id}".encode()).digest() for pair in pairs]
    drawn = set(sorted(keys)[:count])
    return [pair for pair, key in zip(pairs, keys, strict=True) if key in drawn]


class PairCollator:
    """Packs pairs into a batch; a collate function for a DataLoader."""

    def __init__(self, *, max_tokens: int) -> None:
        self.max_tokens = max_tokens

    def __call__(self, pairs: Sequence[Pair]) -> dict[str, Any]:
        """Pack pairs into forests of at most `max_tokens`, and stack their references."""
        forests = pack([pair.tree for pair in pairs], self.max_tokens)
        batch = PairBatch(
            forests=forests,
            # Two sequences a pair, counted through in the order of the pairs.
            pair_indices=[(forest.sequence_index[0::2] // 2).tolist() for forest in forests],
            num_tokens=sum(forest.input_ids.numel() for forest in forests),
        )
        return {
            "batch": batch,
            "reference_chosen": _vector(pair.reference_chosen for pair in pairs),
            "reference_rejected": _vector(pair.reference_rejected for pair in pairs),
        }


class LongestFirstSampler(Sampler[int]):
    """A seeded order of the pairs; the first epoch begins with the longest.

    A batch that does not fit in memory then fails at the first step, not in the third hour.
    """

    def __init__(self, lengths: Sequence[int], *, seed: int) -> None:
        self.lengths = lengths
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the training loop: every epoch has its own order."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.lengths))
        if self.epoch == 0 and len(order):
            longest = int(np.argmax(self.lengths))
            at = int(np.flatnonzero(order == longest)[0])
            order[[0, at]] = order[[at, 0]]
        return iter(order.tolist())


def _vector(values: Any) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float64)
