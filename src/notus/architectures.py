"""Public facts of the models that the recipes train, so that a plan needs neither hub nor weights.

Each entry is what the model's own config.json says, as the keywords of a transformers config. The
numbers of parameters are those that the models are published with; tests build each on the meta
device and count.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A model as its config describes it."""

    model_type: str
    """Name of the transformers config class."""
    settings: Mapping[str, Any]
    """Keywords of that class."""
    parameters: int
    """Number of parameters, shared ones once."""
    hub_ids: tuple[str, ...]
    """Models of this shape that the recipes name."""
    source: str
    """Where the settings are from."""


_MISTRAL = {
    "vocab_size": 32_000,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32_768,
    "sliding_window": 4096,
    "tie_word_embeddings": False,
}
_LLAMA_3 = {
    "vocab_size": 128_256,
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
}
_SMOLLM2 = {
    "vocab_size": 49_152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
_SMOLLM3 = {
    "vocab_size": 128_256,
    "hidden_size": 2048,
    "intermediate_size": 11_008,
    "num_hidden_layers": 36,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 65_536,
    "tie_word_embeddings": True,
}

ARCHITECTURES: dict[str, Architecture] = {
    "mistral-7b": Architecture(
        model_type="mistral",
        settings=_MISTRAL,
        parameters=7_241_732_096,
        hub_ids=("mistralai/Mistral-7B-v0.1", "alignment-handbook/zephyr-7b-sft-full"),
        source="mistralai/Mistral-7B-v0.1, config.json; arXiv 2310.06825, table 1",
    ),
    "llama-3-8b": Architecture(
        model_type="llama",
        settings=_LLAMA_3,
        parameters=8_030_261_248,
        hub_ids=("meta-llama/Meta-Llama-3-8B-Instruct",),
        source="meta-llama/Meta-Llama-3-8B-Instruct, config.json",
    ),
    "llama-3.1-8b": Architecture(
        model_type="llama",
        settings=_LLAMA_3 | {"max_position_embeddings": 131_072},
        parameters=8_030_261_248,
        hub_ids=("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B-Instruct"),
        source="meta-llama/Llama-3.1-8B, config.json; arXiv 2407.21783, table 3",
    ),
    "tulu-3-8b": Architecture(
        model_type="llama",
        settings=_LLAMA_3 | {"max_position_embeddings": 131_072, "vocab_size": 128_264},
        parameters=8_030_326_784,
        hub_ids=("allenai/Llama-3.1-Tulu-3-8B-SFT",),
        source="allenai/Llama-3.1-Tulu-3-8B, config.json: eight tokens more than its base",
    ),
    "smollm2-135m": Architecture(
        model_type="llama",
        settings=_SMOLLM2,
        parameters=134_515_008,
        hub_ids=("HuggingFaceTB/SmolLM2-135M", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        source="HuggingFaceTB/SmolLM2-135M, config.json; arXiv 2502.02737",
    ),
    "smollm3-3b": Architecture(
        model_type="smollm3",
        settings=_SMOLLM3,
        parameters=3_075_098_624,
        hub_ids=("HuggingFaceTB/SmolLM3-3B", "HuggingFaceTB/SmolLM3-3B-checkpoints"),
        source="HuggingFaceTB/SmolLM3-3B, config.json",
    ),
}


def architecture_of(hub_id: str) -> Architecture | None:
    """Find the architecture that a hub id is known to have."""
    return next((a for a in ARCHITECTURES.values() if hub_id in a.hub_ids), None)
