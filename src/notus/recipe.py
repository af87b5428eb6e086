"""Recipes: one YAML file describes one run, strictly.

Every number is typed here, because YAML reads `5e-7` as text; `recipe_file` reads the files. The
resolved recipe is written with the run and is enough to run it again.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from notus.architectures import ARCHITECTURES
from notus.loss_settings import SETTINGS, any_of_votes, check_losses, read_settings
from notus.monitor_settings import MonitorSection, check_stops
from notus.section import Section


class ModelSection(Section):
    """The model that training starts from."""

    base: str
    """A folder, `package:NAME` (a GGUF file in an installed package) or a hub id."""
    hub_id: str | None = None
    """The base model's hub id, for the model card (null: not said)."""
    license: str | None = None
    """Licence of the base model, for the model card."""
    language: str | None = None
    """Language code of the model, for the model card."""
    trust_remote_code: bool = False
    """Run Python code that ships with the model. Off: code is not data."""
    chat_template: Path | None = None
    """Jinja file in place of the tokenizer's chat template; a base model has none."""
    architecture: str | None = None
    """What `notus plan` takes the model for where its config cannot be read: the name of a known
    architecture (null: found by the hub id)."""

    @field_validator("architecture")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in ARCHITECTURES:
            raise ValueError(f"known architectures: {', '.join(ARCHITECTURES)}")
        return name


class ExpectedSection(Section):
    """Size of the data, for `notus plan` where the data itself is not at hand."""

    pairs: int = Field(gt=0)
    """Preferences to train on, before `max_pairs`."""
    prompt_tokens: float = Field(gt=0)
    """Mean length of a prompt, cut to max_prompt_length."""
    completion_tokens: float = Field(gt=0)
    """Mean length of a completion, cut to max_length."""


class DataSection(Section):
    """The feedback, and how it becomes tokens."""

    source: Path
    """File or folder of raw feedback, relative to the recipe, or a hub id."""
    format: str = "auto"
    """Name of the reader of `source`, or auto to look at the first rows."""
    map: Path | None = None
    """YAML file that says which fields mean what, for a format that no reader knows."""
    max_refused: float = Field(default=0.01, ge=0, le=1)
    """Largest share of refused rows that ingest accepts."""
    planted: Path | None = None
    """JSONL of completions whose overall score is known to be wrong: what an audit must find."""
    max_length: int = Field(default=1024, gt=0)
    """Longest prompt and completion together, in tokens."""
    max_prompt_length: int = Field(default=512, gt=0)
    """Longest prompt, in tokens; its oldest tokens are cut."""
    holdout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the prompts whose preferences are kept for reward accuracy, never trained on."""
    heldout: Path | None = None
    """Pairs of a file or folder of their own, as they are stated there, in place of `holdout`: a
    prompt that stands in it is never trained on."""
    max_pairs: int | None = Field(default=None, gt=0)
    """Train on at most so many preferences, drawn by the recipe's seed (null: on all)."""
    expected: ExpectedSection | None = None
    """Size of the data where it is not at hand (`notus plan` alone reads it)."""

    @model_validator(mode="after")
    def _lengths_fit(self) -> Self:
        if self.max_prompt_length >= self.max_length:
            raise ValueError(
                f"max_prompt_length {self.max_prompt_length} must be below "
                f"max_length {self.max_length}"
            )
        return self

    @model_validator(mode="after")
    def _one_holdout(self) -> Self:
        if self.heldout is not None and self.holdout > 0:
            raise ValueError(
                f"heldout {self.heldout.name} is given, so holdout must be 0, not {self.holdout}"
            )
        return self


class BinarizeSection(Section):
    """How ratings become preferences."""

    strategy: str = "argilla-v1"
    """Specification to train on: a name (`notus binarize --help` lists them) or a YAML file."""
    compare: str | None = None
    """A second specification, to show how often and where the chosen answer differs."""
    against: list[Path] = []
    """Evaluation items, for a specification that decontaminates: files or folders."""


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
    report_to: list[str] = ["tensorboard"]
    """Trackers, by their transformers names."""
    accept_findings: list[str] = []
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

    @model_validator(mode="after")
    def _schedule_has_an_end(self) -> Self:
        if self.min_lr_ratio > 0 and self.schedule != "cosine":
            raise ValueError(
                f"min_lr_ratio {self.min_lr_ratio} is where a cosine schedule ends, "
                f"and schedule is {self.schedule}"
            )
        return self


class EvaluateSection(Section):
    """What the tuned model is compared with the base model on."""

    prompts: Path | None = None
    """JSONL of verifiable prompts (messages, metadata); relative to the recipe. null: none."""
    max_new_tokens: int = Field(default=48, gt=0)
    """Cut an answer after so many tokens; a cut answer does not pass."""
    samples: int = Field(default=1, ge=0)
    """Sampled answers a prompt, beside the greedy one."""
    temperature: float = Field(default=1.0, gt=0)
    """Temperature of the sampled answers."""
    resamples: int = Field(default=10_000, gt=0)
    """Bootstrap resamples behind every interval of a difference."""


class Recipe(Section):
    """One run, from raw feedback to a model card."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run and of its model."""
    seed: int = Field(default=0, ge=0)
    """Seed of every draw: holdout, order of the pairs, sampling, bootstrap."""
    model: ModelSection
    data: DataSection
    binarize: BinarizeSection = BinarizeSection()
    train: TrainSection = TrainSection()
    monitor: MonitorSection = MonitorSection()
    evaluate: EvaluateSection = EvaluateSection()

    @model_validator(mode="after")
    def _ratings_need_no_preferences(self) -> Self:
        if self.train.votes == "ratings" and self.binarize != BinarizeSection():
            raise ValueError(
                "section binarize makes preferences, which a training on ratings (train.votes) "
                "does not read: leave it out"
            )
        return self

    @model_validator(mode="after")
    def _what_stops_can_set_in(self) -> Self:
        prompts = bool(self.data.holdout or self.data.heldout)
        check_stops(self.monitor, self.train.losses, prompts=prompts)
        return self
