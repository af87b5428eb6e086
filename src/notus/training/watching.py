"""Puts together what watches one training, from the recipe's section monitor."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch

from notus.errors import TrainingError, explain
from notus.models import Model, load
from notus.monitor_settings import MonitorSection
from notus.training.callbacks import last_checkpoint, step_of_checkpoint
from notus.training.prepare import Prepared
from notus.training.sampler import Sampler, choose_prompts
from notus.training.signs import Sign
from notus.training.trainer import PreferenceTrainer
from notus.training.watch import SAMPLES, Say, Watch


def watch_training(
    prepared: Prepared,
    trainer: PreferenceTrainer,
    base: str,
    directory: Path,
    *,
    say: Say,
    writer: Any = None,
) -> Watch:
    """Make what watches a trainer; a callback that belongs behind the metrics file.

    Args:
        prepared: What the training starts from.
        trainer: Its trainer.
        base: Where the base model is, for the reference of a training of all weights.
        directory: The stage's directory.
        say: Called with what a person should read.
        writer: TensorBoard's SummaryWriter, if there is one.
    """
    settings = prepared.recipe.monitor
    sampler = _sampler(prepared, trainer, base, directory, settings)
    return Watch(directory, trainer, sampler, stop_on=settings.stop_on, say=say, writer=writer)


def go_back(trainer: PreferenceTrainer, sign: Sign, checkpoints: Path) -> int:
    """Give a stopped training the weights it had before a sign; return their step.

    Raises:
        TrainingError: No checkpoint is that old.
    """
    good = last_checkpoint(checkpoints, until=sign.since)
    if good is None:
        raise TrainingError(
            explain(
                found=f"{sign.text} (monitor.stop_on)",
                expected="a training without it",
                where=f"step {sign.step}, and no checkpoint is from before step {sign.since + 1}",
                remedy="do what the sign says, or lower train.save_steps to keep what came before",
            )
        )
    trainer._load_from_checkpoint(str(good), model=trainer.model)
    return step_of_checkpoint(good)


def _sampler(
    prepared: Prepared,
    trainer: PreferenceTrainer,
    base: str,
    directory: Path,
    settings: MonitorSection,
) -> Sampler | None:
    """None without held-out prompts that leave room for an answer, or when none are asked for."""
    model = prepared.model
    prompts = choose_prompts(
        {pair.prompt_id: pair.prompt_ids for pair in prepared.split.heldout},
        settings.samples,
        longest=model.window - settings.max_new_tokens,
    )
    if not prompts:
        return None
    policy = Model(
        model=trainer.model, tokenizer=model.tokenizer, name=model.name, window=model.window
    )
    trust = prepared.recipe.model.trust_remote_code
    reference = _reference(trainer.model, base, trust_remote_code=trust) if settings.kl else None
    return Sampler(
        policy,
        prompts,
        path=directory / SAMPLES,
        writes=trainer.is_world_process_zero(),
        max_new_tokens=settings.max_new_tokens,
        seed=prepared.recipe.seed,
        autocast=trainer.accelerator.autocast,
        reference=reference,
    )


def _reference(
    policy: Any, base: str, *, trust_remote_code: bool
) -> Callable[[], AbstractContextManager[Any]]:
    """Lend the reference: the policy without its adapters, or the base, loaded for the moment."""

    @contextmanager
    def without_adapters() -> Iterator[Any]:
        with policy.disable_adapter():
            yield policy

    @contextmanager
    def loaded() -> Iterator[Any]:
        weight = next(policy.parameters())
        with torch.random.fork_rng():  # Loading draws weights before it reads them.
            reference = load(base, dtype=weight.dtype, trust_remote_code=trust_remote_code)
        yield reference.model.to(weight.device)

    return without_adapters if hasattr(policy, "disable_adapter") else loaded
