"""Preferences as pairs of tokens, their split, their order and their packing."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import random_pairs

from notus.binarize import binarize
from notus.chat_template import Encoder, encode_prompt
from notus.specifications import specification
from notus.training.batches import (
    Collator,
    LongestFirstSampler,
    draw_pairs,
    encode_preferences,
    split_by_prompt,
)
from tiny import make_tokenizer

identifiers = st.lists(st.text("abcdef", min_size=1, max_size=4), min_size=1, max_size=30)


@pytest.fixture
def encoder() -> Encoder:
    return Encoder(make_tokenizer(), max_length=60, max_prompt_length=50)


def encode(make_feedback: Any, prompts: dict[str, tuple[str, str]], encoder: Encoder) -> Any:
    """Encode one preference a prompt: the first text over the second."""
    feedback = make_feedback(
        {
            text: [("a", chosen, {"preference": 1.0}), ("b", rejected, {"preference": 0.0})]
            for text, (chosen, rejected) in prompts.items()
        }
    )
    preferences = binarize(feedback, specification("given")).preferences
    return encode_preferences(preferences, feedback, encoder), preferences


def test_pairs_are_the_prompt_as_at_inference_and_two_ended_completions(
    make_feedback: Any, encoder: Encoder
) -> None:
    found, preferences = encode(make_feedback, {"Hi": ("the end", "in"), "Yo": ("a", "b")}, encoder)
    assert [p.preference_id for p in found.pairs] == sorted(preferences["preference_id"])
    assert (found.dropped.height, found.num_prompts_cut, found.num_completions_cut) == (0, 0, 0)
    tokenizer = encoder.tokenizer
    texts = {}
    for pair in found.pairs:
        prompt = tokenizer.decode(pair.prompt_ids)
        texts[prompt] = (tokenizer.decode(pair.chosen_ids), tokenizer.decode(pair.rejected_ids))
        content = "Hi" if "Hi" in prompt else "Yo"
        expected = encode_prompt(tokenizer, [{"role": "user", "content": content}])
        assert pair.prompt_ids == expected
        assert pair.num_tokens == sum(
            map(len, (pair.prompt_ids, pair.chosen_ids, pair.rejected_ids))
        )
    assert sorted(texts.values()) == [
        ("a<|im_end|>", "b<|im_end|>"),
        ("the end<|im_end|>", "in<|im_end|>"),
    ]


def test_pairs_that_truncation_makes_equal_are_dropped_with_a_reason(
    make_feedback: Any, encoder: Encoder
) -> None:
    long = "x" * 80
    prompts = {"Short": (long + "1", long + "2"), "Other": ("yes", long), "p" * 99: ("a", "b")}
    found, preferences = encode(make_feedback, prompts, encoder)
    assert len(found.pairs) == 2
    assert found.num_prompts_cut == 1
    assert found.num_completions_cut == 3
    (dropped,) = found.dropped.iter_rows(named=True)
    assert dropped["reason"] == "equal tokens after template and truncation"
    assert dropped["strategy"] == "given"
    kept = {pair.prompt_id for pair in found.pairs}
    assert set(preferences["prompt_id"]) - kept == {dropped["prompt_id"]}


def test_a_tree_scores_the_completions_alone() -> None:
    for pair in random_pairs(8):
        tree = pair.tree
        rows = [row.tolist() for row in tree.sequences]
        assert rows == [pair.prompt_ids + pair.chosen_ids, pair.prompt_ids + pair.rejected_ids]
        assert tree.num_scored.tolist() == [len(pair.chosen_ids), len(pair.rejected_ids)]


def test_references_enter_by_copy() -> None:
    (pair,) = random_pairs(1)
    filled = pair.with_reference(-1.5, -2.5)
    assert (filled.reference_chosen, filled.reference_rejected) == (-1.5, -2.5)
    assert pair.reference_chosen != -1.5
    assert filled.prompt_ids == pair.prompt_ids


@given(identifiers, st.floats(0, 0.99), st.integers(0, 5))
def test_split_has_every_prompt_on_one_side(ids: list[str], holdout: float, seed: int) -> None:
    train, heldout = split_by_prompt(ids, holdout=holdout, seed=seed)
    assert train | heldout == set(ids)
    assert not train & heldout
    assert len(heldout) == round(holdout * len(set(ids)))
    assert split_by_prompt([*reversed(ids), *ids], holdout=holdout, seed=seed) == (train, heldout)


@given(identifiers, st.floats(0, 0.99), st.text("abcdef", min_size=1, max_size=4))
def test_one_more_prompt_moves_at_most_one_other(ids: list[str], holdout: float, new: str) -> None:
    """A ranking by content: a prompt shifts the border by one place, and shuffles nothing."""
    _, before = split_by_prompt(ids, holdout=holdout, seed=0)
    _, after = split_by_prompt([*ids, new], holdout=holdout, seed=0)
    assert len((before ^ after) - {new}) <= 1


def test_another_seed_holds_out_others() -> None:
    ids = [str(i) for i in range(100)]
    sides = {split_by_prompt(ids, holdout=0.3, seed=seed)[1] for seed in range(5)}
    assert len(sides) == 5


@given(st.lists(st.integers(1, 99), max_size=40), st.integers(0, 9))
def test_every_epoch_is_a_permutation_and_the_first_begins_with_the_longest(
    lengths: list[int], seed: int
) -> None:
    sampler = LongestFirstSampler(lengths, seed=seed)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert order == list(sampler)
        assert sorted(order) == list(range(len(sampler)))
        orders.append(order)
    if lengths:
        assert lengths[orders[0][0]] == max(lengths)
    if len(lengths) > 20:
        assert len(set(map(tuple, orders))) == 3


def test_another_seed_gives_another_order_with_the_longest_first_still() -> None:
    lengths = list(range(50))
    orders = {tuple(LongestFirstSampler(lengths, seed=seed)) for seed in range(4)}
    assert len(orders) == 4
    assert {order[0] for order in orders} == {49}


@given(st.permutations(range(9)), st.integers(0, 12), st.integers(0, 99))
def test_drawn_pairs_keep_their_order_and_do_not_depend_on_it(
    order: list[int], count: int, seed: int
) -> None:
    everything = [replace(pair, preference_id=str(i)) for i, pair in enumerate(random_pairs(9))]
    pairs = [everything[i] for i in order]
    drawn = [pair.preference_id for pair in draw_pairs(pairs, count, seed=seed)]
    assert len(drawn) == min(count, 9)
    assert drawn == [p.preference_id for p in pairs if p.preference_id in drawn]
    assert set(drawn) == {p.preference_id for p in draw_pairs(everything, count, seed=seed)}
    assert draw_pairs(pairs, None, seed=seed) == pairs
    # A larger draw holds the smaller one: more pairs are more of the same data.
    more = {p.preference_id for p in draw_pairs(pairs, count + 1, seed=seed)}
    assert set(drawn) <= more


@settings(max_examples=30)
@given(st.permutations(range(9)), st.integers(1, 200))
def test_packing_keeps_every_pair_with_its_tokens(order: list[int], max_tokens: int) -> None:
    everything = random_pairs(9)
    pairs = [everything[i] for i in order]
    inputs = Collator(max_tokens=max_tokens)(pairs)
    batch = inputs["batch"]
    assert batch.targets.tolist() == [list(p.targets) for p in pairs]
    assert inputs["weights"].tolist() == batch.weights.tolist() == [1.0] * 9
    assert list(batch.examples) == pairs
    assert sorted(i for indices in batch.share.trees for i in indices) == list(range(9))
    assert batch.num_tokens == sum(forest.input_ids.numel() for forest in batch.share.forests)
    for forest, indices in zip(batch.share.forests, batch.share.trees, strict=True):
        assert forest.num_sequences == 2 * len(indices)
        assert forest.input_ids.numel() <= max_tokens or len(indices) == 1
        completions = [ids for i in indices for ids in (pairs[i].chosen_ids, pairs[i].rejected_ids)]
        for sequence, tokens in enumerate(completions):
            of_sequence = forest.scored_sequence == sequence
            # Along a path positions ascend, and so do the positions that predict.
            assert forest.scored_token[of_sequence].tolist() == tokens


def test_dropped_rows_have_the_tables_schema(make_feedback: Any, encoder: Encoder) -> None:
    found, _ = encode(make_feedback, {"Hi": ("a", "b")}, encoder)
    assert isinstance(found.dropped, pl.DataFrame)
    assert found.dropped.columns == ["prompt_id", "strategy", "reason"]
    assert np.isnan(found.pairs[0].reference_chosen)
