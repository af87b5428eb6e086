"""All that a training has before its first step: model, tokens, split, what is known of references.

    load -> encode -> split by prompt -> Prepared -> preflight -> fit

The training and its preflight get the same object, so what is checked is what is trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from notus.chat_template import Encoder
from notus.data.schema import DROPPED, Feedback
from notus.errors import DataError, ModelError, explain
from notus.models import Model, load, resolve_precision
from notus.recipe import LoraSection, Recipe
from notus.store import write_frame, write_table
from notus.training.batches import (
    EncodedPreferences,
    Pair,
    draw_pairs,
    encode_preferences,
    split_by_prompt,
)
from notus.training.reference import ReferenceStore


@dataclass(frozen=True, kw_only=True)
class Split:
    """The pairs of one run."""

    train: list[Pair]
    heldout: list[Pair]
    left_out: list[str]
    """Ids of the preferences that max_pairs did not draw."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a training starts from."""

    recipe: Recipe
    feedback: Feedback
    preferences: pl.DataFrame
    model: Model
    """The base model: the reference, and where the policy starts."""
    precision: str
    """Type of the matrix products."""
    encoder: Encoder
    encoded: EncodedPreferences
    split: Split
    store: ReferenceStore
    """Reference log-probs of this model that are known already."""

    @property
    def seed(self) -> int:
        """Seed of the pairs' order and of new adapters."""
        recipe = self.recipe
        return recipe.seed if recipe.train.seed is None else recipe.train.seed


def prepare(
    recipe: Recipe,
    preferences: pl.DataFrame,
    feedback: Feedback,
    base: Path | str,
    *,
    reference_root: Path,
) -> Prepared:
    """Load the model, encode the preferences, drop what cannot be trained on, split the rest.

    Args:
        recipe: The run's recipe (sections data and train).
        preferences: A preferences table.
        feedback: The tables that its ids point into.
        base: The model to start from, which is also the reference.
        reference_root: Folder of reference log-probs, shared by runs on the same data.

    Raises:
        DataError: No pair is left to train on.
        ModelError: The recipe's lengths exceed the model's window.
    """
    model = load(str(base), trust_remote_code=recipe.model.trust_remote_code)
    _check_window(recipe, model)
    precision = resolve_precision(recipe.train.precision)
    data = recipe.data
    encoder = Encoder(
        model.tokenizer, max_length=data.max_length, max_prompt_length=data.max_prompt_length
    )
    encoded = encode_preferences(preferences, feedback, encoder)
    return Prepared(
        recipe=recipe,
        feedback=feedback,
        preferences=preferences,
        model=model,
        precision=precision,
        encoder=encoder,
        encoded=encoded,
        split=_split(recipe, encoded, preferences.height),
        store=ReferenceStore(reference_root, model, precision=precision),
    )


def write_split(prepared: Prepared, directory: Path) -> None:
    """Write which preference is on which side, and which were dropped with the reason."""
    split = prepared.split
    write_table(directory, DROPPED, prepared.encoded.dropped)
    rows = [(p.preference_id, "train") for p in split.train]
    rows += [(p.preference_id, "heldout") for p in split.heldout]
    rows += [(name, "left out") for name in split.left_out]
    schema = {"preference_id": pl.String, "split": pl.String}
    write_frame(directory / "split.parquet", pl.DataFrame(rows, schema=schema, orient="row"))


def split_facts(prepared: Prepared) -> dict[str, object]:
    """Counts of a split, for the manifest."""
    split, encoded = prepared.split, prepared.encoded
    return {
        "pairs_train": len(split.train),
        "pairs_left_out": len(split.left_out),
        "pairs_heldout": len(split.heldout),
        "dropped": encoded.dropped.height,
        "prompts_cut": encoded.num_prompts_cut,
        "completions_cut": encoded.num_completions_cut,
        "tokens_in_pairs": sum(pair.num_tokens for pair in split.train),
    }


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
    return get_peft_model(model, config)


def _check_window(recipe: Recipe, model: Model) -> None:
    if recipe.data.max_length > model.window:
        raise ModelError(
            explain(
                found=f"data.max_length {recipe.data.max_length}",
                expected=f"at most {model.window} tokens, the window of {recipe.model.base}",
                where="recipe section data",
                remedy=f"--set data.max_length={model.window}, or a model with a longer window",
            )
        )


def _split(recipe: Recipe, encoded: EncodedPreferences, num_preferences: int) -> Split:
    data = recipe.data
    prompts: Sequence[str] = [pair.prompt_id for pair in encoded.pairs]
    train_side, _ = split_by_prompt(prompts, holdout=data.holdout, seed=recipe.seed)
    usable = [pair for pair in encoded.pairs if pair.prompt_id in train_side]
    train = draw_pairs(usable, data.max_pairs, seed=recipe.seed)
    drawn = {pair.preference_id for pair in train}
    if not train:
        reasons = encoded.dropped["reason"].value_counts(sort=True).rows()
        raise DataError(
            explain(
                found=f"{num_preferences} preferences, {encoded.dropped.height} of them dropped"
                + "".join(f"; {count} with {reason}" for reason, count in reasons),
                expected="at least one pair to train on",
                where="preferences.parquet, after encoding and holdout",
                remedy="lower data.holdout, or give more tokens: data.max_length",
            )
        )
    return Split(
        train=train,
        heldout=[pair for pair in encoded.pairs if pair.prompt_id not in train_side],
        left_out=sorted(pair.preference_id for pair in usable if pair.preference_id not in drawn),
    )
