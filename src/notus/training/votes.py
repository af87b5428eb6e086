"""Votes: single completions that are desirable or not, for KTO and BCO.

They come from preferences: what is chosen is desirable, what is rejected is not. Each can get a
completion of another prompt, from which KTO estimates how far the policy has drifted as a whole.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from notus.errors import DataError, explain
from notus.training.examples import Pair, Vote
from notus.training.reference import tokens_digest


class Votes(NamedTuple):
    """What became of pairs."""

    votes: list[Vote]
    """Distinct completions, in the order of the pairs."""
    num_contradictory: int
    """Completions left out because they are chosen in one pair and rejected in another."""


def votes_of_pairs(pairs: Sequence[Pair]) -> Votes:
    """Cast a vote on every distinct completion of `pairs`."""
    found: dict[str, Vote] = {}
    contradictory = set()
    for pair in pairs:
        for desirable, ids in zip((True, False), pair.completions, strict=True):
            key = tokens_digest(pair.prompt_ids, ids)
            vote = Vote(
                prompt_id=pair.prompt_id,
                source=pair.source,
                strategy=pair.strategy,
                prompt_ids=pair.prompt_ids,
                completion_ids=ids,
                desirable=desirable,
            )
            if found.setdefault(key, vote).desirable != desirable:
                contradictory.add(key)
    kept = [vote for key, vote in found.items() if key not in contradictory]
    return Votes(kept, len(contradictory))


def with_mismatched(votes: Sequence[Vote], *, max_length: int, seed: int) -> list[Vote]:
    """Give each vote the completion of another prompt, drawn by content.

    In an order that content and seed decide, each gets the completion of the next vote with
    another prompt, so that nearly every completion is used once; its reference log-prob can be
    stored. Completions lose their end where prompt and completion exceed `max_length`.

    Args:
        votes: The votes of one side of the split.
        max_length: Longest prompt and completion together, in tokens.
        seed: Seed of the order.

    Raises:
        DataError: All votes are on completions of one prompt.
    """
    order = sorted(range(len(votes)), key=lambda i: _digest(votes[i], seed))
    found = list(votes)
    for at, i in enumerate(order):
        vote = votes[i]
        others = (votes[j] for j in [*order[at + 1 :], *order[:at]])
        other = next((o for o in others if o.prompt_ids != vote.prompt_ids), None)
        if other is None:
            raise DataError(
                explain(
                    found=f"{len(votes)} votes, all on completions of one prompt",
                    expected="two prompts or more: KTO compares with completions of other prompts",
                    where="the votes of one side of the split",
                    remedy="give more data or another data.holdout, or train with loss bco",
                )
            )
        room = max_length - len(vote.prompt_ids)
        found[i] = replace(vote, mismatched_ids=other.completion_ids[:room])
    return found


def _digest(vote: Vote, seed: int) -> bytes:
    key = f"{seed}|{tokens_digest(vote.prompt_ids, vote.completion_ids)}"
    return hashlib.sha256(key.encode()).digest()
