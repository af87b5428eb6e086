"""The tree's arrays against a brute-force set of prefixes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notus.errors import DataError
from notus.scoring.tree import TokenTree

# Few tokens and short sequences: equal sequences, prefixes and several roots are then common.
token_lists = st.lists(st.integers(0, 2), min_size=1, max_size=6)
scored_sequences = st.lists(st.tuples(token_lists, st.integers(1, 7)), min_size=1, max_size=8)
Scored = list[tuple[list[int], int]]


def tree_of(scored: Scored) -> TokenTree:
    return TokenTree.from_sequences([row for row, _ in scored], [start for _, start in scored])


def walk(tree: TokenTree, node: int) -> tuple[int, ...]:
    """Tokens from the root to a node, by `parent` alone."""
    tokens: list[int] = []
    while node >= 0:
        tokens.append(int(tree.token[node]))
        node = int(tree.parent[node])
    return tuple(reversed(tokens))


def prefixes(row: list[int]) -> list[tuple[int, ...]]:
    return [tuple(row[: n + 1]) for n in range(len(row))]


def test_worked_example_of_the_docstring() -> None:
    tree = TokenTree.from_sequences([[5, 6, 8, 9], [5, 6, 7], [5]], [2, 1, 1])
    assert tree.token.tolist() == [5, 6, 7, 8, 9]
    assert tree.parent.tolist() == [-1, 0, 1, 1, 3]
    assert tree.depth.tolist() == [0, 1, 2, 2, 3]
    assert tree.subtree_end.tolist() == [5, 5, 3, 5, 5]
    assert tree.scored_sequence.tolist() == [0, 0, 1, 1]
    assert tree.scored_node.tolist() == [3, 4, 1, 2]
    assert tree.num_scored.tolist() == [2, 2, 0]
    assert tree.is_input.tolist() == [True, True, False, True, False]


@given(scored_sequences)
def test_nodes_are_the_distinct_prefixes_in_preorder(scored: Scored) -> None:
    tree = tree_of(scored)
    paths = [walk(tree, node) for node in range(len(tree.token))]
    assert paths == sorted({p for row, _ in scored for p in prefixes(row)})
    assert tree.depth.tolist() == [len(path) - 1 for path in paths]
    assert (tree.parent < np.arange(len(tree.token))).all()


@given(scored_sequences)
def test_one_integer_is_the_ancestor_relation(scored: Scored) -> None:
    tree = tree_of(scored)
    paths = [walk(tree, node) for node in range(len(tree.token))]
    for q, query in enumerate(paths):
        for k, key in enumerate(paths):
            sees = k <= q < tree.subtree_end[k]
            assert sees == (query[: len(key)] == key), (q, k)


@given(scored_sequences)
def test_every_scored_position_is_there_once_and_in_order(scored: Scored) -> None:
    tree = tree_of(scored)
    found = [
        (int(s), walk(tree, int(node)))
        for s, node in zip(tree.scored_sequence, tree.scored_node, strict=True)
    ]
    assert found == [(s, p) for s, (row, n) in enumerate(scored) for p in prefixes(row)[n:]]
    assert tree.num_scored.tolist() == [max(0, len(row) - n) for row, n in scored]
    assert [row.tolist() for row in tree.sequences] == [row for row, _ in scored]
    assert tree.score_from.tolist() == [n for _, n in scored]


@given(scored_sequences)
def test_inputs_are_roots_and_what_has_children(scored: Scored) -> None:
    tree = tree_of(scored)
    expected = [tree.parent[node] < 0 or node in tree.parent for node in range(len(tree.token))]
    assert tree.is_input.tolist() == expected
    assert tree.num_inputs == sum(expected) >= 1


@given(scored_sequences, st.randoms(use_true_random=False))
def test_layout_does_not_depend_on_the_order_of_sequences(scored: Scored, rng: object) -> None:
    shuffled = list(scored)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    a, b = tree_of(scored), tree_of(shuffled)
    for name in ("token", "parent", "depth", "subtree_end"):
        assert getattr(a, name).tolist() == getattr(b, name).tolist()


@given(st.lists(scored_sequences, min_size=1, max_size=4))
def test_merge_is_the_tree_of_all_sequences(groups: list[Scored]) -> None:
    merged = TokenTree.merge([tree_of(group) for group in groups])
    together = tree_of([scored for group in groups for scored in group])
    for name, value in vars(together).items():
        if name != "sequences":
            assert getattr(merged, name).tolist() == value.tolist(), name
    assert [row.tolist() for row in merged.sequences] == [r.tolist() for r in together.sequences]


@pytest.mark.parametrize(
    ("sequences", "score_from", "message"),
    [
        ([], [], "0 sequences and 0 values"),
        ([[1, 2]], [1, 1], "1 sequences and 2 values"),
        ([[1, 2], []], [1, 1], "(?s)0 tokens to be scored from 1.*sequence 1 of 2"),
        ([[1, 2], [3, 4]], [1, 0], "(?s)2 tokens to be scored from 0.*no predecessor.*sequence 1"),
        ([[1, 2]], [-1], "scored from -1"),
    ],
)
def test_what_cannot_be_scored_is_named(
    sequences: list[list[int]], score_from: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        TokenTree.from_sequences(sequences, score_from)
