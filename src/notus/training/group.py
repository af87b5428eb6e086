"""The processes that train together: their group, and what a failure of one means for the others.

The group is gloo on CPUs and NCCL on GPUs, with gloo beside it for small tensors in main memory.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from notus.errors import StageError, explain
from notus.processes import Place, place, store

# A process that lost another waits so long before it says so: the launcher then sees first the one
# that is the cause, and ends the others.
_LET_THE_CAUSE_BE_SEEN = 5.0


@contextmanager
def process_group(*, timeout: float) -> Iterator[Place]:
    """Join the processes of this run inside a `with` block; alone, nothing is done.

    Args:
        timeout: Longest wait for the others, in seconds.

    Raises:
        StageError: Another process is gone, or did not come within `timeout`.
    """
    here = place()
    if here.size == 1:
        yield here
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(here.local_rank)
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo",
            store=store(),
            rank=here.rank,
            world_size=here.size,
            timeout=timedelta(seconds=timeout),
        )
        yield here
        dist.barrier()
        dist.destroy_process_group()
    except RuntimeError as error:
        if not _is_of_the_group(error):
            raise
        raise _lost(error, here, timeout) from error


def group_place() -> Place:
    """Return this process's place in the group; alone where there is none."""
    if not dist.is_initialized():
        return Place()
    return Place(rank=dist.get_rank(), size=dist.get_world_size())


def from_first(value: Any) -> Any:
    """Return the first process's value in every process."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def wait_for_all() -> None:
    """Return when every process has come here."""
    if dist.is_initialized():
        dist.barrier()


def summed(values: Tensor) -> Tensor:
    """Add a small tensor in main memory up over all processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def _is_of_the_group(error: RuntimeError) -> bool:
    """Gloo's errors have no class of their own; they name its source files."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)


def _lost(error: RuntimeError, here: Place, timeout: float) -> StageError:
    waited = "timed out" in str(error).lower()
    if not waited:
        time.sleep(_LET_THE_CAUSE_BE_SEEN)
    found = f"waited {timeout:g} s for the other processes" if waited else "lost another process"
    return StageError(
        explain(
            found=f"process {here.rank} of {here.size} {found}",
            expected="all processes to reach the same point of the training",
            where=str(error).splitlines()[0][:200],
            remedy="see whether one of them is stuck or was ended (memory, disk, network), then "
            "run the same command again: it goes on from the last checkpoint"
            + ("; a slower machine needs a larger train.timeout" if waited else ""),
        )
    )
