"""Recipes: one YAML file describes one run, strictly.

Every number is typed here, because YAML reads `5e-7` as text; `recipe_file` reads the files. The
resolved recipe is written with the run and is enough to run it again.
"""

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from notus.architectures import ARCHITECTURES
from notus.monitor_settings import MonitorSection, check_stops
from notus.section import Section
from notus.train_section import TrainSection


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
    against: list[Path] = Field(default=[])
    """Evaluation items, for a specification that decontaminates: files or folders."""


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
        if self.monitor.stop_on and self.train.in_parts:
            raise ValueError(
                "monitor.stop_on gives a model a checkpoint's weights back, which one in parts "
                "(train.sharding, train.deepspeed) cannot take"
            )
        return self
