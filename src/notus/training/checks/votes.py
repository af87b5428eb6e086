"""Checks of votes: whether desirable and undesirable completions pull alike."""

from collections.abc import Iterator

from notus.training.checks.finding import Finding
from notus.training.prepare import Prepared
from notus.training.votes import votes_of_pairs

LOW, HIGH = 1.0, 4 / 3
"""Where the paper found desirable weight and number, over undesirable, to work best."""
SLACK = 1.1


def votes(prepared: Prepared) -> Iterator[Finding]:
    """Compare the weights of both kinds of votes with their numbers, for KTO.

    A warning where w+ n+ / (w- n-) is more than a tenth outside of 1 to 4/3. A note where votes are
    ratings: the other checks look at pairs, and there are none.

    Source: KTO, arXiv 2402.01306, eq. 9 (weights for unequal numbers of votes).
    """
    train, split = prepared.recipe.train, prepared.split
    if split.votes is not None:
        yield Finding(
            level="note",
            found=f"{len(split.votes.train):,} ratings are trained on, and no pairs: checks of "
            "pairs looked at nothing",
            where="recipe key train.votes",
            remedy="look at the ratings with notus audit",
        )
    if train.loss != "kto":
        return
    cast = votes_of_pairs(split.train).votes if split.votes is None else split.votes.train
    wanted = sum(vote.desirable for vote in cast)
    others = len(cast) - wanted
    for_, against = train.desirable_weight or 1.0, train.undesirable_weight or 1.0
    if not wanted or not others:
        yield Finding(
            level="warning",
            found=f"{wanted:,} desirable and {others:,} undesirable votes",
            where="votes to train on",
            remedy="give votes of both kinds: KTO learns from their difference",
        )
        return
    ratio = for_ * wanted / (against * others)
    if not LOW / SLACK <= ratio <= HIGH * SLACK:
        better = against * others / wanted
        yield Finding(
            level="warning",
            found=f"{wanted:,} desirable votes of weight {for_:g} and {others:,} undesirable ones "
            f"of weight {against:g} pull as {ratio:.2f} to 1",
            where="recipe keys train.desirable_weight and train.undesirable_weight",
            remedy=f"a desirable_weight of {LOW * better:.2f} to {HIGH * better:.2f}",
        )
