"""What transformers' trainer is told: the recipe's settings in its words."""

from pathlib import Path

import torch
from transformers import TrainingArguments

from notus.recipe import Recipe
from notus.training.prepare import Prepared
from notus.training.signs import WINDOW


def training_arguments(prepared: Prepared, directory: Path) -> TrainingArguments:
    """Say in transformers' words what the recipe's section train says.

    Args:
        prepared: What the training starts from.
        directory: The stage's directory; checkpoints go below it.
    """
    train, heldout = prepared.recipe.train, bool(prepared.split.heldout)
    arguments = TrainingArguments(
        output_dir=str(directory / "checkpoints"),
        per_device_train_batch_size=train.pairs_per_step,
        per_device_eval_batch_size=train.pairs_per_step,
        num_train_epochs=train.epochs,
        max_steps=train.max_steps or -1,
        learning_rate=train.learning_rate,
        lr_scheduler_type="cosine_with_min_lr" if train.min_lr_ratio else train.schedule,
        lr_scheduler_kwargs={"min_lr_rate": train.min_lr_ratio} if train.min_lr_ratio else None,
        warmup_steps=train.warmup_ratio,
        optim="adamw_torch",
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        bf16=prepared.precision == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        activation_checkpointing=train.gradient_checkpointing,
        eval_strategy="steps" if train.eval_steps and heldout else "no",
        eval_steps=train.eval_steps,
        save_strategy="steps",
        save_steps=train.save_steps,
        save_total_limit=_kept_checkpoints(prepared.recipe),
        logging_steps=1,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        report_to=[name for name in train.report_to if name != "tensorboard"] or "none",
        remove_unused_columns=False,
        seed=prepared.seed,
        data_seed=prepared.seed,
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
        ddp_timeout=int(train.timeout),
        deepspeed=None if train.deepspeed is None else str(train.deepspeed),
    )
    # One process drives one GPU. Where more are visible, transformers would copy the model to all
    # of them in every pass, and multiply the batch.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


def optimizer_class(recipe: Recipe) -> tuple[type[torch.optim.Optimizer], dict[str, float]] | None:
    """Name the optimiser that transformers' own names do not have; None where they do."""
    if recipe.train.optimizer == "adamw_torch":
        return None
    settings = {"lr": recipe.train.learning_rate, "weight_decay": recipe.train.weight_decay}
    return torch.optim.RMSprop, settings


def _kept_checkpoints(recipe: Recipe) -> int:
    """Two; where a sign may end the training, as many as reach back to its oldest evidence."""
    if not recipe.monitor.stop_on:
        return 2
    reach = max(WINDOW, recipe.train.eval_steps or 0)
    return 2 + -(-reach // recipe.train.save_steps)
