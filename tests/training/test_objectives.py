"""Steps of every objective against the padded layout: loss, gradient and rows, however packed.

The twin is one pass of the padded model over the whole step, with the formula written out, the
shifts of KTO and BCO included.
"""

import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_runs import (
    assert_same_gradients,
    exact_llama,
    gradients,
    make_trainer,
    padded_logps,
    random_pairs,
    references,
    step,
)
from torch import Tensor

from notus.errors import DataError, TrainingError
from notus.loss_settings import LOSS_SETTINGS
from notus.scoring.score import padded_token_logps
from notus.training.batches import Collator
from notus.training.columns import COLUMNS
from notus.training.examples import Demonstration, Pair, Vote, demonstrations
from notus.training.monitor import summary
from notus.training.objectives import DemonstrationObjective, Objective, make_objective
from notus.training.votes import votes_of_pairs, with_mismatched

KTO = {"beta": 0.2, "desirable_weight": 1.5, "undesirable_weight": 0.5}


def scored(model: Any, rows: Sequence[tuple[list[int], list[int]]]) -> Tensor:
    """[N] log-probs of completions behind prompts by the padded layout, differentiable."""
    values, _ = padded_token_logps(model, [np.array([*prompt, *ids]) for prompt, ids in rows])
    spans = [slice(len(prompt) - 1, len(prompt) + len(ids) - 1) for prompt, ids in rows]
    return torch.stack([values[row, span].sum() for row, span in enumerate(spans)])


def some_votes(num: int = 9) -> list[Vote]:
    """Votes with references of their own, about half of them desirable."""
    rng = np.random.default_rng(1)
    votes = with_mismatched(votes_of_pairs(random_pairs(num)).votes, max_length=40, seed=0)
    values = rng.uniform(-30, -10, (len(votes), 2)).tolist()
    return [vote.with_reference(*pair) for vote, pair in zip(votes, values, strict=True)]


def twin(model: Any, loss: Callable[[], Tensor]) -> tuple[float, dict[str, Tensor]]:
    model.train()
    model.zero_grad(set_to_none=True)
    value = loss()
    value.backward()
    return value.item(), gradients(model)


def kto_by_hand(model: Any, votes: Sequence[Vote]) -> Tensor:
    ratios = scored(model, [(v.prompt_ids, v.completion_ids) for v in votes])
    ratios = ratios - torch.tensor([v.reference for v in votes], dtype=torch.float64)
    others = scored(model, [(v.prompt_ids, v.mismatched_ids or []) for v in votes]).detach()
    z0 = max(
        0.0,
        float(
            (
                others - torch.tensor([v.reference_mismatched for v in votes], dtype=torch.float64)
            ).mean()
        ),
    )
    total = torch.zeros(())
    for vote, ratio in zip(votes, ratios, strict=True):
        if vote.desirable:
            total = total + 1.5 * (1 - torch.sigmoid(0.2 * (ratio - z0)))
        else:
            total = total + 0.5 * (1 - torch.sigmoid(0.2 * (z0 - ratio)))
    return total / len(votes)


def bco_by_hand(model: Any, votes: Sequence[Vote]) -> Tensor:
    ratios = scored(model, [(v.prompt_ids, v.completion_ids) for v in votes])
    rewards = 0.2 * (ratios - torch.tensor([v.reference for v in votes], dtype=torch.float64))
    desirable = torch.tensor([v.desirable for v in votes])
    values = rewards.detach()
    delta = (values[desirable].mean() + values[~desirable].mean()) / 2
    return torch.where(
        desirable, -F.logsigmoid(rewards - delta), -F.logsigmoid(delta - rewards)
    ).mean()


def sft_by_hand(model: Any, examples: Sequence[Demonstration]) -> Tensor:
    """Minus the mean over all tokens of the step, as one cross-entropy call would have it."""
    logps = scored(model, [(e.prompt_ids, e.completion_ids) for e in examples])
    return -logps.sum() / sum(len(e.completion_ids) for e in examples)


def rpo_by_hand(model: Any, pairs: Sequence[Pair]) -> Tensor:
    chosen, rejected = padded_logps(model, pairs)
    reference_chosen, reference_rejected = references(pairs, chosen)
    margin = 0.2 * ((chosen - reference_chosen) - (rejected - reference_rejected))
    tokens = torch.tensor([len(pair.chosen_ids) for pair in pairs])
    return (0.5 * -F.logsigmoid(margin) - 2.0 * chosen / tokens).mean()


CASES: dict[str, tuple[Objective, Sequence[Any], Callable[..., Tensor]]] = {
    "kto": (make_objective({"kto": 1.0}, KTO), some_votes(), kto_by_hand),
    "bco": (make_objective({"bco": 1.0}, {"beta": 0.2}), some_votes(), bco_by_hand),
    "sft": (DemonstrationObjective(), demonstrations(random_pairs(9)), sft_by_hand),
    "rpo": (
        make_objective({"nll": 2.0, "sigmoid": 0.5}, {"beta": 0.2, "label_smoothing": 0.0}),
        random_pairs(9),
        rpo_by_hand,
    ),
}


@pytest.mark.parametrize("max_tokens", [1, 60, 10_000])
@pytest.mark.parametrize("name", CASES)
def test_a_step_is_the_formula_however_it_is_packed(name: str, max_tokens: int) -> None:
    objective, examples, by_hand = CASES[name]
    model = exact_llama()
    expected_loss, expected = twin(model, lambda: by_hand(model, examples))
    trainer = make_trainer(model, examples, objective=objective, max_tokens=max_tokens)
    loss, found = step(trainer, examples)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert_same_gradients(found, expected)
    turned = list(reversed(examples))
    loss, found = step(trainer, turned)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert_same_gradients(found, expected)


@pytest.mark.parametrize("name", CASES)
def test_the_held_out_loss_is_the_same_formula(name: str) -> None:
    objective, examples, by_hand = CASES[name]
    model = exact_llama()
    trainer = make_trainer(
        model,
        examples,
        eval_examples=examples,
        objective=objective,
        # One batch: the shift is of a batch, as in training.
        per_device_eval_batch_size=len(examples),
    )
    with torch.no_grad():
        expected = by_hand(model.eval(), examples).item()
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-6)


def test_the_held_out_loss_of_demonstrations_weighs_tokens_over_all_batches() -> None:
    model, examples = exact_llama(), demonstrations(random_pairs(9))
    trainer = make_trainer(
        model,
        examples,
        eval_examples=examples,
        objective=DemonstrationObjective(),
        per_device_eval_batch_size=2,
    )
    with torch.no_grad():
        expected = sft_by_hand(model.eval(), examples).item()
    found = trainer.evaluate()
    assert found["eval_loss"] == pytest.approx(expected, rel=1e-6)
    assert found["eval_perplexity"] == pytest.approx(math.exp(expected), rel=1e-6)


def test_an_objective_may_be_called_on_any_pairs() -> None:
    """As a head does that makes the gradient of one pair at a time."""
    pairs = random_pairs(6)
    targets = torch.tensor([pair.targets for pair in pairs], dtype=torch.float64)
    logps = torch.linspace(-20, -5, 12, dtype=torch.float64)
    zero = torch.zeros(())
    for name, known in LOSS_SETTINGS.items():
        if known.trains_on == "pairs":
            objective = make_objective({name: 1.0}, known.defaults)
            whole = objective(logps, targets, zero)
            for i in range(6):
                alone = objective(logps[2 * i : 2 * i + 2], targets[i : i + 1], zero)
                torch.testing.assert_close(alone.losses[0], whole.losses[i])
                torch.testing.assert_close(alone.rows[0], whole.rows[i], equal_nan=True)


def test_rewards_of_a_mixture_do_not_depend_on_the_order_of_its_names() -> None:
    targets = torch.tensor([random_pairs(1)[0].targets], dtype=torch.float64)
    logps, settings = torch.tensor([-9.0, -5.0]).double(), {"beta": 0.2, "label_smoothing": 0.0}
    rows = [
        make_objective(losses, settings)(logps, targets, torch.zeros(())).rows
        for losses in ({"nll": 1.0, "sigmoid": 1.0}, {"sigmoid": 1.0, "nll": 1.0})
    ]
    assert torch.equal(*rows)
    reward = 0.2 * (-9.0 - targets[0, 0])
    assert rows[0][0, COLUMNS.index("chosen_reward")] == pytest.approx(reward.item())


def test_only_losses_that_compare_with_it_need_a_reference() -> None:
    for name, known in LOSS_SETTINGS.items():
        assert make_objective({name: 1.0}, known.defaults).needs_reference == known.needs_reference
    assert not DemonstrationObjective().needs_reference
    assert make_objective({"nll": 1.0, "ipo": 1.0}, {"beta": 0.1}).needs_reference
    assert not make_objective({"nll": 1.0, "orpo": 1.0}, {"beta": 0.1}).needs_reference


class Rows(NamedTuple):
    examples: Sequence[Any]
    values: Tensor


def received(objective: Objective, examples: Sequence[Any]) -> tuple[list[Rows], Any]:
    """What the gauges get of a step and of an evaluation, and the trainer, which has logged."""
    seen: list[Rows] = []
    trainer = make_trainer(
        exact_llama(),
        examples,
        eval_examples=examples,
        objective=objective,
        per_device_eval_batch_size=len(examples),
        max_tokens=50,
    )
    take, evaluate = trainer.gauges.step, trainer.gauges.evaluation

    def seen_step(batch: Any, rows: Tensor) -> None:
        seen.append(Rows(batch.examples, rows))
        take(batch, rows)

    def seen_evaluation(given: Sequence[Any], rows: Tensor) -> dict[str, float]:
        seen.append(Rows(given, rows))
        return evaluate(given, rows)

    trainer.gauges.step = seen_step  # type: ignore[method-assign]
    trainer.gauges.evaluation = seen_evaluation  # type: ignore[method-assign]
    step(trainer, examples)
    trainer.log({"loss": 1.0})
    return seen, trainer


def test_rows_of_pairs_are_complete_and_belong_to_their_pairs() -> None:
    pairs = random_pairs(7)
    objective = make_objective({"sigmoid": 1.0}, {"beta": 0.2, "label_smoothing": 0.0})
    seen, trainer = received(objective, pairs)
    trainer.evaluate()
    rows, again = seen
    with torch.no_grad():
        chosen, rejected = padded_logps(trainer.model, pairs)
    for found in (rows, again):
        assert list(found.examples) == pairs
        table = dict(zip(COLUMNS, found.values.unbind(1), strict=True))
        torch.testing.assert_close(table["chosen_logps"], chosen)
        torch.testing.assert_close(table["rejected_logps"], rejected)
        assert table["reference_chosen"].tolist() == [p.reference_chosen for p in pairs]
        assert table["reference_rejected"].tolist() == [p.reference_rejected for p in pairs]
        assert table["chosen_tokens"].tolist() == [len(p.chosen_ids) for p in pairs]
        assert table["rejected_tokens"].tolist() == [len(p.rejected_ids) for p in pairs]
        rewards = 0.2 * (chosen - table["reference_chosen"])
        torch.testing.assert_close(table["chosen_reward"], rewards)
        margin = rewards - 0.2 * (rejected - table["reference_rejected"])
        torch.testing.assert_close(table["loss"], -F.logsigmoid(margin))


def test_rows_of_votes_fill_one_side_and_metrics_are_of_those_who_have_one() -> None:
    votes = some_votes()
    seen, trainer = received(make_objective({"kto": 1.0}, KTO), votes)
    table = dict(zip(COLUMNS, seen[0].values.unbind(1), strict=True))
    desirable = torch.tensor([v.desirable for v in votes])
    for name, column in table.items():
        side = {"chosen": desirable, "rejected": ~desirable}
        expected = next((s for word, s in side.items() if word in name), torch.ones(len(votes)) > 0)
        assert torch.equal(~column.isnan(), expected), name
    logged = trainer.state.log_history[-1]
    means = {side: table[f"{side}_reward"].nanmean().item() for side in ("chosen", "rejected")}
    assert logged["rewards/chosen"] == pytest.approx(means["chosen"])
    assert logged["rewards/margins"] == pytest.approx(means["chosen"] - means["rejected"])
    assert "rewards/accuracies" not in logged
    assert logged["num_examples"] == len(votes)


def test_demonstrations_have_no_rewards() -> None:
    seen, trainer = received(DemonstrationObjective(), demonstrations(random_pairs(9)))
    logged = trainer.state.log_history[-1]
    assert {n for n in logged if "/" in n and "seconds/" not in n} == {"logps/chosen"}
    table = dict(zip(COLUMNS, seen[0].values.unbind(1), strict=True))
    torch.testing.assert_close(table["loss"], -table["chosen_logps"] / table["chosen_tokens"])


def test_metrics_of_no_rows_but_one_kind() -> None:
    assert summary(np.full((2, len(COLUMNS)), np.nan)) == {"num_examples": 2}


@pytest.mark.parametrize("name", ["kto", "bco"])
def test_step_0_of_votes_is_checked(name: str) -> None:
    """At the reference KTO's is the mean of half the weights, BCO's ln 2."""
    objective, votes, _ = CASES[name]
    model = exact_llama()
    with torch.no_grad():
        own = scored(model, [(v.prompt_ids, v.completion_ids) for v in votes]).tolist()
        other = scored(model, [(v.prompt_ids, v.mismatched_ids or []) for v in votes]).tolist()
    right = [v.with_reference(a, b) for v, a, b in zip(votes, own, other, strict=True)]
    trainer = make_trainer(model, right, objective=objective)
    loss = float(trainer.training_step(model, trainer.data_collator(right)))
    half = sum(1.5 if v.desirable else 0.5 for v in votes) / len(votes) / 2
    assert loss == pytest.approx(half if name == "kto" else math.log(2), abs=1e-7)
    wrong = [
        v.with_reference(a + 3 * v.desirable, b) for v, a, b in zip(right, own, other, strict=True)
    ]
    with pytest.raises(TrainingError, match="at step 0"):
        trainer.training_step(model, trainer.data_collator(wrong))


@pytest.mark.parametrize("losses", [{"simpo": 1.0}, {"orpo": 1.0}, {"nll": 1.0}])
def test_without_a_reference_there_is_nothing_to_check(losses: dict[str, float]) -> None:
    (name,) = losses
    objective = make_objective(losses, LOSS_SETTINGS[name].defaults)
    pairs = [pair.with_reference(math.nan, math.nan) for pair in random_pairs(5)]
    trainer = make_trainer(exact_llama(), pairs, objective=objective)
    assert math.isfinite(trainer.training_step(trainer.model, trainer.data_collator(pairs)))
    trainer.log({"loss": 1.0})
    logged = trainer.state.log_history[-1]
    assert "rewards/accuracies" in logged
    assert "delta_logps/chosen" not in logged


# --- votes and demonstrations from pairs


def test_votes_are_distinct_and_contradictions_are_left_out() -> None:
    a, b = random_pairs(3)[::2]
    both = Pair(
        preference_id="x",
        prompt_id=a.prompt_id,
        prompt_ids=a.prompt_ids,
        chosen_ids=a.rejected_ids,
        rejected_ids=[1, 2, 3],
    )
    votes, contradictory = votes_of_pairs([a, b, a, both])
    assert contradictory == 1
    assert [(v.completion_ids, v.desirable) for v in votes] == [
        (a.chosen_ids, True),
        (b.chosen_ids, True),
        (b.rejected_ids, False),
        ([1, 2, 3], False),
    ]
    assert [v.prompt_ids for v in votes] == [a.prompt_ids, b.prompt_ids, b.prompt_ids, a.prompt_ids]


def test_demonstrations_are_the_distinct_chosen_completions_in_order() -> None:
    a, b = random_pairs(3)[::2]
    found = demonstrations([a, b, a])
    assert [(d.prompt_ids, d.completion_ids) for d in found] == [
        (a.prompt_ids, a.chosen_ids),
        (b.prompt_ids, b.chosen_ids),
    ]
    assert [d.weight for d in found] == [len(a.chosen_ids), len(b.chosen_ids)]


def test_mismatched_completions_are_others_drawn_by_content() -> None:
    votes = votes_of_pairs(random_pairs(12)).votes
    given = with_mismatched(votes, max_length=25, seed=3)
    answers = {(*v.prompt_ids,): [] for v in votes}
    for vote in votes:
        answers[(*vote.prompt_ids,)].append(vote.completion_ids)
    for vote in given:
        room = 25 - len(vote.prompt_ids)
        others = [
            ids[:room] for p, own in answers.items() if p != (*vote.prompt_ids,) for ids in own
        ]
        assert vote.mismatched_ids in others
        assert len(vote.mismatched_ids) > 0
    shuffled = with_mismatched(list(reversed(votes)), max_length=25, seed=3)
    assert list(reversed(shuffled)) == given
    assert with_mismatched(votes, max_length=25, seed=4) != given
    alone = [vote for vote in votes if vote.prompt_ids == votes[0].prompt_ids]
    with pytest.raises(DataError, match="all on completions of one prompt"):
        with_mismatched(alone, max_length=25, seed=3)


# --- two processes


def half_a_step(rank: int, folder: Path) -> None:
    """One of two processes: the gradient of its share of the step, added up as DDP would."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for name in TOGETHER:
        objective, examples, _ = CASES[name]
        trainer = make_trainer(exact_llama(), examples, objective=objective, max_tokens=60)
        trainer.data_collator = Collator(max_tokens=60, rank=rank, size=2)
        loss, found = step(trainer, examples)
        for value in found.values():
            dist.all_reduce(value)
        if rank == 0:
            whole = {"loss": torch.tensor(loss, dtype=torch.float64)}
            torch.save(whole | found, folder / f"{name}.pt")
    dist.destroy_process_group()


TOGETHER = ("kto", "sft")


def test_two_processes_make_the_step_of_one(tmp_path: Path) -> None:
    here = Path(__file__).parent
    code = (
        f"import sys; sys.path[:0] = {[str(here), str(here.parent)]!r}\n"
        "from pathlib import Path; import test_objectives\n"
        f"test_objectives.half_a_step(int(sys.argv[1]), Path({str(tmp_path)!r}))"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(rank)]) for rank in range(2)]
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    for name in TOGETHER:
        _, examples, by_hand = CASES[name]
        model = exact_llama()
        expected_loss, expected = twin(model, lambda: by_hand(model, examples))  # noqa: B023
        found = torch.load(tmp_path / f"{name}.pt")
        assert found.pop("loss").item() == pytest.approx(expected_loss, rel=1e-6)
        assert_same_gradients(found, expected)
