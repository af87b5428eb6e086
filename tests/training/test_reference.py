"""The store of reference log-probs: right values, paid for once, and never another reference's."""

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_runs import padded_logps, random_pairs

import tiny
from notus.models import Model
from notus.scoring.attention import use_tree_attention
from notus.training import reference
from notus.training.examples import Pair
from notus.training.reference import ReferenceStore, reference_logps, tokens_digest


@pytest.fixture
def model() -> Model:
    """A model of one test's own, proved already, so that its forward calls can be counted."""
    own = dataclasses.replace(tiny.make_model(), model=copy.deepcopy(tiny.make_model().model))
    with use_tree_attention(own.model):
        return own


def groups_of(pairs: Sequence[Pair]) -> list[tuple[list[int], tuple[list[int], list[int]]]]:
    return [(pair.prompt_ids, (pair.chosen_ids, pair.rejected_ids)) for pair in pairs]


@contextmanager
def forward_calls(model: Any) -> Iterator[list[int]]:
    """Collect the number of tokens of every forward call."""
    calls: list[int] = []

    def count(module: Any, args: Any, kwargs: Any) -> None:
        calls.append(kwargs["input_ids"].numel())

    hook = model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield calls
    finally:
        hook.remove()


def compute(root: Path, model: Model, pairs: Sequence[Pair], **options: Any) -> list[list[float]]:
    """One process's life: open the store, get the log-probs."""
    store = ReferenceStore(root, model, precision="float32")
    options = {"max_tokens": 64} | options
    return reference_logps(store, model.model, groups_of(pairs), **options).logps


def test_values_are_those_of_the_padded_layout(tmp_path: Path, model: Model) -> None:
    pairs = random_pairs(12)
    with torch.no_grad():
        chosen, rejected = padded_logps(model.model, pairs)
    found = torch.tensor(compute(tmp_path, model, pairs))
    torch.testing.assert_close(found[:, 0], chosen, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[:, 1], rejected, rtol=1e-5, atol=1e-5)


def test_a_second_run_and_any_new_pairing_cost_no_pass(tmp_path: Path, model: Model) -> None:
    """What re-binarizing does: other pairs, in another order, from the same completions."""
    pairs = random_pairs(12)
    first = compute(tmp_path, model, pairs)
    swapped = [
        dataclasses.replace(pair, chosen_ids=pair.rejected_ids, rejected_ids=pair.chosen_ids)
        for pair in reversed(pairs)
    ]
    with forward_calls(model.model) as calls:
        assert compute(tmp_path, model, pairs) == first
        assert compute(tmp_path, model, swapped) == [row[::-1] for row in reversed(first)]
    assert calls == []


def test_what_a_pass_cost_is_counted_in_distinct_completions(tmp_path: Path, model: Model) -> None:
    pairs = random_pairs(12)
    distinct = {tokens_digest(pair.prompt_ids, ids) for pair in pairs for ids in pair.completions}
    for reused in (0, len(distinct)):
        store = ReferenceStore(tmp_path, model, precision="float32")
        found = reference_logps(store, model.model, groups_of(pairs), max_tokens=64)
        assert (found.num_reused, found.num_computed) == (reused, len(distinct) - reused)


def test_a_store_that_nobody_asks_leaves_no_folder(tmp_path: Path, model: Model) -> None:
    store = ReferenceStore(tmp_path / "runs" / ".reference", model, precision="float32")
    assert "t" not in store
    assert not (tmp_path / "runs").exists()


def test_one_new_completion_costs_its_own_pass_only(tmp_path: Path, model: Model) -> None:
    pairs = random_pairs(6)
    before = compute(tmp_path, model, pairs)
    changed = dataclasses.replace(pairs[2], rejected_ids=[1, 2, 3])
    with forward_calls(model.model) as calls:
        after = compute(tmp_path, model, [*pairs[:2], changed, *pairs[3:]])
    assert len(calls) == 1
    assert calls[0] <= len(changed.prompt_ids) + 3
    assert after[2][0] == before[2][0], "a stored value never changes"
    assert after[2][1] != before[2][1]
    assert after[:2] + after[3:] == before[:2] + before[3:]


def test_completions_of_one_prompt_are_scored_together_and_once(
    tmp_path: Path, model: Model
) -> None:
    """As where every lower completion makes a pair with the best one."""
    first, other = random_pairs(3)[::2]
    pairs = [
        dataclasses.replace(first, rejected_ids=rejected)
        for rejected in (first.rejected_ids, other.chosen_ids, other.rejected_ids)
    ]
    with forward_calls(model.model) as calls:
        found = compute(tmp_path, model, pairs)
    completions = (first.chosen_ids, *(pair.rejected_ids for pair in pairs))
    assert sum(calls) <= len(first.prompt_ids) + sum(map(len, completions))
    assert len({row[0] for row in found}) == 1
    assert len({row[1] for row in found}) == 3


def test_killed_between_shards_keeps_what_was_finished(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "TREES_PER_SHARD", 4)
    pairs = random_pairs(11)[::2] + random_pairs(11, seed=1)[::2]  # no pair twice
    expected = compute(tmp_path / "whole", model, pairs)
    reports: list[tuple[int, int]] = []

    def die(done: int, total: int) -> None:
        reports.append((done, total))
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute(tmp_path / "killed", model, pairs, progress=die)
    # What a process leaves that is killed while it writes a shard is no shard.
    (folder,) = (tmp_path / "killed").iterdir()
    (folder / ".0123.parquet.notus-tmp").write_bytes(b"PAR1")
    with forward_calls(model.model) as calls:
        found = compute(tmp_path / "killed", model, pairs, progress=lambda *at: reports.append(at))
    assert reports == [(4, 12), (8, 12), (4, 4)]
    assert 0 < sum(calls) <= sum(pair.num_tokens for pair in pairs[8:])
    assert found == expected


def test_equal_completions_share_a_row(tmp_path: Path, model: Model) -> None:
    (pair,) = random_pairs(1)
    same = dataclasses.replace(pair, rejected_ids=pair.chosen_ids)
    rows = compute(tmp_path, model, [same, same])
    assert len({value for row in rows for value in row}) == 1


def changed_weights(model: Model) -> Model:
    with torch.no_grad():
        model.model.model.layers[1].mlp.up_proj.weight[3, 5] += 1e-3
    return model


def changed_settings(model: Model) -> Model:
    model.model.config.rms_norm_eps *= 2
    return model


def changed_type(model: Model) -> Model:
    return dataclasses.replace(model, model=model.model.to(torch.bfloat16))


def changed_template(model: Model) -> Model:
    tokenizer = tiny.make_tokenizer()
    tokenizer.chat_template = tokenizer.chat_template.replace("Be kind.", "Be brief.")
    return dataclasses.replace(model, tokenizer=tokenizer)


def changed_vocabulary(model: Model) -> Model:
    tokenizer = tiny.make_tokenizer()
    tokenizer.add_tokens(["brand new"])
    return dataclasses.replace(model, tokenizer=tokenizer)


@pytest.mark.parametrize(
    "change",
    [changed_weights, changed_settings, changed_type, changed_template, changed_vocabulary],
)
def test_any_change_of_the_reference_misses(tmp_path: Path, model: Model, change: Any) -> None:
    before = ReferenceStore(tmp_path, model, precision="float32")
    assert ReferenceStore(tmp_path, model, precision="float32").key == before.key
    before.add([("t", -1.0, 1)])
    after = ReferenceStore(tmp_path, change(model), precision="float32")
    assert after.key != before.key
    assert "t" not in after
    assert "t" in before


def test_another_precision_misses(tmp_path: Path, model: Model) -> None:
    ReferenceStore(tmp_path, model, precision="float32").add([("t", -1.0, 1)])
    assert "t" in ReferenceStore(tmp_path, model, precision="float32")
    assert "t" not in ReferenceStore(tmp_path, model, precision="bfloat16")


def test_the_place_of_the_model_does_not_matter(tmp_path: Path) -> None:
    from notus.models import load

    loaded = [load(str(tiny.save_model(tmp_path / name))) for name in ("here", "there")]
    keys = {ReferenceStore(tmp_path / "r", model, precision="float32").key for model in loaded}
    assert len(keys) == 1


tokens = st.lists(st.integers(0, 3), min_size=1, max_size=4)


@given(tokens, tokens, tokens, tokens)
def test_keys_tell_apart_all_prompts_and_completions(
    a: list[int], b: list[int], c: list[int], d: list[int]
) -> None:
    assert (tokens_digest(a, b) == tokens_digest(c, d)) == ((a, b) == (c, d))
    assert tokens_digest([*a, *b], c) != tokens_digest(a, [*b, *c])
