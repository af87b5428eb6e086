"""Verbs of the data half."""

from pathlib import Path
from typing import Annotated

import typer

from notus import settings
from notus.commands.options import (
    FeedbackDir,
    File,
    Json,
    Out,
    Set,
    Source,
    print_facts,
    settings_of,
    show,
)
from notus.console import Talk
from notus.recipe import BinarizeSection


def ingest(
    source: Source,
    out: Out,
    format: Annotated[
        str | None, typer.Option(help="auto (default), ultrafeedback or pairs.")
    ] = None,
    max_refused: Annotated[
        float | None, typer.Option(help="Largest share of refused rows (default: 0.01).")
    ] = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Read raw feedback into tables; rows that do not fit land in refused.parquet."""
    from notus.data.sources import ingest as run

    chosen = settings_of(settings.IngestSection, set, format=format, max_refused=max_refused)
    show(run(source, out, **dict(chosen), progress=Talk().bar("ingest")), json=json)


def audit(
    feedback: FeedbackDir,
    out: Out,
    strategies: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Two specifications to compare (default: argilla-v1 h4-v2)."),
    ] = None,
    planted: Annotated[
        Path | None, typer.Option(help="JSONL of completions known to be rated wrong.")
    ] = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Find what is wrong with feedback: issues.parquet and summary.json."""
    from notus.stages import data

    chosen = settings_of(settings.AuditSection, set, strategies=strategies, planted=planted)
    show(data.audit(feedback, out, **dict(chosen)), json=json)


def binarize(
    feedback: FeedbackDir,
    out: Out,
    strategy: Annotated[
        str | None, typer.Option(help="Name of a specification (default: argilla-v1).")
    ] = None,
    compare: Annotated[
        str | None, typer.Option(help="Count how often the chosen answer differs from this one's.")
    ] = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Turn ratings into preferences by a named specification; dropped rows keep their reason."""
    from notus.stages import data

    chosen = settings_of(BinarizeSection, set, strategy=strategy, compare=compare)
    show(data.binarize(feedback, out, **dict(chosen)), json=json)


def export(
    feedback: FeedbackDir,
    out: File,
    to: Annotated[str | None, typer.Option(help="ultrafeedback: the raw schema.")] = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Write feedback in another tool's schema."""
    from notus.stages.data import export as run

    print_facts(
        run(feedback, out, **dict(settings_of(settings.ExportSection, set, to=to))), json=json
    )
