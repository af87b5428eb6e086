"""Preflight: what is wrong with a training is said before its first step.

    Prepared -> CHECKS, the cheap ones first -> findings -> stop, or train

Each check is one function that looks at the very tensors, model and settings that will be trained,
and cites the thread in which people met its fault. Checks that run the model are left out once an
error is known: they would only show what follows from it.
"""

import inspect
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from notus.directories import write_atomically
from notus.errors import NotusError, RecipeError, TrainingError, explain, explain_unknown
from notus.recipe import Recipe
from notus.training.callbacks import last_checkpoint
from notus.training.checks import (
    leakage,
    numbers,
    pairs,
    room,
    settings,
    template,
    tokens,
    votes,
    weights,
)
from notus.training.checks.finding import LEVELS, Check, Finding
from notus.training.prepare import Prepared

FILE = "preflight.json"


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What all checks found."""

    findings: list[Finding]
    """The errors first."""
    seconds: dict[str, float]
    """Check -> time it took, of those that ran."""
    accepted: tuple[str, ...]
    """Checks whose errors the recipe accepts."""

    @property
    def errors(self) -> list[Finding]:
        """Errors that stop the training."""
        return [f for f in self.findings if f.level == "error" and f.rule not in self.accepted]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "errors": len(self.errors),
            "accepted": list(self.accepted),
            "findings": [asdict(finding) for finding in self.findings],
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
        }

    def lines(self) -> Iterator[str]:
        """Every finding, then how many there are, for a person."""
        for finding in self.findings:
            yield from lines_of(finding, accepted=finding.rule in self.accepted)
            yield ""
        counts = {level: sum(f.level == level for f in self.findings) for level in LEVELS}
        said = ", ".join(f"{n} {level}{'' if n == 1 else 's'}" for level, n in counts.items())
        seconds = sum(self.seconds.values())
        yield f"{len(self.seconds)} of {len(CHECKS)} checks in {seconds:.1f} s: {said}"


def preflight(
    prepared: Prepared, *, progress: Callable[[str, int, int], None] | None = None
) -> Preflight:
    """Run all checks.

    Args:
        prepared: What the training will start from.
        progress: Called with ("preflight", checks done, checks) after each.

    Raises:
        RecipeError: The recipe accepts findings of a check that does not exist.
    """
    accepted = tuple(prepared.recipe.train.accept_findings)
    known_checks(prepared.recipe)
    found: list[Finding] = []
    seconds: dict[str, float] = {}
    for done, (name, check) in enumerate(CHECKS.items(), start=1):
        stopped = any(f.level == "error" and f.rule not in accepted for f in found)
        left_out = name in OF_PAIRS and prepared.recipe.train.objective == "sft"
        if not left_out and not (stopped and name in RUNS_MODEL):
            start = time.perf_counter()
            found += _run(name, check, prepared)
            seconds[name] = time.perf_counter() - start
        if progress is not None:
            progress("preflight", done, len(CHECKS))
    found.sort(key=lambda finding: LEVELS.index(finding.level))
    return Preflight(findings=found, seconds=seconds, accepted=accepted)


def require_good(result: Preflight, prepared: Prepared, *, say: Callable[[str], None]) -> None:
    """Write what was found into a run's directory, and stop a training that would go wrong.

    Args:
        result: What the checks found.
        prepared: The training that they looked at.
        say: Called with each warning, and with the checks whose errors are accepted.

    Raises:
        TrainingError: There is an error that the recipe does not accept, or a training was begun
            here with another reference.
    """
    directory, reference = prepared.directory, prepared.store.key
    _require_same_reference(directory, reference)
    content = {"reference_key": reference, **result.as_dict()}
    del content["seconds"]  # Equal runs write equal files.
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_atomically(directory / FILE, lambda path: path.write_text(text, encoding="utf-8"))
    for finding in result.findings:
        if finding.level == "warning":
            say("\n".join(lines_of(finding)))
    ignored = {f.rule for f in result.findings if f.level == "error"} & set(result.accepted)
    if ignored:
        say(f"preflight: errors of these checks are accepted: {', '.join(sorted(ignored))}")
    if result.errors:
        shown = "\n\n".join("\n".join(lines_of(f)) for f in result.errors)
        raise TrainingError(
            f"the preflight found {len(result.errors)} errors; nothing was trained\n\n{shown}\n\n"
            "To train all the same, name them: --set "
            f"'train.accept_findings={sorted({f.rule for f in result.errors})}'"
        )


def known_checks(recipe: Recipe) -> None:
    """See that the findings which a recipe accepts are those of checks that exist.

    Raises:
        RecipeError: One does not.
    """
    for name in recipe.train.accept_findings:
        if name not in CHECKS:
            where = "recipe key train.accept_findings"
            raise RecipeError(explain_unknown("check", name, CHECKS, where=where))


def lines_of(finding: Finding, *, accepted: bool = False) -> Iterator[str]:
    """Write one finding as aligned lines."""
    level = (
        f"{finding.level} (accepted)" if accepted and finding.level == "error" else finding.level
    )
    parts = [("where", finding.where)]
    parts += [("row", row) for row in finding.rows]
    parts += [("do this", finding.remedy), ("seen in", finding.source)]
    yield f"{level:<8} {finding.rule}: {finding.found}"
    yield from (f"{'':<8} {name + ':':<9} {text}" for name, text in parts)


def source_of(check: Check) -> str:
    """Read from a check's docstring where its fault was met."""
    paragraphs = (inspect.getdoc(check) or "").split("\n\n")
    sources = [" ".join(p.split()) for p in paragraphs if p.startswith("Source: ")]
    return sources[0].removeprefix("Source: ").removesuffix(".")


def _require_same_reference(directory: Path, reference: str) -> None:
    if last_checkpoint(directory / "checkpoints") is None or not (directory / FILE).is_file():
        return
    begun = json.loads((directory / FILE).read_text("utf-8"))["reference_key"]
    if begun != reference:
        raise TrainingError(
            explain(
                found=f"reference {reference}, and a training that was begun with {begun}",
                expected="one reference (weights, template, type of products) for a whole run",
                where=str(directory),
                remedy="go on where it was begun (train.precision: auto differs between machines), "
                "or remove this directory",
            )
        )


def _run(name: str, check: Check, prepared: Prepared) -> list[Finding]:
    try:
        findings: Sequence[Finding] = list(check(prepared))
    except NotusError as error:
        # What the training itself would say of this model or these pairs.
        found, *rest = str(error).split("\n")
        remedy = next((line.partition(":")[2].strip() for line in rest if "do this" in line), "")
        findings = [Finding(level="error", found=found, where=name, remedy=remedy)]
    return [replace(finding, rule=name, source=source_of(check)) for finding in findings]


CHECKS: dict[str, Check] = {
    "learning_rate": settings.learning_rate,
    "beta": settings.beta,
    "schedule": settings.schedule,
    "holdout": settings.holdout,
    "vocabulary": tokens.vocabulary,
    "special_tokens": tokens.special_tokens,
    "answer_ending": template.answer_ending,
    "beginning": template.beginning,
    "truncation": pairs.truncation,
    "identical": pairs.identical,
    "empty": pairs.empty,
    "repeated": pairs.repeated,
    "shortcuts": pairs.shortcuts,
    "votes": votes.votes,
    "markers": tokens.markers,
    "template_round_trip": template.template_round_trip,
    "border": tokens.border,
    "lossy": tokens.lossy,
    "heldout_leakage": leakage.heldout_leakage,
    "evaluation_leakage": leakage.evaluation_leakage,
    "dropout": weights.dropout,
    "weights": weights.weights,
    "trainable": weights.trainable,
    "disk": room.disk,
    "attention": numbers.attention,
    "likelihood": numbers.likelihood,
    "packing": numbers.packing,
    "reference": numbers.reference,
    "first_loss": numbers.first_loss,
    "memory": room.memory,
    "longest_batch": room.longest_batch,
}

OF_PAIRS = frozenset({"identical", "repeated", "shortcuts"})
"""Checks that mean nothing where no side is rejected."""

RUNS_MODEL = frozenset(list(CHECKS)[list(CHECKS).index("disk") :])
"""Checks that need a model whose tokens and weights are sound."""
