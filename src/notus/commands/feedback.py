"""Verbs that make AI feedback."""

from typing import Annotated

import typer

from notus import settings
from notus.commands.options import (
    FeedbackDir,
    File,
    Json,
    Out,
    Prompts,
    Set,
    print_facts,
    settings_of,
    show,
)
from notus.console import Talk


def prompts(
    out: File,
    split: Annotated[str | None, typer.Option(help="train (default) or test.")] = None,
    per_family: Annotated[
        int | None, typer.Option(help="Prompts of each family (default: 60).")
    ] = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Write prompts whose answers can be checked."""
    from notus.stages.feedback import write_prompts

    chosen = settings_of(settings.PromptsSection, set, split=split, per_family=per_family)
    print_facts(write_prompts(out, **dict(chosen)), json=json)


def generate(
    prompts: Prompts,
    out: Out,
    model: Annotated[str, typer.Option(help="Folder, package:NAME or hub id.")],
    set: Set = None,
    json: Json = False,
) -> None:
    """Sample completions from a local model, one a temperature and principle."""
    from notus.stages.feedback import generate as sample

    chosen = settings_of(settings.GenerateSection, set)
    bar = Talk().bar("generate")
    show(sample(prompts, out, model=model, settings=chosen, progress=bar), json=json)


def rate(
    feedback: FeedbackDir,
    out: Out,
    rater: Annotated[str | None, typer.Option(help="verifiable (default).")] = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Rate completions on four aspects and write a critique, into a new Feedback directory."""
    from notus.stages.feedback import rate as run

    chosen = settings_of(settings.RateSection, set, rater=rater)
    show(run(feedback, out, **dict(chosen)), json=json)
