"""Recipes: one YAML file describes one run, strictly.

Unknown keys are errors with the nearest key suggested; every number is typed here, because YAML
reads `5e-7` as text; `--set a.b=c` overrides any key. The resolved recipe is written with the run
and is enough to run it again.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from notus.errors import RecipeError, explain


class Section(BaseModel):
    """A part of a recipe: frozen, and any unknown key in it is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ModelSection(Section):
    """The model that training starts from."""

    base: str
    """A folder, `package:NAME` (a GGUF file in an installed package) or a hub id."""
    trust_remote_code: bool = False
    """Run Python code that ships with the model. Off: code is not data."""


class DataSection(Section):
    """The feedback, and how it becomes tokens."""

    source: Path
    """File of raw feedback: JSONL, JSONL.gz or Parquet; relative to the recipe."""
    format: str = "auto"
    """Reader of `source`: auto, ultrafeedback or pairs."""
    max_refused: float = Field(default=0.01, ge=0, le=1)
    """Largest share of refused rows that ingest accepts."""
    planted: Path | None = None
    """JSONL of (prompt, model) whose overall score is known to be wrong: what an audit must find."""
    max_length: int = Field(default=1024, gt=0)
    """Longest prompt and completion together, in tokens."""
    max_prompt_length: int = Field(default=512, gt=0)
    """Longest prompt, in tokens; its oldest tokens are cut."""
    holdout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the prompts whose preferences are kept for reward accuracy, never trained on."""

    @model_validator(mode="after")
    def _lengths_fit(self) -> Self:
        if self.max_prompt_length >= self.max_length:
            raise ValueError(
                f"max_prompt_length {self.max_prompt_length} must be below "
                f"max_length {self.max_length}"
            )
        return self


class BinarizeSection(Section):
    """How ratings become preferences."""

    strategy: str = "argilla-v1"
    """Name of the specification to train on (`notus binarize --help` lists them)."""
    compare: str | None = None
    """A second specification, to show how often the chosen answer differs."""


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


class TrainSection(Section):
    """Direct preference optimisation (Rafailov et al. 2023)."""

    beta: float = Field(default=0.1, gt=0)
    """Strength of the pull to the reference (DPO, eq. 7)."""
    learning_rate: float = Field(default=5e-7, gt=0)
    """Peak learning rate."""
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    """Shape of the learning rate after its warm-up."""
    warmup_ratio: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps over which the learning rate rises."""
    epochs: float = Field(default=1.0, gt=0)
    """Passes over the preferences."""
    max_steps: int | None = Field(default=None, gt=0)
    """Stop after so many optimiser steps, whatever `epochs` says."""
    pairs_per_step: int = Field(default=64, gt=0)
    """Preferences in one optimiser step, over all micro-batches."""
    max_tokens: int = Field(default=4096, gt=0)
    """Most tokens in one micro-batch; it bounds memory and changes no number."""
    seed: int | None = None
    """Seed of the pairs' order and of new adapters (null: the recipe's). The holdout keeps the
    recipe's seed, so that runs which differ in this alone are compared on the same items."""
    optimizer: Literal["adamw_torch", "rmsprop"] = "adamw_torch"
    """Optimiser; the first DPO recipes used RMSprop to save memory."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of the matrix products; weights and sums stay float32. auto: bfloat16 where the hardware
    has it."""
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


class GenerateSection(Section):
    """How `notus generate` samples completions: one a temperature, each a named sampler."""

    temperatures: list[float] = Field(default=[0.6, 0.8, 1.0, 1.2], min_length=1)
    """One completion a prompt for each."""
    principles: list[str | None] = [None]
    """System prompts, cycled over the temperatures; null: the model's own default."""
    max_new_tokens: int = Field(default=48, gt=0)
    """Cut an answer after so many tokens."""
    batch_tokens: int = Field(default=8192, gt=0)
    """Most tokens in one batch."""
    seed: int = 0
    """Seed of the draws."""


class Recipe(Section):
    """One run, from raw feedback to a model card."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run and of its model."""
    seed: int = 0
    """Seed of every draw: holdout, order of the pairs, sampling, bootstrap."""
    model: ModelSection
    data: DataSection
    binarize: BinarizeSection = BinarizeSection()
    train: TrainSection = TrainSection()
    evaluate: EvaluateSection = EvaluateSection()


S = TypeVar("S", bound=Section)


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, apply `a.b=c` overrides, and resolve its paths.

    Raises:
        RecipeError: The file is missing or no YAML mapping, or a key or value does not fit; all
            problems are in one message, with the nearest key for an unknown one.
    """
    if not path.is_file():
        raise RecipeError(
            explain(
                found=f"no recipe file {path.name!r}",
                expected="a YAML file with the sections model, data, binarize, train, evaluate",
                where=str(path.parent),
                remedy="check the path; recipes/demo.yaml is a commented example",
            )
        )
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise RecipeError(
            explain(
                found=f"text that is not YAML: {error}",
                expected="a YAML mapping",
                where=str(path),
                remedy="mend the line that the message names",
            )
        ) from error
    recipe = parse(Recipe, raw, overrides, where=str(path))
    return resolve_paths(recipe, path.parent)


def resolve_paths(recipe: Recipe, folder: Path) -> Recipe:
    """Make the recipe's paths absolute, relative ones meaning "beside the recipe"."""

    def absolute(value: Path | None) -> Path | None:
        return None if value is None else (folder / value.expanduser()).resolve()

    data = recipe.data.model_copy(
        update={"source": absolute(recipe.data.source), "planted": absolute(recipe.data.planted)}
    )
    evaluate = recipe.evaluate.model_copy(update={"prompts": absolute(recipe.evaluate.prompts)})
    return recipe.model_copy(update={"data": data, "evaluate": evaluate})


def parse(section: type[S], raw: object, overrides: Sequence[str], *, where: str) -> S:
    """Validate a mapping as a section, after applying `a.b=c` overrides.

    Raises:
        RecipeError: As `load_recipe`.
    """
    if not isinstance(raw, Mapping):
        raise RecipeError(
            explain(
                found=f"{type(raw).__name__} at the top level",
                expected="a mapping of keys to values",
                where=where,
                remedy="write `key: value` lines; recipes/demo.yaml is a commented example",
            )
        )
    merged = _plain(raw)
    for override in overrides:
        _apply(merged, override)
    try:
        return section.model_validate(merged)
    except ValidationError as error:
        problems = [_describe(section, problem) for problem in error.errors()]
        raise RecipeError(
            explain(
                found="; ".join(problems),
                expected=f"the keys and types of {section.__name__}",
                where=where,
                remedy="correct these keys (recipes/demo.yaml comments every key)",
            )
        ) from error


def _plain(raw: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(k): _plain(v) if isinstance(v, Mapping) else v for k, v in raw.items()}


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set one dotted key; the value is read as YAML, so numbers, lists and null work."""
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise RecipeError(
            explain(
                found=f"override {override!r}",
                expected="KEY=VALUE with a dotted key",
                where="--set",
                remedy="write for example --set train.beta=0.05",
            )
        )
    *parents, last = key.strip().split(".")
    for parent in parents:
        child = tree.get(parent)
        if not isinstance(child, dict):
            child = tree[parent] = {}
        tree = child
    tree[last] = yaml.safe_load(text)


def _describe(section: type[Section], problem: Any) -> str:
    """Put one pydantic error into words, with the nearest known key for an unknown one."""
    path = [str(part) for part in problem["loc"]]
    key = ".".join(path)
    if problem["type"] == "missing":
        return f"key '{key}' is missing"
    if problem["type"] != "extra_forbidden":
        return f"key '{key}' is {problem['input']!r}: {problem['msg']}"
    known = _keys(section, path[:-1])
    near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
    return f"unknown key '{key}' ({hint})"


def _keys(section: type[Section], path: list[str]) -> list[str]:
    """Known keys of the section that a path leads to."""
    current: Any = section
    for part in path:
        field = current.model_fields.get(part)
        options = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        nested = [o for o in options if isinstance(o, type) and issubclass(o, Section)]
        if not nested:
            return []
        current = nested[0]
    return sorted(current.model_fields)
