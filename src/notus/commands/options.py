"""What the verbs share: their arguments and options, their settings, and how they answer."""

from json import dumps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from notus.console import Talk, lines_of
from notus.recipe_file import parse
from notus.section import Section

S = TypeVar("S", bound=Section)

FeedbackDir = Annotated[Path, typer.Argument(help="A Feedback directory.")]
Model = Annotated[str, typer.Argument(help="A run, a model folder, package:NAME or hub id.")]
Prompts = Annotated[Path, typer.Argument(help="JSONL of prompts, or a Feedback directory.")]
RecipeFile = Annotated[Path, typer.Argument(help="A recipe file.")]
RunDir = Annotated[Path, typer.Argument(help="A run's directory.")]
Out = Annotated[Path, typer.Option("--out", help="Directory to write.")]
File = Annotated[Path, typer.Option("--out", help="File to write: JSONL, or JSONL.gz.")]
RunOut = Annotated[
    Path | None, typer.Option("--out", help="The run's directory (default: runs/NAME).")
]
Against = Annotated[
    list[Path] | None,
    typer.Option(help="Evaluation items: a file or a folder. May be repeated."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting: a.b=value, read as YAML. May be repeated."),
]
Launch = Annotated[
    int | None,
    typer.Option(min=1, help="Train in so many processes of this machine, a GPU each if it has."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


def settings_of(section: type[S], overrides: list[str] | None, **options: object) -> S:
    """The section's defaults, then the options that were given, then every --set."""
    given = {name: value for name, value in options.items() if value is not None}
    return parse(section, given, overrides or [], where="options and --set")


def show(result: Any, *, json: bool) -> None:
    """Print a stage's facts and where they are."""
    note = " (reused)" if result.reused else ""
    Talk().say(f"{result.manifest.stage}: {result.directory}{note}")
    facts = {"directory": str(result.directory), "reused": result.reused, **result.manifest.facts}
    print_facts(facts, json=json)


def print_facts(facts: dict[str, Any], *, json: bool) -> None:
    """Print facts on stdout: aligned for people, or as JSON."""
    if json:
        typer.echo(dumps(facts, indent=2, ensure_ascii=False))
        return
    typer.echo("\n".join(lines_of(facts)))
