"""How much a recipe's data is: pairs, tokens, what the head and attention work on.

Where the data and the model's tokenizer are at hand, the pairs are encoded and packed as training
does it; else the sizes that the recipe expects are taken, and this is said.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from notus.data.schema import Feedback
from notus.data.sources import ingest
from notus.errors import RecipeError, UsageError, explain
from notus.loss_settings import LOSS_SETTINGS
from notus.recipe import Recipe
from notus.scoring.forest import Forest
from notus.stages.binarize import preferences
from notus.stages.encoding import load_tokenizer
from notus.training.batches import Batch, Collator, LongestFirstSampler
from notus.training.examples import Example, Pair
from notus.training.forecast import Load, mean_load
from notus.training.prepare import Tables, read_tables, tokenise
from notus.training.sides import examples_of, objective_of

PACKED = 2048
"""Most examples that are packed to learn what an epoch costs; the rest is like them."""
SAMPLED_PAIRS = 24
"""Pairs that a probe of this machine trains on."""
NOTHING = Load(tokens=0, scored=0, attended=0)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a training works on."""

    kind: str
    """What an example is: pairs, votes or demonstrations."""
    examples: int
    """To train on."""
    heldout: int
    epoch: Load
    """One pass over the training examples."""
    heldout_pass: Load
    """One pass over the held-out ones."""
    shift_pass: Load
    """What the loss reads besides in an epoch, without gradient."""
    longest: float
    """Tokens of the largest micro-batch of one process."""
    longest_example: float
    """Tokens of the largest example: no micro-batch can be made smaller."""
    micro_batches: int
    """Most of them in one step of one process."""
    all_tokens: float
    """Tokens of all encoded examples."""
    source: str
    """Where the sizes are from, in words."""
    sample: Tables | None = None
    """A few of the training preferences, if the data is at hand."""


def workload(recipe: Recipe, *, processes: int) -> Workload:
    """Learn what a recipe's training works on.

    Args:
        recipe: The resolved recipe.
        processes: Among which a step's pairs are divided.

    Raises:
        RecipeError: The data is not at hand, and the recipe says nothing of its size.
    """
    found = _at_hand(recipe)
    if not isinstance(found, str):
        return _from_data(recipe, found, processes)
    if recipe.data.expected is None:
        raise RecipeError(
            explain(
                found=found,
                expected="the data and the model's tokenizer, or the sizes to be expected",
                where="recipe keys data.source, model.base, data.expected",
                remedy="--set data.expected='{pairs: 60000, prompt_tokens: 180, "
                "completion_tokens: 270}'",
            )
        )
    return _from_expected(recipe, found, processes)


def steps_of(recipe: Recipe, examples: int) -> int:
    """Optimiser steps, as transformers counts them."""
    train = recipe.train
    if train.max_steps is not None:
        return train.max_steps
    return max(1, math.ceil(train.epochs * math.ceil(examples / train.pairs_per_step)))


def passes(recipe: Recipe, work: Workload, steps: int) -> float:
    """Passes over the training examples."""
    train = recipe.train
    return min(train.epochs, steps * train.pairs_per_step / work.examples)


def _at_hand(recipe: Recipe) -> Any:
    """The tokenizer that encodes the recipe's data, or in words why it cannot be encoded here."""
    sources = [recipe.data.source, *([recipe.data.heldout] if recipe.data.heldout else [])]
    absent = [path.name for path in sources if not path.exists()]
    if absent:
        return f"{absent[0]} is not on this machine"
    try:
        return load_tokenizer(recipe.model.base, chat_template=recipe.model.chat_template)
    except UsageError:
        return f"the tokenizer of {recipe.model.base} is not at hand"


def _from_data(recipe: Recipe, tokenizer: Any, processes: int) -> Workload:
    data = recipe.data
    with TemporaryDirectory() as folder:
        root = Path(folder)
        ingest(
            str(data.source),
            root / "feedback",
            format=data.format,
            map=data.map,
            max_refused=data.max_refused,
        )
        preferences(recipe, root / "feedback", root / "preferences", **dict(recipe.binarize))
        given = None if data.heldout is None else _given(recipe, data.heldout, root / "heldout")
        tables = read_tables(root / "feedback", root / "preferences")
        split = tokenise(recipe, tokenizer, tables, given).split
        sample = _sample(tables, split.train) if split.train else None
    sides = examples_of(recipe, objective_of(recipe), split)
    train, heldout = sides.train, sides.heldout
    seed = recipe.seed if recipe.train.seed is None else recipe.train.seed
    order = list(LongestFirstSampler([e.num_tokens for e in train], seed=seed))
    some = [train[i] for i in order[:PACKED]]
    packed = _pack(recipe, some, processes)
    return Workload(
        kind=kind_of(recipe),
        examples=len(train),
        heldout=len(heldout),
        epoch=packed.load.times(len(train) / len(some)),
        heldout_pass=_scaled(recipe, heldout, processes),
        shift_pass=packed.shift.times(len(train) / len(some)),
        longest=packed.longest,
        longest_example=max(e.num_tokens for e in train),
        micro_batches=packed.micro_batches,
        all_tokens=sum(e.num_tokens for e in (*train, *heldout)),
        source=f"{len(train)} encoded {kind_of(recipe)}, {len(some)} of them packed",
        sample=sample,
    )


def kind_of(recipe: Recipe) -> str:
    """What the recipe's losses train on."""
    if recipe.train.objective == "sft":
        return "demonstrations"
    return LOSS_SETTINGS[next(iter(recipe.train.losses))].trains_on


def _sample(tables: Tables, pairs: Sequence[Pair]) -> Tables:
    """A few preferences and all that they point into, read into memory."""
    few = [pair.preference_id for pair in pairs[:SAMPLED_PAIRS]]
    preferences = tables.preferences.filter(pl.col("preference_id").is_in(few))
    ids = preferences["prompt_id"].unique()
    feedback = tables.feedback
    ratings = feedback.ratings.clear()
    prompts = feedback.prompts.filter(pl.col("prompt_id").is_in(ids.implode()))
    completions = feedback.completions.filter(pl.col("prompt_id").is_in(ids.implode()))
    read = {"prompts": prompts.collect().lazy(), "completions": completions.collect().lazy()}
    return Tables(preferences, Feedback(**read, ratings=ratings))


def _given(recipe: Recipe, source: Path, folder: Path) -> Tables:
    ingest(str(source), folder / "feedback")
    preferences(recipe, folder / "feedback", folder / "preferences", strategy="given")
    return read_tables(folder / "feedback", folder / "preferences")


@dataclass(frozen=True, kw_only=True)
class _Packed:
    load: Load
    shift: Load
    longest: float
    micro_batches: int


def _pack(recipe: Recipe, examples: Sequence[Example], processes: int) -> _Packed:
    """Pack examples, in the order of training, into the micro-batches of one process."""
    collate = Collator(max_tokens=recipe.train.max_tokens)
    size = max(1, recipe.train.pairs_per_step // processes)
    starts = range(0, len(examples), size)
    batches: list[Batch] = [collate(examples[i : i + size])["batch"] for i in starts]
    forests = [forest for batch in batches for forest in batch.share.forests]
    load, shift = _load(forests), NOTHING
    if kind_of(recipe) == "votes":
        own = objective_of(recipe).shifted_by == "own"
        shift = load if own else _load([f for batch in batches for f in batch.mismatched.forests])
    return _Packed(
        load=load,
        shift=shift,
        longest=max(forest.input_ids.numel() for forest in forests),
        micro_batches=max(len(batch.share.forests) for batch in batches),
    )


def _load(forests: Sequence[Forest]) -> Load:
    load = NOTHING
    for forest in forests:
        places = forest.subtree_end.numel()
        seen = int(forest.subtree_end.sum()) - places * (places - 1) // 2
        load = load.plus(Load(tokens=places, scored=len(forest.head_position), attended=seen))
    return load


def _scaled(recipe: Recipe, examples: Sequence[Example], processes: int) -> Load:
    """One pass over examples, from some of them."""
    some = examples[:PACKED]
    if not some:
        return NOTHING
    return _pack(recipe, some, processes).load.times(len(examples) / len(some))


def _from_expected(recipe: Recipe, reason: str, processes: int) -> Workload:
    data, train, expected, kind = recipe.data, recipe.train, recipe.data.expected, kind_of(recipe)
    assert expected is not None
    heldout = 0 if data.heldout is not None else round(expected.pairs * data.holdout)
    pairs = min(expected.pairs - heldout, data.max_pairs or expected.pairs)
    of_pair = 2 if kind == "votes" else 1
    branches = 2 if kind == "pairs" else 1
    lengths = (expected.prompt_tokens, expected.completion_tokens)
    of_one = mean_load(1, *lengths, completions=branches)
    step = max(1, train.pairs_per_step // processes) * of_one.tokens
    # A pair whose completions are both cut is the longest, and may be longer than a micro-batch.
    longest = data.max_length + (branches - 1) * (data.max_length - expected.prompt_tokens)
    return Workload(
        kind=kind,
        examples=pairs * of_pair,
        heldout=heldout * of_pair,
        epoch=of_one.times(pairs * of_pair),
        heldout_pass=of_one.times(heldout * of_pair),
        shift_pass=of_one.times(pairs * of_pair) if kind == "votes" else NOTHING,
        longest=max(longest, min(train.max_tokens, step)),
        longest_example=longest,
        micro_batches=math.ceil(step / train.max_tokens),
        all_tokens=of_one.tokens * (pairs + heldout) * of_pair,
        source=f"the sizes that the recipe expects, because {reason}",
    )
