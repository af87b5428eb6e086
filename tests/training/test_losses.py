"""The losses: values and gradients that follow from the formulas, and their invariances.

Their agreement with TRL's losses, and of the DPO step with TRL's trainer, is in test_trl_losses.py
and test_trl.py.
"""

import inspect
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from notus.loss_settings import LOSS_SETTINGS
from notus.training.losses import (
    PAIR_LOSSES,
    PairLogps,
    PairLosses,
    apo_down,
    apo_zero,
    hinge,
    ipo,
    nll,
    orpo,
    rewards_accuracy,
    robust,
    sigmoid,
    sigmoid_norm,
    simpo,
)
from notus.training.vote_losses import VOTE_LOSSES, VoteLogps, bco, bco_shift, kto, kto_shift

LN3 = math.log(3)
Loss = Callable[[PairLogps], PairLosses]


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def pairs(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: float = 0.0,
    reference_rejected: float = 0.0,
    tokens: tuple[int, int] = (1, 1),
) -> PairLogps:
    constants = (reference_chosen, reference_rejected, *tokens)
    return PairLogps(chosen, rejected, *(torch.full_like(chosen, value) for value in constants))


def slopes(losses: Tensor, *inputs: Tensor) -> list[list[float]]:
    return [grad.tolist() for grad in torch.autograd.grad(losses.sum(), inputs)]


def test_every_loss_reads_the_settings_that_a_recipe_gives_it() -> None:
    assert [*PAIR_LOSSES, *VOTE_LOSSES] == list(LOSS_SETTINGS)
    for name, loss in {**PAIR_LOSSES, **VOTE_LOSSES}.items():
        keywords = [p.name for p in inspect.signature(loss).parameters.values() if p.kind == 3]
        known = LOSS_SETTINGS[name]
        assert {*keywords} - {"shift"} == {*known.defaults}, name
        assert ("shift" in keywords) == (known.trains_on == "votes"), name
        assert known.paper in (loss.__doc__ or ""), name


REFERENCE_LOSSES: dict[str, tuple[Loss, float]] = {
    "sigmoid": (lambda x: sigmoid(x, beta=0.3), math.log(2)),
    "conservative": (lambda x: sigmoid(x, beta=0.3, label_smoothing=0.2), math.log(2)),
    "robust": (lambda x: robust(x, beta=0.3, label_smoothing=0.2), math.log(2)),
    "ipo": (lambda x: ipo(x, beta=0.3), 1 / (4 * 0.3**2)),
    "hinge": (lambda x: hinge(x, beta=0.3), 1.0),
    "sigmoid_norm": (lambda x: sigmoid_norm(x, beta=0.3), math.log(2)),
    "apo_zero": (lambda x: apo_zero(x, beta=0.3), 1.0),
    "apo_down": (lambda x: apo_down(x, beta=0.3), 1.0),
}


@pytest.mark.parametrize("name", REFERENCE_LOSSES)
def test_at_the_reference_every_loss_has_the_value_of_its_docstring(name: str) -> None:
    """Log-ratios 0: -ln sigma(0) = ln 2, and so on; whatever the completions' lengths."""
    loss, expected = REFERENCE_LOSSES[name]
    chosen, rejected = vector(-3.0), vector(-7.0)
    out = loss(pairs(chosen, rejected, -3.0, -7.0, tokens=(2, 9)))
    assert out.losses.item() == pytest.approx(expected, abs=1e-12)
    assert out.chosen_rewards.item() == out.rejected_rewards.item() == 0.0


def test_sigmoid_golden_value_and_gradient() -> None:
    """A margin of ln 3, and its opposite.

    Log-ratios 2 ln 3 and -ln 3 with beta 1/3 give rewards 2/3 ln 3 and -1/3 ln 3: a margin of ln 3.
    sigma(ln 3) = 1 / (1 + 1/3) = 3/4, so the loss is ln(4/3) and its slope in the chosen log-prob
    -beta (1 - 3/4) = -1/12. Swapped, sigma(-ln 3) = 1/4: ln 4 and -beta 3/4 = -1/4.
    """
    chosen, rejected = vector(2 * LN3, -LN3), vector(-LN3, 2 * LN3)
    out = sigmoid(pairs(chosen, rejected), beta=1 / 3)
    torch.testing.assert_close(out.losses, vector(math.log(4 / 3), math.log(4)))
    torch.testing.assert_close(out.chosen_rewards, vector(2 / 3 * LN3, -LN3 / 3).detach())
    torch.testing.assert_close(out.rejected_rewards, vector(-LN3 / 3, 2 / 3 * LN3).detach())
    found = slopes(out.losses, chosen, rejected)
    assert found[0] == pytest.approx([-1 / 12, -1 / 4])
    assert found[1] == pytest.approx([1 / 12, 1 / 4])


def test_smoothed_and_robust_golden_values() -> None:
    """At margin m = ln 3: l(m) = ln(4/3), l(-m) = ln 4, slopes -1/4 and +3/4 in m.

    Conservative with e = 1/4: 3/4 ln(4/3) + 1/4 ln 4, slope -3/4 1/4 + 1/4 3/4 = 0: it wants no
    more than the odds 3 : 1 that its labels have. Robust: (3/4 ln(4/3) - 1/4 ln 4) / (1/2), slope
    (-3/16 - 3/16) / (1/2) = -3/4.
    """
    chosen, rejected = vector(LN3), vector(0.0)
    both = pairs(chosen, rejected)
    soft = sigmoid(both, beta=1.0, label_smoothing=0.25).losses
    assert soft.item() == pytest.approx(0.75 * math.log(4 / 3) + 0.25 * math.log(4))
    assert slopes(soft, chosen, rejected) == [pytest.approx([0.0], abs=1e-12)] * 2
    hard = robust(both, beta=1.0, label_smoothing=0.25).losses
    assert hard.item() == pytest.approx(1.5 * math.log(4 / 3) - 0.5 * math.log(4))
    assert slopes(hard, chosen, rejected) == [pytest.approx([-0.75]), pytest.approx([0.75])]


def test_robust_is_unbiased_under_flipped_labels() -> None:
    """(1 - e) L(m) + e L(-m) = l(m), the loss on true labels: what the paper sets out to have."""
    e, there = 0.2, pairs(vector(1.7), vector(0.4))
    back = there._replace(chosen=there.rejected, rejected=there.chosen)
    mean = (1 - e) * robust(there, beta=0.5, label_smoothing=e).losses
    mean = mean + e * robust(back, beta=0.5, label_smoothing=e).losses
    torch.testing.assert_close(mean, sigmoid(there, beta=0.5).losses)


def test_ipo_golden_value_and_gradient() -> None:
    """Log-ratios 6 over 2 tokens and 4 over 4: 3 - 1 = 2 a token; beta 1/8 draws it to 4.

    Loss (2 - 4)^2 = 4; slopes 2 (2 - 4) / 2 = -2 and -2 (2 - 4) / 4 = 1. Rewards are of sums.
    """
    chosen, rejected = vector(6.0), vector(4.0)
    out = ipo(pairs(chosen, rejected, tokens=(2, 4)), beta=1 / 8)
    assert out.losses.item() == pytest.approx(4.0)
    assert slopes(out.losses, chosen, rejected) == [[-2.0], [1.0]]
    assert (out.chosen_rewards.item(), out.rejected_rewards.item()) == (0.75, 0.5)


def test_hinge_golden_value_and_gradient() -> None:
    """beta 1/2: margins 1/2, 1 and 3/2 of gaps 1, 2 and 3 leave 1/2, 0 and 0."""
    chosen, rejected = vector(1.0, 2.0, 3.0), vector(0.0, 0.0, 0.0)
    out = hinge(pairs(chosen, rejected), beta=0.5)
    assert out.losses.tolist() == [0.5, 0.0, 0.0]
    assert slopes(out.losses, chosen, rejected) == [[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0]]


def test_sigmoid_norm_is_sigmoid_of_ratios_a_token() -> None:
    """Ratios 2 ln 3 over 2 tokens and 0: a margin of ln 3 with beta 1; slope -1/4 over 2 tokens."""
    chosen, rejected = vector(2 * LN3), vector(0.0)
    out = sigmoid_norm(pairs(chosen, rejected, tokens=(2, 5)), beta=1.0)
    assert out.losses.item() == pytest.approx(math.log(4 / 3))
    assert out.chosen_rewards.item() == pytest.approx(LN3)
    found = slopes(out.losses, chosen, rejected)
    assert found == [pytest.approx([-1 / 8]), pytest.approx([1 / 20])]


def test_apo_golden_values_and_gradients() -> None:
    """Rewards ln 3 and -ln 3: sigma is 3/4 and 1/4, its slope 3/16 at both.

    Zero: 1 - 3/4 + 1/4 = 1/2; slopes -3/16 and 3/16. Down: 3/4 + 1 - sigma(2 ln 3) with
    sigma(ln 9) = 9/10: 17/20; its slope 9/100 gives 3/16 - 9/100 for the chosen and 9/100 for the
    rejected: both go down.
    """
    chosen, rejected = vector(LN3), vector(-LN3)
    both = pairs(chosen, rejected)
    zero, down = apo_zero(both, beta=1.0).losses, apo_down(both, beta=1.0).losses
    assert zero.item() == pytest.approx(1 / 2)
    assert slopes(zero, chosen, rejected) == [pytest.approx([-3 / 16]), pytest.approx([3 / 16])]
    assert down.item() == pytest.approx(17 / 20)
    expected = [pytest.approx([3 / 16 - 9 / 100]), pytest.approx([9 / 100])]
    assert slopes(down, chosen, rejected) == expected


def test_simpo_golden_value_and_gradient() -> None:
    """Log-probs -2 over 2 tokens and -12 over 4: -1 and -3 a token, a gap of 2; beta ln 3, ratio 1.

    Margin ln 3 (2 - 1) = ln 3: the loss is ln(4/3), the slopes -(1/4) ln 3 / 2 and (1/4) ln 3 / 4.
    The references, NaN, are not looked at.
    """
    chosen, rejected = vector(-2.0), vector(-12.0)
    both = pairs(chosen, rejected, math.nan, math.nan, tokens=(2, 4))
    out = simpo(both, beta=LN3, gamma_beta_ratio=1.0)
    assert out.losses.item() == pytest.approx(math.log(4 / 3))
    assert (out.chosen_rewards.item(), out.rejected_rewards.item()) == (-LN3, -3 * LN3)
    found = slopes(out.losses, chosen, rejected)
    assert found == [pytest.approx([-LN3 / 8]), pytest.approx([LN3 / 16])]


def test_orpo_golden_value_and_gradient() -> None:
    """Mean probabilities 3/4 and 1/4 a token: odds 3 and 1/3, an odds ratio of 9.

    With 2 and 1 tokens and beta 1/2: ln(4/3) + 1/2 ln(10/9), as -ln sigma(ln 9) = ln(10/9). The
    log-odds of p have the slope 1 / (1 - p) in ln p: 4 and 4/3; -ln sigma(ln 9) has -1/10. So
    -1/2 - 1/2 1/10 4 / 2 = -3/5 for the chosen and 1/2 1/10 4/3 = 1/15 for the rejected.
    """
    chosen, rejected = vector(2 * math.log(3 / 4)), vector(math.log(1 / 4))
    out = orpo(pairs(chosen, rejected, math.nan, math.nan, tokens=(2, 1)), beta=0.5)
    assert out.losses.item() == pytest.approx(math.log(4 / 3) + 0.5 * math.log(10 / 9))
    assert slopes(out.losses, chosen, rejected) == [
        pytest.approx([-3 / 5]),
        pytest.approx([1 / 15]),
    ]


def test_orpo_is_finite_at_both_ends() -> None:
    """A completion that is certain, and one that is next to impossible."""
    chosen, rejected = vector(0.0, -1e4, -1e-12), vector(-1e4, 0.0, -1e-12)
    losses = orpo(pairs(chosen, rejected), beta=0.1).losses
    found = slopes(losses, chosen, rejected)
    assert all(map(math.isfinite, [*losses.tolist(), *found[0], *found[1]]))


def test_nll_is_a_token_and_of_the_chosen_alone() -> None:
    chosen, rejected = vector(-6.0), vector(-1.0)
    losses = nll(pairs(chosen, rejected, tokens=(3, 1))).losses
    assert losses.item() == 2.0
    (loss_grad,) = torch.autograd.grad(losses.sum(), chosen)
    assert loss_grad.item() == pytest.approx(-1 / 3)


def votes(policy: Tensor, desirable: list[bool], reference: float = 0.0) -> VoteLogps:
    return VoteLogps(policy, torch.full_like(policy, reference), torch.tensor(desirable))


def test_kto_golden_values_and_gradients() -> None:
    """beta 1, z0 = ln 3, log-ratios 2 ln 3: r - z0 = ln 3 and sigma = 3/4, with slope 3/16.

    Desirable, weight 2: 2 (1 - 3/4) = 1/2, slope -2 3/16. Undesirable, weight 1/2: 1/2 (1 - 1/4) =
    3/8, slope 1/2 3/16. At z0 = 0 and ratio 0 a half of each weight.
    """
    policy = vector(2 * LN3, 2 * LN3)
    both = votes(policy, [True, False])
    weights = {"desirable_weight": 2.0, "undesirable_weight": 0.5}
    out = kto(both, shift=torch.tensor(LN3), beta=1.0, **weights)
    assert out.losses.tolist() == pytest.approx([1 / 2, 3 / 8])
    assert slopes(out.losses, policy) == [pytest.approx([-3 / 8, 3 / 32])]
    assert out.rewards.tolist() == pytest.approx([2 * LN3] * 2)
    start = kto(votes(vector(-5.0, -5.0), [True, False], -5.0), shift=torch.zeros(()), beta=9.0)
    assert start.losses.tolist() == [0.5, 0.5]


def test_ktos_drift_is_a_mean_above_0_and_constant() -> None:
    policy = vector(-1.0, -2.0)
    found = kto_shift(policy, torch.tensor([-2.0, -5.0], dtype=torch.float64))
    assert found.item() == 2.0
    assert not found.requires_grad
    assert kto_shift(policy, torch.zeros(2)).item() == 0.0


def test_bco_golden_values_gradients_and_shift() -> None:
    """beta 1/2, log-ratios 4 ln 3, 0 and 2 ln 3, of which the last two are undesirable.

    Mean rewards: 2 ln 3 and (0 + ln 3) / 2; delta is their middle, 5/4 ln 3. With delta = ln 3
    instead: logits ln 3, -ln 3 and 0 give ln(4/3), ln(4/3) and ln 2; slopes -1/8, 1/8 and 1/4.
    """
    policy = vector(4 * LN3, 0.0, 2 * LN3)
    three = votes(policy, [True, False, False])
    assert bco_shift(three, beta=0.5).item() == pytest.approx(1.25 * LN3)
    out = bco(three, shift=torch.tensor(LN3), beta=0.5)
    assert out.losses.tolist() == pytest.approx([math.log(4 / 3), math.log(4 / 3), math.log(2)])
    assert slopes(out.losses, policy) == [pytest.approx([-1 / 8, 1 / 8, 1 / 4])]
    assert out.rewards.tolist() == pytest.approx([2 * LN3, 0.0, LN3])
    liked = votes(vector(2.0, 4.0), [True, True])
    assert bco_shift(liked, beta=0.5).item() == 1.5


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_rewards_carry_no_gradient(name: str) -> None:
    both = pairs(vector(-1.0), vector(-2.0), -1.0, -1.0, tokens=(2, 3))
    out = PAIR_LOSSES[name](both, **LOSS_SETTINGS[name].defaults)
    assert out.losses.requires_grad
    assert not out.chosen_rewards.requires_grad
    assert not out.rejected_rewards.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("margin", [1e4, -1e4])
@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_huge_margins_give_finite_losses_and_gradients(
    name: str, dtype: torch.dtype, margin: float
) -> None:
    """exp(1e4) by itself overflows."""
    chosen = torch.tensor([min(margin, 0.0)], dtype=dtype, requires_grad=True)
    rejected = torch.tensor([min(-margin, 0.0)], dtype=dtype, requires_grad=True)
    both = PairLogps(chosen, rejected, *torch.zeros(2, 1), *torch.ones(2, 1))
    losses = PAIR_LOSSES[name](both, **LOSS_SETTINGS[name].defaults).losses
    losses.backward()
    assert math.isfinite(losses.item())
    assert chosen.grad is not None
    assert math.isfinite(chosen.grad.item())


nats = st.floats(-200, 0)


@given(nats, nats, nats, nats, st.floats(-100, 100), st.floats(0.01, 5))
def test_only_log_ratios_matter_and_order_decides(
    chosen: float,
    rejected: float,
    reference_chosen: float,
    reference_rejected: float,
    shift: float,
    beta: float,
) -> None:
    """What policy and reference both add to a completion cancels; swapping negates the margin.

    l(x) - l(-x) = -ln(sigma(x) / sigma(-x)) = -x.
    """
    c, r = vector(chosen), vector(rejected)
    loss = sigmoid(pairs(c, r, reference_chosen, reference_rejected), beta=beta).losses
    moved = pairs(c + shift, r, reference_chosen + shift, reference_rejected)
    torch.testing.assert_close(sigmoid(moved, beta=beta).losses, loss)
    swapped = sigmoid(pairs(r, c, reference_rejected, reference_chosen), beta=beta)
    margin = swapped.rejected_rewards - swapped.chosen_rewards
    torch.testing.assert_close(loss - swapped.losses, -margin, rtol=1e-9, atol=1e-9)


def test_accuracy_counts_a_tie_as_half() -> None:
    chosen, rejected = torch.tensor([1.0, 2.0, 0.0, -1.0]), torch.tensor([0.0, 2.0, 3.0, -2.0])
    assert rewards_accuracy(chosen, rejected).item() == (1 + 0.5 + 0 + 1) / 4
