"""What each loss is called and reads: known without torch, for recipes and their documentation.

`training/losses.py` and `training/vote_losses.py` have the functions, under the same names.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

Settings = Mapping[str, float]
"""Setting -> value."""


class LossSettings(NamedTuple):
    """What a recipe must know of a loss."""

    title: str
    """What it is, for people."""
    paper: str
    """Where it comes from."""
    trains_on: str
    """"pairs", or "votes": single completions that are desirable or not."""
    needs_reference: bool
    defaults: Settings
    """The settings that it reads, with the values they have when a recipe leaves them out."""


def read_settings(losses: Iterable[str]) -> dict[str, float]:
    """Join the settings that a mixture reads; where defaults differ, the first loss's holds."""
    merged: dict[str, float] = {}
    for name in reversed([name for name in LOSS_SETTINGS if name in set(losses)]):
        merged |= LOSS_SETTINGS[name].defaults
    return merged


def any_of_votes(losses: Iterable[str]) -> bool:
    """Say whether a known loss among these trains on votes."""
    return any(
        name in LOSS_SETTINGS and LOSS_SETTINGS[name].trains_on == "votes" for name in losses
    )


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
        alone = [name for name in losses if any_of_votes([name])]
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
_SIMPO = {"beta": 2.0, "gamma_beta_ratio": 0.5, "label_smoothing": 0.0}
_KTO = {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0}


def _of_pairs(
    title: str, paper: str, defaults: Settings, *, reference: bool = True
) -> LossSettings:
    return LossSettings(title, paper, "pairs", reference, defaults)


# The order is that of a mixture: its rewards are those of its first loss.
LOSS_SETTINGS: dict[str, LossSettings] = {
    "sigmoid": _of_pairs(
        "direct preference optimisation (DPO)",
        "arXiv 2305.18290",
        _SMOOTHED,
    ),
    "robust": _of_pairs(
        "DPO, unbiased where labels are flipped at the rate label_smoothing",
        "arXiv 2403.00409",
        {"beta": 0.1, "label_smoothing": 0.1},
    ),
    "ipo": _of_pairs("identity preference optimisation (IPO)", "arXiv 2310.12036", _BETA),
    "hinge": _of_pairs("hinge on the margin (RSO, SLiC)", "arXiv 2309.06657", _BETA),
    "sigmoid_norm": _of_pairs(
        "length-normalised DPO (Tulu 3)",
        "arXiv 2411.15124",
        {"beta": 5.0, "label_smoothing": 0.0},
    ),
    "apo_zero": _of_pairs(
        "anchored preference optimisation, chosen up, rejected down", "arXiv 2408.06266", _BETA
    ),
    "apo_down": _of_pairs(
        "anchored preference optimisation, both down, rejected further", "arXiv 2408.06266", _BETA
    ),
    "simpo": _of_pairs(
        "simple preference optimisation (SimPO)", "arXiv 2405.14734", _SIMPO, reference=False
    ),
    "orpo": _of_pairs(
        "odds-ratio preference optimisation (ORPO)", "arXiv 2403.07691", _BETA, reference=False
    ),
    "nll": _of_pairs(
        "likelihood of the chosen answer; beside sigmoid it is RPO",
        "arXiv 2404.19733",
        {},
        reference=False,
    ),
    "kto": LossSettings(
        "Kahneman-Tversky optimisation (KTO)", "arXiv 2402.01306", "votes", True, _KTO
    ),
    "bco": LossSettings(
        "binary classifier optimisation (BCO)", "arXiv 2404.04656", "votes", True, _BETA
    ),
}
SETTINGS = tuple(sorted({key for loss in LOSS_SETTINGS.values() for key in loss.defaults}))
"""Every setting that some loss reads."""
