"""The first numbers of a training, really computed on a few of its examples.

    examples -> tree in training mode = tree in evaluation mode (the reference) = padded, one by one

Three ways to the same log-probs: where they differ, something leaks between packed sequences,
dropout is active, or the reference is another model.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from notus.scoring.attention import use_tree_attention
from notus.scoring.fused import fused_loss
from notus.training.batches import Collator
from notus.training.checks.finding import MOST_SHOWN, Finding
from notus.training.checks.sample import autocast, few, logps, sides, with_references
from notus.training.checks.weights import policy
from notus.training.examples import Example, Pair, Vote
from notus.training.objectives import Objective
from notus.training.prepare import Prepared
from notus.training.reference import tokens_digest
from notus.training.sides import objective_of
from notus.training.trainer import STEP0_TOLERANCE

STORED = 64
"""Stored log-probs among which the recomputed ones are looked for."""
TOLERANCE = {"float32": 1e-3, "bfloat16": 3e-2}
"""Nats a token by which two ways may differ: rounding is ten times below, a leak far above."""
REAL = 20e6
"""Parameters from which a model is no toy, and knows more than chance."""


def attention(prepared: Prepared) -> Iterator[Finding]:
    """Prove on six tokens that the model sees a tree's branches as sequences of their own.

    An error where it does not: recurrent layers, attention of its own that ignores the mask.

    Source: open-instruct issues 1900 and 1448 (packed sequences that see each other).
    """
    with use_tree_attention(prepared.model.model):  # raises what becomes a finding
        yield from ()


def packing(prepared: Prepared) -> Iterator[Finding]:
    """Score a few examples packed together and each by itself: the log-probs must be equal.

    An error where a token's differ by more than rounding: attention reaches from one packed
    sequence into another, or positions are counted through.

    Source: open-instruct issues 1900 and 1448 (packed sequences that see each other).
    """
    trees = [example.tree for example in few(sides(prepared).train)]
    packed, alone = (logps(prepared, trees, layout=layout) for layout in ("tree", "padded"))
    lengths = [int(n) for tree in trees for n in tree.num_scored]
    error, wrong = _differences(prepared, packed, alone, lengths)
    if wrong:
        yield Finding(
            level="error",
            found=f"{len(wrong)} of {len(lengths)} completions get other log-probs when they are "
            f"packed, by up to {error:.2g} nats a token",
            where=f"attention of {type(prepared.model.model).__name__}",
            remedy="this model cannot be trained packed: take an architecture of transformers' own",
            rows=tuple(
                f"completion of {lengths[i]} tokens: packed {packed[i]:.2f}, alone {alone[i]:.2f}"
                for i in wrong[:MOST_SHOWN]
            ),
        )


def likelihood(prepared: Prepared) -> Iterator[Finding]:
    """See that the model finds its data likelier than chance.

    An error for a real model whose answers are less likely than drawing tokens blindly (ln V nats
    each): its tokenizer belongs to another model, or its weights are another's.

    Source: unsloth issue 3228 (a template or tokenizer of another model).
    """
    trees = [example.tree for example in few(sides(prepared).train)[:2]]
    tokens = sum(int(n) for tree in trees for n in tree.num_scored)
    nats = -logps(prepared, trees).sum().item() / tokens
    model: Any = prepared.model.model
    chance = math.log(len(model.get_input_embeddings().weight))
    if not nats < chance:
        parameters = sum(p.numel() for p in model.parameters())
        yield Finding(
            level="error" if parameters >= REAL else "note",
            found=f"a token of the answers costs {nats:.2f} nats; drawn blindly it would cost "
            f"{chance:.2f}",
            where=f"{prepared.recipe.model.base} on {len(trees)} examples",
            remedy="see that tokenizer and weights belong to each other",
        )


def reference(prepared: Prepared) -> Iterator[Finding]:
    """Compute stored log-probs of the reference again: they must be what this model says.

    Source: trl issues 1193 and 6591 (log-probs of another reference).
    """
    examples = [e for e in sides(prepared).train if isinstance(e, Pair | Vote)]
    stored = [e for e in examples if all(key in prepared.store for key in _keys(e))]
    found = few(stored[:STORED])
    if not found:
        return
    then = torch.tensor([prepared.store[key] for e in found for key in _keys(e)])
    now = torch.tensor([v for e in with_references(prepared, found) for v in _references(e)])
    lengths = [len(ids) for e in found for ids in e.completions]
    error, wrong = _differences(prepared, now, then, lengths)
    if wrong:
        yield Finding(
            level="error",
            found=f"{len(wrong)} of {len(lengths)} stored reference log-probs are not this "
            f"model's, by up to {error:.2g} nats a token",
            where=str(prepared.store.directory),
            remedy="delete this folder: it is computed again",
            rows=tuple(
                f"completion of {lengths[i]} tokens: stored {then[i]:.2f}, computed {now[i]:.2f}"
                for i in wrong[:MOST_SHOWN]
            ),
        )


def first_loss(prepared: Prepared) -> Iterator[Finding]:
    """Compute the loss that the training begins with: of a policy that is the reference.

    For DPO that is ln 2. An error where it is another one, or no number.

    Source: open-instruct issue 1900; trl issues 3382 and 5826 (NaN), 5853 (bfloat16 log-probs).
    """
    objective = objective_of(prepared.recipe)
    examples = with_references(prepared, few(sides(prepared).train))
    own = logps(prepared, [example.tree for example in examples])
    targets = torch.tensor([example.targets for example in examples], dtype=torch.float64)
    expected = objective(own, targets, own.new_zeros(())).losses.mean().item()
    with policy(prepared) as model:
        loss = training_losses(prepared, model, objective, examples).mean().item()
    allowed = STEP0_TOLERANCE[getattr(torch, _narrowest(prepared))] * max(1.0, abs(expected))
    if not abs(loss - expected) <= allowed:  # a NaN is not
        yield Finding(
            level="error",
            found=f"the loss of step 0 is {loss:.4f}; a policy that is the reference has "
            f"{expected:.4f}",
            where=f"{len(examples)} examples in training mode",
            remedy="look for dropout, for weights of another type than the reference's, or for "
            "code of the model that acts otherwise in training",
        )


def training_losses(
    prepared: Prepared,
    model: Any,
    objective: Objective,
    examples: Sequence[Example],
    *,
    backward: bool = False,
) -> Tensor:
    """Run the forward pass of a training step, and its backward; return the losses [P].

    A shift of the whole step is taken as 0, which it is while the policy is the reference.
    """
    batch = Collator(max_tokens=prepared.recipe.train.max_tokens)(examples)["batch"]
    losses = torch.zeros(len(examples), dtype=torch.float64)
    model.train()
    # Recomputed layers must find the attention that they ran with.
    with use_tree_attention(model):
        for forest, indices in zip(batch.share.forests, batch.share.trees, strict=True):

            def loss_of(values: Tensor, units: Tensor, indices: Any = indices) -> Tensor:
                own = torch.tensor(indices)[units.cpu()]
                out = objective(values, batch.targets[own], values.new_zeros(()))
                losses[own] = out.losses.detach().double().cpu()
                return out.losses.sum()

            with autocast(prepared):
                forest = forest.to(prepared.model.model.device)
                total = fused_loss(model, forest, loss_of, unit_size=objective.num_completions)
            if backward:
                total.backward()  # type: ignore[no-untyped-call]
    return losses


def _differences(
    prepared: Prepared, one: Tensor, other: Tensor, lengths: Sequence[int]
) -> tuple[float, list[int]]:
    """Largest difference in nats a token, and which of two vectors' entries differ too much."""
    error = (one - other).abs() / torch.tensor(lengths)
    allowed = TOLERANCE[_narrowest(prepared)]
    return float(error.max()), [i for i, value in enumerate(error.tolist()) if not value <= allowed]


def _keys(example: Pair | Vote) -> list[str]:
    return [tokens_digest(example.prompt_ids, ids) for ids in example.completions]


def _references(example: Example) -> tuple[float, ...]:
    if isinstance(example, Pair):
        return example.reference_chosen, example.reference_rejected
    if isinstance(example, Vote) and example.mismatched_ids is not None:
        return example.reference, example.reference_mismatched
    return example.targets[:1]


def _narrowest(prepared: Prepared) -> str:
    half = prepared.precision == "bfloat16" or prepared.recipe.train.dtype == "bfloat16"
    return "bfloat16" if half else "float32"
