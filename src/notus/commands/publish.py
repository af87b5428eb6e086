"""The verb that publishes."""

from typing import Annotated

import typer

from notus.commands.options import Json, RunDir, print_facts
from notus.console import Talk


def publish(
    run: RunDir,
    to: Annotated[str, typer.Option(help="The model's id on the hub, ORG/NAME.")],
    push: Annotated[bool, typer.Option("--push", help="Send it; without, only say what.")] = False,
    private: Annotated[bool, typer.Option("--private", help="For their owners alone.")] = False,
    adapter: Annotated[bool, typer.Option("--adapter", help="Also ORG/NAME-adapter.")] = False,
    dataset: Annotated[bool, typer.Option("--dataset", help="Also ORG/NAME-preferences.")] = False,
    json: Json = False,
) -> None:
    """Publish a run's model on the Hugging Face hub; without --push, say what would be sent."""
    from notus.stages.publish import publish

    facts = publish(run, to=to, push=push, private=private, adapter=adapter, dataset=dataset)
    if not push:
        Talk().say("nothing was sent; with --push it is")
    if json:
        print_facts(facts, json=True)
        return
    print_facts({name: facts[name] for name in ("files", "pushed")}, json=False)
    for name, card in facts["cards"].items():
        typer.echo(f"\nREADME.md of {name}\n\n{card}")
