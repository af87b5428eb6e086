"""Preferences joined with their texts, a batch at a time, in the order of the prompts.

    preferences -> plan_pairs: a row a pair, with the places of its texts and its scores
                -> hold_out:   the same rows in two splits, a prompt never in both
                -> pair_batches: rows with texts

A plan holds ids, places and scores and no text: planning a million pairs takes about 1 GiB. Texts
are looked up by their place, so that one batch's texts are in memory and never a table's. Where the
completions stand in the order of their prompts, as every stage writes them, each is read about
twice.
"""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from notus.data.places import rows_at
from notus.data.schema import OVERALL, PREFERENCE, Feedback
from notus.errors import DataError, UsageError, explain

BATCH_PAIRS = 10_000


class Scores(NamedTuple):
    """One number a completion, and what it is."""

    frame: pl.LazyFrame
    """(completion_id, score); a completion without a rating is not in it."""
    meaning: str


class Splits(NamedTuple):
    """A plan in two parts; `test` is empty if nothing is held out."""

    train: pl.DataFrame
    test: pl.DataFrame


def scores(ratings: pl.LazyFrame, *, overall_first: bool) -> Scores:
    """Score completions by their overall rating or by the mean of their aspects.

    One of the two serves the whole data set: the other one where the wished for is not rated, or is
    rated on several scales, whose mean would mean nothing. N/A counts for nothing.

    Args:
        ratings: The table.
        overall_first: Whether the overall rating is wished for, else the mean of the aspects.
    """
    rated = ratings.filter(pl.col("value").is_not_null() & (pl.col("aspect") != PREFERENCE))
    scales = rated.select("aspect", "scale_min", "scale_max").unique().collect(engine="streaming")
    is_overall = pl.col("aspect") == OVERALL
    reasons = []
    for choice in (is_overall, ~is_overall) if overall_first else (~is_overall, is_overall):
        found = scales.filter(choice).sort("aspect", "scale_min", "scale_max")
        names = found["aspect"].unique().sort().to_list()
        ends = found.select("scale_min", "scale_max").unique()
        if ends.height == 1:
            mean = pl.col("value").mean().round(9).alias("score")
            frame = rated.filter(choice).group_by("completion_id").agg(mean)
            what = "mean of the ratings of " + ", ".join(names)
            return Scores(frame, f"{what}, on {ends.item(0, 0):g}..{ends.item(0, 1):g}")
        if names:
            reasons.append(f"{', '.join(names)} are rated on different scales")
    why = "; ".join(reasons) or "no aspect is rated"
    empty = pl.LazyFrame(schema={"completion_id": pl.String, "score": pl.Float64})
    return Scores(empty, f"null: {why}")


def plan_pairs(
    feedback: Feedback, preferences: pl.DataFrame, scored: pl.LazyFrame | None = None
) -> pl.DataFrame:
    """Find the places of the texts of every preference, and the scores of its two completions.

    Args:
        feedback: The three tables.
        preferences: Table `PREFERENCES`.
        scored: (completion_id, score); without it both scores are null.

    Returns:
        The preferences in the order of their prompts, with chosen_score, rejected_score, and the
        places #prompt, #chosen and #rejected.

    Raises:
        DataError: no preferences, or one that names what is not in the feedback.
    """
    prompts = feedback.prompts.select("prompt_id").with_row_index("#prompt")
    places = feedback.completions.select("completion_id").with_row_index("#place")
    if scored is None:
        scored = pl.LazyFrame(schema={"completion_id": pl.String, "score": pl.Float64})
    plan = preferences.lazy().with_row_index("#order").join(prompts, on="prompt_id")
    for side in ("chosen", "rejected"):
        key = f"{side}_id"
        place = places.rename({"completion_id": key, "#place": f"#{side}"})
        score = scored.rename({"completion_id": key, "score": f"{side}_score"})
        plan = plan.join(place, on=key).join(score, on=key, how="left")
    found = plan.sort("#prompt", "#order").drop("#order").collect(engine="streaming")
    if found.height != preferences.height or found.is_empty():
        lost = preferences.height - found.height
        raise DataError(
            explain(
                found=f"{lost} preferences whose prompt or completions are not in the feedback"
                if lost
                else "no preferences",
                expected="preferences that were made from this feedback",
                where="table preferences",
                remedy="binarize the feedback again",
            )
        )
    return found


def hold_out(plan: pl.DataFrame, num_prompts: int, seed: int) -> Splits:
    """Put the pairs of some prompts aside.

    A prompt is drawn by a hash of the seed and its id, so the draw depends neither on the order nor
    on how many pairs a prompt has, and all pairs of a prompt stay together.

    Raises:
        UsageError: fewer than one prompt would be left, or a number below 0.
    """
    prompts = plan["prompt_id"].unique()
    if not 0 <= num_prompts < max(prompts.len(), 1):
        raise UsageError(
            explain(
                found=f"{num_prompts} prompts to hold out of {prompts.len()}",
                expected="0 or more, and fewer than there are",
                where="setting holdout",
                remedy="hold out fewer",
            )
        )
    draws = {name: hashlib.blake2b(f"{seed}:{name}".encode()).digest() for name in prompts}
    held = sorted(draws, key=lambda name: draws[name])[:num_prompts]
    is_held = pl.col("prompt_id").is_in(held)
    return Splits(plan.filter(~is_held), plan.filter(is_held))


def pair_batches(feedback: Feedback, plan: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Look up the texts of a plan.

    Yields:
        Up to `BATCH_PAIRS` rows of the plan, with messages and source of the prompt, and chosen,
        chosen_model, rejected and rejected_model of the completions.
    """
    for part in plan.iter_slices(BATCH_PAIRS):
        prompts = rows_at(feedback.prompts.select("messages", "source"), part["#prompt"])
        batch = part.join(prompts.rename({"#row": "#prompt"}), on="#prompt", maintain_order="left")
        wanted = pl.concat([part["#chosen"], part["#rejected"].alias("#chosen")])
        texts = rows_at(feedback.completions.select("text", "model"), wanted)
        for side in ("chosen", "rejected"):
            named = texts.rename({"#row": f"#{side}", "text": side, "model": f"{side}_model"})
            batch = batch.join(named, on=f"#{side}", maintain_order="left")
        yield batch.drop("#prompt", "#chosen", "#rejected")
