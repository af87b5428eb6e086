"""How long a training will take: assumed of GPUs, measured of this machine."""

from typing import Any

from notus.hardware import Machine
from notus.recipe import Recipe
from notus.stages.workload import Workload, passes
from notus.training.forecast import Setup, Shape

GPU_UTILISATION = 0.35
"""Share of a GPU's peak that a training reaches over all its operations. 53.2 pairs/s of
Mistral-7B on 8 H100 (dpo-prefix-sharing's README) is 0.30 without recomputation, 0.37 with it."""
CPU_UTILISATION = 0.5
"""The same of a CPU's measured ceiling, where the model's weights are not at hand to be timed."""

Operations = dict[str, dict[str, float]]
"""Phase -> part -> number."""


def seconds(
    recipe: Recipe,
    shape: Shape,
    setup: Setup,
    work: Workload,
    steps: int,
    cost: Operations,
    machine: Machine | None,
) -> dict[str, Any]:
    """Seconds by phase, and the assumption or the measurement that they rest on."""
    if machine is not None:
        rate = machine.count * machine.gpu.peak * GPU_UTILISATION
        peak = machine.gpu.peak / 1e12
        basis = f"assumed: {GPU_UTILISATION:.0%} of {peak:.0f} Tflop/s a GPU ({machine.gpu.source})"
        return _facts(_at_rate(cost, rate), basis)
    if work.sample is None:
        return _from_ceiling(setup, cost)
    from notus.training.probe import probe

    speed = probe(recipe, work.sample, trainable=shape.trainable)
    tokens = work.epoch.tokens * passes(recipe, work, steps)
    training = tokens / speed.tokens_per_second
    # The phases without backward go at the same rate of operations.
    rate = sum(cost["training"].values()) / training
    phases = _at_rate(cost, rate) | {"training": training + steps * speed.update_seconds}
    basis = (
        f"measured here: {speed.tokens_per_second:.0f} tokens/s forward and backward "
        f"({rate / 1e9:.0f} Gflop/s), {speed.update_seconds:.2f} s an update"
    )
    return _facts(phases, basis)


def _from_ceiling(setup: Setup, cost: Operations) -> dict[str, Any]:
    import torch

    from notus.training.flops import matmul_ceiling

    dtype = torch.bfloat16 if setup.product_bytes == 2 else torch.float32
    ceiling = matmul_ceiling(torch.device("cpu"), dtype)
    basis = f"assumed: {CPU_UTILISATION:.0%} of {ceiling / 1e9:.0f} Gflop/s, measured here"
    return _facts(_at_rate(cost, ceiling * CPU_UTILISATION), basis)


def _at_rate(cost: Operations, rate: float) -> dict[str, float]:
    return {phase: sum(parts.values()) / rate for phase, parts in cost.items()}


def _facts(phases: dict[str, float], basis: str) -> dict[str, Any]:
    return {
        "seconds": {phase: round(value, 1) for phase, value in phases.items()},
        "hours in all": float(f"{sum(phases.values()) / 3600:.3g}"),
        "time is": basis,
    }
