"""Plant a fault into simulated data, write it, ingest it, audit it, and compare.

Everything is the real thing: `notus.data.sources.ingest` on a JSONL file, `notus.binarize`, and the
rules of `notus.audit.rules.RULES`.
"""

import re
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl
from faults import plant_pairs, plant_texts
from faults.kinds import FAULTS, REFUSED, Fault
from faults.plant import Planted, Row
from faults.simulator import simulate, write

from notus.audit.rules import RULES
from notus.audit.verdict import Finding, Subject, Verdict
from notus.binarize import binarize
from notus.data.schema import SEVERITIES, Feedback, Message
from notus.data.sources import ingest
from notus.specification import Specification
from notus.specifications import specification
from notus.store import read_feedback

MAX_TOKENS = 512
"""Of the bench's trainer, whose tokens are words."""
OTHER_STRATEGY = "h4-v2"
# A refused item's text may be cut, so that it is no JSON any more.
_MODEL = re.compile(r'"model": ?"([^"]*)"')


class Outcome(NamedTuple):
    """What became of one planting."""

    kind: str
    seed: int
    planted: int
    """Spoiled items; 0 where the fault is in the whole set."""
    found: int
    """Of these, flagged."""
    flagged: int
    """Items that were flagged in all."""
    right: int
    """Of these, spoiled."""
    items: int
    """Items that the rules looked at."""
    detected: bool
    """Whether the finding is there; of items, whether any was found."""
    alarm: bool
    """Whether the finding is also there without the fault."""
    skipped: str
    """Why rules could not run."""
    evidence: str
    """The strongest finding in words."""
    seconds: float
    """Of the rules alone."""
    dose: float = 1.0
    """Times the kind's share that was planted."""


def run_fault(kind: str, *, rows: int, seed: int, dose: float = 1.0) -> Outcome:
    """Plant one kind of fault, in `dose` times its share, and see what the audit says."""
    fault = FAULTS[kind]
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    planted = fault.plant(base_rows(fault.form, rows, seed), rng, dose * fault.share)
    with tempfile.TemporaryDirectory() as folder:
        ingested = take_in(planted.rows, Path(folder))
        if REFUSED in fault.rules:
            refused = _refused_items(ingested)
            items = sum(len(row["completions"]) for row in planted.rows)
            return _outcome(kind, seed, planted, refused, [], 0.0)._replace(items=items)
        subject = make_subject(read_feedback(ingested), fault)
        before = time.perf_counter()
        verdicts = [RULES[name](subject) for name in fault.rules if name in RULES]
        seconds = time.perf_counter() - before
    if fault.shown == "items":
        flagged = _flagged_items(verdicts, planted, fault.severity)
        return _outcome(kind, seed, planted, flagged, verdicts, seconds)._replace(dose=dose)
    findings = [finding for verdict in verdicts for finding in verdict.findings]
    clean = unspoiled_findings(fault, rows, seed)
    if fault.shown == "shift":
        raised, alarm = [f for f in findings if _shifted(f, clean)], False
    else:
        grave = at_least(fault.severity)
        raised = [finding for finding in findings if finding.severity in grave]
        alarm = any(finding.severity in grave for finding in clean)
    outcome = _outcome(kind, seed, planted, [], verdicts, seconds)
    texts = [f"{f.subject}: {f.evidence}" for f in [*raised, *findings][:1]]
    return outcome._replace(dose=dose, detected=bool(raised), alarm=alarm, evidence=" ".join(texts))


def simulated(form: str, rows: int, *, seed: int, quirks: bool = False) -> Iterator[Row]:
    """Simulate rows of a form; fewer come out as pairs, where all scores of a row are equal."""
    drawn = simulate(rows, seed=seed, quirks=quirks)
    return plant_pairs.pairs(drawn, np.random.default_rng([seed, 1])) if form == "pairs" else drawn


def base_rows(form: str, rows: int, seed: int) -> list[Row]:
    """Clean rows of a form, fresh at each call."""
    return [msgspec.json.decode(line) for line in _base_lines(form, rows, seed)]


def take_in(rows: Iterable[Row], folder: Path) -> Path:
    """Write rows and ingest them; return the stage's directory."""
    write(folder / "rows.jsonl", iter(rows))
    ingest(folder / "rows.jsonl", folder / "feedback", max_refused=1.0)
    return folder / "feedback"


def make_subject(feedback: Feedback, fault: Fault) -> Subject:
    """Bring together what the rules of a fault look at."""
    main = "given" if fault.form == "pairs" else fault.strategy
    names = [main] if fault.form == "pairs" else [main, OTHER_STRATEGY]
    made = {name: binarize(feedback, _narrowed(name, fault.rater)).preferences for name in names}
    items = plant_texts.items()
    return Subject(
        feedback=feedback,
        preferences=made[main],
        strategies=made,
        encode=encode_words,
        items=items,
    )


def _narrowed(name: str, rater: str | None) -> Specification:
    """A published specification, by one rater's ratings."""
    found = specification(name)
    return found.model_copy(update={"score": found.score.model_copy(update={"rater": rater})})


def encode_words(prompts: Sequence[Sequence[Message]], texts: Sequence[str]) -> list[list[int]]:
    """Tokenise as a trainer whose tokens are words: half the room for the prompt's end."""
    tokens = []
    for messages, text in zip(prompts, texts, strict=True):
        prompt = " ".join(message["content"] for message in messages).split()
        answer = text.split()[: MAX_TOKENS - min(len(prompt), MAX_TOKENS // 2)]
        words = [*prompt[-MAX_TOKENS // 2 :], *answer]
        tokens.append([zlib.crc32(word.encode()) for word in words])
    return tokens


def unspoiled_findings(fault: Fault, rows: int, seed: int) -> list[Finding]:
    """Findings of a fault's rules on the same rows without the fault."""
    with tempfile.TemporaryDirectory() as folder:
        ingested = take_in(base_rows(fault.form, rows, seed), Path(folder))
        good = fault._replace(strategy="argilla-v1", rater=None)
        subject = make_subject(read_feedback(ingested), good)
        verdicts = [RULES[name](subject) for name in fault.rules if name in RULES]
    return [finding for verdict in verdicts for finding in verdict.findings]


def at_least(severity: str) -> tuple[str, ...]:
    """Severities from one on."""
    return SEVERITIES[SEVERITIES.index(severity) :]


@cache
def _base_lines(form: str, rows: int, seed: int) -> tuple[bytes, ...]:
    return tuple(msgspec.json.encode(row) for row in simulated(form, rows, seed=seed))


def _refused_items(ingested: Path) -> list[str]:
    """Items that ingest refused with a reason, named by line and model."""
    refused = pl.read_parquet(ingested / "refused.parquet")
    return [
        f"{place.rsplit(':', 1)[1]} {_MODEL.findall(raw)[0]}"
        for place, reason, raw in refused.select("place", "reason", "raw").iter_rows()
        if reason
    ]


def _flagged_items(verdicts: Sequence[Verdict], planted: Planted, severity: str) -> list[str]:
    """Ids that issues of a severity or above are about, each once.

    An issue about a completion stands for its prompt where prompts were spoiled.
    """
    spoiled = frozenset().union(*planted.groups)
    items = set()
    for verdict in verdicts:
        raised = verdict.issues.filter(pl.col("severity").is_in(at_least(severity)))
        for prompt, completion in raised.select("prompt_id", "completion_id").iter_rows():
            items.add(completion if completion and prompt not in spoiled else prompt)
    return sorted(items)


def _shifted(finding: Finding, clean: Sequence[Finding]) -> bool:
    same = [other for other in clean if other.subject == finding.subject]
    if finding.low is None or finding.high is None or not same or same[0].low is None:
        return False
    return finding.low > (same[0].high or 0.0) or finding.high < same[0].low


def _outcome(
    kind: str,
    seed: int,
    planted: Planted,
    flagged: Sequence[str],
    verdicts: Sequence[Verdict],
    seconds: float,
) -> Outcome:
    flags = set(flagged)
    spoiled: frozenset[str] = frozenset().union(*planted.groups)
    found = sum(bool(group & flags) for group in planted.groups)
    missing = [name for name in FAULTS[kind].rules if name not in RULES and name != REFUSED]
    skipped = [verdict.skipped for verdict in verdicts if verdict.skipped]
    return Outcome(
        kind=kind,
        seed=seed,
        planted=len(planted.groups),
        found=found,
        flagged=len(flags),
        right=len(flags & spoiled),
        items=max((verdict.looked_at for verdict in verdicts), default=0),
        detected=found > 0,
        alarm=False,
        skipped="; ".join([*skipped, *(f"no rule {name}" for name in missing)]),
        evidence="",
        seconds=seconds,
    )
