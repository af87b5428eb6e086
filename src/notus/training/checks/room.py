"""Room: whether the longest micro-batch fits in memory, and what is written on the disk.

The memory of activations is measured: what autograd keeps for a few pairs is counted byte by byte
and scaled to the longest micro-batch, before that is really run.
"""

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from notus.scoring.logps import LOGITS_PER_CHUNK
from notus.training.adapters import num_trainable
from notus.training.batches import Collator
from notus.training.checks.finding import Finding
from notus.training.checks.numbers import training_losses
from notus.training.checks.sample import few, sides, with_references
from notus.training.checks.settings import num_steps
from notus.training.checks.weights import policy
from notus.training.examples import Example, Pair, Vote
from notus.training.objectives import Objective
from notus.training.prepare import Prepared
from notus.training.sides import objective_of

GIB = 2**30
STATES = {"adamw_torch": 2, "rmsprop": 1}
"""Numbers that an optimiser keeps for each trained weight, in float32."""
KEPT_CHECKPOINTS = 3
"""Two are kept, and one is being written."""
_ONE_LAYER = 40
"""Numbers a token, in hidden sizes, that one layer keeps while it is computed again."""
NEARLY = 0.8
"""Share of the memory or disk from which a warning is due."""


def memory(prepared: Prepared) -> Iterator[Finding]:
    """Forecast the memory of the longest micro-batch, and compare it with what is free.

    Gradients and the optimiser's states, and the activations of as many tokens as the longest
    micro-batch has, measured on a few pairs. An error where that is more than is free, a warning
    where it is more than 80 % of it.

    Source: trl issue 3168 (out of memory in the middle of a run).
    """
    objective = objective_of(prepared.recipe)
    longest = sum(example.num_tokens for example in longest_examples(prepared))
    with policy(prepared) as model:
        trained = num_trainable(model)
        activations = _activations(prepared, model, objective, longest)
    states = 4 * trained * (1 + STATES[prepared.recipe.train.optimizer])
    vocabulary = len(prepared.model.model.get_input_embeddings().weight)
    logits = 2.5 * 4 * min(LOGITS_PER_CHUNK, longest * vocabulary)
    needed, free = activations + states + logits, free_memory(prepared)
    if needed > NEARLY * free:
        yield Finding(
            level="error" if needed > free else "warning",
            found=f"about {needed / GIB:.1f} GiB are needed beside the weights and "
            f"{free / GIB:.1f} GiB are free: {activations / GIB:.1f} for {longest:,} tokens, "
            f"{states / GIB:.1f} for gradients and optimiser",
            where=f"the longest micro-batch of train.max_tokens {prepared.recipe.train.max_tokens}",
            remedy="lower train.max_tokens (it changes no number) or data.max_length, set "
            "train.gradient_checkpointing, or train adapters (train.lora)",
        )


def _activations(prepared: Prepared, model: Any, objective: Objective, tokens: int) -> float:
    """Bytes that autograd keeps for so many tokens, by a line through two measured examples."""
    if prepared.recipe.train.gradient_checkpointing:
        config = prepared.model.model.config.get_text_config()
        # Each layer keeps its input alone; one layer at a time is computed again.
        return 4.0 * config.hidden_size * (config.num_hidden_layers + _ONE_LAYER) * tokens
    examples = with_references(prepared, few(sides(prepared).train))
    short, long = examples[-1], examples[0]
    at_long = _kept_bytes(prepared, model, objective, long)
    if short.num_tokens == long.num_tokens:
        return at_long * tokens / long.num_tokens
    slope = at_long - _kept_bytes(prepared, model, objective, short)
    slope /= long.num_tokens - short.num_tokens
    return at_long + slope * (tokens - long.num_tokens)


def _kept_bytes(prepared: Prepared, model: Any, objective: Objective, example: Example) -> float:
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        training_losses(prepared, model, objective, [example])
    return float(sum(size for pointer, size in kept.items() if pointer not in weights))


def longest_batch(prepared: Prepared) -> Iterator[Finding]:
    """Run the longest micro-batch forward and backward, before anything else is computed.

    An error where it does not fit, or where loss or gradients are no numbers.

    Source: trl issues 3168 (out of memory), 3382 and 5826 (NaN).
    """
    objective = objective_of(prepared.recipe)
    examples = longest_examples(prepared)
    tokens = sum(example.num_tokens for example in examples)
    where = f"the {len(examples)} longest examples, {tokens:,} tokens"
    try:
        with policy(prepared) as model, _checkpointing(prepared, model):
            losses = training_losses(prepared, model, objective, examples, backward=True)
            broken = [
                name
                for name, p in model.named_parameters()
                if p.grad is not None and not bool(torch.isfinite(p.grad).all())
            ]
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
            raise
        yield Finding(
            level="error",
            found=f"out of memory: {str(error).splitlines()[0][:200]}",
            where=where,
            remedy="lower train.max_tokens (it changes no number) or data.max_length, set "
            "train.gradient_checkpointing, or train adapters (train.lora)",
        )
        return
    if broken or not bool(torch.isfinite(losses).all()):
        yield Finding(
            level="error",
            found=f"loss {losses.mean().item():.4g}; {len(broken)} gradients are no numbers",
            where=where,
            remedy="look at the weights and at the longest pairs",
            rows=tuple(broken[:3]),
        )


@contextmanager
def _checkpointing(prepared: Prepared, model: Any) -> Iterator[None]:
    if prepared.recipe.train.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    try:
        yield
    finally:
        if prepared.recipe.train.gradient_checkpointing:
            model.activation_checkpointing_disable()


def longest_examples(prepared: Prepared) -> list[Example]:
    """The examples of the largest micro-batch that the training may meet, any reference with them.

    Whether they fit and give numbers does not depend on the reference, which would cost a pass.
    """
    train = prepared.recipe.train
    longest = sorted(sides(prepared).train, key=lambda example: -example.num_tokens)[
        : train.pairs_per_step
    ]
    batch = Collator(max_tokens=train.max_tokens)(longest)["batch"]
    sizes = [forest.input_ids.numel() for forest in batch.share.forests]
    largest = batch.share.trees[sizes.index(max(sizes))]
    return [_with_any_reference(longest[i]) for i in largest]


def _with_any_reference(example: Example) -> Example:
    if isinstance(example, Pair | Vote):
        return example.with_reference(*([0.0] * len(example.completions)))
    return example


def disk(prepared: Prepared) -> Iterator[Finding]:
    """Add up what the training will write, and compare it with what is free.

    Three checkpoints at worst (weights and the optimiser's states), and the model itself. An error
    where that is more than is free, a warning where it is more than 80 % of it.

    Source: trl issue 1405 (runs that die without a word); a disk that fills up in the third hour.
    """
    with policy(prepared) as model:
        every = sum(p.numel() * p.element_size() for p in model.parameters())
        trained = num_trainable(model)
    train = prepared.recipe.train
    saved = 4 * trained if train.lora is not None else every
    checkpoints = min(KEPT_CHECKPOINTS, num_steps(prepared) // train.save_steps)
    states = 4 * trained * STATES[train.optimizer]
    needed = checkpoints * (saved + states) + every + (saved if train.lora else 0)
    free = shutil.disk_usage(prepared.directory).free
    if needed > NEARLY * free:
        yield Finding(
            level="error" if needed > free else "warning",
            found=f"about {needed / GIB:.3g} GiB will be written and {free / GIB:.3g} GiB are free",
            where=str(prepared.directory),
            remedy=f"make room, or keep fewer checkpoints: train.save_steps is {train.save_steps}",
        )


def free_memory(prepared: Prepared) -> float:
    """Bytes that this process may still use, on the device where the model is."""
    if prepared.model.model.device.type == "cuda":
        return float(torch.cuda.mem_get_info()[0])
    free = [float(psutil.virtual_memory().available)]
    # A container's limit is in no other number.
    limit, used = (Path("/sys/fs/cgroup") / f"memory.{name}" for name in ("max", "current"))
    if limit.is_file() and (text := limit.read_text().strip()) != "max":
        free.append(int(text) - int(used.read_text()))
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        free.append(soft - psutil.Process().memory_info().vms)
    return min(free)
