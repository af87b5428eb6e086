"""Where a training's time goes: every moment belongs to exactly one part.

A lap gives all time since the lap before to a part, so the parts add up to the whole and nothing
can be forgotten; what no one has claimed is in the next lap.
"""

import time
from collections import defaultdict
from collections.abc import Callable

PARTS = (
    "reference",
    "data",
    "forward",
    "backward",
    "optimiser",
    "logging",
    "evaluation",
    "answers",
    "saving",
)
STEP_PARTS = ("data", "forward", "backward", "optimiser")
"""What a training step consists of: throughput and utilisation are over these."""


class Clock:
    """Seconds by part since the last reading."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._last = now()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def lap(self, part: str) -> None:
        """Give the time since the last lap to a part of PARTS."""
        now = self._now()
        self._seconds[part] += now - self._last
        self._last = now

    def read(self) -> dict[str, float]:
        """Seconds of each part since the last reading, in the order of PARTS."""
        found = {part: self._seconds[part] for part in PARTS if part in self._seconds}
        self._seconds.clear()
        return found
