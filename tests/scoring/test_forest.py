"""Packing loses and doubles nothing, and the attention plan is the mask, by brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_tree import Scored, scored_sequences, tree_of
from tiny_models import make_trees

from notus.scoring.forest import Forest, pack
from notus.scoring.tree import TokenTree

many_scored = st.lists(scored_sequences, min_size=1, max_size=6)


def walk(forest: Forest, position: int) -> list[int]:
    """Tokens from the root to a row position, by `parent` alone."""
    tokens: list[int] = []
    while position >= 0:
        tokens.append(int(forest.input_ids[0, position]))
        position = int(forest.parent[position])
    return tokens[::-1]


@given(many_scored, st.integers(1, 30))
def test_every_scored_token_is_predicted_once_from_its_own_context(
    groups: list[Scored], max_tokens: int
) -> None:
    """Walking up from each prediction gives the sequence: nothing lost, doubled or mixed."""
    found = []
    for forest in pack([tree_of(group) for group in groups], max_tokens):
        assert forest.num_sequences == len(forest.sequence_index)
        for head, token, s in zip(
            forest.scored_head, forest.scored_token, forest.scored_sequence, strict=True
        ):
            context = walk(forest, int(forest.head_position[head]))
            found.append((int(forest.sequence_index[s]), context, int(token)))
    everything = [row for group in groups for row in group]
    assert sorted(found) == [
        (s, row[:at], row[at])
        for s, (row, start) in enumerate(everything)
        for at in range(start, len(row))
    ]


@given(many_scored, st.integers(1, 30))
def test_each_sequence_is_in_one_row_and_rows_keep_the_budget(
    groups: list[Scored], max_tokens: int
) -> None:
    """A row reads each distinct prefix that something follows, and each first token, once."""
    trees = [tree_of(group) for group in groups]
    forests = pack(trees, max_tokens)
    places = np.concatenate([forest.sequence_index for forest in forests])
    everything = [row for group in groups for row, _ in group]
    assert sorted(places.tolist()) == list(range(len(everything)))
    tree_of_sequence = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    for forest in forests:
        rows = [everything[s] for s in forest.sequence_index]
        read = {tuple(row[:n]) for row in rows for n in range(1, max(2, len(row)))}
        assert forest.input_ids.numel() == len(read)
        is_alone = len(set(tree_of_sequence[forest.sequence_index])) == 1
        assert is_alone or len(read) <= max_tokens


def test_trees_of_a_row_share_what_they_begin_with() -> None:
    """A system prompt 1 2 3 before two questions is read once; the scores go their own ways."""
    trees = [
        TokenTree.from_sequences([[1, 2, 3, 4, 7], [1, 2, 3, 4, 8]], [4, 4]),
        TokenTree.from_sequences([[1, 2, 3, 5, 7]], [4]),
    ]
    (forest,) = pack(trees, 100)
    assert forest.input_ids.tolist() == [[1, 2, 3, 4, 5]]
    assert forest.scored_token.tolist() == [7, 8, 7]
    assert forest.sequence_index[forest.scored_sequence].tolist() == [0, 1, 2]


def test_first_fit_decreasing() -> None:
    """Sizes 2 5 4 3 1 6 into rows of 7: 6 takes the 1, 5 the 2, 4 the 3; the 8 goes alone."""
    sizes = [2, 5, 4, 3, 1, 6, 8]
    trees = [TokenTree.from_sequences([[n, *range(n)]], [1]) for n in sizes]
    forests = pack(trees, 7)
    rows = [[sizes[s] for s in forest.sequence_index] for forest in forests]
    assert rows == [[8], [6, 1], [5, 2], [4, 3]]


@given(many_scored)
def test_chains_and_crosses_are_the_mask_once(groups: list[Scored]) -> None:
    forest = Forest.from_trees([tree_of(group) for group in groups])
    length = len(forest.parent)
    painted = torch.zeros(length, length, dtype=torch.int64)
    for chain in forest.chains:
        painted[chain, chain] += torch.ones_like(painted[chain, chain]).tril()
    for queries, keys in forest.crosses:
        painted[queries, keys] += 1
    ancestors = torch.eye(length, dtype=torch.bool)
    for q in range(length):
        if forest.parent[q] >= 0:
            ancestors[q] |= ancestors[forest.parent[q]]
    assert torch.equal(painted, ancestors.long())
    assert torch.equal(forest.mask, ancestors)


@given(many_scored)
def test_row_arrays_agree(groups: list[Scored]) -> None:
    forest = Forest.from_trees([tree_of(group) for group in groups])
    depths = [len(walk(forest, position)) - 1 for position in range(len(forest.parent))]
    assert forest.position_ids[0].tolist() == depths
    assert forest.num_levels == max(depths) + 1
    heads = forest.head_position.tolist()
    assert heads == sorted(set(heads))
    counts = np.diff(forest.head_offsets)
    assert (counts > 0).all()
    assert forest.scored_head.tolist() == np.repeat(np.arange(len(heads)), counts).tolist()
    assert forest.sequence_index.tolist() == list(range(forest.num_sequences))


def test_one_token_answers_cost_no_more_than_their_question() -> None:
    question = [4, 7, 1, 9]
    tree = TokenTree.from_sequences([[*question, letter] for letter in (2, 3, 5, 6)], [4] * 4)
    forest = Forest.from_trees([tree])
    assert forest.input_ids.tolist() == [question]
    assert forest.chains == (slice(0, 4),)
    assert forest.crosses == ()
    assert forest.head_position.tolist() == [3]
    assert forest.scored_token.tolist() == [2, 3, 5, 6]


def test_a_pair_is_two_chains_and_one_rectangle() -> None:
    """Prompt 1 2 3, completions 4 5 0 and 6 7 0; the last tokens are targets only."""
    tree = TokenTree.from_sequences([[1, 2, 3, 4, 5, 0], [1, 2, 3, 6, 7, 0]], [3, 3])
    forest = Forest.from_trees([tree])
    assert forest.input_ids.tolist() == [[1, 2, 3, 4, 5, 6, 7]]
    assert forest.chains == (slice(0, 5), slice(5, 7))
    assert forest.crosses == ((slice(5, 7), slice(0, 3)),)


def test_to_moves_every_tensor_and_nothing_else() -> None:
    forest = Forest.from_trees(make_trees())
    moved = forest.to("meta")
    for name, value in vars(forest).items():
        if isinstance(value, torch.Tensor):
            assert getattr(moved, name).device.type == "meta", name
            assert getattr(moved, name).shape == value.shape, name
        else:
            assert getattr(moved, name) is value, name


def test_no_trees_make_no_rows() -> None:
    assert pack([], 10) == []


@pytest.mark.parametrize("max_tokens", [1, 100])
def test_a_tree_without_scored_tokens_still_has_a_row(max_tokens: int) -> None:
    (forest,) = pack([TokenTree.from_sequences([[3]], [1])], max_tokens)
    assert forest.input_ids.tolist() == [[3]]
    assert len(forest.scored_token) == len(forest.head_position) == 0
    assert forest.head_offsets == (0,)
