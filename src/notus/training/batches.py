"""Preferences as token trees, and batches of them by token budget.

A pair is one tree: the prompt once, its two completions as branches. An optimiser step's examples
are packed into forests of at most `max_tokens` tokens; the loss is weighted by example, so how they
were packed changes no number.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor
from torch.utils.data import Sampler

from notus.chat_template import Encoder, encode_pairs
from notus.data.schema import DROPPED, Feedback
from notus.scoring.tree import TokenTree
from notus.training.examples import Example, Pair
from notus.training.shares import Share, take_share


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
class Batch:
    """The examples of one optimiser step, packed."""

    examples: Sequence[Example]
    share: Share
    """This process's share of the examples."""
    mismatched: Share
    """Its share of the examples' mismatched completions, one sequence each."""
    targets: Tensor
    """[P, n] float64: the constants of each example's loss."""
    weights: Tensor
    """[P] float64: each example's weight."""

    @property
    def num_tokens(self) -> int:
        """Tokens that this process's model will see."""
        return self.share.num_tokens + self.mismatched.num_tokens


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
                source=pair.source,
                strategy=pair.strategy,
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
    drawn = draw_ids([pair.preference_id for pair in pairs], count, seed=seed)
    return [pair for pair in pairs if pair.preference_id in drawn]


def draw_ids(ids: Sequence[str], count: int | None, *, seed: int) -> frozenset[str]:
    """Draw `count` of the ids (None: all); a larger draw holds the smaller one."""
    ranked = sorted(ids, key=lambda name: hashlib.sha256(f"{seed}|{name}".encode()).digest())
    return frozenset(ranked[:count])


class Collator:
    """Packs examples into a batch; a collate function for a DataLoader."""

    def __init__(self, *, max_tokens: int, rank: int = 0, size: int = 1) -> None:
        self.max_tokens = max_tokens
        self.rank = rank
        self.size = size

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Pack one process's share into forests of at most `max_tokens`; stack all constants.

        The weights stand beside the batch, too: transformers counts examples by a tensor.
        """
        mismatched = [tree for tree in (e.mismatched for e in examples) if tree is not None]
        weights = torch.tensor([example.weight for example in examples], dtype=torch.float64)
        batch = Batch(
            examples=examples,
            share=self._share([example.tree for example in examples]),
            mismatched=self._share(mismatched),
            targets=torch.tensor([example.targets for example in examples], dtype=torch.float64),
            weights=weights,
        )
        return {"batch": batch, "weights": weights}

    def _share(self, trees: Sequence[TokenTree]) -> Share:
        return take_share(trees, self.max_tokens, rank=self.rank, size=self.size)


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
