"""How fast this machine trains: a few steps of the recipe's own model, timed.

The steps run through `fit`, the training itself, on a few pairs; the first, which warms up, is left
out. The optimiser's update is timed alone, because its time goes with steps and not with tokens.
"""

import json
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from notus.recipe import Recipe
from notus.training.fit import fit
from notus.training.prepare import Tables

STEPS = 4
PAIRS_PER_STEP = 4


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What a few steps have shown."""

    tokens_per_second: float
    """Of forward and backward passes."""
    update_seconds: float
    """One update of the optimiser."""


def probe(recipe: Recipe, sample: Tables, *, trainable: int) -> Speed:
    """Train a few steps on a few pairs and throw the result away.

    Args:
        recipe: The recipe whose model and settings are timed.
        sample: At least two steps of preferences.
        trainable: Number of trained weights.
    """
    update = _update_seconds(recipe, trainable)
    train = recipe.train.model_copy(
        update={
            "pairs_per_step": PAIRS_PER_STEP,
            "max_steps": STEPS,
            "report_to": [],
            "eval_steps": None,
            "save_steps": STEPS,
        }
    )
    data = recipe.data.model_copy(update={"holdout": 0.0, "heldout": None, "max_pairs": None})
    ends: list[float] = []

    def note(what: str, done: int, total: int) -> None:
        if what == "train":
            ends.append(time.perf_counter())

    with TemporaryDirectory() as folder:
        directory = Path(folder)
        fit(
            recipe.model_copy(update={"train": train, "data": data}),
            *sample,
            recipe.model.base,
            directory,
            reference_root=directory / "reference",
            progress=note,
        )
        lines = (directory / "metrics.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    steps = [b - a for a, b in pairwise(ends)]
    rates = [row["tokens_per_second"] for row in rows if "loss" in row][1:]
    tokens = sum(seconds * rate for seconds, rate in zip(steps, rates, strict=True))
    return Speed(
        tokens_per_second=tokens / max(sum(steps) - len(steps) * update, 0.1 * sum(steps)),
        update_seconds=update,
    )


def _update_seconds(recipe: Recipe, trainable: int) -> float:
    """Time one update of as many weights as are trained, in one tensor."""
    weights = torch.zeros(trainable, dtype=getattr(torch, recipe.train.dtype), requires_grad=True)
    kinds = {"adamw_torch": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}
    optimiser = kinds[recipe.train.optimizer]([weights], lr=1e-9)
    weights.grad = torch.ones_like(weights)
    optimiser.step()  # Makes its states.
    begin = time.perf_counter()
    optimiser.step()
    torch.nn.utils.clip_grad_norm_([weights], 1.0)
    return time.perf_counter() - begin
