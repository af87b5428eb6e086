"""One step's small vectors over all processes: what a loss knows of a step is all of it."""

import torch.distributed as dist
from torch import Tensor, cat


def num_processes() -> int:
    """Count the processes that share each step."""
    return dist.get_world_size() if _is_shared() else 1


def whole_step(values: Tensor) -> Tensor:
    """Join every process's rows, in the order of their ranks; of one process, its own."""
    if not _is_shared():
        return values
    parts: list[Tensor] = [values] * dist.get_world_size()
    # Processes have different numbers of rows, for which the tensor call has no form.
    dist.all_gather_object(parts, values.detach().cpu())
    return cat(parts)


def _is_shared() -> bool:
    return dist.is_available() and dist.is_initialized()
