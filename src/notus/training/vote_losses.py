"""Losses of votes on single completions: pure functions of log-prob vectors, one value a vote.

Each also takes `shift`, one number of the whole step under the policy (`kto_shift`, `bco_shift`)
and a constant for the gradient. So a loss is separable once that number is known, and does not
depend on how a step is packed or spread over processes.

Shape suffix: N votes.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class VoteLogps(NamedTuple):
    """Log-probs of N single completions."""

    policy: Tensor
    """[N] with gradient."""
    reference: Tensor
    """[N]"""
    desirable: Tensor
    """[N] True for a completion that is wanted."""


class VoteLosses(NamedTuple):
    """Loss and implicit reward of each vote."""

    losses: Tensor
    """[N] loss, with gradient."""
    rewards: Tensor
    """[N] beta * (policy - reference) log-prob, without gradient."""


VoteLoss = Callable[..., VoteLosses]
"""A function of VoteLogps and, by keyword, of `shift` and settings."""


def kto(
    logps: VoteLogps,
    *,
    shift: Tensor,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> VoteLosses:
    """Kahneman-Tversky optimisation: each completion against the policy's drift z0.

    w+ (1 - sigma(beta (r - z0))) for a desirable completion with log-ratio r, and
    w- (1 - sigma(beta (z0 - r))) for an undesirable one. At the reference, where z0 = 0: w / 2.

    Args:
        logps: The votes.
        shift: z0 of the step, from `kto_shift`.
        beta: Strength of the pull to the reference.
        desirable_weight: w+.
        undesirable_weight: w-.

    Source: Ethayarajh et al. 2024 (arXiv 2402.01306), eq. 7 and 8, without the constant lambda_y.
    """
    ratio_N = logps.policy - logps.reference
    desirable_N = logps.desirable.to(ratio_N)
    weight_N = desirable_N * desirable_weight + (1 - desirable_N) * undesirable_weight
    losses = weight_N * torch.sigmoid((1 - 2 * desirable_N) * beta * (ratio_N - shift))
    return VoteLosses(losses, beta * ratio_N.detach())


def kto_shift(mismatched: Tensor, reference: Tensor) -> Tensor:
    """Estimate KL(policy || reference) from completions behind prompts that are not theirs.

    Args:
        mismatched: [N] log-probs of such completions under the policy, of the whole step.
        reference: [N] the same under the reference.

    Returns:
        max(0, mean log-ratio), in nats.

    Source: Ethayarajh et al. 2024 (arXiv 2402.01306), section 4.1, the estimate of z0.
    """
    return (mismatched - reference).mean().clamp(min=0).detach()


def bco(logps: VoteLogps, *, shift: Tensor, beta: float) -> VoteLosses:
    """Binary classifier optimisation: log loss of the shifted reward as a logit.

    -log sigma(r - d) for a desirable completion with reward r, -log sigma(d - r) for the others.
    At the reference, where d = 0: ln 2. Without the weights that match prompt distributions.

    Args:
        logps: The votes.
        shift: d of the step, from `bco_shift`.
        beta: Strength of the pull to the reference.

    Source: Jung et al. 2024 (arXiv 2404.04656), the loss with a reward shift.
    """
    rewards_N = beta * (logps.policy - logps.reference)
    sign_N = 2 * logps.desirable.to(rewards_N) - 1
    return VoteLosses(-F.logsigmoid(sign_N * (rewards_N - shift)), rewards_N.detach())


def bco_shift(logps: VoteLogps, *, beta: float) -> Tensor:
    """Middle between the mean rewards of desirable and undesirable completions of a step.

    The paper smooths it over steps; one step's alone has no state to save, and is the same after
    a resume. A step with one kind only has the mean of that kind.

    Source: Jung et al. 2024 (arXiv 2404.04656), the reward shift delta.
    """
    rewards_N = beta * (logps.policy - logps.reference).detach()
    kinds = (rewards_N[logps.desirable], rewards_N[~logps.desirable])
    return torch.stack([kind.mean() for kind in kinds if len(kind)]).mean()


VOTE_LOSSES: dict[str, VoteLoss] = {"kto": kto, "bco": bco}
