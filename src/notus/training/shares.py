"""Who computes what of a step: every process has the whole batch, and takes its share of it.

Shares are worked out alike in every process, without a word between them: longest first, each tree
to the process that has the fewest tokens. A share is packed by token budget, as a whole batch is.
Processes must pass through the model equally often, because a sharded model is gathered in every
pass: who has fewer rows than the fullest passes through the batch's smallest tree, for nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from notus.scoring.forest import Forest, first_fit, pack
from notus.scoring.tree import TokenTree


@dataclass(frozen=True, kw_only=True)
class Share:
    """One process's part of some trees, packed."""

    forests: list[Forest]
    trees: list[list[int]]
    """For each forest the indices of its trees, in the order of its sequences."""
    idle: list[Forest]
    """Forests whose results count for nothing, to be passed through before the others."""

    @property
    def passes(self) -> list[tuple[Forest, list[int] | None]]:
        """All forests to go through, with the indices of their trees; None: idle."""
        idle: list[tuple[Forest, list[int] | None]] = [(forest, None) for forest in self.idle]
        return idle + list(zip(self.forests, self.trees, strict=True))

    @property
    def num_tokens(self) -> int:
        """Tokens that this process's model sees, those of idle forests left out."""
        return sum(forest.input_ids.numel() for forest in self.forests)


def take_share(
    trees: Sequence[TokenTree], max_tokens: int, *, rank: int = 0, size: int = 1
) -> Share:
    """Pack one process's share of trees that have equally many sequences each.

    Args:
        trees: The whole batch, the same in every process.
        max_tokens: Most tokens in a forest; a longer tree has one of its own.
        rank: Which process this is.
        size: How many there are.
    """
    costs = [tree.num_inputs for tree in trees]
    shares = divide(costs, size)
    rows = [len(first_fit([costs[i] for i in part], max_tokens)) for part in shares]
    mine = shares[rank]
    forests = pack([trees[i] for i in mine], max_tokens)
    width = trees[0].num_sequences if trees else 1
    return Share(
        forests=forests,
        trees=[[mine[s // width] for s in f.sequence_index[::width].tolist()] for f in forests],
        idle=[
            Forest.from_trees([trees[costs.index(min(costs))]])
            for _ in range(max(rows) - rows[rank])
        ],
    )


def divide(costs: Sequence[int], size: int) -> list[list[int]]:
    """Give each of `size` processes indices of about the same total cost, ascending.

    Longest processing time first: at most 4/3 of the best possible (Graham 1969, theorem 3).
    """
    loads = [0] * size
    shares: list[list[int]] = [[] for _ in range(size)]
    for i in np.argsort(-np.asarray(costs, dtype=np.int64), kind="stable").tolist():
        least = loads.index(min(loads))
        loads[least] += costs[i]
        shares[least].append(i)
    return [sorted(part) for part in shares]
