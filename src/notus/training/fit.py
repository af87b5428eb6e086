"""The training stage: preferences in, a tuned model out, whatever happens in between.

    encode -> split by prompt -> reference log-probs (stored) -> DPO -> model (safetensors)

A killed training goes on from its last complete checkpoint, to the same weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from transformers import PrinterCallback, TrainingArguments, set_seed

from notus.chat_template import Encoder
from notus.data.schema import DROPPED, Feedback
from notus.errors import DataError, ModelError, explain
from notus.models import Model, load, no_bars, resolve_precision, save
from notus.recipe import LoraSection, Recipe
from notus.store import write_frame, write_table
from notus.training.batches import Pair, draw_pairs, encode_preferences, split_by_prompt
from notus.training.callbacks import (
    CompleteMark,
    EvaluateLast,
    MetricsFile,
    Progress,
    last_checkpoint,
    remove_checkpoints,
)
from notus.training.reference import ReferenceStore, reference_logps
from notus.training.trainer import PreferenceTrainer


@dataclass(frozen=True, kw_only=True)
class Split:
    """The pairs of one run."""

    train: list[Pair]
    heldout: list[Pair]
    facts: dict[str, object]


def fit(
    recipe: Recipe,
    preferences: pl.DataFrame,
    feedback: Feedback,
    base: Path | str,
    directory: Path,
    *,
    reference_root: Path,
    progress: Progress | None = None,
) -> Mapping[str, object]:
    """Train a model on preferences; write it, its metrics and its split.

    Args:
        recipe: The run's recipe (sections data and train).
        preferences: A preferences table.
        feedback: The tables that its ids point into.
        base: The model to start from, which is also the reference.
        directory: A resumable stage's directory.
        reference_root: Folder of reference log-probs, shared by runs on the same data.
        progress: Called with (what, done, total).

    Returns:
        Facts for the manifest: counts, steps, final metrics.

    Raises:
        DataError: No pair is left to train on.
        ModelError: The recipe's lengths exceed the model's window.
        TrainingError: The loss of step 0 is not ln 2.
    """
    model = load(str(base), trust_remote_code=recipe.model.trust_remote_code)
    _check_window(recipe, model)
    precision = resolve_precision(recipe.train.precision)
    split = _prepare(recipe, preferences, feedback, model, directory)
    split = _with_references(recipe, split, model, reference_root, precision, progress)
    trainer = _make_trainer(recipe, split, model, precision, directory, progress)
    trainable = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    checkpoint = last_checkpoint(directory / "checkpoints")
    with no_bars():
        output = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    history = trainer.state.log_history
    final: Mapping[str, float] = [{}, *(row for row in history if "eval_loss" in row)][-1]
    _save(trainer.model, model, recipe, directory)
    return {
        **split.facts,
        "steps": output.global_step,
        "train_loss": _mean_loss(history),
        "precision": precision,
        "trainable_parameters": trainable,
        "heldout": {k.removeprefix("eval_"): v for k, v in final.items() if "/" in k},
    }


def _check_window(recipe: Recipe, model: Model) -> None:
    if recipe.data.max_length > model.window:
        raise ModelError(
            explain(
                found=f"data.max_length {recipe.data.max_length}",
                expected=f"at most {model.window} tokens, the window of {recipe.model.base}",
                where="recipe section data",
                remedy=f"--set data.max_length={model.window}, or a model with a longer window",
            )
        )


def _prepare(
    recipe: Recipe, preferences: pl.DataFrame, feedback: Feedback, model: Model, directory: Path
) -> Split:
    """Encode the preferences, drop what cannot be trained on, split the rest by prompt."""
    data = recipe.data
    encode = Encoder(
        model.tokenizer, max_length=data.max_length, max_prompt_length=data.max_prompt_length
    )
    encoded = encode_preferences(preferences, feedback, encode)
    prompts = [pair.prompt_id for pair in encoded.pairs]
    train_side, _ = split_by_prompt(prompts, holdout=data.holdout, seed=recipe.seed)
    usable = [pair for pair in encoded.pairs if pair.prompt_id in train_side]
    train = draw_pairs(usable, data.max_pairs, seed=recipe.seed)
    heldout = [pair for pair in encoded.pairs if pair.prompt_id not in train_side]
    write_table(directory, DROPPED, encoded.dropped)
    left_out = {p.preference_id for p in usable} - {p.preference_id for p in train}
    rows = [(p.preference_id, "train") for p in train]
    rows += [(p.preference_id, "heldout") for p in heldout]
    rows += [(name, "left out") for name in sorted(left_out)]
    schema = {"preference_id": pl.String, "split": pl.String}
    write_frame(directory / "split.parquet", pl.DataFrame(rows, schema=schema, orient="row"))
    if not train:
        raise DataError(
            explain(
                found=f"{preferences.height} preferences, {encoded.dropped.height} of them dropped",
                expected="at least one pair to train on",
                where="preferences.parquet, after encoding and holdout",
                remedy="look at the reasons in dropped.parquet; lower data.holdout",
            )
        )
    facts: dict[str, object] = {
        "pairs_train": len(train),
        "pairs_left_out": len(left_out),
        "pairs_heldout": len(heldout),
        "dropped": encoded.dropped.height,
        "prompts_cut": encoded.num_prompts_cut,
        "completions_cut": encoded.num_completions_cut,
        "tokens_in_pairs": sum(pair.num_tokens for pair in train),
    }
    return Split(train=train, heldout=heldout, facts=facts)


def _with_references(
    recipe: Recipe,
    split: Split,
    model: Model,
    root: Path,
    precision: str,
    progress: Progress | None,
) -> Split:
    """Fill in the reference log-probs, under the same type of matrix products as training."""
    store = ReferenceStore(root, model, precision=precision)
    pairs = [*split.train, *split.heldout]
    groups = [(p.prompt_ids, (p.chosen_ids, p.rejected_ids)) for p in pairs]

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress("reference", done, total)

    device = model.model.device.type
    with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
        logps = reference_logps(
            store, model.model, groups, max_tokens=recipe.train.max_tokens, progress=report
        )
    filled = [p.with_reference(*pair) for p, pair in zip(pairs, logps, strict=True)]
    n = len(split.train)
    facts = {**split.facts, "reference_key": store.key}
    return Split(train=filled[:n], heldout=filled[n:], facts=facts)


def _make_trainer(
    recipe: Recipe,
    split: Split,
    model: Model,
    precision: str,
    directory: Path,
    progress: Progress | None,
) -> PreferenceTrainer:
    arguments = _arguments(recipe, directory, precision, heldout=bool(split.heldout))
    policy = model.model
    if recipe.train.lora is not None:
        policy = _add_lora(policy, recipe.train.lora, seed=arguments.seed)
    trainer = PreferenceTrainer(
        policy,
        arguments,
        train_pairs=split.train,
        eval_pairs=split.heldout,
        beta=recipe.train.beta,
        max_tokens=recipe.train.max_tokens,
        callbacks=_callbacks(recipe, split, directory, progress),
        optimizer_cls_and_kwargs=_rmsprop(recipe) if recipe.train.optimizer == "rmsprop" else None,
    )
    trainer.remove_callback(PrinterCallback)  # It prints every log to stdout.
    return trainer


def _arguments(
    recipe: Recipe, directory: Path, precision: str, *, heldout: bool
) -> TrainingArguments:
    train = recipe.train
    seed = recipe.seed if train.seed is None else train.seed
    return TrainingArguments(
        output_dir=str(directory / "checkpoints"),
        per_device_train_batch_size=train.pairs_per_step,
        per_device_eval_batch_size=train.pairs_per_step,
        gradient_accumulation_steps=1,
        num_train_epochs=train.epochs,
        max_steps=train.max_steps or -1,
        learning_rate=train.learning_rate,
        lr_scheduler_type=train.schedule,
        warmup_steps=train.warmup_ratio,
        optim="adamw_torch",
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        bf16=precision == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        activation_checkpointing=train.gradient_checkpointing,
        eval_strategy="steps" if train.eval_steps and heldout else "no",
        eval_steps=train.eval_steps,
        save_strategy="steps",
        save_steps=train.save_steps,
        save_total_limit=2,
        logging_steps=1,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        report_to=[name for name in train.report_to if name != "tensorboard"] or "none",
        remove_unused_columns=False,
        dataloader_drop_last=False,
        seed=seed,
        data_seed=seed,
        disable_tqdm=True,
    )


def _callbacks(
    recipe: Recipe, split: Split, directory: Path, progress: Progress | None
) -> list[Any]:
    found: list[Any] = [MetricsFile(directory / "metrics.jsonl", progress), CompleteMark()]
    if split.heldout:
        found.append(EvaluateLast())
    if "tensorboard" in recipe.train.report_to:
        from torch.utils.tensorboard import SummaryWriter
        from transformers.integrations import TensorBoardCallback

        # transformers would write below the checkpoints, which go when training is done.
        found.append(TensorBoardCallback(SummaryWriter(str(directory / "tensorboard"))))
    return found


def _rmsprop(recipe: Recipe) -> tuple[type[torch.optim.Optimizer], dict[str, float]]:
    settings = {"lr": recipe.train.learning_rate, "weight_decay": recipe.train.weight_decay}
    return torch.optim.RMSprop, settings


def _add_lora(model: Any, settings: LoraSection, *, seed: int) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=settings.target_modules,
        task_type="CAUSAL_LM",
    )
    set_seed(seed)  # As the trainer will do, but adapters are drawn before there is one.
    return get_peft_model(model, config)


def _mean_loss(history: Sequence[Mapping[str, float]]) -> float:
    """Mean over all steps; the trainer's own leaves out those before a resume."""
    losses = [row["loss"] for row in history if "loss" in row]
    return sum(losses) / len(losses)


def _save(policy: Any, model: Model, recipe: Recipe, directory: Path) -> None:
    """Write the tuned model; a LoRA run writes its adapter too, and the merged model."""
    if recipe.train.lora is not None:
        save(policy, model.tokenizer, directory / "adapter")
        policy = policy.merge_and_unload()
    save(policy, model.tokenizer, directory / "model")
    remove_checkpoints(directory / "checkpoints")
