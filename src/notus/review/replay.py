"""Rulings replayed onto tables: a pure function of both, so that a rebuild gives the same bytes.

On feedback, in this order:

    drop      a prompt leaves with its completions and ratings, a completion with its ratings
    re-rate   the reviewer's value stands in for every rating of that completion on that aspect
    choose    on the aspect `preference` the chosen answer gets 1 and its rivals 0, in place of
              what the source said; specifications that read other aspects do not see it

On preferences a drop takes the pair out, and a flip exchanges chosen and rejected: that is another
pair with another id, and its margin, the ratings' difference, becomes negative, because the ratings
still say the opposite. keep changes nothing anywhere. The rows that came in are never edited: those
that leave are listed in `withheld`, ratings that no longer count move as they were to `overridden`,
and rulings that fit nothing stand in `unmatched`. A prompt without completions stays: every
binarizer drops it and says why. New ratings are by "reviewer:NAME", with several "reviewer:A+B".
"""

import json
from dataclasses import dataclass

import polars as pl

from notus.data.schema import (
    DROPPED,
    PREFERENCE,
    PREFERENCES,
    RATINGS,
    Feedback,
    preference_id,
)
from notus.review.tables import OVERRIDDEN, UNMATCHED, WITHHELD

FEEDBACK_KINDS = ("prompt", "completion")
PREFERENCE_SCALE = (0.0, 1.0)

_WHY = ("reason", "decisions")
_GONE = "it leaves the data set by another ruling"
_NO_ANSWER = "the chosen answer is not among those of the prompt"
_THERE = "the flipped pair is there already"
_REVERSED = "the preference stands the other way round already"


@dataclass(frozen=True, kw_only=True, eq=False)
class ReplayedFeedback:
    """Feedback after the rulings."""

    feedback: Feedback
    withheld: pl.DataFrame
    overridden: pl.DataFrame
    unmatched: pl.DataFrame
    added: pl.DataFrame
    """The reviewers' ratings, table `RATINGS`; they are among the feedback's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReplayedPreferences:
    """Preferences after the rulings."""

    preferences: pl.DataFrame
    dropped: pl.DataFrame
    """Table `DROPPED`: what it was, and a row for every preference that was taken out."""
    withheld: pl.DataFrame
    unmatched: pl.DataFrame


def replay_on_feedback(feedback: Feedback, rulings: pl.DataFrame) -> ReplayedFeedback:
    """Replay the rulings on prompts and completions; those on preferences are left alone.

    Args:
        feedback: The three tables.
        rulings: What `notus.review.rulings.settle` returns.
    """
    rulings = rulings.filter(pl.col("kind").is_in(FEEDBACK_KINDS))
    prompts = feedback.prompts.select(kind=pl.lit("prompt"), item="prompt_id")
    completions = feedback.completions.select("completion_id", "prompt_id").collect()
    answers = completions.select(kind=pl.lit("completion"), item="completion_id")
    known, missing = _split(rulings, pl.concat([prompts.collect(), answers]))
    withheld = _withheld(known.filter(action="drop"), completions)
    # Of the rulings that do not drop, those on what leaves have nothing left to act on.
    gone, left = _divide(known.filter(pl.col("action") != "drop"), withheld)
    staying = _without(completions.lazy(), withheld, "completion").collect()
    ratings = _without(feedback.ratings, withheld, "completion")
    rated, unrated = _rated(left.filter(action="re-rate"), feedback.ratings)
    chosen, unchosen = _chosen(left.filter(action="choose"), staying)
    new = pl.concat([rated, chosen]).sort(RATINGS.key)
    place = ["completion_id", "aspect"]
    kept = ratings.join(new.lazy(), on=place, how="anti", maintain_order="left")
    overridden = ratings.join(new.lazy().select(*place, *_WHY), on=place).collect()
    added = new.select(RATINGS.schema.names())
    unmatched = [missing, _unmatched(gone, pl.lit(_GONE)), unrated, unchosen]
    return ReplayedFeedback(
        feedback=Feedback(
            prompts=_without(feedback.prompts, withheld, "prompt"),
            completions=_without(feedback.completions, withheld, "completion"),
            ratings=pl.concat([kept, added.lazy()]),
        ),
        withheld=withheld,
        overridden=overridden.select(OVERRIDDEN.schema.names()).sort(RATINGS.key),
        unmatched=pl.concat(unmatched).sort("kind", "item", "action", "value"),
        added=added,
    )


def replay_on_preferences(
    preferences: pl.DataFrame, dropped: pl.DataFrame, rulings: pl.DataFrame
) -> ReplayedPreferences:
    """Replay the rulings on preferences; those on prompts and completions are left alone.

    Args:
        preferences: Table `PREFERENCES`.
        dropped: Table `DROPPED` that belongs to it.
        rulings: What `notus.review.rulings.settle` returns.
    """
    rulings = rulings.filter(kind="preference")
    here = preferences.select(kind=pl.lit("preference"), item="preference_id")
    known, missing = _split(rulings, here)
    turned = pl.col("item").is_in(_turned(preferences)["preference_id"].implode())
    missing = missing.with_columns(
        reason=pl.when(turned).then(pl.lit(_REVERSED)).otherwise("reason")
    )
    ruled = preferences.with_columns(item="preference_id").join(
        known.select("item", "action", *_WHY), on="item", how="left", maintain_order="left"
    )
    dropping, staying = _where(ruled, pl.col("action") == "drop")
    flipping, as_it_was = _where(staying, pl.col("action") == "flip")
    # Those that stay as they were come first: a pair that is there both ways round is there twice
    # once one of them is flipped, and then it is the flipped one that leaves.
    after = pl.concat([as_it_was, _turned(flipping)])
    first, again = _where(after, pl.struct("preference_id", "strategy").is_first_distinct())
    again = again.with_columns(reason=pl.format("{}; {}", pl.lit(_THERE), "reason"))
    out = pl.concat([dropping, again])
    left = first.select(PREFERENCES.schema.names()).sort("prompt_id", "preference_id", "strategy")
    return ReplayedPreferences(
        preferences=left,
        dropped=pl.concat([dropped, out.select(DROPPED.schema.names())]).sort(
            "prompt_id", "strategy", "reason"
        ),
        withheld=_as_withheld(out.unique("item", keep="first", maintain_order=True), "preference"),
        unmatched=missing.sort("kind", "item", "action", "value"),
    )


def _divide(frame: pl.DataFrame, items: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Separate the rows whose (kind, item) is among some items from the others."""
    on = ["kind", "item"]
    return frame.join(items, on=on, how="semi"), frame.join(items, on=on, how="anti")


def _where(frame: pl.DataFrame, condition: pl.Expr) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Separate the rows for which a condition holds from the others, null among them."""
    holds = condition.fill_null(False)
    return frame.filter(holds), frame.filter(~holds)


def _split(rulings: pl.DataFrame, here: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Separate the rulings on what is there from the others, as `UNMATCHED`."""
    known, missing = _divide(rulings, here)
    return known, _unmatched(missing, pl.format("no such {} here", "kind"))


def _unmatched(rulings: pl.DataFrame, reason: pl.Expr) -> pl.DataFrame:
    return rulings.with_columns(reason=reason).select(UNMATCHED.schema.names())


def _without(frame: pl.LazyFrame, withheld: pl.DataFrame, kind: str) -> pl.LazyFrame:
    """Leave out the rows whose prompt or completion is withheld."""
    return frame.filter(~pl.col(f"{kind}_id").is_in(withheld.filter(kind=kind)["item"].implode()))


def _withheld(drops: pl.DataFrame, completions: pl.DataFrame) -> pl.DataFrame:
    """List what leaves: dropped prompts, all their completions, and dropped completions."""
    prompts = drops.filter(kind="prompt").select("item", *_WHY, prompt_id="item")
    theirs = completions.join(prompts.drop("item"), on="prompt_id").with_columns(
        item="completion_id", reason=pl.lit("its prompt leaves: ") + pl.col("reason")
    )
    own = (
        drops.filter(kind="completion")
        .join(completions, left_on="item", right_on="completion_id")
        .join(prompts, on="prompt_id", how="anti")
    )
    parts = [(prompts, "prompt"), (theirs, "completion"), (own, "completion")]
    return pl.concat([_as_withheld(*part) for part in parts]).sort("kind", "item")


def _as_withheld(frame: pl.DataFrame, kind: str) -> pl.DataFrame:
    return frame.with_columns(kind=pl.lit(kind)).select(WITHHELD.schema.names()).sort("item")


def _rated(rulings: pl.DataFrame, ratings: pl.LazyFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Turn re-rates into ratings with their reasons; and those that fit no scale, unmatched.

    The scale is the one on which the completion was rated on the aspect, or else the only one of
    the aspect in the data set.
    """
    values = [json.loads(value) for value in rulings["value"]]
    wanted = rulings.with_columns(
        pl.Series("aspect", [value["aspect"] for value in values], dtype=pl.String),
        pl.Series("number", [value["value"] for value in values], dtype=pl.Float64),
    )
    scale = ["scale_min", "scale_max"]
    same = ratings.filter(pl.col("aspect").is_in(wanted["aspect"].unique().implode()))
    own = same.filter(pl.col("completion_id").is_in(wanted["item"].implode()))
    own = own.select("completion_id", "aspect", *scale).sort(pl.all())
    lone = same.select("aspect", *scale).unique().filter(pl.len().over("aspect") == 1)
    found = (
        wanted.join(
            own.unique(["completion_id", "aspect"], keep="first", maintain_order=True).collect(),
            left_on=["item", "aspect"],
            right_on=["completion_id", "aspect"],
            how="left",
        )
        .join(lone.collect(), on="aspect", how="left", suffix="_lone")
        .with_columns(pl.coalesce(name, f"{name}_lone") for name in scale)
    )
    unknown, known = _where(found, pl.col("scale_min").is_null())
    outside, good = _where(known, ~pl.col("number").is_between("scale_min", "scale_max"))
    unmatched = [
        _unmatched(unknown, pl.format("no one scale of {} is known", "aspect")),
        _unmatched(
            outside,
            pl.format("{} is outside of {}..{}, the scale of {}", "number", *scale, "aspect"),
        ),
    ]
    made = good.with_columns(completion_id="item", value="number")
    return _as_ratings(made), pl.concat(unmatched)


def _chosen(rulings: pl.DataFrame, staying: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Turn choices into ratings of all answers of a prompt; and those of no answer, unmatched."""
    choices = [json.loads(value) for value in rulings["value"]]
    wanted = rulings.with_columns(
        pl.Series("chosen", choices, dtype=pl.String), prompt_id="item", aspect=pl.lit(PREFERENCE)
    )
    answers = staying.rename({"completion_id": "chosen"})
    good = wanted.join(answers, on=["prompt_id", "chosen"], how="semi")
    missing = wanted.join(answers, on=["prompt_id", "chosen"], how="anti")
    low, high = PREFERENCE_SCALE
    made = good.join(staying, on="prompt_id").with_columns(
        value=pl.when(pl.col("completion_id") == pl.col("chosen")).then(high).otherwise(low),
        scale_min=pl.lit(low),
        scale_max=pl.lit(high),
    )
    return _as_ratings(made), _unmatched(missing, pl.lit(_NO_ANSWER))


def _as_ratings(frame: pl.DataFrame) -> pl.DataFrame:
    names = pl.col("reviewers").list.unique().list.sort().list.join("+")
    note = pl.col("note")
    return frame.with_columns(
        rater=pl.lit("reviewer:") + names,
        rationale=pl.when(note != "").then(note),
    ).select(*RATINGS.schema.names(), *_WHY)


def _turned(preferences: pl.DataFrame) -> pl.DataFrame:
    """Exchange chosen and rejected: another id, and the opposite margin."""
    sides = ("prompt_id", "rejected_id", "chosen_id")
    ids = [preference_id(*row) for row in preferences.select(sides).iter_rows()]
    return preferences.with_columns(
        pl.Series("preference_id", ids, dtype=pl.String),
        chosen_id="rejected_id",
        rejected_id="chosen_id",
        # The negative of a tie is a tie, and not the minus zero that floats know.
        margin=pl.when(pl.col("margin") == 0).then(0.0).otherwise(-pl.col("margin")),
    )
