"""Who computes what: every tree once, fairly, in equally many passes, in every process alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import random_pairs

from notus.training.shares import divide, take_share

costs = st.lists(st.integers(1, 999), max_size=40)


@given(costs, st.integers(1, 9))
def test_everything_is_given_to_one_and_no_process_has_much_more(
    costs: list[int], size: int
) -> None:
    """The last tree of the fullest process came to it when it had the least: below the mean."""
    shares = divide(costs, size)
    assert sorted(i for part in shares for i in part) == list(range(len(costs)))
    assert all(part == sorted(part) for part in shares)
    loads = [sum(costs[i] for i in part) for part in shares]
    assert max(loads) <= sum(costs) / size + max(costs, default=0)


def test_the_worst_case_of_the_source() -> None:
    """Graham 1969: longest first takes 11 on three machines, where 9 would do."""
    costs = [5, 5, 4, 4, 3, 3, 3]
    loads = [sum(costs[i] for i in part) for part in divide(costs, 3)]
    assert sorted(loads) == [8, 8, 11]


@pytest.mark.parametrize("max_tokens", [1, 50, 10_000])
@pytest.mark.parametrize("size", [1, 2, 3, 16])
def test_processes_go_through_the_model_equally_often(size: int, max_tokens: int) -> None:
    """16 processes for 9 pairs: some have nothing but an idle pass."""
    trees = [pair.tree for pair in random_pairs(9)]
    shares = [take_share(trees, max_tokens, rank=r, size=size) for r in range(size)]
    passes = {len(share.passes) for share in shares}
    assert len(passes) == 1
    assert sorted(i for share in shares for part in share.trees for i in part) == list(range(9))
    for share in shares:
        assert share.passes[: len(share.idle)] == [(forest, None) for forest in share.idle]
        assert share.num_tokens == sum(f.input_ids.numel() for f in share.forests)
        for forest, indices in zip(share.forests, share.trees, strict=True):
            expected = [trees[i].sequences[s][-1] for i in indices for s in range(2)]
            scored = [
                forest.scored_token[forest.scored_sequence == s] for s in range(len(expected))
            ]
            assert [int(tokens[-1]) for tokens in scored] == [int(token) for token in expected]
    if size == 1:
        assert shares[0].idle == []


def test_nothing_is_shared_of_nothing() -> None:
    assert take_share([], 10, rank=1, size=2).passes == []
