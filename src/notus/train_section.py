"""The section `train` of a recipe: what is minimised, how, and on how many processes."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from notus.loss_settings import SETTINGS, any_of_votes, check_losses, read_settings
from notus.section import Section


class LoraSection(Section):
    """Low-rank adapters instead of all weights."""

    r: int = Field(default=16, gt=0)
    """Rank."""
    alpha: int = Field(default=32, gt=0)
    """Scale: the update is multiplied by alpha / r."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapters' input."""
    target_modules: str | list[str] = "all-linear"
    """Names of the layers that get an adapter."""
    load_in_4bit: bool = False
    """QLoRA: the layers' frozen weights in 4 bits (NF4), which needs CUDA and bitsandbytes."""


def _weighted(loss: str | dict[str, float] | None) -> dict[str, float]:
    if loss is None:
        return {}
    return {loss: 1.0} if isinstance(loss, str) else loss


class TrainSection(Section):
    """What is minimised, and how."""

    objective: Literal["preference", "sft"] = "preference"
    """preference: a loss of preferences or votes. sft: the likelihood of the chosen answers."""
    loss: str | dict[str, float] | None = None
    """A loss, or a mixture {loss: weight} of losses of pairs; null: sigmoid (DPO), none for sft."""
    beta: float | None = Field(default=None, gt=0)
    """Strength of the pull to the reference; of orpo the weight of the odds. Null: the loss's."""
    label_smoothing: float | None = Field(default=None, ge=0, lt=0.5)
    """Share of the preferences that are taken to be flipped. Null: the loss's."""
    gamma_beta_ratio: float | None = Field(default=None, ge=0)
    """Target margin of simpo, as a multiple of beta. Null: the loss's."""
    desirable_weight: float | None = Field(default=None, gt=0)
    """Weight of a desirable completion in kto. Null: 1."""
    undesirable_weight: float | None = Field(default=None, gt=0)
    """Weight of an undesirable completion in kto. Null: 1."""
    votes: Literal["preferences", "ratings"] | None = None
    """Where kto and bco take their votes from: chosen and rejected completions, or ratings with the
    aspect "desirable". Null: preferences."""
    learning_rate: float = Field(default=5e-7, gt=0)
    """Peak learning rate."""
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    """Shape of the learning rate after its warm-up."""
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps over which the learning rate rises."""
    min_lr_ratio: float = Field(default=0.0, ge=0, lt=1)
    """Where a cosine schedule ends, as a share of the peak (0: at nothing)."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the preferences."""
    max_steps: int | None = Field(default=None, gt=0)
    """Stop after so many optimiser steps, whatever `epochs` says."""
    pairs_per_step: int = Field(default=64, gt=0)
    """Preferences in one optimiser step, over all micro-batches."""
    max_tokens: int = Field(default=4096, gt=0)
    """Most tokens in one micro-batch; it bounds memory and changes no number."""
    seed: int | None = Field(default=None, ge=0)
    """Seed of the pairs' order and of new adapters (null: the recipe's). The holdout keeps the
    recipe's seed, so that runs which differ in this alone are compared on the same items."""
    optimizer: Literal["adamw_torch", "rmsprop"] = "adamw_torch"
    """Optimiser; the first DPO recipes used RMSprop to save memory."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the weights in memory, and so of the residual stream. bfloat16 halves both; updates
    below one part in 256 of a weight are then lost, so it is for frozen weights or large steps."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of the matrix products; sums over tokens and vocabulary stay float32. auto: bfloat16
    where the hardware has it."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""
    lora: LoraSection | None = None
    """Train adapters instead of all weights."""
    eval_steps: int | None = Field(default=None, gt=0)
    """Evaluate the held-out preferences every so many steps (null: only at the end)."""
    save_steps: int = Field(default=50, gt=0)
    """Write a checkpoint every so many steps; a killed training goes on from the last."""
    sharding: Literal["none", "fsdp"] = "none"
    """Of several processes: each has all weights, or a part of them (FSDP2's fully_shard)."""
    deepspeed: Path | None = None
    """A DeepSpeed configuration (JSON), relative to the recipe, for ZeRO instead of either."""
    timeout: float = Field(default=1800, gt=0)
    """Longest wait of one process for the others, in seconds; then the run ends with a message."""
    report_to: list[str] = Field(default=["tensorboard"])
    """Trackers, by their transformers names."""
    accept_findings: list[str] = Field(default=[])
    """Preflight checks whose errors do not stop the training (`notus preflight` names them)."""

    @property
    def losses(self) -> dict[str, float]:
        """Loss -> weight; nothing for sft."""
        return _weighted(self.loss)

    @property
    def loss_settings(self) -> dict[str, float]:
        """Setting -> value, of those that the losses read."""
        return {name: getattr(self, name) for name in read_settings(self.losses)}

    @model_validator(mode="before")
    @classmethod
    def _take_the_losses_defaults(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        filled = dict(raw)
        if filled.get("loss") is None and filled.get("objective", "preference") == "preference":
            filled["loss"] = "sigmoid"
        if isinstance(filled.get("loss"), str | dict):
            for name, value in read_settings(_weighted(filled["loss"])).items():
                filled[name] = value if filled.get(name) is None else filled[name]
        return filled

    @model_validator(mode="after")
    def _losses_read_what_is_set(self) -> Self:
        given = {name: getattr(self, name) for name in SETTINGS}
        if self.objective == "sft" and self.loss is not None:
            raise ValueError(f"objective sft has a loss of its own, and loss is {self.loss}")
        if self.objective == "preference" and not self.losses:
            raise ValueError("there is no loss in the mixture")
        if self.votes is not None and not any_of_votes(self.losses):
            raise ValueError(f"votes is {self.votes}, which only the losses kto and bco read")
        check_losses(self.losses, {k: v for k, v in given.items() if v is not None})
        return self

    @model_validator(mode="after")
    def _products_are_as_wide_as_weights(self) -> Self:
        if self.dtype == "bfloat16" and self.precision == "float32":
            raise ValueError(
                "dtype bfloat16 makes bfloat16 products too; precision must be auto or bfloat16, "
                f"not {self.precision}"
            )
        return self

    @property
    def in_parts(self) -> bool:
        """Whether no process may have all weights."""
        return self.sharding != "none" or self.deepspeed is not None

    @model_validator(mode="after")
    def _one_way_to_shard(self) -> Self:
        if self.deepspeed is not None and self.sharding != "none":
            raise ValueError(f"sharding {self.sharding} and deepspeed exclude each other")
        return self

    @model_validator(mode="after")
    def _schedule_has_an_end(self) -> Self:
        if self.min_lr_ratio > 0 and self.schedule != "cosine":
            raise ValueError(
                f"min_lr_ratio {self.min_lr_ratio} is where a cosine schedule ends, "
                f"and schedule is {self.schedule}"
            )
        return self
