"""The verbs of `notus review`: people's rulings, and what becomes of them."""

from pathlib import Path
from typing import Annotated

import typer

from notus.commands.options import Json, Out, print_facts, show
from notus.console import Talk

review = typer.Typer(
    name="review",
    no_args_is_help=True,
    help="Take down people's rulings, apply them to a data set, compare the reviewers.",
)

DataDir = Annotated[Path, typer.Argument(metavar="DIR", help="Feedback, or preferences.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="What holds the item; or a run.")]
File = Annotated[Path, typer.Argument(metavar="DECISIONS", help="File of decisions.")]
FileOption = Annotated[Path, typer.Option("--decisions", help="File of decisions.")]
Reviewer = Annotated[str, typer.Option(help="Who decides.")]
Note = Annotated[str, typer.Option(help="Why.")]


@review.command()
def decide(
    data: Folder,
    item: Annotated[str, typer.Argument(metavar="ID", help="6 or more digits of an id.")],
    action: Annotated[str, typer.Argument(help="keep, drop, flip, choose, re-rate or note.")],
    decisions: FileOption,
    reviewer: Reviewer,
    value: Annotated[
        str | None, typer.Option(help="choose: a completion's id; re-rate: ASPECT=NUMBER or N/A.")
    ] = None,
    note: Note = "",
    json: Json = False,
) -> None:
    """Take down one ruling on a preference, completion or prompt."""
    from notus.stages import review as stage

    made = stage.decide(decisions, data, item, action, reviewer=reviewer, value=value, note=note)
    print_facts(made, json=json)


@review.command()
def undo(
    decisions: File,
    reviewer: Reviewer,
    decision: Annotated[
        int | None, typer.Argument(metavar="[ID]", help="Which one (default: the last).")
    ] = None,
    note: Note = "",
    json: Json = False,
) -> None:
    """Take back one's own last ruling, or the one of an id; both rows stay."""
    from notus.stages import review as stage

    print_facts(stage.undo(decisions, reviewer=reviewer, decision=decision, note=note), json=json)


@review.command("list")
def list_(
    decisions: File,
    every: Annotated[
        bool, typer.Option("--all", help="Every row, also notes, undos and what they undid.")
    ] = False,
    json: Json = False,
) -> None:
    """List the rulings in force."""
    from notus.stages import review as stage

    print_facts({"decisions": stage.listed(decisions, every=every)}, json=json)


@review.command()
def export(
    decisions: File,
    out: Annotated[Path, typer.Option("--out", help="File to write: JSONL, or JSONL.gz.")],
    json: Json = False,
) -> None:
    """Write every decision as JSONL, for another file to import."""
    from notus.stages import review as stage

    print_facts(stage.export_decisions(decisions, out), json=json)


@review.command("import")
def import_(
    decisions: File,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="What export wrote.")],
    json: Json = False,
) -> None:
    """Append another file's decisions; those that are here already are not taken twice."""
    from notus.stages import review as stage

    print_facts(stage.import_decisions(decisions, source), json=json)


@review.command()
def apply(data: DataDir, out: Out, decisions: FileOption, json: Json = False) -> None:
    """Replay the rulings onto Feedback or preferences; what fits no more is said and listed."""
    from notus.stages.apply import apply as run

    result = run(data, out, decisions=decisions)
    show(result, json=json)
    facts, folder, say = result.manifest.facts, result.directory, Talk().say
    if unmatched := sum(facts["unmatched"].values()):
        say(f"warning: {unmatched} rulings match nothing here: {folder / 'unmatched.parquet'}")
    if contested := facts["contested"]:
        say(f"warning: reviewers differ on {contested}: {folder / 'contested.parquet'}")


@review.command()
def agreement(
    decisions: File,
    feedback: Annotated[
        Path | None,
        typer.Option(help="The Feedback looked at: needed for kappa and alpha of choices."),
    ] = None,
    json: Json = False,
) -> None:
    """Compare reviewers: share of equal rulings, Cohen's kappa, Krippendorff's alpha."""
    from notus.stages import review as stage

    print_facts(stage.agreement(decisions, feedback=feedback), json=json)
