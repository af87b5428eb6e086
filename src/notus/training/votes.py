"""Votes: single completions that are desirable or not, for KTO and BCO.

They come from preferences, of which what is chosen is desirable and what is rejected is not, or
from ratings with the aspect "desirable". Each can get a completion of another prompt, from which
KTO estimates how far the policy has drifted as a whole.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import polars as pl

from notus.chat_template import Encoder
from notus.data.formats.kto import DESIRABLE
from notus.data.schema import DROPPED, Feedback
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


@dataclass(frozen=True, kw_only=True)
class EncodedVotes:
    """What became of ratings."""

    votes: list[Vote]
    """Completions that are desirable or not, in the order of their ids."""
    dropped: pl.DataFrame
    """Completions that cannot be trained on, with the reason."""
    num_prompts_cut: int
    """Votes whose prompt lost tokens to max_prompt_length."""
    num_completions_cut: int
    """Votes whose completion lost tokens to max_length."""


def votes_of_ratings(feedback: Feedback, encode: Encoder) -> EncodedVotes:
    """Tokenise the completions that were rated desirable or not.

    The mean of a completion's ratings, each on its own scale, says what it is; in the middle it
    says nothing. Completions of one prompt that become the same tokens are one vote.

    Args:
        feedback: Tables whose ratings have the aspect "desirable".
        encode: Encoder with the run's lengths.
    """
    votes: dict[str, Vote] = {}
    dropped: list[tuple[str, str, str]] = []
    contradictory: set[str] = set()
    prompts_cut = completions_cut = 0
    for row in _rated(feedback).iter_rows(named=True):
        if row["share"] is None or row["share"] == 0.5:
            dropped.append((row["prompt_id"], DESIRABLE, "no verdict, or as many for as against"))
            continue
        encoded = encode(row["messages"], row["text"])
        vote = Vote(
            completion_id=row["completion_id"],
            prompt_id=row["prompt_id"],
            source=row["source"],
            strategy=DESIRABLE,
            prompt_ids=encoded.prompt_ids,
            completion_ids=encoded.completion_ids,
            desirable=row["share"] > 0.5,
        )
        key = tokens_digest(vote.prompt_ids, vote.completion_ids)
        if (first := votes.setdefault(key, vote)) is not vote:
            dropped.append((row["prompt_id"], DESIRABLE, "equal tokens after truncation"))
            if first.desirable != vote.desirable:
                contradictory.add(key)
            continue
        prompts_cut += encoded.prompt_cut > 0
        completions_cut += encoded.completion_cut > 0
    for key in contradictory:
        dropped.append((votes.pop(key).prompt_id, DESIRABLE, "desirable and not, by equal tokens"))
    return EncodedVotes(
        votes=list(votes.values()),
        dropped=pl.DataFrame(dropped, schema=DROPPED.schema, orient="row"),
        num_prompts_cut=prompts_cut,
        num_completions_cut=completions_cut,
    )


def _rated(feedback: Feedback) -> pl.DataFrame:
    """Completions with a verdict: its mean on 0..1, their texts and prompts, sorted by id."""
    share = (pl.col("value") - pl.col("scale_min")) / (pl.col("scale_max") - pl.col("scale_min"))
    return (
        feedback.ratings.filter(pl.col("aspect") == DESIRABLE)
        .group_by("completion_id")
        .agg(share.mean().alias("share"))
        .join(feedback.completions.select("completion_id", "prompt_id", "text"), on="completion_id")
        .join(feedback.prompts.select("prompt_id", "messages", "source"), on="prompt_id")
        .sort("completion_id")
        .collect()
    )


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
