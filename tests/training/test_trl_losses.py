"""Each loss against TRL's own code, forward and gradient, on log-probs that both are given.

TRL's loss functions live inside of trainers. They run here as they are, on an instance without a
constructor, whose model hands out the log-probs. TRL takes means over a batch; so one pair is a
batch where a mean could hide a difference. Tolerance 1e-5 in float32.
"""

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from trl import DPOTrainer, KTOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

from notus.loss_settings import LOSS_SETTINGS
from notus.training.losses import PAIR_LOSSES, PairLogps, nll
from notus.training.vote_losses import VoteLogps, bco, kto, kto_shift

LENGTHS = [(3, 7), (1, 4), (6, 2), (5, 5)]
DPO_NAMES = {
    "sigmoid": ["sigmoid"],
    "robust": ["robust"],
    "ipo": ["ipo"],
    "hinge": ["hinge"],
    "sigmoid_norm": ["sigmoid_norm"],
    "apo_zero": ["apo_zero"],
    "apo_down": ["apo_down"],
    "nll": ["sft"],
}


class Outputs(SimpleNamespace):
    """What TRL's fused head returns of a [B, L] batch, of which the loss reads `log_probs`."""

    def __init__(self, log_probs: Tensor) -> None:
        zeros = torch.zeros_like(log_probs)
        super().__init__(
            log_probs=log_probs,
            entropy=zeros,
            mean_logits=zeros,
            is_top1=zeros.bool(),
            log_sum_sq_probs=zeros,
        )


def accelerator() -> Any:
    def same(value: Tensor) -> Tensor:
        return value

    return SimpleNamespace(device=torch.device("cpu"), gather=same, gather_for_metrics=same)


def token_logps(lengths: list[int], seed: int) -> tuple[Tensor, Tensor]:
    """Random log-probs [B, L] of completions behind a prompt of 2, and their mask [B, L + 1]."""
    generator = torch.Generator().manual_seed(seed)
    width = 1 + max(lengths)
    mask = torch.zeros(len(lengths), width + 1, dtype=torch.int64)
    for row, length in enumerate(lengths):
        mask[row, 2 : 2 + length] = 1
    values = -torch.rand(len(lengths), width, generator=generator) * mask[:, 1:]
    return values, mask


def dpo_trainer(loss_types: list[str], weights: list[float], beta: float, smoothing: float) -> Any:
    trainer = object.__new__(DPOTrainer)
    trainer.__dict__ |= {
        "accelerator": accelerator(),
        "model": SimpleNamespace(training=False),
        "aux_loss_enabled": False,
        "ld_alpha": None,
        "precompute_ref_logps": True,
        "f_divergence_type": "reverse_kl",
        "loss_types": loss_types,
        "loss_weights": weights,
        "beta": beta,
        "label_smoothing": smoothing,
        "use_weighting": False,
        "_metrics": {"eval": defaultdict(list)},
        "_total_train_tokens": 0,
    }
    return trainer


def dpo_loss(trainer: Any, policy: Tensor, mask: Tensor, reference: Tensor) -> Tensor:
    inputs = {
        "input_ids": torch.zeros_like(mask),
        "completion_mask": mask,
        "ref_chosen_logps": reference.sum(1).chunk(2)[0],
        "ref_rejected_logps": reference.sum(1).chunk(2)[1],
    }
    return trainer._compute_loss(lambda **_: Outputs(policy), inputs, return_outputs=False)


def our_pairs(policy: Tensor, mask: Tensor, reference: Tensor) -> PairLogps:
    columns = [x.sum(1).chunk(2) for x in (policy, reference, mask.float())]
    return PairLogps(*(side for column in columns for side in column))


def assert_same(ours: Tensor, theirs: Tensor, policy: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    # Of the prompt's places, 0 in all, only TRL's selection has no gradient.
    scored = policy != 0
    found, expected = (torch.autograd.grad(loss, policy)[0][scored] for loss in (ours, theirs))
    assert expected.abs().max() > 1e-3, "nothing is compared"
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", DPO_NAMES)
@pytest.mark.parametrize("pair", range(len(LENGTHS)))
def test_a_pair_has_the_loss_and_gradient_of_trls_dpo_trainer(name: str, pair: int) -> None:
    settings = dict(LOSS_SETTINGS[name].defaults)
    beta = settings.setdefault("beta", 0.1)
    policy, mask = token_logps([*LENGTHS[pair]], seed=pair)
    reference, _ = token_logps([*LENGTHS[pair]], seed=pair + 100)
    policy.requires_grad_()
    trainer = dpo_trainer(DPO_NAMES[name], [1.0], beta, settings.get("label_smoothing", 0.0))
    theirs = dpo_loss(trainer, policy, mask, reference)
    read = LOSS_SETTINGS[name].defaults
    ours = PAIR_LOSSES[name](our_pairs(policy, mask, reference), **read)
    assert_same(ours.losses.mean(), theirs, policy)
    if name not in ("sigmoid_norm", "nll"):  # their rewards are of what is trained, a token
        logged = trainer._metrics["eval"]
        assert ours.chosen_rewards.item() == pytest.approx(logged["rewards/chosen"][0], abs=1e-5)
        assert ours.rejected_rewards.item() == pytest.approx(
            logged["rewards/rejected"][0], abs=1e-5
        )


def test_rpo_of_equally_long_completions_is_trls_mixture() -> None:
    """TRL's "sft" is a mean over the tokens of the batch: ours where all have equally many."""
    policy, mask = token_logps([4] * 6, seed=5)
    reference, _ = token_logps([4] * 6, seed=6)
    policy.requires_grad_()
    theirs = dpo_loss(
        dpo_trainer(["sigmoid", "sft"], [1.0, 0.2], 0.3, 0.0), policy, mask, reference
    )
    pairs = our_pairs(policy, mask, reference)
    ours = PAIR_LOSSES["sigmoid"](pairs, beta=0.3).losses + 0.2 * nll(pairs).losses
    assert_same(ours.mean(), theirs, policy)


@pytest.mark.parametrize(
    ("name", "settings", "attributes"),
    [
        ("simpo", {"beta": 2.0, "gamma_beta_ratio": 0.5, "label_smoothing": 0.0}, {}),
        ("simpo", {"beta": 5.0, "gamma_beta_ratio": 0.3, "label_smoothing": 0.1}, {}),
        # CPO's sigmoid loss is conservative DPO once it is given log-ratios for log-probs.
        ("sigmoid", {"beta": 0.3, "label_smoothing": 0.2}, {"loss_type": "sigmoid"}),
    ],
)
def test_simpo_and_conservative_dpo_are_trls(
    name: str, settings: dict[str, float], attributes: dict[str, str]
) -> None:
    policy, mask = token_logps([n for pair in zip(*LENGTHS, strict=True) for n in pair], seed=1)
    policy.requires_grad_()
    trainer = object.__new__(CPOTrainer)
    trainer.__dict__ |= {
        "accelerator": accelerator(),
        "alpha": 0.0,
        "loss_type": "simpo",
        "beta": settings["beta"],
        "simpo_gamma": settings["beta"] * settings.get("gamma_beta_ratio", 0.0),
        "label_smoothing": settings["label_smoothing"],
    } | attributes
    pairs = our_pairs(policy, mask, torch.zeros_like(policy))
    given = (pairs.chosen, pairs.rejected)
    if name == "simpo":
        given = (pairs.chosen / pairs.chosen_tokens, pairs.rejected / pairs.rejected_tokens)
    losses, chosen, rejected = trainer.cpo_loss(*given)
    ours = PAIR_LOSSES[name](pairs, **settings)
    torch.testing.assert_close(ours.losses, losses, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.chosen_rewards, chosen, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.rejected_rewards, rejected, rtol=1e-5, atol=1e-5)
    assert_same(ours.losses.mean(), losses.mean(), policy)


def test_the_odds_of_orpo_are_trls() -> None:
    """TRL's likelihood term counts prompt tokens, too; so its odds are compared, ours without."""
    policy, mask = token_logps([n for pair in zip(*LENGTHS, strict=True) for n in pair], seed=2)
    policy.requires_grad_()
    trainer = object.__new__(ORPOTrainer)
    trainer.__dict__ |= {"accelerator": accelerator(), "beta": 0.3}
    pairs = our_pairs(policy, mask, torch.zeros_like(policy))
    means = (pairs.chosen / pairs.chosen_tokens, pairs.rejected / pairs.rejected_tokens)
    odds, chosen, rejected, *_ = trainer.odds_ratio_loss(*means)
    ours = PAIR_LOSSES["orpo"](pairs, beta=0.3)
    torch.testing.assert_close(ours.chosen_rewards, chosen)
    torch.testing.assert_close(ours.rejected_rewards, rejected)
    assert_same((ours.losses - nll(pairs).losses).mean(), -odds.mean(), policy)


@pytest.mark.parametrize("drift", [0.5, -0.5])
def test_kto_is_trls(drift: float) -> None:
    """Losses, rewards, and the estimate of the drift, above 0 or not."""
    policy, mask = token_logps([3, 7, 1, 4], seed=3)
    reference, _ = token_logps([3, 7, 1, 4], seed=4)
    mismatched, _ = token_logps([4, 3, 7, 1], seed=5)
    policy.requires_grad_()
    labels = torch.tensor([True, False, False, True])
    weights = {"desirable_weight": 1.5, "undesirable_weight": 0.7}
    trainer = object.__new__(KTOTrainer)
    trainer.__dict__ |= {
        "accelerator": accelerator(),
        "model": SimpleNamespace(training=False),
        "calculate_KL": True,
        "aux_loss_enabled": False,
        "precompute_ref_logps": True,
        "loss_type": "kto",
        "beta": 0.3,
        "_metrics": {"eval": defaultdict(list)},
        "_total_train_tokens": 0,
        **weights,
    }
    batch = {
        "input_ids": torch.zeros_like(mask),
        "attention_mask": torch.ones_like(mask),
        "completion_mask": mask,
        "KL_input_ids": torch.ones_like(mask),
        "KL_attention_mask": torch.ones_like(mask),
        "KL_completion_mask": mask,
        "label": labels,
        "ref_logps": reference.sum(1),
        "ref_KL_logps": mismatched.sum(1) - drift,
    }

    def model(**inputs: Any) -> Outputs:
        return Outputs(mismatched if inputs["input_ids"].any() else policy)

    theirs = trainer._compute_loss(model, batch, return_outputs=False)
    shift = kto_shift(mismatched.sum(1), mismatched.sum(1) - drift)
    assert trainer._metrics["eval"]["kl"] == [pytest.approx(shift.item(), abs=1e-5)]
    assert shift.item() == pytest.approx(max(0.0, drift), abs=1e-5)
    votes = VoteLogps(policy.sum(1), reference.sum(1), labels)
    ours = kto(votes, shift=shift, beta=0.3, **weights)
    assert_same(ours.losses.mean(), theirs, policy)


def test_bco_without_a_shift_is_trls_bco_of_pairs() -> None:
    """TRL 1.16 has no trainer of votes for it any more; a pair is two votes, and its loss a sum."""
    policy, mask = token_logps([*LENGTHS[0]], seed=7)
    reference, _ = token_logps([*LENGTHS[0]], seed=8)
    policy.requires_grad_()
    theirs = dpo_loss(dpo_trainer(["bco_pair"], [1.0], 0.3, 0.0), policy, mask, reference)
    votes = VoteLogps(policy.sum(1), reference.sum(1), torch.tensor([True, False]))
    ours = bco(votes, shift=torch.zeros(()), beta=0.3)
    assert_same(ours.losses.sum(), theirs, policy)
