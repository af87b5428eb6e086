"""The preference trainer's step against the padded layout: full weights and adapters, and bfloat16.

`random_pairs` has references with a margin for every pair, so that each pair weighs differently;
loss and gradient of the step must come out as the paper's formula on the padded layout has them,
however the pairs are ordered and packed.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import (
    TOLERANCE,
    assert_same_gradients,
    exact_llama,
    make_trainer,
    old_name_warns,
    padded_logps,
    padded_step,
    random_pairs,
    references,
    step,
    with_own_references,
)
from torch import Tensor

from notus.errors import TrainingError
from notus.scoring.attention import use_tree_attention
from notus.scoring.score import score
from notus.training.examples import Pair
from notus.training.losses import rewards_accuracy
from notus.training.trainer import PreferenceTrainer

Check = Callable[..., None]


def with_lora(model: Any) -> Any:
    dtype = model.dtype
    config = peft.LoraConfig(
        r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return peft.get_peft_model(model, config).to(dtype)


def first_step(trainer: PreferenceTrainer, pairs: list[Pair]) -> float:
    return float(trainer.training_step(trainer.model, trainer.data_collator(pairs)))


@old_name_warns
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("max_tokens", [1, 50, 10_000])
def test_step_equals_the_padded_formula(dtype: torch.dtype, lora: bool, max_tokens: int) -> None:
    """One pair a row, a few, and all in one: the same loss and gradients."""
    model = exact_llama(dtype)
    model = with_lora(model) if lora else model
    pairs = random_pairs(10)
    loss, expected = padded_step(model, pairs, beta=0.2)
    found_loss, found = step(make_trainer(model, pairs, max_tokens=max_tokens, beta=0.2), pairs)
    assert found_loss == pytest.approx(loss, rel=1e-6)
    assert_same_gradients(found, expected)


@settings(max_examples=12)
@given(order=st.permutations(range(7)), max_tokens=st.integers(1, 160))
def test_step_depends_neither_on_order_nor_on_packing(order: list[int], max_tokens: int) -> None:
    pairs = random_pairs(7)
    model = exact_llama()
    expected_loss, expected = step(make_trainer(model, pairs, max_tokens=10_000), pairs)
    trainer = make_trainer(model, pairs, max_tokens=max_tokens)
    loss, found = step(trainer, [pairs[i] for i in order])
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert_same_gradients(found, expected)


@pytest.mark.parametrize("lora", [False, pytest.param(True, marks=old_name_warns)])
def test_gradient_checkpointing_changes_no_gradient(lora: bool) -> None:
    llama, pairs = exact_llama(), random_pairs(6)
    model = with_lora(llama) if lora else llama
    _, expected = padded_step(model, pairs, beta=0.1)
    llama.activation_checkpointing_enable()
    calls = []
    with use_tree_attention(model):  # proved first: that calls the model too
        llama.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    _, found = step(make_trainer(model, pairs, max_tokens=10_000), pairs)
    assert len(calls) == 2, "one forward, and one again in the backward"
    assert_same_gradients(found, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_loss_of_the_first_step_is_ln_2(dtype: torch.dtype) -> None:
    model = exact_llama(dtype)
    pairs = with_own_references(model, random_pairs(9))
    loss = first_step(make_trainer(model, pairs), pairs)
    assert loss == pytest.approx(math.log(2), abs=TOLERANCE[dtype] if dtype.itemsize < 8 else 1e-7)


def shifted(pairs: list[Pair]) -> list[Pair]:
    """Log-probs of the chosen completions too high by one nat, as a double BOS may make them."""
    return [p.with_reference(p.reference_chosen + 1, p.reference_rejected) for p in pairs]


def swapped(pairs: list[Pair]) -> list[Pair]:
    return [p.with_reference(p.reference_rejected, p.reference_chosen) for p in pairs]


def of_another_model(pairs: list[Pair]) -> list[Pair]:
    return with_own_references(exact_llama(seed=1), pairs)


def rolled(pairs: list[Pair]) -> list[Pair]:
    """Each pair with the references of the next."""
    others = pairs[1:] + pairs[:1]
    return [
        p.with_reference(q.reference_chosen, q.reference_rejected)
        for p, q in zip(pairs, others, strict=True)
    ]


@pytest.mark.parametrize("spoil", [shifted, swapped, of_another_model, rolled])
def test_wrong_references_stop_the_training(spoil: Any) -> None:
    model = exact_llama()
    pairs = spoil(with_own_references(model, random_pairs(9)))
    with pytest.raises(TrainingError, match=r"(?s)a loss of .* at step 0.*ln 2 = 0\.693147"):
        first_step(make_trainer(model, pairs), pairs)


def test_unknown_references_stop_the_training() -> None:
    model = exact_llama()
    pairs = [p.with_reference(math.nan, math.nan) for p in random_pairs(9)]
    with pytest.raises(TrainingError, match="a loss of nan at step 0"):
        first_step(make_trainer(model, pairs), pairs)


def test_dropout_in_the_base_model_stops_the_training() -> None:
    """The reference has none: from step 1 on every log-ratio would be noise."""
    model = exact_llama()
    pairs = with_own_references(model, random_pairs(9))
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    with torch.random.fork_rng():
        torch.manual_seed(0)
        with pytest.raises(TrainingError, match="dropout in the base model"):
            first_step(make_trainer(model, pairs), pairs)


def test_logged_metrics_are_means_over_pairs_since_the_last_log() -> None:
    """Two steps of different size, each in several forests: every pair weighs the same."""
    model = exact_llama()
    pairs = random_pairs(8)
    trainer = make_trainer(model, pairs, max_tokens=40, beta=0.2)
    step(trainer, pairs[:3])
    step(trainer, pairs[3:])
    trainer.log({"loss": 1.0})
    found = trainer.state.log_history[-1]
    expected = expected_metrics(model, pairs, beta=0.2)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    assert found["num_examples"] == 8
    assert found["tokens_per_second"] > 0
    step(trainer, pairs[:1])
    trainer.log({"loss": 1.0})
    alone = expected_metrics(model, pairs[:1], beta=0.2)
    found = trainer.state.log_history[-1]
    assert {name: found[name] for name in alone} == pytest.approx(alone, rel=1e-9)


def expected_metrics(model: Any, pairs: list[Pair], beta: float) -> dict[str, float]:
    with torch.no_grad():
        chosen, rejected = padded_logps(model, pairs)
    delta_chosen, delta_rejected = (
        policy - reference
        for policy, reference in zip(
            (chosen, rejected), references(pairs, like=chosen), strict=True
        )
    )
    values: dict[str, Tensor] = {
        "rewards/chosen": beta * delta_chosen,
        "rewards/rejected": beta * delta_rejected,
        "rewards/margins": beta * (delta_chosen - delta_rejected),
        "logps/chosen": chosen,
        "logps/rejected": rejected,
        "delta_logps/chosen": delta_chosen,
        "delta_logps/rejected": delta_rejected,
    }
    means = {name: value.mean().item() for name, value in values.items()}
    return means | {"rewards/accuracies": rewards_accuracy(delta_chosen, delta_rejected).item()}


@pytest.mark.parametrize("batch_size", [2, 3, 16])
def test_evaluation_is_over_pairs_and_without_gradient(batch_size: int) -> None:
    model = exact_llama()
    pairs = random_pairs(7)
    trainer = make_trainer(
        model, pairs, eval_examples=pairs, beta=0.2, per_device_eval_batch_size=batch_size
    )
    found = trainer.evaluate()
    expected = {f"eval_{k}": v for k, v in expected_metrics(model, pairs, beta=0.2).items()}
    expected["eval_loss"] = padded_step(model, pairs, beta=0.2)[0]
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert found["eval_num_examples"] == 7


def test_bfloat16_products_leave_float32_weights_and_near_gradients() -> None:
    model, pairs = exact_llama(torch.float32), random_pairs(9)
    _, exact = step(make_trainer(model, pairs), pairs)
    _, rough = step(make_trainer(model, pairs, bf16=True), pairs)
    for name, gradient in exact.items():
        assert rough[name].dtype == torch.float32
        likeness = torch.cosine_similarity(gradient.flatten(), rough[name].flatten(), dim=0)
        assert likeness > 0.99, f"{name}: {likeness}"
        assert not torch.allclose(rough[name], gradient, rtol=1e-4), f"{name} is of float32"


def test_in_bfloat16_the_policy_is_still_the_reference() -> None:
    """Head included: both passes are under one autocast, and only their packing differs."""
    model, pairs = exact_llama(torch.float32), random_pairs(9)
    with torch.autocast("cpu", torch.bfloat16):
        scores = score(model, [pair.tree for pair in pairs], max_tokens=10_000)
    rows = scores.logps.view(-1, 2).tolist()
    pairs = [pair.with_reference(*row) for pair, row in zip(pairs, rows, strict=True)]
    trainer = make_trainer(model, pairs, bf16=True, max_tokens=50)
    loss = first_step(trainer, pairs)
    assert loss == pytest.approx(math.log(2), abs=2e-3)
    trainer.log({"loss": loss})
    worst = trainer.state.log_history[-1]
    assert abs(worst["delta_logps/chosen"]) < 0.02
    assert abs(worst["delta_logps/rejected"]) < 0.02


def test_training_itself_begins_with_the_longest_pair_and_every_epoch_has_its_order() -> None:
    model = exact_llama(torch.float32)
    pairs = [
        dataclasses.replace(pair, preference_id=str(i)) for i, pair in enumerate(random_pairs(8))
    ]
    pairs = with_own_references(model, pairs)
    trainer = make_trainer(
        model, pairs, per_device_train_batch_size=2, num_train_epochs=2, learning_rate=0.0
    )
    collate, seen = trainer.data_collator, []

    def remember(batch: list[Pair]) -> Any:
        seen.extend(pair.preference_id for pair in batch)
        return collate(batch)

    trainer.data_collator = remember
    trainer.train()
    epochs = [seen[:8], seen[8:]]
    assert [sorted(epoch) for epoch in epochs] == [[str(i) for i in range(8)]] * 2
    assert epochs[0] != epochs[1]
    assert pairs[int(seen[0])].num_tokens == max(pair.num_tokens for pair in pairs)
