"""The command line: one verb a stage; data to stdout, talk to stderr.

Every verb takes `--json`, and every verb with settings `--set key=value`; the most used settings
are options too. Exit codes: 0 done, 1 failed, 2 wrong usage or bad input (one message, no
traceback), 130 Ctrl-C.
"""

import sys
from importlib import metadata
from json import dumps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from notus import recipe as sections
from notus.console import Talk, lines_of
from notus.errors import NotusError, UsageError
from notus.recipe_file import load_recipe, parse

S = TypeVar("S", bound=sections.Section)

app = typer.Typer(
    name="notus", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False
)

Source = Annotated[Path, typer.Argument(help="JSONL, JSONL.gz or Parquet.")]
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
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting: a.b=value, read as YAML. May be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Version = Annotated[bool, typer.Option("--version", help="Print the version and exit.")]


@app.callback(invoke_without_command=True)
def notus(version: Version = False) -> None:
    """From raw AI feedback to an aligned, evaluated, documented chat model - data first."""
    if version:
        typer.echo(metadata.version("notus"))
        raise typer.Exit


@app.command()
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

    settings = _settings(sections.IngestSection, set, format=format, max_refused=max_refused)
    _show(run(source, out, **dict(settings), progress=Talk().bar("ingest")), json=json)


@app.command()
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

    settings = _settings(sections.AuditSection, set, strategies=strategies, planted=planted)
    _show(data.audit(feedback, out, **dict(settings)), json=json)


@app.command()
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

    settings = _settings(sections.BinarizeSection, set, strategy=strategy, compare=compare)
    _show(data.binarize(feedback, out, **dict(settings)), json=json)


@app.command()
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

    settings = _settings(sections.PromptsSection, set, split=split, per_family=per_family)
    _print(write_prompts(out, **dict(settings)), json=json)


@app.command()
def generate(
    prompts: Prompts,
    out: Out,
    model: Annotated[str, typer.Option(help="Folder, package:NAME or hub id.")],
    set: Set = None,
    json: Json = False,
) -> None:
    """Sample completions from a local model, one a temperature and principle."""
    from notus.stages.feedback import generate as sample

    settings = _settings(sections.GenerateSection, set)
    bar = Talk().bar("generate")
    _show(sample(prompts, out, model=model, settings=settings, progress=bar), json=json)


@app.command()
def rate(
    feedback: FeedbackDir,
    out: Out,
    rater: Annotated[str | None, typer.Option(help="verifiable (default).")] = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Rate completions on four aspects and write a critique, into a new Feedback directory."""
    from notus.stages.feedback import rate as run

    settings = _settings(sections.RateSection, set, rater=rater)
    _show(run(feedback, out, **dict(settings)), json=json)


@app.command()
def export(
    feedback: FeedbackDir,
    out: File,
    to: Annotated[str | None, typer.Option(help="ultrafeedback: the raw schema.")] = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Write feedback in another tool's schema."""
    from notus.stages.data import export as run

    _print(run(feedback, out, **dict(_settings(sections.ExportSection, set, to=to))), json=json)


@app.command()
def train(recipe: RecipeFile, out: RunOut = None, set: Set = None, json: Json = False) -> None:
    """Run a recipe up to the tuned model (RUN/training/model), its report and its card."""
    _run(recipe, out, set, until="train", json=json)


@app.command()
def run(recipe: RecipeFile, out: RunOut = None, set: Set = None, json: Json = False) -> None:
    """Run a whole recipe, from raw feedback to report.html and MODEL_CARD.md; resumable."""
    _run(recipe, out, set, until="card", json=json)


@app.command()
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

    settings = _settings(sections.EvaluateSection, set, prompts=prompts)
    model, label, progress = model_of(model), short_name(model), Talk().advance
    _show(answers(settings, out, model=model, label=label, seed=0, progress=progress), json=json)


@app.command()
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

    settings = _settings(sections.ChatSection, set, system=system, temperature=temperature)
    loaded = load(model_of(model))
    Talk().say(HELP)
    turns = hold(loaded, read_lines(), **dict(settings))
    for text in as_json(turns) if json else on_screen(turns):
        sys.stdout.write(text)
        sys.stdout.flush()


@app.command()
def report(run: RunDir, json: Json = False) -> None:
    """Write a run's report.html again."""
    from notus.report import write_report

    _print({"report": str(write_report(run))}, json=json)


@app.command()
def card(run: RunDir, json: Json = False) -> None:
    """Write a run's MODEL_CARD.md again."""
    from notus.card import write_card

    _print({"card": str(write_card(run))}, json=json)


def main() -> None:
    """Run the command line; turn our errors into one message and an exit code."""
    try:
        app(standalone_mode=True)
    except UsageError as error:
        _fail(error, 2)
    except NotusError as error:
        _fail(error, 1)
    except SystemExit as end:
        # Ctrl-C inside a command: typer has turned it into its exit code.
        if end.code == 130:
            sys.stderr.write("interrupted; finished stages are kept, run the command again\n")
        raise


def _run(
    recipe: Path, out: Path | None, overrides: list[str] | None, *, until: str, json: bool
) -> None:
    from notus.pipeline import run

    loaded = load_recipe(recipe, overrides or [])
    done = run(loaded, out or Path("runs") / loaded.name, talk=Talk(), until=until)
    _print(done.as_dict(), json=json)


def _settings(section: type[S], overrides: list[str] | None, **options: object) -> S:
    """The section's defaults, then the options that were given, then every --set."""
    given = {name: value for name, value in options.items() if value is not None}
    return parse(section, given, overrides or [], where="options and --set")


def _fail(error: NotusError, code: int) -> None:
    sys.stderr.write(f"error: {error}\n")
    raise SystemExit(code) from None


def _show(result: Any, *, json: bool) -> None:
    """Print a stage's facts and where they are."""
    note = " (reused)" if result.reused else ""
    Talk().say(f"{result.manifest.stage}: {result.directory}{note}")
    facts = {"directory": str(result.directory), "reused": result.reused, **result.manifest.facts}
    _print(facts, json=json)


def _print(facts: dict[str, Any], *, json: bool) -> None:
    if json:
        typer.echo(dumps(facts, indent=2, ensure_ascii=False))
        return
    typer.echo("\n".join(lines_of(facts)))


if __name__ == "__main__":
    main()
