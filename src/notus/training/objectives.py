"""What a training minimises: losses with their settings, chosen once from the recipe.

    examples' completions -> log-probs -> objective -> a loss and a row of numbers for each example

An objective may be called on the log-probs of any examples: of a forest, or of one pair inside the
model's head. Losses of votes also need one number of the whole step, their shift; it is constant
for the gradient, so that a pass without gradient gives it first and the second pass is separable
again. Memory stays that of one forest, and the step does not depend on its packing.

Legend: P examples, K completions of an example.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from notus.loss_settings import LOSS_SETTINGS
from notus.training.losses import PAIR_LOSSES, PairLogps, PairLosses
from notus.training.vote_losses import (
    VOTE_LOSSES,
    VoteLogps,
    VoteLosses,
    bco_shift,
    kto_shift,
)


class Outcome(NamedTuple):
    """What an objective says of P examples."""

    losses: Tensor
    """[P] with gradient."""
    rows: Tensor
    """[P, len(COLUMNS)] without gradient."""


class Objective(ABC):
    """A loss of examples, with all its settings."""

    num_completions: int
    """K: log-probs that it takes for each example."""
    needs_reference: bool
    shifted_by: str | None = None
    """Whose log-probs make its shift: "own" completions, "mismatched" ones; None: no shift."""

    @abstractmethod
    def __call__(self, logps: Tensor, targets: Tensor, shift: Tensor) -> Outcome:
        """Weigh the log-probs of some examples.

        Args:
            logps: [P * K] log-probs of their completions under the policy, in their order.
            targets: [P, n] `Example.targets`.
            shift: The step's `shift`, 0 where there is none.
        """

    def shift(self, logps: Tensor, targets: Tensor) -> Tensor:
        """Work out the step's shift from all its examples.

        Args:
            logps: [P] log-probs under the policy of what `shifted_by` names.
            targets: [P, n].
        """
        return logps.new_zeros(())

    def says(self, loss: float) -> dict[str, float]:
        """Give the mean loss in other words, under the names of `notus.metric_names`."""
        return {}

    def at_reference(self, targets: Tensor) -> Tensor:
        """Return the [P] losses of a policy that is the reference, as it is before step 1."""
        logps = targets[:, : self.num_completions].reshape(-1)
        return self(logps, targets, logps.new_zeros(())).losses


class PairObjective(Objective):
    """A weighted sum of losses of pairs; the rewards are those of the first."""

    num_completions = 2

    def __init__(self, losses: Mapping[str, float], settings: Mapping[str, float]) -> None:
        names = [name for name in PAIR_LOSSES if name in losses]
        self.terms: list[tuple[float, Callable[[PairLogps], PairLosses]]] = [
            (losses[name], partial(PAIR_LOSSES[name], **_read_by(name, settings))) for name in names
        ]
        self.needs_reference = any(LOSS_SETTINGS[name].needs_reference for name in names)

    def __call__(self, logps: Tensor, targets: Tensor, shift: Tensor) -> Outcome:
        """As `Objective`; there is no shift."""
        constants = targets.to(logps).unbind(dim=1)
        pairs = PairLogps(logps[0::2], logps[1::2], *constants)
        parts = [(weight, loss(pairs)) for weight, loss in self.terms]
        first = parts[0][1]
        losses = sum((weight * part.losses for weight, part in parts), logps.new_zeros(()))
        rewards = (first.chosen_rewards, first.rejected_rewards)
        return Outcome(losses, _rows(losses, *rewards, pairs.chosen, pairs.rejected, *constants))


class VoteObjective(Objective):
    """A loss of votes."""

    num_completions = 1
    needs_reference = True

    def __init__(self, name: str, settings: Mapping[str, float]) -> None:
        read = _read_by(name, settings)
        self.loss: Callable[..., VoteLosses] = partial(VOTE_LOSSES[name], **read)
        self.beta = read["beta"]
        self.shifted_by = "mismatched" if name == "kto" else "own"

    def __call__(self, logps: Tensor, targets: Tensor, shift: Tensor) -> Outcome:
        """As `Objective`."""
        reference, tokens, desirable, _ = targets.to(logps).unbind(dim=1)
        is_chosen = desirable > 0
        out = self.loss(VoteLogps(logps, reference, is_chosen), shift=shift.to(logps))
        nothing = torch.full_like(logps, torch.nan)
        sides = [
            torch.where(side, column, nothing)
            for column in (out.rewards, logps, reference, tokens)
            for side in (is_chosen, ~is_chosen)
        ]
        return Outcome(out.losses, _rows(out.losses, *sides))

    def shift(self, logps: Tensor, targets: Tensor) -> Tensor:
        """As `Objective`: KTO's z0, BCO's delta."""
        reference, _, desirable, mismatched = targets.to(logps).unbind(dim=1)
        if self.shifted_by == "mismatched":
            return kto_shift(logps, mismatched)
        return bco_shift(VoteLogps(logps, reference, desirable > 0), beta=self.beta)


class DemonstrationObjective(Objective):
    """Supervised fine-tuning: minus the log-prob a token; examples are weighted by their tokens."""

    num_completions = 1
    needs_reference = False

    def __call__(self, logps: Tensor, targets: Tensor, shift: Tensor) -> Outcome:
        """As `Objective`; there is no shift."""
        (tokens,) = targets.to(logps).unbind(dim=1)
        losses = -logps / tokens
        nothing = torch.full_like(logps, torch.nan)
        sides = (nothing, nothing, logps, nothing, nothing, nothing, tokens, nothing)
        return Outcome(losses, _rows(losses, *sides))

    def says(self, loss: float) -> dict[str, float]:
        """As `Objective`: the perplexity, exp of the loss."""
        return {"perplexity": math.exp(loss)}


def make_objective(losses: Mapping[str, float], settings: Mapping[str, float]) -> Objective:
    """Choose the objective of a mixture of losses.

    Args:
        losses: Loss -> weight; losses of pairs can be mixed, a loss of votes stands alone.
        settings: Setting -> value; each loss takes those that it reads.
    """
    (name, *_) = losses
    if LOSS_SETTINGS[name].trains_on == "votes":
        return VoteObjective(name, settings)
    return PairObjective(losses, settings)


def _read_by(name: str, settings: Mapping[str, float]) -> dict[str, float]:
    return {key: settings[key] for key in LOSS_SETTINGS[name].defaults}


def _rows(*columns: Tensor) -> Tensor:
    return torch.stack(columns, dim=1).detach()
