"""The verb that forecasts."""

from typing import Annotated

import typer

from notus.commands.options import Json, RecipeFile, Set, print_facts
from notus.recipe_file import load_recipe

Gpus = Annotated[
    str | None, typer.Option(help="GPUs to plan for, such as 8xA100-40GB (default: this CPU).")
]
Sharding = Annotated[
    str, typer.Option(help="How GPUs share: none, zero2, fsdp, zero3 or zero3-offload.")
]


def plan(
    recipe: RecipeFile,
    gpus: Gpus = None,
    sharding: Sharding = "none",
    set: Set = None,
    json: Json = False,
) -> None:
    """Forecast a recipe's steps, memory and time, without its weights; says whether it fits."""
    from notus.hardware import parse_machine
    from notus.stages.plan import plan

    machine = None if gpus is None else parse_machine(gpus)
    facts = plan(load_recipe(recipe, set or []), machine=machine, sharding=sharding)
    print_facts(facts, json=json)
