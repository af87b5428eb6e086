"""Verbs of the model half."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from notus import settings
from notus.commands.options import (
    Json,
    Launch,
    Model,
    Out,
    RecipeFile,
    RunDir,
    RunOut,
    Set,
    print_facts,
    settings_of,
    show,
)
from notus.console import Talk
from notus.recipe import EvaluateSection
from notus.recipe_file import load_recipe


def preflight(recipe: RecipeFile, out: RunOut = None, set: Set = None, json: Json = False) -> None:
    """Check a recipe's training before its first step; exit 1 if it would go wrong."""
    from json import dumps

    from notus.pipeline import preflight as check

    loaded = load_recipe(recipe, set or [])
    found = check(loaded, out or Path("runs") / loaded.name, talk=Talk())
    if json:
        typer.echo(dumps(found.as_dict(), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(found.lines()))
    if found.errors:
        raise typer.Exit(1)


def train(
    recipe: RecipeFile,
    out: RunOut = None,
    launch: Launch = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Run a recipe up to the tuned model (RUN/training/model), its report and its card."""
    _run(recipe, out, launch, set, until="train", json=json)


def run(
    recipe: RecipeFile,
    out: RunOut = None,
    launch: Launch = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Run a whole recipe, from raw feedback to report.html and MODEL_CARD.md; resumable."""
    _run(recipe, out, launch, set, until="card", json=json)


def evaluate(
    model: Model,
    out: Out,
    prompts: Annotated[Path, typer.Option(help="JSONL of verifiable prompts.")],
    set: Set = None,
    json: Json = False,
) -> None:
    """Answer verifiable prompts with a model and check the answers; every rate with an interval."""
    from notus.names import model_of, short_name
    from notus.stages.model import answers

    chosen = settings_of(EvaluateSection, set, prompts=prompts)
    model, label, progress = model_of(model), short_name(model), Talk().advance
    show(answers(chosen, out, model=model, label=label, seed=0, progress=progress), json=json)


def chat(
    model: Model,
    system: Annotated[str | None, typer.Option(help="System turn to begin with.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="0 (default): the likeliest answer.")
    ] = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Talk to a model in the terminal, streaming; with --json one line an answer."""
    from notus.chat import HELP, as_json, on_screen, read_lines
    from notus.chat import chat as hold
    from notus.models import load
    from notus.names import model_of

    chosen = settings_of(settings.ChatSection, set, system=system, temperature=temperature)
    loaded = load(model_of(model))
    Talk().say(HELP)
    turns = hold(loaded, read_lines(), **dict(chosen))
    for text in as_json(turns) if json else on_screen(turns):
        sys.stdout.write(text)
        sys.stdout.flush()


def report(run: RunDir, json: Json = False) -> None:
    """Write a run's report.html again."""
    from notus.report import write_report

    print_facts({"report": str(write_report(run))}, json=json)


def card(run: RunDir, json: Json = False) -> None:
    """Write a run's MODEL_CARD.md again."""
    from notus.card import write_card

    print_facts({"card": str(write_card(run))}, json=json)


def _run(
    recipe: Path,
    out: Path | None,
    launch: int | None,
    overrides: list[str] | None,
    *,
    until: str,
    json: bool,
) -> None:
    from notus.launching import is_launched, start
    from notus.pipeline import run
    from notus.processes import end_with_launcher, give, place, take
    from notus.stages.model import take_part

    loaded = load_recipe(recipe, overrides or [])
    if launch is not None and not is_launched(launch):
        start(launch, sys.argv[1:])
        return
    if place().size > 1:
        end_with_launcher()
    if place().is_first:
        done = run(loaded, out or Path("runs") / loaded.name, talk=Talk(), until=until)
        give(None)
        print_facts(done.as_dict(), json=json)
    elif (task := take()) is not None:
        take_part(task)
