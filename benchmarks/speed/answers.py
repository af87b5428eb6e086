"""What each contender of the speed comparison must find, so that their answers can be compared."""

import hashlib
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")
SEED = 42
CONFLICT, CONFLICT_MEDIANS = 0.5, 6.0
"""Bounds of the rule score_conflict."""
EXAM_SOURCE = "truthful_qa"
"""Left out by h4-v2."""

Answer = dict[str, Any]


class Stopwatch:
    """Seconds by the name of what was done."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time a block."""
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def digest(ids: Iterable[str]) -> str:
    """Number of ids, and a hash of them in sorted order."""
    ordered = sorted(ids)
    return f"{len(ordered)} {hashlib.sha256(' '.join(ordered).encode()).hexdigest()[:16]}"


def peak_gib() -> float:
    """Peak resident memory of this process: VmHWM, which begins anew with each program."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**20
    raise RuntimeError("no VmHWM in /proc/self/status: this benchmark needs Linux")
