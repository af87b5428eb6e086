"""The recipe's section monitor: what is watched while a model trains."""

from collections.abc import Iterable
from typing import Literal, Self

from pydantic import Field, model_validator

from notus.loss_settings import LOSS_SETTINGS
from notus.section import Section

Sign = Literal["not_finite", "displacement", "collapse", "length_drift", "kl", "chance", "clipping"]
"""A sign that a training goes wrong; `notus.training.signs` says when each sets in."""


SAMPLED = {"collapse", "length_drift", "kl"}
"""Those that are seen on sample answers."""


class MonitorSection(Section):
    """What is watched while a model trains."""

    samples: int = Field(default=4, ge=0)
    """Held-out prompts answered at every evaluation, greedy and sampled (0 or no holdout: none)."""
    max_new_tokens: int = Field(default=64, gt=0)
    """Cut such an answer after so many tokens."""
    kl: bool = True
    """Measure how far the policy is from its reference, on sampled answers. With adapters it costs
    a pass over the answers; without, the base is loaded beside the policy at each evaluation."""
    stop_on: list[Sign] = []
    """Signs that end the training; the model is then that of the last checkpoint before them."""

    @model_validator(mode="after")
    def _what_stops_is_measured(self) -> Self:
        sampled = SAMPLED & set(self.stop_on)
        if sampled and not self.samples:
            raise ValueError(f"stop_on {sorted(sampled)} needs sample answers, and samples is 0")
        if "kl" in self.stop_on and not self.kl:
            raise ValueError("stop_on kl needs kl: true")
        return self


def check_stops(monitor: MonitorSection, losses: Iterable[str], *, prompts: bool) -> None:
    """Refuse signs that cannot set in.

    Args:
        monitor: The recipe's section.
        losses: Losses that are minimised; none for supervised fine-tuning.
        prompts: Whether any are held out.

    Raises:
        ValueError: What such a sign needs.
    """
    stops, known = set(monitor.stop_on), [LOSS_SETTINGS[name] for name in losses]
    sampled = sorted(SAMPLED & stops)
    if sampled and not prompts:
        raise ValueError(f"monitor.stop_on {sampled} needs held-out prompts, and there are none")
    if "displacement" in stops and not any(loss.needs_reference for loss in known):
        raise ValueError("monitor.stop_on displacement needs a loss with a reference")
    if "chance" in stops and not any(loss.trains_on == "pairs" for loss in known):
        raise ValueError("monitor.stop_on chance needs a loss of pairs")
