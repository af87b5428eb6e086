"""Preferences from ratings, by a specification: the best completion against a lower one.

Ties for the best and the choice of the rejected one are settled by a draw that hashes (seed,
completion id), so neither row order nor other prompts can change a pair. The published sets break
ties by file order and draw from a generator in row order; our draws differ from theirs, the
distributions do not. `best_tie: first` and `index_0_or_2` follow the source's order as they did.

    ratings -> score of a completion -> candidates of a prompt (or of one rater of it)
            -> chosen: the best -> rejected: by a rule -> filters -> preferences
    every prompt or candidate pair that gives none is a row of `dropped`, with the reason
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from notus.audit.texts import text_keys
from notus.completion_scores import positions, score_completions
from notus.data.schema import DROPPED, Feedback, preference_id
from notus.specification import Specification
from notus.withheld import models_of, withheld_prompts

TOO_FEW = "fewer than 2 rated completions"
ALL_EQUAL = "all ratings equal"
TIE = "equal ratings (tie)"
IDENTICAL = "identical text"
NO_RIVAL = "no completion that the rule may reject"
MARGIN = "margin too small"
LENGTHS = "lengths too different"
AGAIN = "stated again"


@dataclass(frozen=True, kw_only=True, eq=False)
class Binarized:
    """Preferences, what gave none, and counts."""

    preferences: pl.DataFrame
    """Table `PREFERENCES`, sorted by prompt_id; margin in points of the score."""
    dropped: pl.DataFrame
    """Table `DROPPED`: a row for every other prompt (or rater of one) and every filtered pair."""
    summary: dict[str, object]


class Rejection(NamedTuple):
    """Which completions may be rejected, in what order they are taken, and whether all are."""

    may: pl.Expr
    """Over columns score, position, chosen_score, chosen_position and margin."""
    order: tuple[pl.Expr, ...]
    every: bool = False


def binarize(
    feedback: Feedback,
    spec: Specification,
    *,
    contaminated: pl.Series | None = None,
    keys: pl.DataFrame | None = None,
) -> Binarized:
    """Make preferences.

    Args:
        feedback: The three tables; row order does not matter, but where the specification follows
            the source's order (`best_tie: first`, `rejected: index_0_or_2`).
        spec: How; see `notus.specifications.SPECIFICATIONS`.
        contaminated: Ids of prompts that overlap with evaluation items; only for a specification
            that decontaminates.
        keys: What `audit.texts.text_keys` makes of the completions, if that was done already.

    Returns:
        Preferences and dropped rows; with one pair a prompt, together as many as prompts went in.

    Raises:
        DataError: No rating of the aspects at all, ratings of different scales, or nothing to
            decontaminate against.
    """
    group = ["prompt_id"] if spec.per == "prompt" else ["prompt_id", "rater"]
    withheld = withheld_prompts(feedback, spec.filters, contaminated)
    keys = text_keys(feedback.completions) if keys is None else keys
    candidates = _candidates(feedback, spec, group, keys)
    candidates = candidates.join(withheld, on="prompt_id", how="anti")
    rivals = _rivals(candidates, spec, group)
    drawn = _drawn(rivals, spec, group)
    judged = _judged(drawn, feedback, spec)
    prompts = feedback.prompts.select("prompt_id").collect()
    open_prompts = prompts.join(withheld, on="prompt_id", how="anti")
    dropped = pl.concat(
        [
            withheld,
            _without_pair(open_prompts, rivals, drawn, spec),
            judged.filter(pl.col("reason").is_not_null()).select("prompt_id", "reason"),
        ]
    )
    dropped = dropped.with_columns(strategy=pl.lit(spec.name)).sort("prompt_id", "reason")
    pairs = _preferences(judged.filter(pl.col("reason").is_null()), spec)
    return Binarized(
        preferences=pairs,
        dropped=dropped.select(DROPPED.schema.names()),
        summary=_summary(prompts.height, pairs, dropped, spec),
    )


def _candidates(
    feedback: Feedback, spec: Specification, group: list[str], keys: pl.DataFrame
) -> pl.DataFrame:
    """Every completion that has a score: ids, rater if it counts, score, text key, draws, place."""
    scores = score_completions(feedback.ratings, spec, group[1:])
    frame = keys.rename({"key": "text"}).join(scores, on="completion_id")
    if spec.filters.drop_models:
        others = models_of(feedback).filter(~pl.col("model").is_in(spec.filters.drop_models))
        frame = frame.join(others, on="completion_id", how="semi")
    if spec.best_tie == "first" or spec.rejected == "index_0_or_2":
        frame = frame.join(positions(feedback.completions), on="completion_id")
    else:
        frame = frame.with_columns(position=pl.lit(0, pl.Int64))
    return frame.with_columns(_draws(frame["completion_id"], spec.seed))


def _draws(ids: pl.Series, seed: int) -> list[pl.Series]:
    """Draw two numbers for each completion, one for each decision, from its id and the seed.

    One number for both would tie them: the loser of a tie for the best would hardly be rejected.
    BLAKE2b and not Polars' own hash, which may change with its version.
    """
    key = f"{seed}:".encode()
    digests = [hashlib.blake2b(key + name.encode(), digest_size=16).digest() for name in ids]
    words = np.frombuffer(b"".join(digests), dtype="<u8").reshape(-1, 2).astype(np.uint64)
    return [pl.Series("draw_chosen", words[:, 0]), pl.Series("draw_rejected", words[:, 1])]


def _rivals(candidates: pl.DataFrame, spec: Specification, group: list[str]) -> pl.DataFrame:
    """All completions but the chosen one, each beside the chosen one of its group."""
    tie = "draw_chosen" if spec.best_tie == "draw" else "position"
    order = [*group, "score", tie, "completion_id"]
    descending = [name == "score" for name in order]
    frame = candidates.sort(order, descending=descending)
    first = (
        pl.struct(group).is_first_distinct()
        if len(group) > 1
        else pl.col(group[0]).is_first_distinct()
    )
    frame = frame.with_columns(chosen=first)
    names = {"completion_id": "chosen_id", "score": "chosen_score", "text": "chosen_text"}
    names |= {"position": "chosen_position"}
    chosen = frame.filter("chosen").select(*group, *names).rename(names)
    single = frame.group_by(group).len().filter(pl.col("len") == 1).select(group)
    rivals = frame.filter(~pl.col("chosen")).join(chosen, on=group)
    lonely = single.with_columns(score=pl.lit(None, pl.Float64))
    together = pl.concat([rivals, lonely], how="diagonal")
    return together.with_columns(margin=pl.lit(spec.margin, pl.Float64))


def _may_be_rejected(spec: Specification) -> tuple[pl.Expr, pl.Expr]:
    """What the rule allows, and what of that is a text of its own."""
    may = REJECTED[spec.rejected].may
    other = pl.col("text") != pl.col("chosen_text")
    return may, may & other if spec.identical == "drop" else may


def _drawn(rivals: pl.DataFrame, spec: Specification, group: list[str]) -> pl.DataFrame:
    """The rejected completion of each group, or all of them, before filters."""
    rule = REJECTED[spec.rejected]
    drawn = rivals.filter(_may_be_rejected(spec)[1])
    if not rule.every:
        ordered = drawn.sort(*rule.order, "draw_rejected", "completion_id")
        drawn = ordered.group_by(group, maintain_order=True).first()
    if spec.ties == "drop":
        drawn = drawn.filter(pl.col("score") < pl.col("chosen_score"))
    return drawn.with_columns(margin=(pl.col("chosen_score") - pl.col("score")).round(9))


def _judged(drawn: pl.DataFrame, feedback: Feedback, spec: Specification) -> pl.DataFrame:
    """Add to each drawn pair the reason why a filter takes it away, or null."""
    pair = ["chosen_id", "completion_id"]
    far = pl.lit(None, pl.Boolean)
    most = spec.filters.max_length_difference
    if most is not None:
        count = pl.col("text").str.count_matches(r"\S+").cast(pl.Int64)
        words = feedback.completions.select("completion_id", words=count).collect()
        theirs = words.rename({"completion_id": "chosen_id", "words": "chosen_words"})
        drawn = drawn.join(words, on="completion_id").join(theirs, on="chosen_id")
        far = (pl.col("words") - pl.col("chosen_words")).abs() > most
    # Two raters may state the same pair: it stays once, with its larger margin.
    drawn = drawn.sort(*pair, "margin", descending=[False, False, True])
    reason = (
        pl.when(pl.col("margin") < spec.filters.min_margin)
        .then(pl.lit(MARGIN))
        .when(far)
        .then(pl.lit(LENGTHS))
        .when(~pl.struct(pair).is_first_distinct())
        .then(pl.lit(AGAIN))
    )
    return drawn.with_columns(reason=reason)


def _without_pair(
    prompts: pl.DataFrame, rivals: pl.DataFrame, drawn: pl.DataFrame, spec: Specification
) -> pl.DataFrame:
    """A row for each prompt or rater for which nothing was drawn, with the reason."""
    group = ["prompt_id"] if spec.per == "prompt" else ["prompt_id", "rater"]
    may, distinct = _may_be_rejected(spec)
    about = rivals.group_by(group).agg(
        equal=(pl.col("score") == pl.col("chosen_score")).all(),
        lonely=pl.col("score").is_null().all(),
        allowed=may.any(),
        distinct=distinct.any(),
    )
    reason = (
        pl.when(pl.col("lonely").fill_null(True))
        .then(pl.lit(TOO_FEW))
        .when(pl.col("allowed") & ~pl.col("distinct"))
        .then(pl.lit(IDENTICAL))
        .when("equal")
        .then(pl.lit(ALL_EQUAL))
        .when("distinct")
        .then(pl.lit(TIE))
        .otherwise(pl.lit(NO_RIVAL))
    )
    units = prompts.join(about, on="prompt_id", how="left")
    left = units.join(drawn.select(group).unique(), on=group, how="anti", nulls_equal=True)
    return left.select("prompt_id", reason=reason)


def _preferences(pairs: pl.DataFrame, spec: Specification) -> pl.DataFrame:
    rows = pairs.select("prompt_id", "chosen_id", rejected_id="completion_id", margin="margin")
    rows = rows.sort("prompt_id", "chosen_id", "rejected_id")
    ids = rows.select("prompt_id", "chosen_id", "rejected_id").iter_rows()
    return rows.select(
        pl.Series("preference_id", [preference_id(*row) for row in ids], dtype=pl.String),
        pl.all(),
        strategy=pl.lit(spec.name),
    )


def _summary(
    prompts: int, pairs: pl.DataFrame, dropped: pl.DataFrame, spec: Specification
) -> dict[str, object]:
    reasons = dropped.group_by("reason").len().sort("len", "reason", descending=[True, False])
    return {
        "strategy": spec.name,
        "prompts": prompts,
        "preferences": pairs.height,
        "dropped": dict(reasons.iter_rows()),
        "mean_margin": pairs["margin"].mean(),
        "ties": pairs.filter(pl.col("margin") == 0).height,
    }


_LOWER = pl.col("score") < pl.col("chosen_score")
_ANY = pl.col("score").is_not_null()

REJECTED: Mapping[str, Rejection] = {
    "random_lower": Rejection(_LOWER, ()),
    "random_other": Rejection(_ANY, ()),
    "lowest": Rejection(_ANY, (pl.col("score"),)),
    "second": Rejection(_LOWER, (-pl.col("score"),)),
    "all_lower": Rejection(_LOWER, (), every=True),
    "margin": Rejection(pl.col("score") <= pl.col("chosen_score") - pl.col("margin"), ()),
    "index_0_or_2": Rejection(
        _ANY, (pl.col("position").replace_strict({0: 0, 2: 1, 1: 2}, default=3),)
    ),
}
"""Rules by which the rejected completion is taken; a draw settles what a rule leaves open."""
