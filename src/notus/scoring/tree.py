"""Token sequences that share prefixes, as one prefix tree in depth-first pre-order.

Pre-order makes every subtree contiguous, so that ONE integer a token is the whole attention mask:
query q sees key k if and only if `k <= q < subtree_end[k]`. The sequences (5 6 7), (5 6 8 9) and
(5) give

    node            0  1  2  3  4
    token           5  6  7  8  9
    parent         -1  0  1  1  3
    depth           0  1  2  2  3
    subtree_end     5  5  3  5  5

so node 3 (token 8) sees 0, 1 and itself but not 2, whose subtree ended. Children are in the order
of their token ids: the same set of sequences always gives the same tree, whatever their order.
Building costs one sort and a few numpy slices a sequence, no Python a token.

Legend: T nodes of the tree, S sequences, K scored (node, sequence) pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import numpy.typing as npt

from notus.errors import DataError, explain

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenTree:
    """A prefix tree (or several, one for each different first token) over S token sequences."""

    sequences: tuple[IntArray, ...]
    """The S sequences as given; the padded layout scores these and never looks at the tree."""
    score_from: IntArray
    """[S]; tokens of sequence s at positions >= score_from[s] are scored, given all before."""
    token: IntArray
    """[T] token ids in depth-first pre-order."""
    parent: IntArray
    """[T] node index of the token before, -1 at a root; the node whose hidden state predicts."""
    depth: IntArray
    """[T] number of tokens before this one in its sequences: its position id."""
    subtree_end: IntArray
    """[T] one past the last descendant."""
    scored_node: IntArray
    """[K] nodes that are scored, ordered by sequence, then position; shared ones repeat."""
    scored_sequence: IntArray
    """[K] the sequence that each scored node counts for."""

    @classmethod
    def from_sequences(
        cls, sequences: Sequence[Sequence[int] | IntArray], score_from: Sequence[int]
    ) -> Self:
        """Build the tree of `sequences`.

        Args:
            sequences: S non-empty token sequences; equal ones, prefixes of one another and
                different first tokens (several roots) are all fine.
            score_from: For each sequence the first scored position, >= 1. At or beyond the
                sequence's length nothing is scored: log-prob 0 over 0 tokens.

        Raises:
            DataError: no sequence, an empty one, or a score_from below 1 (the first token has no
                predecessor that could predict it) or of another length.
        """
        _check(sequences, score_from)
        arrays = [np.asarray(sequence, dtype=np.int64) for sequence in sequences]
        order = sorted(range(len(arrays)), key=lambda s: arrays[s].tolist())
        token, parent, depth, end, paths = _preorder([arrays[s] for s in order])
        scored: list[IntArray] = [np.empty(0, np.int64)] * len(arrays)
        for s, path in zip(order, paths, strict=True):
            scored[s] = path[score_from[s] :]
        return cls(
            sequences=tuple(arrays),
            score_from=np.asarray(score_from, dtype=np.int64),
            token=token,
            parent=parent,
            depth=depth,
            subtree_end=end,
            scored_node=np.concatenate(scored),
            scored_sequence=np.repeat(np.arange(len(scored)), [len(nodes) for nodes in scored]),
        )

    @classmethod
    def merge(cls, trees: Sequence[Self]) -> Self:
        """Join trees into one in which prefixes that they share stand once.

        Args:
            trees: One or more trees; sequences are counted through them in this order.
        """
        if len(trees) == 1:
            return trees[0]
        return cls.from_sequences(
            [sequence for tree in trees for sequence in tree.sequences],
            [int(start) for tree in trees for start in tree.score_from],
        )

    @property
    def num_sequences(self) -> int:
        """S."""
        return len(self.sequences)

    @property
    def num_scored(self) -> IntArray:
        """[S] scored tokens of each sequence."""
        return np.bincount(self.scored_sequence, minlength=self.num_sequences)

    @property
    def is_input(self) -> npt.NDArray[np.bool_]:
        """[T] nodes the model must read: a leaf predicts nothing, so only its id is needed.

        Roots are kept even when childless, so that every tree has at least one input.
        """
        return (self.subtree_end > np.arange(len(self.token)) + 1) | (self.parent < 0)

    @property
    def num_inputs(self) -> int:
        """Tokens that the model reads for this tree: its cost, and what `pack` budgets."""
        return int(np.count_nonzero(self.is_input))


def _check(sequences: Sequence[Sequence[int] | IntArray], score_from: Sequence[int]) -> None:
    if not sequences or len(sequences) != len(score_from):
        raise DataError(
            explain(
                found=f"{len(sequences)} sequences and {len(score_from)} values of score_from",
                expected="one or more sequences and one score_from for each",
                where="TokenTree.from_sequences",
                remedy="pass as many values of score_from as sequences",
            )
        )
    for s, (sequence, start) in enumerate(zip(sequences, score_from, strict=True)):
        if len(sequence) == 0 or start < 1:
            raise DataError(
                explain(
                    found=f"a sequence of {len(sequence)} tokens to be scored from {start}",
                    expected="one or more tokens, scored from position 1 or later: "
                    "the first token has no predecessor that could predict it",
                    where=f"sequence {s} of {len(sequences)} of a TokenTree",
                    remedy="drop empty sequences; put at least one prompt token (BOS) first",
                )
            )


def _preorder(
    ordered: list[IntArray],
) -> tuple[IntArray, IntArray, IntArray, IntArray, list[IntArray]]:
    """Lay out sorted sequences; returns token, parent, depth, subtree_end and S node paths.

    Sorted, each sequence shares with the trie built so far exactly what it shares with the
    sequence before it, and what it adds comes next in pre-order.
    """
    num_shared = [0, *(_common(a, b) for a, b in pairwise(ordered))]
    added = [np.arange(n, len(seq)) for n, seq in zip(num_shared, ordered, strict=True)]
    token = np.concatenate([seq[d] for seq, d in zip(ordered, added, strict=True)])
    depth = np.concatenate(added)
    parent = np.arange(-1, len(token) - 1)
    end = np.full(len(token), len(token))
    paths: list[IntArray] = []
    path = np.empty(0, np.int64)
    offset = 0
    for n, new in zip(num_shared, added, strict=True):
        if len(new):
            end[path[n:]] = offset  # what the new sequence does not share has ended
            parent[offset] = path[n - 1] if n else -1
        path = np.concatenate([path[:n], np.arange(offset, offset + len(new))])
        offset += len(new)
        paths.append(path)
    return token, parent, depth, end, paths


def _common(a: IntArray, b: IntArray) -> int:
    """Length of the common prefix."""
    n = min(len(a), len(b))
    differs = a[:n] != b[:n]
    return int(differs.argmax()) if differs.any() else n
