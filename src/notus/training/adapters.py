"""Low-rank adapters: put on a base model, and merged back into it.

A base in 4 bits (QLoRA, arXiv 2305.14314) is frozen as it is. Its adapters are merged into the base
that it was quantised from, never into the rounded weights: those would be rounded a second time.
"""

import importlib.util
from pathlib import Path
from typing import Any

import torch

from notus.errors import MissingExtraError, ModelError, explain
from notus.models import load
from notus.train_section import LoraSection, TrainSection


def quantization_of(train: TrainSection) -> Any:
    """The transformers config that reads a base model's layers in 4 bits; None if none is wanted.

    Raises:
        ModelError: There is no CUDA device.
        MissingExtraError: bitsandbytes is not installed.
    """
    if train.lora is None or not train.lora.load_in_4bit:
        return None
    if not torch.cuda.is_available():
        raise ModelError(
            _four_bit(
                "no CUDA device",
                "--set train.lora.load_in_4bit=false; the base then takes 2 or 4 bytes a weight",
            )
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        found = "the Python package 'bitsandbytes' is not installed"
        raise MissingExtraError(_four_bit(found, "pip install bitsandbytes"))
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def add_lora(model: Any, settings: LoraSection, *, seed: int) -> Any:
    """Put new low-rank adapters on a model; what they are drawn from is the seed alone."""
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed

    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=settings.target_modules,
        task_type="CAUSAL_LM",
    )
    set_seed(seed)  # As the trainer will do, but adapters are drawn before there is one.
    adapted = get_peft_model(model, config)
    # PEFT keeps a set, and writes it in an order that is another in each process.
    found = adapted.peft_config["default"]
    if isinstance(found.target_modules, set):
        found.target_modules = sorted(found.target_modules)
    return adapted


def merge(
    policy: Any, base: str, adapter: Path, train: TrainSection, *, in_parts: bool = False
) -> Any:
    """Add an adapter's update to the weights that it was trained on.

    Args:
        policy: The trained model with its adapters; it is changed.
        base: Where its base model was loaded from.
        adapter: The saved adapter.
        train: The recipe's section.
        in_parts: Whether the policy's weights are spread over processes; this one loads them all.
    """
    if quantization_of(train) is None and not in_parts:
        return policy.merge_and_unload()
    from peft import PeftModel

    dtype = getattr(torch, train.dtype)
    return PeftModel.from_pretrained(load(base, dtype=dtype).model, str(adapter)).merge_and_unload()


def _four_bit(found: str, remedy: str) -> str:
    return explain(
        found=found,
        expected="a CUDA device and bitsandbytes, which compute with weights in 4 bits",
        where="recipe key train.lora.load_in_4bit",
        remedy=remedy,
    )


def num_trainable(model: Any) -> int:
    """Count the weights that training changes."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
