"""The model's weights and modules: broken numbers, dropout, types, what will be trained."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from notus.training.adapters import add_lora
from notus.training.checks.finding import MOST_SHOWN, Finding, share
from notus.training.prepare import Prepared

_DROPOUTS = ("attention_dropout", "attn_pdrop", "resid_pdrop", "embd_pdrop", "hidden_dropout")
_WHERE = "weights of the base model"


def weights(prepared: Prepared) -> Iterator[Finding]:
    """Look for NaN, infinite and all-zero weights, and for types that cannot be trained.

    Half-precision weights lose the small updates of a DPO learning rate: float16 is an error where
    they are trained themselves, bfloat16 a warning.

    Source: trl issues 3382 and 5826 (NaN loss), 5853 (log-probs in bfloat16).
    """
    broken, empty, types = [], [], set()
    named = list(prepared.model.model.named_parameters())
    for name, weight in named:
        types.add(weight.dtype)
        if not weight.is_floating_point():
            continue
        low, high = torch.aminmax(weight.detach())  # NaN if any is
        if not math.isfinite(low) or not math.isfinite(high):
            broken.append((name, int((~torch.isfinite(weight)).sum()), weight.numel()))
        elif weight.dim() > 1 and low == high == 0:
            empty.append(name)
    if broken:
        yield Finding(
            level="error",
            found=f"{share(len(broken), len(named))} tensors hold NaN or infinity",
            where=_WHERE,
            remedy="fetch or save the model again; look at the run that wrote it",
            rows=tuple(f"{name}: {share(n, total)}" for name, n, total in broken[:MOST_SHOWN]),
        )
    if empty:
        yield Finding(
            level="warning",
            found=f"{share(len(empty), len(named))} matrices are all zero",
            where=_WHERE,
            remedy="see that the model was saved whole",
            rows=tuple(empty[:MOST_SHOWN]),
        )
    halves = {t for t in types if t in (torch.float16, torch.bfloat16)}
    if halves and prepared.recipe.train.lora is None:
        yield Finding(
            level="error" if torch.float16 in halves else "warning",
            found=f"weights of type {', '.join(sorted(str(t) for t in halves))} are trained "
            "themselves",
            where="recipe key train.dtype",
            remedy="train float32 weights with bfloat16 products (train.precision), or adapters",
        )


def dropout(prepared: Prepared) -> Iterator[Finding]:
    """Look for dropout in the base model.

    It is active while training and not in the reference: the loss would not begin at its value of
    step 0, and log-ratios would be noise.

    Source: direct-preference-optimization issue 32; trl sets dropout to 0 for the same reason
    (`disable_dropout`).
    """
    found: dict[float, list[str]] = {}
    for name, module in prepared.model.model.named_modules():
        values = [getattr(module, key, 0.0) for key in _DROPOUTS]
        values += [module.p] if isinstance(module, nn.Dropout) else []
        for value in values:
            if isinstance(value, float) and value > 0:
                found.setdefault(value, []).append(name)
    for value, names in found.items():
        yield Finding(
            level="error",
            found=f"dropout of {value:g} in {len(names)} modules",
            where="config.json of the base model",
            remedy=f"set {', '.join(_config_keys(prepared))} to 0 there",
            rows=tuple(names[:MOST_SHOWN]),
        )


def _config_keys(prepared: Prepared) -> list[str]:
    settings = prepared.model.model.config.to_dict()
    names = [k for k, v in settings.items() if ("drop" in k) and isinstance(v, float) and v > 0]
    return names or ["dropout"]


def trainable(prepared: Prepared) -> Iterator[Finding]:
    """See that there is something to train, and that the base model is one model.

    An adapter on top of a base would be frozen in training, and part of the reference or not
    depending on who loads it: it must be merged first.

    Source: trl issues 1193 and 6591 (a reference that is not the policy's beginning).
    """
    if getattr(prepared.model.model, "peft_config", None):
        yield Finding(
            level="error",
            found="the base model is an adapter on another model",
            where=f"model.base {prepared.recipe.model.base}",
            remedy="merge the adapter into its base model first, and start from the merged model",
        )
        return
    try:
        with policy(prepared) as model:
            names = [name for name, p in model.named_parameters() if p.requires_grad]
    except ValueError as error:
        yield Finding(
            level="error",
            found=f"no adapter can be put on this model: {str(error).splitlines()[0]}",
            where="recipe key train.lora.target_modules",
            remedy="name layers of this model, or all-linear",
        )
        return
    if not names:
        yield Finding(
            level="error",
            found="no weight of the model would be trained",
            where=f"model.base {prepared.recipe.model.base}",
            remedy="start from weights that are not quantised, or train adapters (train.lora)",
        )


@contextmanager
def policy(prepared: Prepared) -> Iterator[Any]:
    """The model that will be trained, adapters included; they are gone when this ends."""
    model, settings = prepared.model.model, prepared.recipe.train.lora
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    with torch.random.fork_rng():
        adapted = model if settings is None else add_lora(model, settings, seed=prepared.seed)
        try:
            yield adapted
        finally:
            if settings is not None:
                adapted.unload()
            for name, weight in model.named_parameters():
                weight.grad = None
                weight.requires_grad_(flags[name])
            model.eval()
