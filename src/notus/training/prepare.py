"""All that a training has before its first step: model, tokens, split, what is known of references.

    load -> encode -> split by prompt -> Prepared -> preflight -> fit

The training and its preflight get the same object, so what is checked is what is trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import torch

from notus.chat_template import Encoder
from notus.data.schema import DROPPED, Feedback
from notus.errors import DataError, ModelError, explain
from notus.models import Model, load, resolve_precision
from notus.recipe import Recipe
from notus.store import read_feedback, read_table, write_frame, write_table
from notus.training.adapters import quantization_of
from notus.training.batches import (
    EncodedPreferences,
    draw_ids,
    draw_pairs,
    encode_preferences,
    split_by_prompt,
)
from notus.training.examples import Pair, Vote
from notus.training.reference import ReferenceStore
from notus.training.votes import votes_of_ratings


@dataclass(frozen=True, kw_only=True)
class Split:
    """The pairs of one run."""

    train: list[Pair]
    heldout: list[Pair]
    left_out: list[str]
    """Ids of the preferences that max_pairs did not draw, or whose prompt is held out elsewhere."""
    votes: "VoteSplit | None" = None
    """Votes that were cast as ratings, in place of pairs; None where votes come from pairs."""


@dataclass(frozen=True, kw_only=True)
class VoteSplit:
    """The votes of one run that were cast as ratings."""

    train: list[Vote]
    heldout: list[Vote]
    left_out: list[str]
    """Ids of the completions that max_pairs did not draw."""


class Tables(NamedTuple):
    """Preferences, and the feedback that their ids point into."""

    preferences: pl.DataFrame
    feedback: Feedback


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Preferences as tokens, and who is on which side."""

    encoder: Encoder
    encoded: EncodedPreferences
    split: Split


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
    directory: Path
    """Where the training is written, or would be."""

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
    directory: Path,
    reference_root: Path,
    heldout: Tables | None = None,
) -> Prepared:
    """Load the model, encode the preferences, drop what cannot be trained on, split the rest.

    Args:
        recipe: The run's recipe (sections data and train).
        preferences: A preferences table.
        feedback: The tables that its ids point into.
        base: The model to start from, which is also the reference.
        directory: Where the training is written; nothing is written here.
        reference_root: Folder of reference log-probs, shared by runs on the same data.
        heldout: Preferences of `data.heldout`, if the recipe has it.

    Raises:
        DataError: No pair is left to train on.
        ModelError: The recipe's lengths exceed the model's window, or weights in 4 bits are wanted
            where they cannot be used.
    """
    model = load(
        str(base),
        dtype=getattr(torch, recipe.train.dtype),
        trust_remote_code=recipe.model.trust_remote_code,
        quantization=quantization_of(recipe.train),
    )
    _check_window(recipe, model)
    precision = resolve_precision(recipe.train.precision)
    tables = Tables(preferences, feedback)
    tokens = tokenise(recipe, model.tokenizer, tables, heldout)
    preferences, feedback = tables if heldout is None else _union(tables, heldout)
    return Prepared(
        recipe=recipe,
        feedback=feedback,
        preferences=preferences,
        model=model,
        precision=precision,
        **vars(tokens),
        store=ReferenceStore(reference_root, model, precision=precision),
        directory=directory,
    )


def read_tables(feedback: Path, preferences: Path) -> Tables:
    """Read what two finished stages have written."""
    return Tables(read_table(preferences, "preferences").collect(), read_feedback(feedback))


def tokenise(
    recipe: Recipe, tokenizer: Any, tables: Tables, heldout: Tables | None = None
) -> Tokens:
    """Encode preferences and split them: by a share of the prompts, or by the given held-out ones.

    Raises:
        DataError: No pair is left to train on.
    """
    data = recipe.data
    encoder = Encoder(
        tokenizer, max_length=data.max_length, max_prompt_length=data.max_prompt_length
    )
    both = tables if heldout is None else _union(tables, heldout)
    if recipe.train.votes == "ratings":
        return _tokenise_votes(recipe, encoder, both.feedback, heldout)
    encoded = encode_preferences(both.preferences, both.feedback, encoder)
    given = None if heldout is None else heldout.preferences
    split = _split(recipe, encoded, given, both.preferences.height)
    return Tokens(encoder=encoder, encoded=encoded, split=split)


def write_split(prepared: Prepared, directory: Path) -> None:
    """Write which preference is on which side, and which were dropped with the reason."""
    split = prepared.split
    write_table(directory, DROPPED, prepared.encoded.dropped)
    rows = [(p.preference_id, "train") for p in split.train]
    rows += [(p.preference_id, "heldout") for p in split.heldout]
    rows += [(name, "left out") for name in split.left_out]
    schema = {"preference_id": pl.String, "split": pl.String}
    pairs = pl.DataFrame(rows, schema=schema, orient="row")
    table = pairs if split.votes is None else _votes_table(split.votes)
    write_frame(directory / "split.parquet", table)


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


def _union(a: Tables, b: Tables) -> Tables:
    """Both, what they share once: ids are digests of contents."""
    keys = {"prompts": "prompt_id", "completions": "completion_id"}
    merged = {
        field.name: pl.concat([getattr(a.feedback, field.name), getattr(b.feedback, field.name)])
        for field in fields(Feedback)
    }
    unique = {name: merged[name].unique(key, keep="first") for name, key in keys.items()}
    preferences = pl.concat([a.preferences, b.preferences]).unique("preference_id", keep="first")
    return Tables(preferences, Feedback(**(merged | unique)))


def _split(
    recipe: Recipe,
    encoded: EncodedPreferences,
    given: pl.DataFrame | None,
    num_preferences: int,
) -> Split:
    """Split by prompt: whatever `given` says of held-out ones, none is on both sides."""
    data = recipe.data
    prompts: Sequence[str] = [pair.prompt_id for pair in encoded.pairs]
    if given is None:
        _, held_side = split_by_prompt(prompts, holdout=data.holdout, seed=recipe.seed)
        heldout = [pair for pair in encoded.pairs if pair.prompt_id in held_side]
    else:
        held_side, ids = frozenset(given["prompt_id"]), set(given["preference_id"])
        heldout = [pair for pair in encoded.pairs if pair.preference_id in ids]
    usable = [pair for pair in encoded.pairs if pair.prompt_id not in held_side]
    train = draw_pairs(usable, data.max_pairs, seed=recipe.seed)
    if not train:
        raise _nothing_to_train_on(encoded, num_preferences)
    kept = {pair.preference_id for pair in (*train, *heldout)}
    return Split(
        train=train,
        heldout=heldout,
        left_out=sorted({p.preference_id for p in encoded.pairs} - kept),
    )


def _tokenise_votes(
    recipe: Recipe, encoder: Encoder, feedback: Feedback, heldout: Tables | None
) -> Tokens:
    """Encode ratings as votes and split them by prompt; of pairs there are none."""
    data, found = recipe.data, votes_of_ratings(feedback, encoder)
    encoded = EncodedPreferences(
        pairs=[],
        dropped=found.dropped,
        num_prompts_cut=found.num_prompts_cut,
        num_completions_cut=found.num_completions_cut,
    )
    prompts = [vote.prompt_id for vote in found.votes]
    _, held_side = split_by_prompt(prompts, holdout=data.holdout, seed=recipe.seed)
    if heldout is not None:
        held_side = frozenset(heldout.feedback.prompts.collect()["prompt_id"])
    usable = [vote for vote in found.votes if vote.prompt_id not in held_side]
    drawn = draw_ids([vote.completion_id for vote in usable], data.max_pairs, seed=recipe.seed)
    if not drawn:
        raise _nothing_to_train_on(encoded, 0)
    votes = VoteSplit(
        train=[vote for vote in usable if vote.completion_id in drawn],
        heldout=[vote for vote in found.votes if vote.prompt_id in held_side],
        left_out=[vote.completion_id for vote in usable if vote.completion_id not in drawn],
    )
    split = Split(train=[], heldout=[], left_out=[], votes=votes)
    return Tokens(encoder=encoder, encoded=encoded, split=split)


def _votes_table(votes: VoteSplit) -> pl.DataFrame:
    """Which completion is on which side; it belongs to no preference."""
    rows = [(vote.completion_id, "train") for vote in votes.train]
    rows += [(vote.completion_id, "heldout") for vote in votes.heldout]
    rows += [(name, "left out") for name in votes.left_out]
    schema = {"completion_id": pl.String, "split": pl.String}
    table = pl.DataFrame(rows, schema=schema, orient="row")
    return table.select(pl.lit(None, pl.String).alias("preference_id"), "completion_id", "split")


def _nothing_to_train_on(encoded: EncodedPreferences, num_preferences: int) -> DataError:
    reasons = encoded.dropped["reason"].value_counts(sort=True).rows()
    return DataError(
        explain(
            found=f"{num_preferences} preferences, {encoded.dropped.height} of them dropped"
            + "".join(f"; {count} with {reason}" for reason, count in reasons),
            expected="at least one pair to train on",
            where="preferences.parquet, after encoding and holdout",
            remedy="lower data.holdout, or give more tokens: data.max_length",
        )
    )
