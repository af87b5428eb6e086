"""Blind rediscovery: find 1 read as 10 with nothing but the overall score and its critique.

Every rating of an aspect is taken away, so that only what the judge wrote can tell. The simulator
has no wording in common with the audit, and the bundled feedback has flips whose truth is in a
file of its own.
"""

import gzip
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl
from faults import plant_ratings
from faults.bench import at_least, take_in
from faults.plant import Row
from faults.simulator import simulate

from notus.audit.rules import RULES
from notus.audit.verdict import Subject
from notus.data.schema import PREFERENCES
from notus.store import read_feedback

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"
RULE = "critique_conflict"
TOP = 10.0


class Rediscovery(NamedTuple):
    """How many flips were found, counting the issues of a severity and above."""

    data: str
    severity: str
    completions: int
    planted: int
    found: int
    flagged: int
    """Completions that were flagged in all."""
    flagged_tens: int
    """Of these, with an overall score of 10: the only ones that the bug can have made."""
    seconds: float


def on_simulator(rows: int, *, seed: int, quirks: bool) -> list[Rediscovery]:
    """Plant flips into simulated data, in all scores of 1, and look for them."""
    simulated = list(_bare(simulate(rows, seed=seed, quirks=quirks)))
    planted = plant_ratings.ten_flip(simulated, np.random.default_rng([seed, 10]), 0.0075)
    truth = {key for group in planted.groups for key in group}
    kind = "with quirks" if quirks else "clean"
    return _look(planted.rows, truth, f"simulator, {rows:,} rows, {kind}")


def on_demo() -> list[Rediscovery]:
    """Look for the flips that the bundled feedback has."""
    known = [
        msgspec.json.decode(line) for line in (DEMO / "planted.jsonl").read_bytes().splitlines()
    ]
    with gzip.open(DEMO / "feedback.jsonl.gz") as file:
        rows = list(_bare(msgspec.json.decode(line) for line in file))
    return _look(rows, {row["completion_id"] for row in known}, "bundled feedback")


def _bare(rows: Iterable[Row]) -> Iterable[Row]:
    """Take everything but score and critique away."""
    for row in rows:
        for completion in row["completions"]:
            completion.pop("annotations", None)
            completion.pop("fine-grained_score", None)
        yield row


def _look(rows: list[Row], truth: set[str], data: str) -> list[Rediscovery]:
    with tempfile.TemporaryDirectory() as folder:
        feedback = read_feedback(take_in(rows, Path(folder)))
        subject = Subject(feedback=feedback, preferences=pl.DataFrame(schema=PREFERENCES.schema))
        before = time.perf_counter()
        issues = RULES[RULE](subject).issues
        seconds = time.perf_counter() - before
        scores = feedback.ratings.filter(pl.col("value") == TOP).collect()["completion_id"]
        completions = feedback.completions.select(pl.len()).collect().item()
    tens = set(scores)
    found = []
    for severity in ("error", "warning"):
        raised = issues.filter(pl.col("severity").is_in(at_least(severity)))
        flags = set(raised["completion_id"])
        found.append(
            Rediscovery(
                data,
                severity,
                completions=completions,
                planted=len(truth),
                found=len(truth & flags),
                flagged=len(flags),
                flagged_tens=len(flags & tens),
                seconds=seconds,
            )
        )
    return found
