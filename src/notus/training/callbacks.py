"""What a training writes while it runs: metrics, progress, and marks on complete checkpoints."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from notus.directories import sync_tree, write_atomically
from notus.training.clock import Clock
from notus.training.group import wait_for_all

COMPLETE = "complete"
"""Name of the file that ends a checkpoint: without it the checkpoint is not believed."""

Progress = Callable[[str, int, int], None]
"""Called with (what, done, total)."""


def last_checkpoint(folder: Path, until: int | None = None) -> Path | None:
    """Find the newest complete checkpoint, at most of step `until`; incomplete ones are removed."""
    complete = []
    for path in folder.glob("checkpoint-*"):
        if not (path / COMPLETE).is_file():
            shutil.rmtree(path)
        elif until is None or step_of_checkpoint(path) <= until:
            complete.append(path)
    return max(complete, key=step_of_checkpoint, default=None)


def step_of_checkpoint(path: Path) -> int:
    """Read a checkpoint's step from its name."""
    return int(path.name.rpartition("-")[2])


def remove_checkpoints(folder: Path) -> None:
    """Remove all checkpoints; killed half-way, it leaves none that would be believed."""
    for mark in folder.glob(f"checkpoint-*/{COMPLETE}"):
        mark.unlink()
    shutil.rmtree(folder, ignore_errors=True)


class MetricsFile(TrainerCallback):
    """Writes every log to metrics.jsonl, and none twice after a resume."""

    def __init__(self, path: Path, progress: Progress | None) -> None:
        self.path = path
        self.progress = progress

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Drop rows beyond the step that training goes on from."""
        lines = self.path.read_text("utf-8").splitlines() if self.path.is_file() else []
        kept = [line for line in lines if step_of_row(line) <= state.global_step]
        text = "".join(line + "\n" for line in kept)
        write_atomically(self.path, lambda path: path.write_text(text, "utf-8"))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Append one row."""
        row = {"step": state.global_step, "epoch": state.epoch, **(logs or {})}
        if "train_runtime" not in row:  # The trainer's own farewell, which counts its process only.
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Draw the progress."""
        if self.progress is not None:
            self.progress("train", state.global_step, state.max_steps)


class EvaluateLast(TrainerCallback):
    """Evaluates after the last step, while the trackers still listen."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Ask for an evaluation."""
        if state.global_step >= state.max_steps:
            control.should_evaluate = True


class Laps(TrainerCallback):
    """Tells the clock what a trainer has just done; stands last, to time the other callbacks."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """A batch is there."""
        self.clock.lap("data")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """The weights are new."""
        self.clock.lap("optimiser")

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Everybody has been told."""
        self.clock.lap("logging")

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """A checkpoint is there."""
        self.clock.lap("saving")


class CompleteMark(TrainerCallback):
    """Ends every checkpoint but the last step's with a mark, once all its files are written.

    From a checkpoint of the last step transformers would train one step more.
    """

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Mark the checkpoint as complete, once it is on the disk."""
        wait_for_all()  # Each process writes the state of its own random numbers.
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero and state.global_step < state.max_steps:
            sync_tree(folder)
            (folder / COMPLETE).touch()


def step_of_row(line: str) -> int:
    """Read a row's step; a line cut by a kill is later than any."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 2**62
