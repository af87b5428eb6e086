"""`--launch N`: this same command line in N processes of this machine, by torchrun.

torchrun's agent starts the processes, gives them their places, ends all when one fails, and hands
Ctrl-C on. What is ours is one message at the end instead of its report.
"""

import logging
import os
import signal
import sys
from typing import Any

from notus.errors import NotusError, UsageError, explain
from notus.processes import LAUNCHED_BY_NOTUS, place

_SHUTDOWN_SECONDS = 10


class LaunchedFailure(NotusError):
    """A process that was launched has failed; the message is its own, `code` its exit code."""

    code = 1


def start(count: int, arguments: list[str]) -> None:
    """Run notus in `count` processes and wait for them.

    Args:
        count: How many.
        arguments: The command line of each, without the program's name.

    Raises:
        UsageError: There are fewer GPUs than processes.
        LaunchedFailure: A process failed or was killed; the others have been ended.
        KeyboardInterrupt: Ctrl-C, which the processes got too.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _check_devices(count)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ[LAUNCHED_BY_NOTUS] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=f"notus-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "notus.cli", *arguments)
    except ChildFailedError as error:
        raise _failure(error, count) from None
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise SystemExit(128 + error.sigval) from None


def is_launched(count: int) -> bool:
    """Say whether this process is one of `count` that were started together.

    Raises:
        UsageError: It is one of another number.
    """
    size = place().size
    if size not in (1, count):
        raise UsageError(
            explain(
                found=f"--launch {count} in one of {size} processes",
                expected=f"--launch {size}, or no --launch where torchrun starts the processes",
                where="the command line",
                remedy="leave --launch out",
            )
        )
    return size == count


def _check_devices(count: int) -> None:
    import torch

    if torch.cuda.is_available() and torch.cuda.device_count() < count:
        raise UsageError(
            explain(
                found=f"--launch {count} and {torch.cuda.device_count()} visible GPUs",
                expected="a GPU for each process",
                where="CUDA_VISIBLE_DEVICES=" + os.environ.get("CUDA_VISIBLE_DEVICES", "(not set)"),
                remedy=f"--launch {torch.cuda.device_count()}, or show more GPUs",
            )
        )


def _failure(error: Any, count: int) -> LaunchedFailure:
    """The failure that came first; a process that was killed comes before those that missed it."""
    failures = sorted(error.failures.values(), key=lambda one: (one.exitcode > 0, one.timestamp))
    failures = [one for one in failures if one.exitcode != -signal.SIGTERM] or failures
    first = failures[0]
    reported = first.error_file_data.get("message", {})
    if isinstance(reported, dict) and "code" in reported.get("extraInfo", {}):
        failure = LaunchedFailure(reported["message"])
        failure.code = int(reported["extraInfo"]["code"])
        return failure
    how = f"exit code {first.exitcode}; its own output is above"
    if first.exitcode < 0:
        how = signal.Signals(-first.exitcode).name
    return LaunchedFailure(
        explain(
            found=f"process {first.local_rank} of {count} ended by {how}",
            expected="every process to train to the end",
            where=f"process id {first.pid}",
            remedy="run the same command again: it goes on from the last checkpoint; SIGKILL is "
            "often the kernel short of memory: lower train.max_tokens or shard the model",
        )
    )
