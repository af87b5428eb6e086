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
from notus.metric_names import parse
from notus.models import no_bars, save
from notus.processes import Place
from notus.recipe import Recipe
from notus.training.adapters import add_lora, merge, num_trainable
from notus.training.arguments import optimizer_class, training_arguments
from notus.training.callbacks import (
    CompleteMark,
    EvaluateLast,
    Laps,
    MetricsFile,
    Progress,
    last_checkpoint,
    remove_checkpoints,
)
from notus.training.clock import Clock
from notus.training.group import from_first, process_group
from notus.training.guards import check_processes, check_resume, checkpoints_written
from notus.training.objectives import Objective
from notus.training.preflight import preflight, require_good
from notus.training.prepare import Prepared, Tables, prepare, split_facts, write_split
from notus.training.sides import Sides, make_sides, objective_of
from notus.training.signs import Sign
from notus.training.trainer import PreferenceTrainer
from notus.training.watch import Watch
from notus.training.watching import go_back, watch_training


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
            reference (DPO: ln 2), or a loss or a gradient is not finite.
        StageError: A checkpoint cannot be written, or another process is gone.
    """
    with process_group(timeout=recipe.train.timeout) as here:
        prepared = prepare(
            recipe,
            preferences,
            feedback,
            base,
            directory=directory,
            reference_root=reference_root,
            heldout=heldout,
        )
        if here.is_first:
            write_split(prepared, directory)
            require_good(preflight(prepared, progress=progress), prepared, say=say)
        with checkpoints_written(directory / "checkpoints"):
            return _train(prepared, str(base), directory, here, progress, say)


def _train(
    prepared: Prepared,
    base: str,
    directory: Path,
    here: Place,
    progress: Progress | None,
    say: Callable[[str], None],
) -> Mapping[str, object]:
    objective = objective_of(prepared.recipe)
    clock = Clock()
    sides = make_sides(prepared, objective, progress=progress, say=say)
    clock.lap("reference")
    trainer = _make_trainer(prepared, objective, sides, directory, here, clock)
    watch = _add_callbacks(trainer, prepared, base, directory, progress=progress, say=say)
    trainable = num_trainable(trainer.model)
    folder = directory / "checkpoints"
    checkpoint = from_first(last_checkpoint(folder) if here.is_first else None)
    lora = prepared.recipe.train.lora
    check_resume(checkpoint, here, dropout=lora.dropout if lora else 0.0)
    with no_bars():
        output = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    kept = output.global_step
    if watch.stopped is not None:
        kept = go_back(trainer, watch.stopped, directory / "checkpoints")
        say(f"stopped at step {watch.stopped.step}; the model is that of step {kept}")
    history = [row for row in trainer.state.log_history if row["step"] <= kept]
    final: Mapping[str, float] = [{}, *(row for row in history if "eval_loss" in row)][-1]
    _save(trainer, prepared, directory)
    return {
        **split_facts(prepared),
        **sides.facts,
        "processes": here.size,
        "steps": output.global_step,
        "train_loss": _mean_loss(history),
        "precision": prepared.precision,
        "trainable_parameters": trainable,
        "heldout": _heldout(final),
        **_stopped(watch.stopped, kept),
    }


def _make_trainer(
    prepared: Prepared,
    objective: Objective,
    sides: Sides,
    directory: Path,
    here: Place,
    clock: Clock,
) -> PreferenceTrainer:
    recipe = prepared.recipe
    arguments = training_arguments(prepared, directory)
    check_processes(here, seen=arguments.world_size, pairs_per_step=recipe.train.pairs_per_step)
    policy = prepared.model.model
    if recipe.train.lora is not None:
        policy = add_lora(policy, recipe.train.lora, seed=prepared.seed)
    trainer = PreferenceTrainer(
        policy,
        arguments,
        objective=objective,
        sharded=recipe.train.sharding == "fsdp" and here.size > 1,
        train_examples=sides.train,
        eval_examples=sides.heldout,
        max_tokens=recipe.train.max_tokens,
        clock=clock,
        optimizer_cls_and_kwargs=optimizer_class(recipe),
    )
    trainer.remove_callback(PrinterCallback)  # It prints every log to stdout.
    return trainer


def _add_callbacks(
    trainer: PreferenceTrainer,
    prepared: Prepared,
    base: str,
    directory: Path,
    *,
    progress: Progress | None,
    say: Callable[[str], None],
) -> Watch:
    """In an order that matters: what marks a checkpoint comes behind what writes into it.

    The first process writes; what changes the course of the training is the same in all.
    """
    writer, is_first = None, trainer.is_world_process_zero()
    if is_first and "tensorboard" in prepared.recipe.train.report_to:
        from torch.utils.tensorboard import SummaryWriter

        # transformers would write below the checkpoints, which go when training is done.
        writer = SummaryWriter(str(directory / "tensorboard"))
    watch = watch_training(prepared, trainer, base, directory, say=say, writer=writer)
    found: list[Any] = [MetricsFile(directory / "metrics.jsonl", progress)] if is_first else []
    found += [watch, CompleteMark()]
    if trainer.eval_dataset:
        found.append(EvaluateLast())
    if writer is not None:
        from transformers.integrations import TensorBoardCallback

        found.append(TensorBoardCallback(writer))
    for callback in [*found, Laps(trainer.gauges.clock)]:
        trainer.add_callback(callback)
    return watch


def _heldout(final: Mapping[str, float]) -> dict[str, float]:
    """The last evaluation's numbers over all held-out pairs."""
    names = {key: parse(key) for key in final}
    return {
        name.metric: final[key]
        for key, name in names.items()
        if name is not None and name.is_evaluation and name.group is None and "/" in name.metric
    }


def _stopped(sign: Sign | None, kept: int) -> dict[str, object]:
    if sign is None:
        return {}
    return {"stopped": {"sign": sign.name, "step": sign.step, "kept_step": kept}}


def _mean_loss(history: Sequence[Mapping[str, float]]) -> float:
    """Mean over all steps; the trainer's own leaves out those before a resume."""
    losses = [row["loss"] for row in history if "loss" in row]
    return sum(losses) / len(losses)


def _save(trainer: PreferenceTrainer, prepared: Prepared, directory: Path) -> None:
    """Write the tuned model; a LoRA run writes its adapter too, and the merged model."""
    weights = trainer.whole_weights()
    if not trainer.is_world_process_zero():
        return
    policy, tokenizer, train = trainer.model, prepared.model.tokenizer, prepared.recipe.train
    if train.lora is not None:
        base, adapter = prepared.model.name, directory / "adapter"
        save(policy, tokenizer, adapter, weights)
        policy = merge(policy, base, adapter, train, in_parts=weights is not None)
        weights = None
    save(policy, tokenizer, directory / "model", weights)
    remove_checkpoints(directory / "checkpoints")
