"""Many prefix trees in one row without padding, with everything a forward pass needs worked out.

Trees lie one after another; the rule `k <= q < subtree_end[k]` keeps them apart as it keeps
branches apart, so packing needs no mask of its own. A row holds only tokens that predict
something: the leaves of a tree are read off as targets, so a question with four one-token answers
costs no more than the question. All Python loops over a forest are here, once, not in the layers.

Legend: T tokens in the row, S sequences, K scored tokens, U row positions that predict any of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from notus.scoring.tree import IntArray, TokenTree


class Cross(NamedTuple):
    """Row positions of queries that all see all keys: descendants of an unbranched run."""

    queries: slice
    keys: slice


@dataclass(frozen=True, kw_only=True, eq=False)
class Forest:
    """A packed row of token trees; tensors are on one device, see `to`."""

    input_ids: Tensor
    """[1, T] token ids."""
    position_ids: Tensor
    """[1, T] depth of each token in its tree."""
    parent: Tensor
    """[T] row position of the token before, -1 at a root."""
    subtree_end: Tensor
    """[T] one past the last descendant: the attention mask."""
    chains: tuple[slice, ...]
    """Spans that cover the row once and in each of which attention is plainly causal."""
    crosses: tuple[Cross, ...]
    """With the chains, every (query, key) pair of the mask exactly once."""
    num_levels: int
    """Tokens on the longest path from a root."""
    head_position: Tensor
    """[U] row positions whose hidden state predicts a scored token, ascending."""
    scored_head: Tensor
    """[K] index into head_position for each scored token, ascending."""
    scored_token: Tensor
    """[K] token ids to be predicted."""
    scored_sequence: Tensor
    """[K] sequence, 0 <= s < S, that the scored token counts for."""
    head_offsets: tuple[int, ...]
    """U + 1 offsets: scored tokens offsets[u] to offsets[u + 1] are predicted at position u."""
    num_sequences: int
    """S."""
    sequence_index: IntArray
    """[S] place of each sequence in the order of the trees that were packed."""

    @classmethod
    def from_trees(cls, trees: Sequence[TokenTree], sequence_index: IntArray | None = None) -> Self:
        """Put `trees` in one row, in this order.

        Args:
            trees: One or more trees.
            sequence_index: [S] caller's place of each sequence; counted through when omitted.
        """
        nodes = [0, *accumulate(len(tree.token) for tree in trees)]
        sequences = [0, *accumulate(tree.num_sequences for tree in trees)]

        def joined(name: str, offsets: list[int]) -> IntArray:
            parts = [getattr(tree, name) for tree in trees]
            return np.concatenate([part + o for part, o in zip(parts, offsets, strict=False)])

        zeros = [0] * len(trees)
        token, depth = joined("token", zeros), joined("depth", zeros)
        parent = np.where(depth > 0, joined("parent", nodes), -1)
        is_input = np.concatenate([tree.is_input for tree in trees])
        row = np.concatenate([[0], np.cumsum(is_input)])  # row position of a node = inputs before
        row_parent = np.where(parent >= 0, row[parent], -1)[is_input]
        row_end = row[joined("subtree_end", nodes)][is_input]
        scored = joined("scored_node", nodes)
        scored_parent = row[parent[scored]]
        order = np.argsort(scored_parent, kind="stable")
        heads, scored_head, counts = np.unique(
            scored_parent[order], return_inverse=True, return_counts=True
        )
        chains, crosses = _attention_plan(row_parent, row_end)
        if sequence_index is None:
            sequence_index = np.arange(sequences[-1])
        return cls(
            input_ids=torch.from_numpy(token[is_input])[None],
            position_ids=torch.from_numpy(depth[is_input])[None],
            parent=torch.from_numpy(row_parent),
            subtree_end=torch.from_numpy(row_end),
            chains=chains,
            crosses=crosses,
            num_levels=int(depth[is_input].max()) + 1,
            head_position=torch.from_numpy(heads),
            scored_head=torch.from_numpy(scored_head),
            scored_token=torch.from_numpy(token[scored][order]),
            scored_sequence=torch.from_numpy(joined("scored_sequence", sequences)[order]),
            head_offsets=(0, *accumulate(counts.tolist())),
            num_sequences=sequences[-1],
            sequence_index=sequence_index,
        )

    def to(self, device: torch.device | str) -> Self:
        """Return the forest with its tensors on `device`."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: v.to(device) for name, v in values.items() if isinstance(v, Tensor)}
        return type(self)(**(values | moved))

    @cached_property
    def paths(self) -> tuple[tuple[slice, tuple[slice, ...]], ...]:
        """Each chain with the spans of its ancestors before it, root first: all that it sees."""
        return tuple(
            (chain, tuple(keys for queries, keys in self.crosses if _holds(queries, chain)))
            for chain in self.chains
        )

    @cached_property
    def mask(self) -> Tensor:
        """[T, T] True where query (row) sees key (column); for attention without the cascade."""
        index = torch.arange(len(self.subtree_end), device=self.subtree_end.device)
        query, key = index[:, None], index[None, :]
        return (key <= query) & (query < self.subtree_end[None, :])


def _holds(outer: slice, inner: slice) -> bool:
    return bool(outer.start <= inner.start and inner.stop <= outer.stop)


def _attention_plan(
    parent: IntArray, subtree_end: IntArray
) -> tuple[tuple[slice, ...], tuple[Cross, ...]]:
    """Split the mask into causal chains and full rectangles.

    A chain follows first children as far as it goes: each token's parent is the token before it.
    A run is a maximal unbranched part of a chain; of its descendants, those in the chain see it
    causally and the others, which lie between the chain's end and the run's subtree_end, see all
    of it. For a prompt with two completions: chains (prompt + first), (second); one rectangle.
    """
    index = np.arange(len(parent))
    starts_chain = parent != index - 1
    starts_chain[0] = True  # the first root's parent is -1, which is also its index - 1
    starts_run = starts_chain.copy()
    starts_run[1:] |= subtree_end[1:] != subtree_end[:-1]
    chain_starts, run_starts = np.flatnonzero(starts_chain), np.flatnonzero(starts_run)
    chain_ends = np.append(chain_starts[1:], len(parent))
    run_ends = np.append(run_starts[1:], len(parent))
    run_chain_ends = chain_ends[np.searchsorted(chain_starts, run_starts, side="right") - 1]
    crosses = [
        Cross(slice(chain_end, subtree), slice(start, end))
        for start, end, chain_end, subtree in zip(
            run_starts.tolist(),
            run_ends.tolist(),
            run_chain_ends.tolist(),
            subtree_end[run_starts].tolist(),
            strict=True,
        )
        if subtree > chain_end
    ]
    chains = map(slice, chain_starts.tolist(), chain_ends.tolist())
    return tuple(chains), tuple(crosses)


def pack(trees: Sequence[TokenTree], max_tokens: int) -> list[Forest]:
    """Pack trees into rows of at most `max_tokens` inputs by first-fit decreasing.

    Trees of one row that begin alike, with a system prompt or a few-shot prefix, share it there:
    it is computed once a row. Longest rows come first, so that a row too long for memory fails at
    once. Scores do not depend on the packing; `Forest.sequence_index` says where each belongs.

    Args:
        trees: The trees; sequences are counted through them in this order.
        max_tokens: Most inputs in a row; a tree that has more gets a row of its own.
    """
    rows = first_fit([tree.num_inputs for tree in trees], max_tokens)
    first = [0, *accumulate(tree.num_sequences for tree in trees)]
    return [
        Forest.from_trees(
            [TokenTree.merge([trees[i] for i in row])],
            np.concatenate([np.arange(first[i], first[i + 1]) for i in row]),
        )
        for row in rows
    ]


def first_fit(sizes: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Put items into rows of at most `max_tokens`, longest first, each where it first fits.

    Returns:
        The items' indices, row by row.
    """
    room = np.empty(len(sizes), dtype=np.int64)
    rows: list[list[int]] = []
    for i in np.argsort(-np.asarray(sizes, dtype=np.int64), kind="stable").tolist():
        fits = room[: len(rows)] >= sizes[i]
        if fits.any():
            r = int(fits.argmax())
        else:
            r = len(rows)
            rows.append([])
            room[r] = max_tokens
        rows[r].append(i)
        room[r] -= sizes[i]
    return rows
