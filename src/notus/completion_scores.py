"""The score of a completion under a specification, and its place in its source row."""

from collections.abc import Sequence

import polars as pl

from notus.errors import DataError, explain
from notus.specification import Specification


def score_completions(
    ratings: pl.LazyFrame, spec: Specification, keys: Sequence[str] = ()
) -> pl.DataFrame:
    """Score every completion that has a rating: the weighted mean of those that are present.

    Args:
        ratings: Table `RATINGS`.
        spec: Its `score` says which ratings count.
        keys: ["rater"] for a score by rater, [] for one over all.

    Returns:
        completion_id, the keys, and score.

    Raises:
        DataError: No value at all, or ratings of different scales.
    """
    aspects = pl.col("aspect").is_in(list(spec.score.weights))
    if spec.score.rater is not None:
        aspects &= pl.col("rater") == spec.score.rater
    named = ratings.filter(aspects & pl.col("value").is_not_null())
    _require_one_scale(ratings, named, spec)
    value, low, high = pl.col("value"), pl.col("scale_min"), pl.col("scale_max")
    if spec.score.unit_scale:
        value = (value - low) / (high - low)
    weight = pl.col("aspect").replace_strict(spec.score.weights, return_dtype=pl.Float64)
    # Rounded, so that equal ratings are equal in whatever order they were added up.
    mean = ((value * weight).sum() / weight.sum()).round(9)
    found = named.group_by("completion_id", *keys).agg(
        score=mean, num_aspects=pl.col("aspect").n_unique()
    )
    if spec.score.missing == "unrated":
        found = found.filter(pl.col("num_aspects") == len(spec.score.weights))
    return found.drop("num_aspects").collect(engine="streaming")


def _require_one_scale(ratings: pl.LazyFrame, named: pl.LazyFrame, spec: Specification) -> None:
    scales = named.select("scale_min", "scale_max").unique().sort("scale_min", "scale_max")
    found = [f"{low:g}..{high:g}" for low, high in scales.collect().iter_rows()]
    if len(found) == 1 or (found and spec.score.unit_scale):
        return
    aspects = ratings.select(pl.col("aspect").unique().sort()).collect()["aspect"]
    rated = f"rated are {', '.join(aspects)}" if aspects.len() else "nothing is rated"
    rater = f" by {spec.score.rater}" if spec.score.rater else ""
    raise DataError(
        explain(
            found=f"scales {', '.join(found)}" if found else f"no value; {rated}",
            expected=f"ratings of {', '.join(spec.score.weights)}{rater} on one scale",
            where=f"table ratings, specification {spec.name!r}",
            remedy="take a strategy for the aspects that are rated, or set score.unit_scale",
        )
    )


def positions(completions: pl.LazyFrame) -> pl.DataFrame:
    """Place of each completion in its source row: as the reader noted it, else the table's order.

    The reader's note counts completions that were refused, the table's order cannot.

    Returns:
        completion_id and position, from 0.
    """
    noted = pl.col("metadata").str.json_path_match("$.position").cast(pl.Int64, strict=False)
    return (
        completions.with_row_index("#row")
        .select("completion_id", "prompt_id", "#row", noted=noted)
        .collect(engine="streaming")
        .select("completion_id", position=pl.col("noted").fill_null(_place_among_siblings()))
    )


def _place_among_siblings() -> pl.Expr:
    return (pl.col("#row").rank("ordinal").over("prompt_id") - 1).cast(pl.Int64)
