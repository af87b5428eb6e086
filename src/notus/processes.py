"""Which of many processes this one is, and how the first gives the others their work.

torchrun, and what speaks its dialect, sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and
MASTER_PORT. Only the training is spread: the first process runs every stage, the others wait at
the launcher's key-value store until it has a training for them, and end with it. torch is imported
inside the functions, so that a process on its own does not need it here.
"""

import functools
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from notus.errors import UsageError, explain

LAUNCHED_BY_NOTUS = "NOTUS_LAUNCHED"
"""Set in processes whose failures `notus --launch` itself reports."""
_TASK = "notus/task"
_POLL_SECONDS = 0.2
# What launchers set that know nothing of torchrun's variables: name -> who sets it.
_OTHERS = {
    "SLURM_STEP_NUM_TASKS": "srun",
    "OMPI_COMM_WORLD_SIZE": "mpirun",
    "PMI_SIZE": "mpiexec",
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a process stands among those that were started together."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Rank among the processes of this machine: the GPU that it takes."""

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0


def place() -> Place:
    """Read this process's place from the environment.

    Raises:
        UsageError: A launcher meant to start several processes, but this one cannot find the
            others: it would train alone, or all of them would train the same.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in names if name not in os.environ]
    if not missing:
        values = [int(os.environ[name]) for name in names[:3]]
        return Place(rank=values[0], size=values[1], local_rank=values[2])
    if "WORLD_SIZE" in os.environ or "MASTER_PORT" in os.environ:
        found = ", ".join(f"{name}={os.environ[name]}" for name in names if name not in missing)
        raise _wrong_launch(f"{found} without {', '.join(missing)}")
    for name, launcher in _OTHERS.items():
        if int(os.environ.get(name, "1")) > 1:
            raise _wrong_launch(f"{name}={os.environ[name]}: {launcher} started them")
    return Place()


def is_alone() -> bool:
    """Say whether this process was not started together with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1


def _wrong_launch(found: str) -> UsageError:
    return UsageError(
        explain(
            found=f"one of several processes that do not know each other ({found})",
            expected="RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, as torchrun sets "
            "them, or none of these",
            where="the environment",
            remedy="notus train RECIPE --launch N on one machine; on several: "
            "srun torchrun ... -m notus.cli train RECIPE; "
            "`accelerate launch --cpu` starts one process, whatever it was told",
        )
    )


def give(task: Mapping[str, Any] | None) -> None:
    """Tell the others what to take part in, or with None that nothing is left to do."""
    if place().size > 1 and not store().check([_TASK]):
        store().set(_TASK, json.dumps(task))


def take() -> Any:
    """Wait for what the first process gives; None: nothing is left to do."""
    while not store().check([_TASK]):  # Waiting inside the store would not hear Ctrl-C.
        time.sleep(_POLL_SECONDS)
    return json.loads(store().get(_TASK))


@functools.cache
def store() -> Any:
    """Connect to the launcher's store; the first process keeps one where the launcher has none."""
    from torch.distributed.rendezvous import rendezvous

    return next(rendezvous("env://"))[0]


def end_with_launcher() -> None:
    """End this process as soon as the one that started it is gone, however it went.

    A launcher that was killed cannot stop its processes; they would hold the run's lock and the
    GPUs. Ending is as safe here as SIGKILL is: what is on disk is whole.
    """
    launcher = os.getppid()

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def leave(code: int) -> NoReturn:
    """End one of several processes at once.

    An orderly end takes the process group down, whose threads may wait for the interpreter's lock
    while the main thread holds it and waits for them.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def report(message: str, code: int) -> bool:
    """Leave a failure for `notus --launch` to print, once for all processes.

    Returns:
        False where nobody but this process itself would print it.
    """
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if LAUNCHED_BY_NOTUS not in os.environ or file is None:
        return False
    # torchrun's own form: the first process to fail is the one with the smallest time.
    facts = {"timestamp": str(int(time.time())), "code": code}
    with open(file, "w", encoding="utf-8") as error:  # noqa: PTH123
        json.dump({"message": {"message": message, "extraInfo": facts}}, error)
    return True
