"""Verbs of the data half."""

from pathlib import Path
from typing import Annotated

import typer

from notus import settings
from notus.commands.options import (
    Against,
    FeedbackDir,
    Json,
    Out,
    Set,
    print_facts,
    settings_of,
    show,
)
from notus.console import Talk
from notus.errors import UsageError, explain
from notus.recipe import BinarizeSection


def ingest(
    source: Annotated[str, typer.Argument(help="A file, a folder of files, or a hub id.")],
    out: Out,
    format: Annotated[
        str | None, typer.Option(help="Name of a reader (default: auto, by the first rows).")
    ] = None,
    map: Annotated[
        Path | None, typer.Option(help="YAML file that says which fields mean what.")
    ] = None,
    max_refused: Annotated[
        float | None, typer.Option(help="Largest share of refused rows (default: 0.01).")
    ] = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Read raw feedback into tables; rows that do not fit land in refused.parquet."""
    from notus.data.sources import ingest as run

    chosen = settings_of(
        settings.IngestSection, set, format=format, map=map, max_refused=max_refused
    )
    progress = Talk().bar("ingest")
    show(run(source, out, **dict(chosen), progress=progress), json=json)


def audit(
    feedback: FeedbackDir,
    out: Out,
    against: Against = None,
    strategies: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Two specifications to compare (default: argilla-v1 h4-v2)."),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Folder, package:NAME or hub id: finds collapsed pairs.")
    ] = None,
    planted: Annotated[
        Path | None, typer.Option(help="JSONL of completions known to be rated wrong.")
    ] = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Find what is wrong with feedback: issues, findings and a page that shows them."""
    from notus.stages.audit import audit as run

    chosen = settings_of(
        settings.AuditSection,
        set,
        against=against,
        strategies=strategies,
        tokenizer=tokenizer,
        planted=planted,
    )
    show(run(feedback, out, chosen, progress=Talk().bar("audit")), json=json)


def binarize(
    feedback: FeedbackDir,
    out: Out,
    strategy: Annotated[
        str | None, typer.Option(help="A specification's name or YAML file (default: argilla-v1).")
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Two specifications: make the first's pairs, show where they differ."),
    ] = None,
    against: Against = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Turn ratings into preferences by a named specification; dropped rows keep their reason."""
    from notus.stages.binarize import binarize as run

    if compare is not None:
        if strategy not in (None, compare[0]):
            raise UsageError(
                explain(
                    found=f"--strategy {strategy} and --compare {' '.join(compare)}",
                    expected="the strategy itself as the first of the two",
                    where="notus binarize",
                    remedy=f"write --compare {strategy} {compare[1]}",
                )
            )
        strategy, other = compare
    else:
        other = None
    chosen = settings_of(BinarizeSection, set, strategy=strategy, compare=other, against=against)
    show(run(feedback, out, **dict(chosen)), json=json)


def export(
    feedback: FeedbackDir,
    out: Annotated[
        Path,
        typer.Option("--out", help="A file (.jsonl, .jsonl.gz, .json, .parquet) or a directory."),
    ],
    to: Annotated[str | None, typer.Option(help="Name of a schema.")] = None,
    preferences: Annotated[
        Path | None, typer.Option(help="Preferences that were made from this feedback.")
    ] = None,
    audit: Annotated[
        Path | None, typer.Option(help="An audit of it, for the data set card.")
    ] = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Write feedback, or preferences over it, in another tool's schema."""
    from notus.stages.export import export as run

    chosen = settings_of(settings.ExportSection, set, to=to, preferences=preferences, audit=audit)
    print_facts(run(feedback, out, **dict(chosen)), json=json)
