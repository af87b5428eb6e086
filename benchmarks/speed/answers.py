"""What each contender of the speed comparison must find, so that their answers can be compared."""

import hashlib
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")
SEED = 42
CONFLICT, CONFLICT_MEDIANS = 0.5, 6.0
"""Bounds of the rule score_conflict."""
EXAM_SOURCE = "truthful_qa"
"""Left out by h4-v2."""

Answer = dict[str, Any]

SHIFTS, FACTORS = (30, 27, 31), (0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 1)


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


def draws(ids: Iterable[str]) -> np.ndarray:
    """Two random 64-bit numbers for each id, in shape [ids, 2]: its halves, mixed with the seed.

    SplitMix64's finalizer, as in notus, so that the pairs can be compared.
    """
    halves = np.frombuffer(bytes.fromhex("".join(ids)), dtype="<u8").reshape(-1, 2)
    key = hashlib.blake2b(str(SEED).encode(), digest_size=16).digest()
    mixed = halves ^ np.frombuffer(key, dtype="<u8")
    for shift, factor in zip(SHIFTS, FACTORS, strict=True):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed


def peak_gib() -> float:
    """Peak resident memory of this process: VmHWM, which begins anew with each program."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**20
    raise RuntimeError("no VmHWM in /proc/self/status: this benchmark needs Linux")
