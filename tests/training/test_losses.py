"""The preference loss: values and gradients that follow from the formula, and its invariances.

Its agreement with TRL's loss, gradients of a model included, is in test_trl.py.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from notus.training.losses import rewards_accuracy, sigmoid


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def test_at_the_reference_the_loss_is_ln_2() -> None:
    """Equal policy and reference: margin 0, -ln sigma(0) = ln 2, slope -beta sigma(0) = -beta/2."""
    chosen, rejected = vector(-3.0, -40.0), vector(-7.0, -2.0)
    out = sigmoid(chosen, rejected, chosen.detach(), rejected.detach(), beta=0.3)
    torch.testing.assert_close(out.losses, vector(math.log(2), math.log(2)))
    out.losses.sum().backward()
    torch.testing.assert_close(chosen.grad, torch.full((2,), -0.15, dtype=torch.float64))
    torch.testing.assert_close(rejected.grad, torch.full((2,), 0.15, dtype=torch.float64))


def test_golden_value_and_gradient() -> None:
    """A margin of ln 3, and its opposite.

    Log-ratios 2 ln 3 and -ln 3 with beta 1/3 give rewards 2/3 ln 3 and -1/3 ln 3: a margin of ln 3.
    sigma(ln 3) = 1 / (1 + 1/3) = 3/4, so the loss is ln(4/3) and its slope in the chosen log-prob
    -beta (1 - 3/4) = -1/12. Swapped, sigma(-ln 3) = 1/4: ln 4 and -beta 3/4 = -1/4.
    """
    ln3 = math.log(3)
    chosen, rejected = vector(-5 + 2 * ln3, -6 - ln3), vector(-6 - ln3, -5 + 2 * ln3)
    out = sigmoid(chosen, rejected, vector(-5, -6), vector(-6, -5), beta=1 / 3)
    torch.testing.assert_close(out.losses, vector(math.log(4 / 3), math.log(4)))
    torch.testing.assert_close(out.chosen_rewards, vector(2 / 3 * ln3, -ln3 / 3).detach())
    torch.testing.assert_close(out.rejected_rewards, vector(-ln3 / 3, 2 / 3 * ln3).detach())
    out.losses.sum().backward()
    torch.testing.assert_close(chosen.grad, vector(-1 / 12, -1 / 4).detach())
    torch.testing.assert_close(rejected.grad, vector(1 / 12, 1 / 4).detach())


def test_rewards_carry_no_gradient() -> None:
    out = sigmoid(vector(-1.0), vector(-2.0), vector(-1.0), vector(-1.0), beta=0.1)
    assert out.losses.requires_grad
    assert not out.chosen_rewards.requires_grad
    assert not out.rejected_rewards.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("margin", [1e4, -1e4])
def test_huge_margins_give_finite_losses_and_gradients(dtype: torch.dtype, margin: float) -> None:
    """-ln sigma(x) tends to 0, or to -x, with slope 0 or -1; exp(1e4) by itself overflows."""
    chosen = torch.tensor([margin], dtype=dtype, requires_grad=True)
    zero = torch.zeros(1, dtype=dtype)
    loss = sigmoid(chosen, zero, zero, zero, beta=1.0).losses
    loss.backward()
    assert loss.item() == max(0.0, -margin)
    assert chosen.grad is not None
    assert chosen.grad.item() == (0.0 if margin > 0 else -1.0)


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
    values = [vector(v) for v in (chosen, rejected, reference_chosen, reference_rejected)]
    loss = sigmoid(*values, beta=beta).losses
    c, r, rc, rr = values
    torch.testing.assert_close(sigmoid(c + shift, r, rc + shift, rr, beta=beta).losses, loss)
    swapped = sigmoid(r, c, rr, rc, beta=beta)
    margin = swapped.rejected_rewards - swapped.chosen_rewards
    torch.testing.assert_close(loss - swapped.losses, -margin, rtol=1e-9, atol=1e-9)


def test_accuracy_counts_a_tie_as_half() -> None:
    chosen, rejected = torch.tensor([1.0, 2.0, 0.0, -1.0]), torch.tensor([0.0, 2.0, 3.0, -2.0])
    assert rewards_accuracy(chosen, rejected).item() == (1 + 0.5 + 0 + 1) / 4
