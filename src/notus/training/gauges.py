"""What training steps hand over, gathered and turned into the numbers of one log.

    a step: rows of its examples, tokens, model FLOPs ┐
    clock: seconds by part                            ┴─> read() -> a row for metrics and trackers

Numbers by source and strategy are over GROUP_STEPS steps: a step of 8 pairs says nothing about
one of 9 sources, and a hundred scalars a step would cost more than they tell. What they are over
is kept in checkpoints, so that a resumed training logs what it would have logged.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from notus.training.batches import Batch
from notus.training.clock import STEP_PARTS, Clock
from notus.training.columns import COLUMNS
from notus.training.examples import Example
from notus.training.flops import count_flops, forest_flops, matmul_ceiling
from notus.training.group import group_place, summed
from notus.training.monitor import OTHERS, Array, by_group, group_names, summary

KINDS = ("source", "strategy")
GROUP_STEPS = 10
STATE = "monitor.npy"
"""Name of the file in a checkpoint."""


class Gauges:
    """Numbers since the last log of a training on these examples."""

    def __init__(self, model: Any, examples: Sequence[Example], clock: Clock) -> None:
        self.clock = clock
        self._names = {kind: group_names(getattr(e, kind) for e in examples) for kind in KINDS}
        self._groups = {k: sorted({*names.values(), OTHERS}) for k, names in self._names.items()}
        self._recent: list[Array] = []
        """Rows since the last log."""
        self._window = np.zeros((0, len(COLUMNS) + len(KINDS)))
        """[n, 9 + 2] rows since numbers by group were last logged."""
        self._tokens, self._operations = 0, 0.0
        self._flops = count_flops(model)
        self.ceiling: float | None = None
        """Operations a second that a matrix product reaches here; None: not measured."""

    def probe(self, device: torch.device, dtype: torch.dtype) -> None:
        """Measure the machine's ceiling, in under half a second."""
        self.ceiling = matmul_ceiling(device, dtype)

    def operations(self, batch: Batch) -> float:
        """Model FLOPs of a step, of this process's share."""
        # What a loss only reads (KTO's drift) is not trained on: the forward third.
        read = forest_flops(self._flops, batch.mismatched.forests) / 3
        return forest_flops(self._flops, batch.share.forests) + read

    def step(self, batch: Batch, rows: torch.Tensor) -> None:
        """Take in one training step: its rows [P, 9], in the order of the batch's examples.

        Every process calls it, with the rows of the whole step.
        """
        self._recent.append(self._coded(batch.examples, rows))
        cost = torch.tensor([batch.num_tokens, self.operations(batch)], dtype=torch.float64)
        tokens, operations = summed(cost).tolist()
        self._tokens += int(tokens)
        self._operations += operations

    def read(self, step: int) -> dict[str, float]:
        """Numbers of the steps since the last reading."""
        rows = np.concatenate(self._recent)
        found = summary(rows[:, : len(COLUMNS)])
        self._window = np.concatenate([self._window, rows])
        if step % GROUP_STEPS == 0:
            found |= self._by_group(self._window)
            self._window = self._window[:0]
        seconds = self.clock.read()
        spent = sum(seconds.get(part, 0.0) for part in STEP_PARTS)
        found["tokens_per_second"] = self._tokens / spent
        if self.ceiling is not None:
            found["mfu"] = self._operations / spent / self.ceiling / group_place().size
            found["ceiling"] = self.ceiling
        self._recent, self._tokens, self._operations = [], 0, 0.0
        return found | _named(seconds)

    def evaluation(self, examples: Sequence[Example], rows: torch.Tensor) -> dict[str, float]:
        """Numbers of held-out examples, rows [P, 9] in their order."""
        return summary(rows.numpy()) | self._by_group(self._coded(examples, rows))

    def seconds(self) -> dict[str, float]:
        """Time since the last reading, for a row that is not a training step's."""
        return _named(self.clock.read())

    def save(self, folder: Path) -> None:
        """Keep in a checkpoint what the next numbers by group are over."""
        np.save(folder / STATE, self._window)

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint."""
        self._window = np.load(folder / STATE)

    def _coded(self, examples: Sequence[Example], rows: torch.Tensor) -> Array:
        """Rows with two more columns: the number of their source, of their strategy."""
        codes = [
            [
                float(groups.index(self._names[kind].get(getattr(example, kind), OTHERS)))
                for kind, groups in self._groups.items()
            ]
            for example in examples
        ]
        return np.concatenate([rows.numpy(), np.array(codes)], axis=1)

    def _by_group(self, coded: Array) -> dict[str, float]:
        found: dict[str, float] = {}
        for column, kind in enumerate(KINDS, start=len(COLUMNS)):
            if self._names[kind]:
                groups = [self._groups[kind][int(code)] for code in coded[:, column]]
                found |= by_group(coded[:, : len(COLUMNS)], groups, kind=kind)
        return found


def _named(seconds: dict[str, float]) -> dict[str, float]:
    return {f"seconds/{part}": value for part, value in seconds.items()}
