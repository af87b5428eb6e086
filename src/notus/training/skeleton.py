"""A recipe's model without its weights: built on torch's meta device from its config alone.

    config.json or the header of a GGUF file -> that; a hub id that cannot be fetched, or a recipe's
    model.architecture -> architectures.py

A 7B model takes half a second and no memory, and what is counted on it is exact.
"""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from notus.architectures import ARCHITECTURES, Architecture, architecture_of
from notus.errors import ModelError, explain
from notus.models import locate, no_bars
from notus.recipe import ModelSection
from notus.train_section import LoraSection
from notus.training.forecast import Shape


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """A model without weights."""

    shape: Shape
    window: int
    """Longest sequence it was made for, in tokens."""
    source: str
    """Where its config is from, in words."""


def skeleton(model: ModelSection, lora: LoraSection | None) -> Skeleton:
    """Build a recipe's model on the meta device and count.

    Raises:
        ModelError: Neither its config nor a known architecture is at hand, or the adapters' layers
            are not in it.
    """
    config, source = _config(model)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers by an old name.
        built = AutoModelForCausalLM.from_config(config)
        shape = _shape(built, config.get_text_config())
        if lora is not None:
            shape = _with_adapters(built, shape, lora)
    window = int(getattr(config.get_text_config(), "max_position_embeddings", 0) or 2**31)
    return Skeleton(shape=shape, window=window, source=source)


def _config(model: ModelSection) -> tuple[Any, str]:
    """The model's own config, or that of a known architecture, and which it is."""
    if model.architecture is not None:
        known = ARCHITECTURES[model.architecture]
        return _known_config(known), f"the recipe's architecture {model.architecture}"
    folder, gguf = locate(model.base)
    options = {"gguf_file": gguf} if gguf else {}
    try:
        with no_bars():
            config = AutoConfig.from_pretrained(
                str(folder) if folder.is_dir() else model.base,
                trust_remote_code=model.trust_remote_code,
                **options,
            )
    except (OSError, ValueError, KeyError) as error:
        found = architecture_of(model.base)
        if found is None:
            raise _unknown(model, error) from error
        return _known_config(found), f"known facts of {model.base}: {found.source}"
    return config, f"the config of {model.base}"


def _known_config(known: Architecture) -> Any:
    return AutoConfig.for_model(known.model_type, **known.settings)


def _unknown(model: ModelSection, error: Exception) -> ModelError:
    return ModelError(
        explain(
            found=f"no config of {model.base!r}: {str(error).splitlines()[0]}",
            expected="a model whose config can be read, or a known architecture",
            where="recipe section model",
            remedy="name one that has its shape: --set model.architecture="
            + "|".join(ARCHITECTURES),
        )
    )


def _shape(built: Any, config: Any) -> Shape:
    head = built.get_output_embeddings()
    linear = [m for m in built.modules() if isinstance(m, nn.Linear) and m is not head]
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return Shape(
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=heads,
        queries=heads * size,
        keys=(getattr(config, "num_key_value_heads", None) or heads) * size,
        feedforward=config.intermediate_size,
        vocabulary=config.vocab_size,
        parameters=sum(p.numel() for p in built.parameters()),
        matrices=sum(module.weight.numel() for module in linear),
    )


def _with_adapters(built: Any, shape: Shape, lora: LoraSection) -> Shape:
    from peft.tuners.lora import LoraLayer

    from notus.training.adapters import add_lora, num_trainable

    try:
        adapted = add_lora(built, lora, seed=0)
    except ValueError as error:
        raise ModelError(
            explain(
                found=f"adapters that cannot be put on: {str(error).splitlines()[0]}",
                expected="names of the model's linear layers, or all-linear",
                where="recipe key train.lora.target_modules",
                remedy="--set train.lora.target_modules=all-linear",
            )
        ) from error
    layers = [m for m in adapted.modules() if isinstance(m, LoraLayer)]
    return replace(
        shape,
        rank=lora.r,
        adapters=num_trainable(adapted),
        adapted=sum(layer.in_features for layer in layers) // shape.layers,
        adapted_products=len(layers) // shape.layers,
    )
