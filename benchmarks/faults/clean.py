"""What the audit says of data without faults: false alarms and seconds by rule."""

import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import polars as pl
from faults.bench import at_least, make_subject, simulated, take_in
from faults.kinds import FAULTS

from notus.audit.rules import RULES
from notus.store import read_feedback


class Alarms(NamedTuple):
    """What one rule raised on one data set."""

    data: str
    rule: str
    looked_at: int
    issues: int
    """Items with a warning or an error."""
    errors: int
    """Items with an error, and findings that are one."""
    findings: int
    """Findings that are a warning or an error."""
    skipped: str
    evidence: str
    """Of the first finding that is a warning or an error."""
    seconds: float


def alarms(form: str, rows: int, *, seed: int, quirks: bool = False) -> list[Alarms]:
    """Audit simulated data without faults by every rule.

    Args:
        form: "ultrafeedback" or "pairs".
        rows: How many rows to simulate.
        seed: Of the simulation.
        quirks: Whether the real set's oddities are there.
    """
    fault = next(fault for fault in FAULTS.values() if fault.form == form)
    data = f"{form}, {'with quirks' if quirks else 'clean'}, {rows:,} rows"
    found = []
    with tempfile.TemporaryDirectory() as folder:
        ingested = take_in(simulated(form, rows, seed=seed, quirks=quirks), Path(folder))
        subject = make_subject(read_feedback(ingested), fault)
        for name, rule in RULES.items():
            before = time.perf_counter()
            verdict = rule(subject)
            seconds = time.perf_counter() - before
            raised = verdict.issues.filter(pl.col("severity").is_in(at_least("warning")))
            grave = [f for f in verdict.findings if f.severity != "info"]
            errors = raised.filter(pl.col("severity") == "error").height
            found.append(
                Alarms(
                    data,
                    name,
                    looked_at=verdict.looked_at,
                    issues=raised.height,
                    errors=errors + sum(f.severity == "error" for f in grave),
                    findings=len(grave),
                    skipped=verdict.skipped or "",
                    evidence=f"{grave[0].subject}: {grave[0].evidence}" if grave else "",
                    seconds=seconds,
                )
            )
    return found
