"""Preference losses: pure functions of log-prob vectors, one value a pair.

Shape suffix: P preference pairs.
"""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class PairLosses(NamedTuple):
    """Loss and implicit rewards of each pair."""

    losses: Tensor
    """[P] loss, with gradient."""
    chosen_rewards: Tensor
    """[P] beta * (policy - reference) log-prob of the chosen completion, without gradient."""
    rejected_rewards: Tensor
    """[P] the same of the rejected completion."""


def sigmoid(
    chosen_P: Tensor,
    rejected_P: Tensor,
    reference_chosen_P: Tensor,
    reference_rejected_P: Tensor,
    *,
    beta: float,
) -> PairLosses:
    """Direct preference optimisation: minus log-sigmoid of beta times the gap of log-ratios.

    Args:
        chosen_P: Summed log-prob of each chosen completion under the policy, in nats.
        rejected_P: The same for the rejected completions.
        reference_chosen_P: Under the reference model, a constant.
        reference_rejected_P: Under the reference model, a constant.
        beta: Strength of the pull to the reference.

    Source: Rafailov et al. 2023 (arXiv 2305.18290), eq. 7; rewards: eq. 5 without log Z.
    """
    chosen_rewards_P = beta * (chosen_P - reference_chosen_P)
    rejected_rewards_P = beta * (rejected_P - reference_rejected_P)
    return PairLosses(
        losses=-F.logsigmoid(chosen_rewards_P - rejected_rewards_P),
        chosen_rewards=chosen_rewards_P.detach(),
        rejected_rewards=rejected_rewards_P.detach(),
    )


def rewards_accuracy(chosen_rewards_P: Tensor, rejected_rewards_P: Tensor) -> Tensor:
    """Share of pairs whose chosen completion has the higher reward; a tie counts half."""
    above = (chosen_rewards_P > rejected_rewards_P).float()
    tied = (chosen_rewards_P == rejected_rewards_P).float()
    return (above + tied / 2).mean()
