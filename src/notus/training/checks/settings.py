"""The recipe's numbers against those of published trainings of its kind.

A warning outside the range that was published for the kind, an error ten times beyond it: such
numbers come from another method's recipe (SFT's learning rate, a length-normalised loss's beta).
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from notus.training.checks.finding import Finding
from notus.training.checks.sample import sides
from notus.training.prepare import Prepared

BEYOND = 10.0
"""Factor beyond a published range from which a number is taken for a mistake."""
TINY, LARGE = 20e6, 1e9
"""Parameters below which no recipe was published, and from which a model counts as large."""


class Published(NamedTuple):
    """Range of a number in published trainings, and which they are."""

    low: float
    high: float
    of: str


LEARNING_RATES = {
    ("preference", True, False): Published(
        5e-7, 1e-6, "full DPO of 7B models (Zephyr, Notus, Tulu 3, SimPO)"
    ),
    ("preference", True, True): Published(
        5e-7, 5e-5, "LoRA DPO of 7B models (Notus, Zephyr QLoRA)"
    ),
    ("preference", False, False): Published(
        1e-6, 2e-5, "full DPO of small models (SmolLM2, recipes/demo.yaml)"
    ),
    ("preference", False, True): Published(1e-6, 2e-4, "LoRA DPO of small models"),
    ("sft", True, False): Published(5e-6, 2e-5, "full SFT of 7B models (Tulu 3, Zephyr)"),
    ("sft", True, True): Published(2e-5, 2e-4, "LoRA SFT of 7B models (Zephyr QLoRA)"),
    ("sft", False, False): Published(2e-5, 1e-3, "full SFT of small models (SmolLM)"),
    ("sft", False, True): Published(1e-4, 1e-3, "LoRA SFT of small models"),
}
"""(objective, large model, LoRA) -> peak learning rates."""
BETAS = {
    "sigmoid": Published(0.01, 0.5, "DPO (Zephyr 0.01 and 0.1, Notus 0.1, SmolLM2 0.5)"),
    "robust": Published(0.01, 0.5, "DPO"),
    "ipo": Published(0.01, 1.0, "IPO (arXiv 2310.12036; SimPO's grid)"),
    "hinge": Published(0.01, 1.0, "RSO (arXiv 2309.06657)"),
    "sigmoid_norm": Published(2.0, 15.0, "length-normalised DPO (Tulu 3 and OLMo 2: 5)"),
    "apo_zero": Published(0.01, 0.5, "APO (SmolLM3: 0.05)"),
    "apo_down": Published(0.01, 0.5, "APO (SmolLM3: 0.05)"),
    "simpo": Published(2.0, 10.0, "SimPO (arXiv 2405.14734; Llama-3-Instruct v0.2: 10)"),
    "orpo": Published(0.05, 1.0, "ORPO (arXiv 2403.07691)"),
    "kto": Published(0.01, 0.5, "KTO (arXiv 2402.01306)"),
    "bco": Published(0.01, 0.5, "BCO (arXiv 2404.04656)"),
}
"""Loss -> beta."""
EPOCHS = Published(1, 3, "DPO (Notus and Zephyr 3, others 1 or 2)")
WARMUP_WARNING, WARMUP_ERROR = 0.3, 0.5
"""Shares of the steps."""
FEW_STEPS, FEW_HELDOUT = 10, 30


def learning_rate(prepared: Prepared) -> Iterator[Finding]:
    """Compare the learning rate with those published for the size of the model and its method.

    Source: alignment-handbook issue 188 (worse than SFT); recipes of Zephyr, Notus, Tulu 3, SimPO
    and SmolLM2.
    """
    train, parameters = prepared.recipe.train, _parameters(prepared)
    if parameters < TINY:
        return
    known = LEARNING_RATES[train.objective, parameters >= LARGE, train.lora is not None]
    yield from _against(
        "train.learning_rate",
        train.learning_rate,
        known,
        f"{train.objective}, {parameters / 1e6:,.0f} M parameters, "
        f"{'LoRA' if train.lora else 'all weights'}",
    )


def beta(prepared: Prepared) -> Iterator[Finding]:
    """Compare beta with those published for the loss.

    Source: direct-preference-optimization issue 32 (likelihoods that fall); recipes as above, and
    Tulu 3's 5 for a loss that is normalised by length.
    """
    train = prepared.recipe.train
    value = train.loss_settings.get("beta")
    for name in train.losses:
        if value is not None and name in BETAS:
            yield from _against("train.beta", value, BETAS[name], f"loss {name}")


def schedule(prepared: Prepared) -> Iterator[Finding]:
    """Work out steps, warm-up, epochs, checkpoints and evaluations, and see that they make sense.

    An error where the warm-up takes more than half of the steps, a warning over 30 % or where the
    only step has the learning rate 0.

    Source: trl issue 1405 (runs that do not reproduce), alignment-handbook issue 188.
    """
    train, examples = prepared.recipe.train, len(sides(prepared).train)
    steps = num_steps(prepared)
    warmup = math.ceil(train.warmup_ratio * steps)
    shown = f"{steps} steps of {train.pairs_per_step} examples"
    if warmup >= steps or train.warmup_ratio > WARMUP_WARNING:
        yield Finding(
            level="error" if train.warmup_ratio > WARMUP_ERROR else "warning",
            found=f"the learning rate rises over {warmup} of {shown}; it begins at 0",
            where=f"recipe key train.warmup_ratio {train.warmup_ratio:g}",
            remedy="0.1 is usual; or train for more steps",
        )
    if train.max_steps is None:
        yield from _against("train.epochs", train.epochs, EPOCHS, f"{examples:,} examples")
    if steps < FEW_STEPS:
        yield Finding(
            level="warning",
            found=f"only {shown}, from {examples:,} examples",
            where="recipe keys train.pairs_per_step, train.epochs, train.max_steps",
            remedy="take fewer pairs a step, or more pairs",
        )
    if train.pairs_per_step > examples:
        yield Finding(
            level="warning",
            found=f"a step takes {train.pairs_per_step} examples and there are {examples}",
            where="recipe key train.pairs_per_step",
            remedy="take fewer: published steps have 16 to 512 pairs of at least 40,000",
        )
    for key, every in (("save_steps", train.save_steps), ("eval_steps", train.eval_steps)):
        if every is not None and every > steps:
            yield Finding(
                level="note",
                found=f"{key} {every} is more than the {steps} steps there are",
                where=f"recipe key train.{key}",
                remedy="lower it, if a checkpoint or an evaluation before the end is wanted",
            )


def holdout(prepared: Prepared) -> Iterator[Finding]:
    """See that there are held-out pairs, and enough to say something.

    Source: direct-preference-optimization issue 32 (only held-out pairs show displacement).
    """
    data, held = prepared.recipe.data, len(sides(prepared).heldout)
    if held == 0:
        yield Finding(
            level="warning",
            found="nothing is held out",
            where=f"recipe key data.holdout {data.holdout:g}",
            remedy="hold some out (0.1), or nothing says whether the training learned more than "
            "its examples",
        )
    elif held < FEW_HELDOUT:
        yield Finding(
            level="note",
            found=f"{held} examples are held out: their accuracy is uncertain by "
            f"{100 * 0.98 / math.sqrt(held):.0f} points either way",
            where=f"recipe key data.holdout {data.holdout:g}",
            remedy="hold out more, if you want to compare runs by it",
        )


def num_steps(prepared: Prepared) -> int:
    """Optimiser steps of the training."""
    train = prepared.recipe.train
    each = math.ceil(len(sides(prepared).train) / train.pairs_per_step)
    return train.max_steps or math.ceil(each * train.epochs)


def _against(key: str, value: float, known: Published, kind: str) -> Iterator[Finding]:
    if known.low <= value <= known.high:
        return
    far = not known.low / BEYOND < value < known.high * BEYOND
    yield Finding(
        level="error" if far else "warning",
        found=f"{key} {value:g}; published: {known.low:g} to {known.high:g}",
        where=f"recipe key {key}, for {kind}",
        remedy=f"take a value of {known.of}",
    )


def _parameters(prepared: Prepared) -> float:
    model: Any = prepared.model.model
    return float(sum(p.numel() for p in model.parameters()))
