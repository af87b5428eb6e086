"""A few of a training's examples, and their log-probs in the ways that checks compare."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

from notus.scoring.score import score
from notus.scoring.tree import TokenTree
from notus.training.examples import Example, Pair, Vote, completion_tree
from notus.training.prepare import Prepared
from notus.training.sides import Sides, examples_of, objective_of

BUDGET, MOST = 512, 3
"""Tokens, and examples, that are scored in every way."""

E = TypeVar("E", bound=Example)


def sides(prepared: Prepared) -> Sides:
    """All examples of the training, on both sides, without references."""
    return examples_of(prepared.recipe, objective_of(prepared.recipe), prepared.split)


def few(examples: Sequence[E]) -> list[E]:
    """Take one example of median length, then the shortest, within a budget of tokens."""
    ordered = sorted(examples, key=lambda example: example.num_tokens)
    middle = len(ordered) // 2
    chosen: list[E] = []
    tokens = 0
    for example in [*ordered[middle:][:1], *ordered[:middle]][:MOST]:
        tokens += example.num_tokens
        # Two sequences can leak into each other only where there are two.
        if tokens > BUDGET and len(chosen) > 1:
            break
        chosen.append(example)
    return chosen


def logps(prepared: Prepared, trees: Sequence[TokenTree], *, layout: str = "tree") -> Tensor:
    """Log-probs of all sequences of trees [S], without gradient and dropout."""
    with autocast(prepared):
        return score(prepared.model.model, trees, max_tokens=2 * BUDGET, layout=layout).logps


def with_references(prepared: Prepared, examples: Sequence[Example]) -> list[Example]:
    """Fill in the reference log-probs of a few examples, computed here and kept nowhere."""
    found: list[Example] = []
    for example in examples:
        if isinstance(example, Pair | Vote):
            tree = completion_tree(example.prompt_ids, example.completions)
            found.append(example.with_reference(*logps(prepared, [tree]).tolist()))
        else:
            found.append(example)
    return found


def autocast(prepared: Prepared) -> torch.autocast:
    """The run's type of matrix products."""
    device = prepared.model.model.device.type
    return torch.autocast(device, torch.bfloat16, enabled=prepared.precision == "bfloat16")
