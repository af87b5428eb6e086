"""What each verb can be told, typed and strict: a section a verb, beside those of a recipe.

A new knob is a key of a section, never an option of its own (docs/decisions/0005).
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat

from notus.section import Section


class GenerateSection(Section):
    """How `notus generate` samples completions: one a temperature, each a named sampler."""

    temperatures: list[NonNegativeFloat] = Field(default=[0.6, 0.8, 1.0, 1.2], min_length=1)
    """One completion a prompt for each."""
    principles: list[str | None] = Field(default=[None], min_length=1)
    """System prompts, cycled over the temperatures; null: the model's own default."""
    max_new_tokens: int = Field(default=48, gt=0)
    """Cut an answer after so many tokens."""
    batch_tokens: int = Field(default=8192, gt=0)
    """Most tokens in one batch."""
    seed: int = Field(default=0, ge=0)
    """Seed of the draws."""


class IngestSection(Section):
    """How `notus ingest` reads a source."""

    format: str = "auto"
    """Name of a reader, or auto to look at the first rows."""
    map: Path | None = None
    """YAML file that says which fields mean what, for a format that no reader knows."""
    max_refused: float = Field(default=0.01, ge=0, le=1)
    """Largest share of refused rows, completions or ratings."""


class AuditSection(Section):
    """What `notus audit` looks for."""

    rules: list[str] | None = None
    """Names of the rules to apply (null: all)."""
    strategies: list[str] = Field(default=["argilla-v1", "h4-v2"])
    """Specifications whose choices are compared; the first one's pairs are looked at, unless the
    source states its own."""
    against: list[Path] = Field(default=[])
    """Evaluation items that must not be trained on: files or folders."""
    tokenizer: str | None = None
    """Folder, package:NAME or hub id; with it, pairs that truncation makes equal are found."""
    max_length: int = Field(default=1024, gt=0)
    """Longest prompt and completion together, in tokens, as in training."""
    max_prompt_length: int = Field(default=512, gt=0)
    """Longest prompt, in tokens, as in training."""
    planted: Path | None = None
    """JSONL of completions known to be rated wrong."""


class PromptsSection(Section):
    """Which prompts `notus prompts` writes."""

    split: Literal["train", "test"] = "train"
    """The two splits share neither wordings nor parameters."""
    per_family: int = Field(default=60, gt=0)
    """Prompts of each family."""
    per_unseen: int | None = Field(default=None, gt=0)
    """Prompts of a family that is kept out of training (null: as many)."""
    families: list[str] | None = None
    """Families to draw from (null: all)."""
    seed: int = Field(default=0, ge=0)
    """Seed of the draw."""


class RateSection(Section):
    """Who rates for `notus rate`."""

    rater: str = "verifiable"
    """Name of a rater."""


class ExportSection(Section):
    """What `notus export` writes."""

    to: str
    """Name of a schema."""
    preferences: Path | None = None
    """Directory of the preferences that were made from the feedback, for schemas of pairs."""
    audit: Path | None = None
    """Directory of the feedback's audit, for the data set card."""
    holdout: int = Field(default=0, ge=0)
    """Prompts whose pairs go to the test split."""
    seed: int = Field(default=42, ge=0)
    """Seed of the split."""
    license: str | None = None
    """Licence of the data, for the card; nothing is guessed."""
    language: tuple[str, ...] = ()
    """Codes of the data's languages, for the card."""


class ChatSection(Section):
    """How a model answers in `notus chat`."""

    system: str | None = None
    """System turn to begin with (null: the chat template's own)."""
    max_new_tokens: int = Field(default=256, gt=0)
    """Cut an answer after so many tokens."""
    temperature: NonNegativeFloat = 0.0
    """0: the likeliest answer."""
    seed: int = Field(default=0, ge=0)
    """Seed of the draws."""
