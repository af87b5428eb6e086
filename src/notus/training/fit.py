"""The training stage: preferences in, a tuned model out, whatever happens in between.

    encode -> split by prompt -> reference log-probs (stored) -> trainer -> model (safetensors)

A killed training goes on from its last complete checkpoint, to the same weights.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from transformers import PrinterCallback

from notus.data.schema import Feedback
from notus.models import Model, no_bars, save
from notus.recipe import Recipe
from notus.training.adapters import add_lora, merge
from notus.training.arguments import optimizer_class, training_arguments
from notus.training.callbacks import (
    CompleteMark,
    EvaluateLast,
    MetricsFile,
    Progress,
    last_checkpoint,
    remove_checkpoints,
)
from notus.training.objectives import DemonstrationObjective, Objective, make_objective
from notus.training.preflight import preflight, require_good
from notus.training.prepare import Prepared, Tables, prepare, split_facts, write_split
from notus.training.sides import Sides, make_sides
from notus.training.trainer import PreferenceTrainer


def fit(
    recipe: Recipe,
    preferences: pl.DataFrame,
    feedback: Feedback,
    base: Path | str,
    directory: Path,
    *,
    reference_root: Path,
    heldout: Tables | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Mapping[str, object]:
    """Train a model on preferences; write it, its metrics and its split.

    Args:
        recipe: The run's recipe (sections data and train).
        preferences: A preferences table.
        feedback: The tables that its ids point into.
        base: The model to start from, which is also the reference.
        directory: A resumable stage's directory.
        reference_root: Folder of reference log-probs, shared by runs on the same data.
        heldout: Preferences of `data.heldout`, if the recipe has it.
        progress: Called with (what, done, total).
        say: Called with what a person should read.

    Returns:
        Facts for the manifest: counts, steps, final metrics.

    Raises:
        DataError: No pair is left to train on.
        ModelError: The recipe's lengths exceed the model's window.
        TrainingError: The preflight found an error, or the loss of step 0 is not that of the
            reference (DPO: ln 2).
    """
    prepared = prepare(
        recipe, preferences, feedback, base, reference_root=reference_root, heldout=heldout
    )
    write_split(prepared, directory)
    require_good(preflight(prepared, progress=progress), directory, say=say)
    model, precision = prepared.model, prepared.precision
    objective = objective_of(recipe)
    sides = make_sides(prepared, objective, progress=progress, say=say)
    trainer = _make_trainer(prepared, objective, sides, directory, progress)
    trainable = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    checkpoint = last_checkpoint(directory / "checkpoints")
    with no_bars():
        output = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    history = trainer.state.log_history
    final: Mapping[str, float] = [{}, *(row for row in history if "eval_loss" in row)][-1]
    _save(trainer.model, model, recipe, directory)
    return {
        **split_facts(prepared),
        **sides.facts,
        "steps": output.global_step,
        "train_loss": _mean_loss(history),
        "precision": precision,
        "trainable_parameters": trainable,
        "heldout": {k.removeprefix("eval_"): v for k, v in final.items() if "/" in k},
    }


def objective_of(recipe: Recipe) -> Objective:
    """Choose what the recipe asks to minimise."""
    if recipe.train.objective == "sft":
        return DemonstrationObjective()
    return make_objective(recipe.train.losses, recipe.train.loss_settings)


def _make_trainer(
    prepared: Prepared,
    objective: Objective,
    sides: Sides,
    directory: Path,
    progress: Progress | None,
) -> PreferenceTrainer:
    recipe = prepared.recipe
    arguments = training_arguments(prepared, directory)
    policy = prepared.model.model
    if recipe.train.lora is not None:
        policy = add_lora(policy, recipe.train.lora, seed=prepared.seed)
    trainer = PreferenceTrainer(
        policy,
        arguments,
        objective=objective,
        train_examples=sides.train,
        eval_examples=sides.heldout,
        max_tokens=recipe.train.max_tokens,
        callbacks=_callbacks(recipe, sides, directory, progress),
        optimizer_cls_and_kwargs=optimizer_class(recipe),
    )
    trainer.remove_callback(PrinterCallback)  # It prints every log to stdout.
    return trainer


def _callbacks(
    recipe: Recipe, sides: Sides, directory: Path, progress: Progress | None
) -> list[Any]:
    found: list[Any] = [MetricsFile(directory / "metrics.jsonl", progress), CompleteMark()]
    if sides.heldout:
        found.append(EvaluateLast())
    if "tensorboard" in recipe.train.report_to:
        from torch.utils.tensorboard import SummaryWriter
        from transformers.integrations import TensorBoardCallback

        # transformers would write below the checkpoints, which go when training is done.
        found.append(TensorBoardCallback(SummaryWriter(str(directory / "tensorboard"))))
    return found


def _mean_loss(history: Sequence[Mapping[str, float]]) -> float:
    """Mean over all steps; the trainer's own leaves out those before a resume."""
    losses = [row["loss"] for row in history if "loss" in row]
    return sum(losses) / len(losses)


def _save(policy: Any, model: Model, recipe: Recipe, directory: Path) -> None:
    """Write the tuned model; a LoRA run writes its adapter too, and the merged model."""
    if recipe.train.lora is not None:
        save(policy, model.tokenizer, directory / "adapter")
        policy = merge(policy, model.name, directory / "adapter", recipe.train)
    save(policy, model.tokenizer, directory / "model")
    remove_checkpoints(directory / "checkpoints")
