"""The command line: one verb a stage; data to stdout, talk to stderr.

Every verb takes `--json`, and every verb with settings `--set key=value`; the most used settings
are options too. Exit codes: 0 done, 1 failed, 2 wrong usage or bad input (one message, no
traceback), 130 Ctrl-C.
"""

import sys
import traceback
from importlib import metadata
from typing import Annotated

import typer

from notus.commands import data, feedback, model, plan, publish, review, trace
from notus.errors import NotusError, UsageError
from notus.launching import LaunchedFailure
from notus.processes import is_alone, leave, report

app = typer.Typer(
    name="notus", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False
)

Version = Annotated[bool, typer.Option("--version", help="Print the version and exit.")]


@app.callback(invoke_without_command=True)
def notus(version: Version = False) -> None:
    """From raw AI feedback to an aligned, evaluated, documented chat model - data first."""
    if version:
        typer.echo(metadata.version("notus"))
        raise typer.Exit


for verb in (
    data.ingest,
    data.audit,
    data.binarize,
    data.export,
    trace.trace,
    feedback.prompts,
    feedback.generate,
    feedback.rate,
    plan.plan,
    model.preflight,
    model.train,
    model.run,
    model.evaluate,
    model.chat,
    model.report,
    model.card,
    publish.publish,
):
    app.command()(verb)
app.add_typer(review.review)


def main() -> None:
    """Run the command line; turn our errors into one message and an exit code."""
    try:
        app(standalone_mode=True)
    except LaunchedFailure as error:
        _fail(error, error.code)
    except UsageError as error:
        _fail(error, 2)
    except NotusError as error:
        _fail(error, 1)
    except SystemExit as end:
        # Ctrl-C inside a command: typer has turned it into its exit code.
        if end.code == 130 and is_alone():
            sys.stderr.write("interrupted; finished stages are kept, run the command again\n")
        raise
    except BaseException:
        if is_alone():
            raise
        traceback.print_exc()
        leave(1)


def _fail(error: NotusError, code: int) -> None:
    if not report(str(error), code):
        sys.stderr.write(f"error: {error}\n")
    if not is_alone():
        leave(code)
    raise SystemExit(code) from None


if __name__ == "__main__":
    main()
