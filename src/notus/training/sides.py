"""Both sides of a split as the examples that the objective trains on, their references filled in.

pairs -> pairs, votes or demonstrations -> reference log-probs (stored) -> trainer
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from notus.recipe import Recipe
from notus.training.callbacks import Progress
from notus.training.examples import Example, Pair, Vote, demonstrations
from notus.training.objectives import (
    DemonstrationObjective,
    Objective,
    VoteObjective,
    make_objective,
)
from notus.training.prepare import Prepared, Split
from notus.training.reference import reference_logps
from notus.training.votes import votes_of_pairs, with_mismatched


@dataclass(frozen=True, kw_only=True)
class Sides:
    """What one run trains on and what it holds out."""

    train: list[Example]
    heldout: list[Example]
    facts: dict[str, object]
    """For the manifest."""


def objective_of(recipe: Recipe) -> Objective:
    """Choose what the recipe asks to minimise."""
    if recipe.train.objective == "sft":
        return DemonstrationObjective()
    return make_objective(recipe.train.losses, recipe.train.loss_settings)


def make_sides(
    prepared: Prepared,
    objective: Objective,
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Sides:
    """Make the examples of an objective; score them by the reference if a loss asks for it.

    Args:
        prepared: Pairs, model and store of the run.
        objective: What will be minimised.
        progress: Called with ("reference", done, total).
        say: Called with what the reference pass cost.

    Raises:
        DataError: KTO has one prompt only on a side.
    """
    sides = examples_of(prepared.recipe, objective, prepared.split)
    if not objective.needs_reference:
        return sides
    filled = _with_references([*sides.train, *sides.heldout], prepared, progress, say)
    n = len(sides.train)
    facts = sides.facts | {"reference_key": prepared.store.key}
    return Sides(train=filled[:n], heldout=filled[n:], facts=facts)


def examples_of(recipe: Recipe, objective: Objective, split: Split) -> Sides:
    """Make an objective's examples of a split, without references.

    Raises:
        DataError: KTO has one prompt only on a side.
    """
    if isinstance(objective, VoteObjective):
        return _votes(recipe, objective, split)
    if isinstance(objective, DemonstrationObjective):
        train, heldout = demonstrations(split.train), demonstrations(split.heldout)
        facts: dict[str, object] = {
            "demonstrations_train": len(train),
            "demonstrations_heldout": len(heldout),
        }
        return Sides(train=[*train], heldout=[*heldout], facts=facts)
    return Sides(train=[*split.train], heldout=[*split.heldout], facts={})


def _votes(recipe: Recipe, objective: Objective, split: Split) -> Sides:
    if split.votes is not None:
        sides, num_contradictory = [split.votes.train, split.votes.heldout], 0
    else:
        found = [votes_of_pairs(pairs) for pairs in (split.train, split.heldout)]
        sides = [side.votes for side in found]
        num_contradictory = sum(side.num_contradictory for side in found)
    if objective.shifted_by == "mismatched":
        lengths = {"max_length": recipe.data.max_length, "seed": recipe.seed}
        sides = [with_mismatched(side, **lengths) for side in sides]
    train, heldout = sides
    facts: dict[str, object] = {
        "votes_train": len(train),
        "votes_heldout": len(heldout),
        "votes_contradictory": num_contradictory,
    }
    return Sides(train=[*train], heldout=[*heldout], facts=facts)


def _with_references(
    examples: Sequence[Example],
    prepared: Prepared,
    progress: Progress | None,
    say: Callable[[str], None],
) -> list[Example]:
    """Fill in the reference log-probs, under the same type of matrix products as training."""
    scored = [e for e in examples if isinstance(e, Pair | Vote)]
    groups = [(example.prompt_ids, example.completions) for example in scored]

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress("reference", done, total)

    device, bf16 = prepared.model.model.device.type, prepared.precision == "bfloat16"
    max_tokens = prepared.recipe.train.max_tokens
    with torch.autocast(device, torch.bfloat16, enabled=bf16):
        found = reference_logps(
            prepared.store, prepared.model.model, groups, max_tokens=max_tokens, progress=report
        )
    say(f"reference: {found.num_reused:,} log-probs reused, {found.num_computed:,} computed")
    return [e.with_reference(*values) for e, values in zip(scored, found.logps, strict=True)]
