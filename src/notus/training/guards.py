"""What stops a training before it spoils what it has: numbers that are none, and a full disk."""

import errno
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import disk_usage

from safetensors import SafetensorError

from notus.errors import StageError, TrainingError, UsageError, explain
from notus.processes import Place
from notus.training.callbacks import COMPLETE

_MOST_NAMES = 8


def check_losses(losses: Sequence[float], names: Sequence[str], *, step: int) -> None:
    """Refuse a step in which any example's loss is not a finite number.

    Args:
        losses: One for each example of the whole step.
        names: The examples' ids.
        step: Number of the step, counted from 1.

    Raises:
        TrainingError: With the ids of the examples.
    """
    bad = [name for loss, name in zip(losses, names, strict=True) if not math.isfinite(loss)]
    if bad:
        shown = ", ".join(bad[:_MOST_NAMES]) + (", ..." if len(bad) > _MOST_NAMES else "")
        raise _not_a_number(f"no finite loss for {len(bad)} of {len(names)} examples", shown, step)


def check_norm(norm: float, names: Sequence[str], *, step: int) -> None:
    """Refuse a gradient that would make every weight NaN, before the update.

    Args:
        norm: Norm of the whole step's gradient.
        names: Ids of the step's examples.
        step: Number of the step, counted from 1.

    Raises:
        TrainingError: With the ids of the examples.
    """
    if not math.isfinite(norm):
        shown = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
        raise _not_a_number(f"a gradient of norm {norm}", f"one of {shown}", step)


def _not_a_number(found: str, where: str, step: int) -> TrainingError:
    return TrainingError(
        explain(
            found=f"{found} at step {step}",
            expected="finite numbers; the weights of the last checkpoint are sound",
            where=where,
            remedy="`notus trace ID RUN` shows such an example; lower train.learning_rate or "
            "train.max_grad_norm, or train.precision=float32, and run again",
        )
    )


def check_processes(here: Place, *, seen: int, pairs_per_step: int) -> None:
    """Refuse processes that would train each for itself, or have nothing to do.

    Args:
        here: This process's place by what its launcher said.
        seen: How many processes transformers and accelerate see.
        pairs_per_step: Pairs in one optimiser step, over all processes.

    Raises:
        UsageError: They do not fit.
    """
    if seen != here.size:
        raise UsageError(
            explain(
                found=f"{here.size} processes, of which accelerate sees {seen}",
                expected="one group of all of them: otherwise each would train on its own",
                where="the environment (ACCELERATE_*, RANK, WORLD_SIZE, LOCAL_RANK)",
                remedy="start with notus train RECIPE --launch N, or with torchrun",
            )
        )
    if here.size > pairs_per_step:
        raise UsageError(
            explain(
                found=f"{here.size} processes for {pairs_per_step} pairs a step",
                expected="at least one pair a step for each process",
                where="train.pairs_per_step",
                remedy=f"--launch {pairs_per_step}, or fewer",
            )
        )


def check_resume(checkpoint: Path | None, here: Place, *, dropout: float) -> None:
    """Refuse to go on with other random numbers than those of an unbroken training.

    Without dropout no random number is drawn in a step, and any number of processes goes on alike.

    Raises:
        UsageError: The checkpoint is of another number of processes, and there is dropout.
    """
    if checkpoint is None or dropout == 0:
        return
    saved = len(list(checkpoint.glob("rng_state*.pth")))
    if saved != here.size:
        raise UsageError(
            explain(
                found=f"a checkpoint of {saved} processes, to go on with in {here.size}",
                expected=f"{saved} processes: dropout draws random numbers in each",
                where=str(checkpoint),
                remedy=f"go on with {saved} processes, or begin again: remove the checkpoint's "
                "folder and those beside it",
            )
        )


@contextmanager
def checkpoints_written(folder: Path) -> Iterator[None]:
    """Say in one message that a checkpoint could not be written, and which one is whole.

    The writers of weights and optimiser state have errors of their own for a full disk: torch's
    names a file of its source, and a position.

    Args:
        folder: Where the checkpoints are.

    Raises:
        StageError: The disk is full or broken.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if not _is_of_a_writer(error):
            raise
        whole = sorted(int(path.parent.name.rpartition("-")[2]) for path in _marks(folder))
        last = f"checkpoint-{whole[-1]}" if whole else "the first step"
        raise StageError(
            explain(
                found=f"a file could not be written: {str(error).splitlines()[0]}",
                expected="room for one checkpoint more than the two that are kept",
                where=f"{folder}, {disk_usage(folder.parent).free / 2**20:.1f} MiB free",
                remedy=f"free some space and run the same command again: it goes on from {last}",
            )
        ) from error


def _is_of_a_writer(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
    # torch's writer checks positions, which fall behind on a full disk.
    return "inline_container.cc" in str(error) or "os error" in str(error)


def _marks(folder: Path) -> list[Path]:
    return list(folder.glob(f"checkpoint-*/{COMPLETE}"))
