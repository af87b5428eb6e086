"""The command line: one verb a stage; data to stdout, talk to stderr.

Exit codes: 0 done, 1 failed, 2 wrong usage or bad input (one message, no traceback), 130 Ctrl-C.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from notus.console import Talk
from notus.errors import NotusError, UsageError
from notus.recipe import EvaluateSection, GenerateSection
from notus.recipe_file import load_recipe, parse

app = typer.Typer(
    name="notus",
    help="From raw AI feedback to an aligned, evaluated, documented chat model - data first.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Out = Annotated[Path, typer.Option("--out", help="Directory to write.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a key: a.b=value, read as YAML. May be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Run = Annotated[
    Path | None, typer.Option("--out", help="The run's directory (default: runs/NAME).")
]


@app.command()
def ingest(
    source: Annotated[Path, typer.Argument(help="JSONL, JSONL.gz or Parquet.")],
    out: Out,
    format: Annotated[str, typer.Option(help="auto, ultrafeedback or pairs.")] = "auto",
    max_refused: Annotated[float, typer.Option(help="Largest share of refused rows.")] = 0.01,
    json: Json = False,
) -> None:
    """Read raw feedback into tables; rows that do not fit land in refused.parquet."""
    from notus.data.sources import ingest as run

    bar = Talk().bar("ingest")
    _show(run(source, out, format=format, max_refused=max_refused, progress=bar), json=json)


@app.command()
def audit(
    feedback: Annotated[Path, typer.Argument(help="A Feedback directory.")],
    out: Out,
    strategies: Annotated[tuple[str, str], typer.Option(help="Two specifications to compare.")] = (
        "argilla-v1",
        "h4-v2",
    ),
    planted: Annotated[
        Path | None, typer.Option(help="JSONL of completions known to be rated wrong.")
    ] = None,
    json: Json = False,
) -> None:
    """Find what is wrong with feedback: issues.parquet and summary.json."""
    from notus.stages import data

    _show(data.audit(feedback, out, strategies=strategies, planted=planted), json=json)


@app.command()
def binarize(
    feedback: Annotated[Path, typer.Argument(help="A Feedback directory.")],
    out: Out,
    strategy: Annotated[str, typer.Option(help="Name of a specification.")] = "argilla-v1",
    compare: Annotated[
        str | None, typer.Option(help="Count how often the chosen answer differs from this one's.")
    ] = None,
    json: Json = False,
) -> None:
    """Turn ratings into preferences by a named specification; dropped rows keep their reason."""
    from notus.stages import data

    _show(data.binarize(feedback, out, strategy=strategy, compare=compare), json=json)


@app.command()
def prompts(
    out: Annotated[Path, typer.Option("--out", help="JSONL file to write.")],
    split: Annotated[
        Literal["train", "test"], typer.Option(help="The two share nothing.")
    ] = "train",
    per_family: Annotated[int, typer.Option(help="Prompts of each family.")] = 60,
    per_unseen: Annotated[
        int | None, typer.Option(help="Prompts of a family kept out of training (default: same).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    json: Json = False,
) -> None:
    """Write prompts whose answers can be checked."""
    from notus.stages.feedback import write_prompts

    facts = write_prompts(out, split=split, per_family=per_family, per_unseen=per_unseen, seed=seed)
    _print(facts, json=json)


@app.command()
def generate(
    prompts: Annotated[Path, typer.Argument(help="JSONL of prompts, or a Feedback directory.")],
    out: Out,
    model: Annotated[str, typer.Option(help="Folder, package:NAME or hub id.")],
    set: Set = None,
    json: Json = False,
) -> None:
    """Sample completions from a local model, one a temperature and principle."""
    from notus.stages.feedback import generate as sample

    settings = parse(GenerateSection, {}, set or [], where="--set")
    bar = Talk().bar("generate")
    _show(sample(prompts, out, model=model, settings=settings, progress=bar), json=json)


@app.command()
def rate(
    feedback: Annotated[Path, typer.Argument(help="A Feedback directory.")],
    out: Out,
    rater: Annotated[str, typer.Option(help="Name of a rater.")] = "verifiable",
    json: Json = False,
) -> None:
    """Rate completions on four aspects and write a critique, into a new Feedback directory."""
    from notus.stages.feedback import rate as run

    _show(run(feedback, out, rater=rater), json=json)


@app.command()
def export(
    feedback: Annotated[Path, typer.Argument(help="A Feedback directory.")],
    out: Annotated[Path, typer.Option("--out", help="JSONL or JSONL.gz file to write.")],
    to: Annotated[str, typer.Option(help="ultrafeedback: the raw UltraFeedback schema.")],
    json: Json = False,
) -> None:
    """Write feedback in another tool's schema."""
    from notus.stages.data import export as run

    _print(run(feedback, out, to=to), json=json)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe file.")],
    out: Run = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Run a recipe up to the tuned model (RUN/training/model), its report and its card."""
    _run(recipe, out, set, until="train", json=json)


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe file.")],
    out: Run = None,
    set: Set = None,
    json: Json = False,
) -> None:
    """Run a whole recipe, from raw feedback to report.html and MODEL_CARD.md; resumable."""
    _run(recipe, out, set, until="card", json=json)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="Folder, package:NAME or hub id.")],
    out: Out,
    prompts: Annotated[Path, typer.Option(help="JSONL of verifiable prompts.")],
    set: Set = None,
    json: Json = False,
) -> None:
    """Answer verifiable prompts with a model and check the answers; every rate with an interval."""
    from notus.names import short_name
    from notus.stages.model import answers

    settings = parse(EvaluateSection, {"prompts": prompts}, set or [], where="--set")
    done = answers(
        settings, out, model=model, label=short_name(model), seed=0, progress=Talk().advance
    )
    _show(done, json=json)


@app.command()
def chat(
    model: Annotated[str, typer.Argument(help="A run's directory, a model folder or a name.")],
    system: Annotated[str | None, typer.Option(help="System turn to begin with.")] = None,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, help="Cut an answer after so many tokens.")
    ] = 256,
    temperature: Annotated[float, typer.Option(min=0, help="0: the likeliest answer.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
) -> None:
    """Talk to a model in the terminal, streaming."""
    from notus.chat import HELP, read_lines
    from notus.chat import chat as hold
    from notus.models import load
    from notus.names import model_of

    loaded = load(model_of(model))
    Talk().say(HELP)
    settings: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature}
    for piece in hold(loaded, read_lines(), system=system, seed=seed, **settings):
        sys.stdout.write(piece)
        sys.stdout.flush()


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run's directory.")]) -> None:
    """Write a run's report.html again."""
    from notus.report import write_report

    typer.echo(write_report(run))


@app.command()
def card(run: Annotated[Path, typer.Argument(help="A run's directory.")]) -> None:
    """Write a run's MODEL_CARD.md again."""
    from notus.card import write_card

    typer.echo(write_card(run))


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
        typer.echo(_dumps(facts))
        return
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        shown = _dumps(value, indent=None) if isinstance(value, dict | list) else value
        typer.echo(f"{name:<{width}}  {shown}")


def _dumps(value: Any, indent: int | None = 2) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False)


if __name__ == "__main__":
    main()
