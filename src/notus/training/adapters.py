"""Low-rank adapters: put on a base model, and merged back into it."""

from typing import Any

from notus.recipe import LoraSection


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
