"""A model whose weights are spread over the processes (FSDP2), and its whole state on the disk.

`fully_shard` is torch's own, on CPUs with gloo as on GPUs with NCCL. Each decoder layer is gathered
for its forward and again for its backward; what is outside of the layers (embeddings, last norm,
head) is one group more, gathered from the forward to the end of the backward, so that the head's
weight is a plain tensor when log-probs are made from it. Gradients are averaged over processes.

Checkpoints are the same files as those of an unsharded model, so that neither sharding nor the
number of processes binds who goes on from them.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from notus.errors import UnsupportedModelError, explain


def shard(model: nn.Module) -> None:
    """Spread a model's weights over all processes, in place.

    Args:
        model: A transformers model, or PEFT's wrapper of one.

    Raises:
        UnsupportedModelError: The model does not say what its layers are.
    """
    inner = next(module for module in model.modules() if isinstance(module, PreTrainedModel))
    kinds = set(inner._no_split_modules or ())
    layers = [module for module in model.modules() if type(module).__name__ in kinds]
    if not layers:
        raise UnsupportedModelError(
            explain(
                found=f"{type(inner).__name__}, which names no layers that belong together",
                expected="a model with _no_split_modules",
                where="train.sharding: fsdp",
                remedy="--set train.sharding=none",
            )
        )
    for layer in layers:
        fully_shard(layer)
    fully_shard(model)


def whole_state(model: nn.Module) -> dict[str, Tensor]:
    """Gather every weight, in main memory; all processes must call it. Tied weights stay tied."""
    gathered: dict[int, Tensor] = {}
    state = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in gathered:
            gathered[id(tensor)] = _whole(tensor.detach())
        state[name] = gathered[id(tensor)]
    return state


def whole_optimizer_state(optimizer: Any) -> dict[str, Any]:
    """Gather an optimiser's state; all processes must call it."""
    state = optimizer.state_dict()
    whole = {
        index: {name: _whole(value) for name, value in of_one.items()}
        for index, of_one in state["state"].items()
    }
    return {**state, "state": whole}


def load_optimizer_state(optimizer: Any, state: Mapping[str, Any]) -> None:
    """Give each process its part of a whole state."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    spread = {
        index: {name: _spread(value, parameters[index]) for name, value in of_one.items()}
        for index, of_one in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": spread})


def _whole(value: Any) -> Any:
    """Bring a tensor together, in main memory; anything else is whole."""
    if not isinstance(value, Tensor):
        return value
    return (value.full_tensor() if isinstance(value, DTensor) else value).cpu()


def _spread(value: Any, parameter: Tensor) -> Any:
    # A counter has no dimension, and is kept whole.
    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor) or not value.dim():
        return value
    device, placements = parameter.device_mesh, parameter.placements
    return distribute_tensor(value.to(parameter.device), device, placements)
