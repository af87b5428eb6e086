"""The verb plan: what a recipe will cost, before anything is trained or fetched.

model on the meta device -> shape      data, or its expected size -> workload
shape x workload x machine -> memory by part, operations, time, and what to change if it is
too much
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from notus.errors import UsageError, explain_unknown
from notus.hardware import GIB, Machine
from notus.loss_settings import LOSS_SETTINGS
from notus.recipe import Recipe
from notus.stages.durations import seconds
from notus.stages.workload import Workload, passes, steps_of, workload
from notus.train_section import LoraSection
from notus.training.forecast import (
    SHARDINGS,
    Load,
    Setup,
    Shape,
    largest_micro_batch,
    memory,
    operations,
    total,
)

USABLE = 0.95
"""Share of the memory that may be filled; the rest goes to fragments and to others."""


def plan(
    recipe: Recipe, *, machine: Machine | None = None, sharding: str = "none"
) -> dict[str, Any]:
    """Forecast a recipe's training.

    Args:
        recipe: The resolved recipe.
        machine: GPUs to plan for; None: this machine's CPU.
        sharding: How the GPUs share weights, gradients and the optimiser's states.

    Returns:
        Facts, for people and machines.

    Raises:
        ModelError: Nothing says what the model looks like.
        RecipeError: Neither the data nor its size is known.
        UsageError: No such sharding.
    """
    from notus.training.skeleton import skeleton

    if sharding not in SHARDINGS:
        raise UsageError(explain_unknown("sharding", sharding, SHARDINGS, where="--sharding"))
    built = skeleton(recipe.model, recipe.train.lora)
    shape, work = built.shape, workload(recipe, processes=machine.count if machine else 1)
    setup = setup_of(recipe, work, machine=machine, sharding=sharding)
    steps = steps_of(recipe, work.examples)
    cost = costs(recipe, shape, setup, work, steps)
    return {
        "recipe": recipe.name,
        "model": built.source,
        "parameters": shape.parameters + shape.adapters,
        "trainable": shape.trainable,
        "data": work.source,
        work.kind: work.examples,
        "held out": work.heldout,
        "steps": steps,
        "tokens an epoch": round(work.epoch.tokens),
        "tokens a step": round(work.epoch.tokens / work.examples * recipe.train.pairs_per_step),
        "largest micro-batch, tokens": round(work.longest),
        **_memory(recipe, shape, setup, work, machine),
        "operations": {name: _round(sum(parts.values())) for name, parts in cost.items()},
        "operations of training": {name: _round(n) for name, n in cost["training"].items()},
        **seconds(recipe, shape, setup, work, steps, cost, machine),
    }


def setup_of(
    recipe: Recipe, work: Workload, *, machine: Machine | None, sharding: str = "none"
) -> Setup:
    """What of a recipe and a machine decides memory and operations."""
    from notus.models import resolve_precision

    train = recipe.train
    auto = "bfloat16" if machine else resolve_precision(train.precision)
    precision = auto if train.precision == "auto" else train.precision
    half = train.dtype == "bfloat16" or precision == "bfloat16"
    return Setup(
        device="cuda" if machine else "cpu",
        weight_bytes=2 if train.dtype == "bfloat16" else 4,
        product_bytes=2 if half else 4,
        four_bit=train.lora is not None and train.lora.load_in_4bit,
        optimiser=train.optimizer,
        checkpointing=train.gradient_checkpointing,
        micro_batches=work.micro_batches,
        processes=machine.count if machine else 1,
        sharding=sharding,
    )


def costs(
    recipe: Recipe, shape: Shape, setup: Setup, work: Workload, steps: int
) -> dict[str, dict[str, float]]:
    """Operations of the whole run by phase and part."""
    train = recipe.train
    seen = work.epoch.times(passes(recipe, work, steps))
    evaluations = 1 + (steps // train.eval_steps if train.eval_steps else 0)

    def forward(load: Load) -> dict[str, float]:
        return operations(shape, load, backward=False, setup=setup)

    training = operations(shape, seen, backward=True, setup=setup)
    if work.shift_pass.tokens:
        again = work.shift_pass.times(passes(recipe, work, steps))
        training["shift of the votes"] = total(forward(again))
    refers = any(LOSS_SETTINGS[name].needs_reference for name in train.losses)
    referred = work.epoch.plus(work.heldout_pass).times(1 if refers else 0)
    return {
        "reference": forward(referred),
        "training": training,
        "evaluation": forward(work.heldout_pass.times(evaluations)),
    }


def room_on(machine: Machine | None) -> float:
    """Bytes that one process may fill."""
    if machine is not None:
        return USABLE * machine.gpu.memory
    import psutil

    return USABLE * float(psutil.virtual_memory().available)


def _memory(
    recipe: Recipe, shape: Shape, setup: Setup, work: Workload, machine: Machine | None
) -> dict[str, Any]:
    parts = memory(shape, setup, tokens=work.longest, pairs=work.all_tokens)
    room = room_on(machine)
    fits = total(parts) <= room
    facts: dict[str, Any] = {
        "machine": f"{machine.count} x {machine.gpu.name}, {setup.sharding}" if machine else "CPU",
        "memory, GiB": {name: round(value / GIB, 2) for name, value in parts.items() if value},
        "memory in all, GiB": round(total(parts) / GIB, 2),
        "memory to fill, GiB": round(room / GIB, 2),
        "fits": fits,
    }
    if not fits:
        facts["change"] = suggestion(recipe, shape, setup, work, room)
    return facts


def suggestion(recipe: Recipe, shape: Shape, setup: Setup, work: Workload, room: float) -> str:
    """The first change, of the least costly ones, with which the training fits."""
    for change, other_shape, other in _changes(recipe, shape, setup):
        most = largest_micro_batch(other_shape, other, room=room, pairs=work.all_tokens)
        if most >= work.longest:
            return change
        if most >= work.longest_example:
            smaller = f"--set train.max_tokens={most // 64 * 64}"
            return f"{change} {smaller}".strip()
    least = memory(shape, setup, tokens=work.longest_example, pairs=work.all_tokens)
    return (
        f"one example alone needs {total(least) / GIB:.0f} GiB: a larger machine or smaller model"
    )


def _changes(recipe: Recipe, shape: Shape, setup: Setup) -> Iterator[tuple[str, Shape, Setup]]:
    """Changes one on the other, each with the shape and set-up that it makes."""
    from notus.training.skeleton import skeleton

    said = ""
    yield said, shape, setup
    if not setup.checkpointing:
        said, setup = "--set train.gradient_checkpointing=true", replace(setup, checkpointing=True)
        yield said, shape, setup
    names = list(SHARDINGS)
    for name in names[names.index(setup.sharding) + 1 :] if setup.processes > 1 else []:
        yield f"{said} --sharding {name}".strip(), shape, replace(setup, sharding=name)
    lora = recipe.train.lora
    if lora is None:
        shape = skeleton(recipe.model, LoraSection()).shape
        said = f"{said} --set train.lora={{r: 16}}".strip()
        yield said, shape, setup
    if not setup.four_bit:
        # Frozen weights may be rounded: their updates are in the adapters.
        half = replace(setup, weight_bytes=2)
        yield f"{said} --set train.dtype=bfloat16".strip(), shape, half
        said = f"{said} --set train.lora.load_in_4bit=true --set train.dtype=bfloat16".strip()
        yield said, shape, replace(half, four_bit=True)


def _round(number: float) -> float:
    """Four digits: no forecast has more."""
    return float(f"{number:.4g}")
