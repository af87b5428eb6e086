"""Preference losses: pure functions of log-prob vectors, one value a pair.

A log-prob is the sum over a completion's tokens, in nats; one "a token" is divided by their number.
Every loss gives the loss and the implicit rewards of each pair, and is separable over pairs: it
does not depend on how a step is packed or spread over processes. Losses of single completions are
in vote_losses.py; what each loss reads is in loss_settings.py.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class PairLogps(NamedTuple):
    """Log-probs of P pairs; with gradient those of the policy, the rest constants."""

    chosen: Tensor
    """[P] chosen completion under the policy."""
    rejected: Tensor
    """[P] rejected completion under the policy."""
    reference_chosen: Tensor
    """[P] under the reference; NaN where no loss needs it."""
    reference_rejected: Tensor
    chosen_tokens: Tensor
    """[P] number of the chosen completion's tokens."""
    rejected_tokens: Tensor


class PairLosses(NamedTuple):
    """Loss and implicit rewards of each pair."""

    losses: Tensor
    """[P] loss, with gradient."""
    chosen_rewards: Tensor
    """[P] reward of the chosen completion, without gradient."""
    rejected_rewards: Tensor
    """[P] the same of the rejected completion."""


PairLoss = Callable[..., PairLosses]
"""A function of PairLogps and of settings by keyword."""


def sigmoid(logps: PairLogps, *, beta: float, label_smoothing: float = 0.0) -> PairLosses:
    """Direct preference optimisation: minus log-sigmoid of beta times the gap of log-ratios.

    With e = label_smoothing it is -(1 - e) log sigma(m) - e log sigma(-m) of the margin m, the
    cross-entropy against labels that are flipped with probability e. At the reference: ln 2.

    Source: Rafailov et al. 2023 (arXiv 2305.18290), eq. 7; rewards: eq. 5 without log Z. Smoothing:
        Mitchell 2023, A note on DPO with noisy preferences (ericmitchell.ai/cdpo.pdf).
    """
    chosen, rejected = _rewards(logps, beta)
    return _outcome(_smoothed(chosen - rejected, label_smoothing), chosen, rejected)


def robust(logps: PairLogps, *, beta: float, label_smoothing: float) -> PairLosses:
    """DPO whose expectation over labels flipped at rate e is DPO on the true labels.

    ((1 - e) l(m) - e l(-m)) / (1 - 2 e) with l = -log sigma. At the reference: ln 2.

    Args:
        logps: The pairs.
        beta: Strength of the pull to the reference.
        label_smoothing: e, 0 <= e < 1/2.

    Source: Chowdhury et al. 2024 (arXiv 2403.00409), section 3, the unbiased estimate of the loss.
    """
    chosen, rejected = _rewards(logps, beta)
    margin, e = chosen - rejected, label_smoothing
    losses = (e * F.logsigmoid(-margin) - (1 - e) * F.logsigmoid(margin)) / (1 - 2 * e)
    return _outcome(losses, chosen, rejected)


def ipo(logps: PairLogps, *, beta: float) -> PairLosses:
    """Identity preference optimisation: the gap of log-ratios a token is drawn to 1 / (2 beta).

    The paper has sums, with which long completions weigh by their length squared; TRL divides by
    the number of tokens, after asking the authors, whose results are of that form. So do we. At
    the reference: 1 / (4 beta^2).

    Source: Azar et al. 2023 (arXiv 2310.12036), eq. 17 with tau = beta.
    """
    chosen, rejected = _ratios_a_token(logps)
    rewards = _rewards(logps, beta)
    return _outcome((chosen - rejected - 1 / (2 * beta)) ** 2, *rewards)


def hinge(logps: PairLogps, *, beta: float) -> PairLosses:
    """Hinge on the margin, 0 from a margin of 1 on. At the reference: 1.

    Source: Liu et al. 2023 (RSO, arXiv 2309.06657), the loss hinge-norm, after Zhao et al. 2023
        (SLiC-HF, arXiv 2305.10425); gamma there is beta here.
    """
    chosen, rejected = _rewards(logps, beta)
    return _outcome(torch.relu(1 - (chosen - rejected)), chosen, rejected)


def sigmoid_norm(logps: PairLogps, *, beta: float, label_smoothing: float = 0.0) -> PairLosses:
    """Length-normalised DPO: of log-ratios a token. At the reference: ln 2.

    Rewards are a token too, so that margins and accuracies are of what is trained.

    Source: Lambert et al. 2024 (Tulu 3, arXiv 2411.15124), eq. 6.
    """
    chosen, rejected = (beta * ratio for ratio in _ratios_a_token(logps))
    return _outcome(_smoothed(chosen - rejected, label_smoothing), chosen, rejected)


def apo_zero(logps: PairLogps, *, beta: float) -> PairLosses:
    """Anchored optimisation, for chosen completions better than the model: up; rejected: down.

    At the reference: 1.

    Source: D'Oosterlinck et al. 2024 (arXiv 2408.06266), eq. 7.
    """
    chosen, rejected = _rewards(logps, beta)
    losses = 1 - torch.sigmoid(chosen) + torch.sigmoid(rejected)
    return _outcome(losses, chosen, rejected)


def apo_down(logps: PairLogps, *, beta: float) -> PairLosses:
    """Anchored optimisation, for a model better than the chosen: both down, rejected further.

    At the reference: 1.

    Source: D'Oosterlinck et al. 2024 (arXiv 2408.06266), eq. 8.
    """
    chosen, rejected = _rewards(logps, beta)
    losses = torch.sigmoid(chosen) + 1 - torch.sigmoid(chosen - rejected)
    return _outcome(losses, chosen, rejected)


def simpo(
    logps: PairLogps, *, beta: float, gamma_beta_ratio: float, label_smoothing: float = 0.0
) -> PairLosses:
    """Simple preference optimisation: log-probs a token with a target margin, no reference.

    The reward is beta log pi(y|x) / |y|; the target is gamma = beta * gamma_beta_ratio.

    Source: Meng et al. 2024 (arXiv 2405.14734), eq. 6; the ratio gamma / beta is what their code
        sets. Smoothing as in their code.
    """
    chosen, rejected = (beta * mean for mean in _logps_a_token(logps))
    losses = _smoothed(chosen - rejected - beta * gamma_beta_ratio, label_smoothing)
    return _outcome(losses, chosen, rejected)


def orpo(logps: PairLogps, *, beta: float) -> PairLosses:
    """Odds-ratio preference optimisation: likelihood of the chosen and odds, without reference.

    With P = exp(log pi(y|x) / |y|) and odds P / (1 - P): L = nll + beta * -log sigma(log odds
    ratio). TRL's likelihood term also counts the prompt's tokens; the paper's, and ours, does not.

    Args:
        logps: The pairs.
        beta: The paper's lambda.

    Source: Hong et al. 2024 (arXiv 2403.07691), eq. 4, 6 and 7.
    """
    chosen, rejected = _logps_a_token(logps)
    log_odds = (chosen - rejected) - (_log1mexp(chosen) - _log1mexp(rejected))
    return _outcome(-chosen - beta * F.logsigmoid(log_odds), beta * chosen, beta * rejected)


def nll(logps: PairLogps) -> PairLosses:
    """Negative log-likelihood of the chosen completion, a token; with DPO it is RPO.

    `loss: {sigmoid: 1, nll: ALPHA}` is RPO. TRL's "sft" takes the mean over the tokens of a
    micro-batch, so that its value depends on how a step is accumulated; it is this one where a
    micro-batch has one pair, or completions of one length.

    Source: Pang et al. 2024 (arXiv 2404.19733), eq. 1, first term, of the completion alone.
    """
    chosen, rejected = _logps_a_token(logps)
    return _outcome(-chosen, chosen, rejected)


def rewards_accuracy(chosen_rewards_P: Tensor, rejected_rewards_P: Tensor) -> Tensor:
    """Share of pairs whose chosen completion has the higher reward; a tie counts half."""
    above = (chosen_rewards_P > rejected_rewards_P).float()
    tied = (chosen_rewards_P == rejected_rewards_P).float()
    return (above + tied / 2).mean()


def _rewards(logps: PairLogps, beta: float) -> tuple[Tensor, Tensor]:
    chosen = beta * (logps.chosen - logps.reference_chosen)
    return chosen, beta * (logps.rejected - logps.reference_rejected)


def _ratios_a_token(logps: PairLogps) -> tuple[Tensor, Tensor]:
    chosen = (logps.chosen - logps.reference_chosen) / logps.chosen_tokens
    return chosen, (logps.rejected - logps.reference_rejected) / logps.rejected_tokens


def _logps_a_token(logps: PairLogps) -> tuple[Tensor, Tensor]:
    return logps.chosen / logps.chosen_tokens, logps.rejected / logps.rejected_tokens


def _outcome(losses: Tensor, chosen: Tensor, rejected: Tensor) -> PairLosses:
    return PairLosses(losses, chosen.detach(), rejected.detach())


def _smoothed(margin: Tensor, smoothing: float) -> Tensor:
    losses = -(1 - smoothing) * F.logsigmoid(margin)
    # At 0 the other term would be 0 times a loss that may be infinite.
    return losses - smoothing * F.logsigmoid(-margin) if smoothing else losses


def _log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x < 0, without cancellation on either side (Maechler 2012, eq. 7)."""
    x = x.clamp(max=-1e-7)  # what is certain has infinite odds
    # The branch that is not taken must stay finite, or its gradient is NaN.
    near = x > -math.log(2)
    small = torch.where(near, x, x.new_tensor(-1.0))
    large = torch.where(near, x.new_tensor(-1.0), x)
    return torch.where(near, torch.log(-torch.expm1(small)), torch.log1p(-torch.exp(large)))


PAIR_LOSSES: dict[str, PairLoss] = {
    "sigmoid": sigmoid,
    "robust": robust,
    "ipo": ipo,
    "hinge": hinge,
    "sigmoid_norm": sigmoid_norm,
    "apo_zero": apo_zero,
    "apo_down": apo_down,
    "simpo": simpo,
    "orpo": orpo,
    "nll": nll,
}
