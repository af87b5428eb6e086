"""What each loss is called and reads: known without torch, for recipes and their documentation.

`training/losses.py` and `training/vote_losses.py` have the functions, under the same names.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

Settings = Mapping[str, float]
"""Setting -> value."""


class LossSettings(NamedTuple):
    """What a recipe must know of a loss."""

    trains_on: str
    """"pairs", or "votes": single completions that are desirable or not."""
    needs_reference: bool
    defaults: Settings
    """The settings that it reads, with the values they have when a recipe leaves them out."""
    summary: str
    """One line for people, with its paper."""


def read_settings(losses: Iterable[str]) -> dict[str, float]:
    """Join the settings that a mixture reads; where defaults differ, the first loss's holds."""
    merged: dict[str, float] = {}
    for name in reversed([name for name in LOSS_SETTINGS if name in set(losses)]):
        merged |= LOSS_SETTINGS[name].defaults
    return merged


def check_losses(losses: Settings, given: Settings) -> None:
    """Refuse a mixture that cannot be, and settings that no loss in it reads.

    Args:
        losses: Loss -> weight; empty for supervised fine-tuning.
        given: The settings that have a value.

    Raises:
        ValueError: What is wrong, with what could be meant.
    """
    for name, weight in losses.items():
        if name not in LOSS_SETTINGS:
            raise ValueError(f"loss {name!r} is unknown; known are {', '.join(LOSS_SETTINGS)}")
        if weight <= 0:
            raise ValueError(f"the weight {weight} of loss {name} must be above 0")
    if len(losses) > 1:
        alone = [name for name in losses if LOSS_SETTINGS[name].trains_on == "votes"]
        if alone:
            raise ValueError(f"loss {alone[0]} is one of votes and cannot be mixed with others")
    for name, value in given.items():
        if name not in read_settings(losses):
            readers = [loss for loss, known in LOSS_SETTINGS.items() if name in known.defaults]
            what = f"loss {' + '.join(losses)}" if losses else "objective sft"
            raise ValueError(
                f"{name} is {value}, which {what} does not read (only {', '.join(readers)}): "
                f"set it to null"
            )


_BETA = {"beta": 0.1}
_SMOOTHED = {"beta": 0.1, "label_smoothing": 0.0}

# The order is that of a mixture: its rewards are those of its first loss.
LOSS_SETTINGS: dict[str, LossSettings] = {
    "sigmoid": LossSettings(
        "pairs", True, _SMOOTHED, "DPO; with label_smoothing conservative DPO (arXiv 2305.18290)"
    ),
    "robust": LossSettings(
        "pairs",
        True,
        {"beta": 0.1, "label_smoothing": 0.1},
        "DPO, unbiased for labels flipped at the rate label_smoothing (arXiv 2403.00409)",
    ),
    "ipo": LossSettings(
        "pairs", True, _BETA, "identity preference optimisation (arXiv 2310.12036)"
    ),
    "hinge": LossSettings("pairs", True, _BETA, "hinge of SLiC and RSO (arXiv 2309.06657)"),
    "sigmoid_norm": LossSettings(
        "pairs",
        True,
        {"beta": 5.0, "label_smoothing": 0.0},
        "DPO a token, Tulu 3 (arXiv 2411.15124)",
    ),
    "apo_zero": LossSettings("pairs", True, _BETA, "chosen up, rejected down (arXiv 2408.06266)"),
    "apo_down": LossSettings(
        "pairs", True, _BETA, "chosen down, rejected further down (arXiv 2408.06266)"
    ),
    "simpo": LossSettings(
        "pairs",
        False,
        {"beta": 2.0, "gamma_beta_ratio": 0.5, "label_smoothing": 0.0},
        "no reference, a target margin (arXiv 2405.14734)",
    ),
    "orpo": LossSettings(
        "pairs", False, _BETA, "no reference, odds ratio and likelihood (arXiv 2403.07691)"
    ),
    "nll": LossSettings(
        "pairs", False, {}, "likelihood of the chosen; with sigmoid: RPO (arXiv 2404.19733)"
    ),
    "kto": LossSettings(
        "votes",
        True,
        {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0},
        "prospect theory, against the drift on other prompts' answers (arXiv 2402.01306)",
    ),
    "bco": LossSettings(
        "votes", True, _BETA, "a binary classifier of answers, shifted (arXiv 2404.04656)"
    ),
}
SETTINGS = tuple(sorted({key for loss in LOSS_SETTINGS.values() for key in loss.defaults}))
"""Every setting that some loss reads."""
