"""Overall scores against aspect ratings, as pages show them."""

from typing import Any

import polars as pl

from notus import plots
from notus.data.schema import ASPECTS, OVERALL, Feedback

CORNER = (10.0, 2.0)
"""Overall score 10 with a mean rating of at most 2 (Source: UltraFeedback issue 8; its upstream fix
takes these for a 1 that was read as 10)."""
NUM_WORST = 6


def score_view(feedback: Feedback) -> dict[str, Any] | None:
    """Scores against ratings, the contradictions among them, and the worst of those as text.

    Returns:
        Counts, two plots and rows for a template; None where no completion has both.
    """
    scores = _scores(feedback.ratings).collect()
    if scores.is_empty():
        return None
    contradicts = (pl.col("score") >= CORNER[0]) & (pl.col("mean") <= CORNER[1])
    cells = scores.group_by("score", "mean").len().sort("score", "mean")
    bars = scores.group_by("score").agg(pl.len(), bad=contradicts.sum()).sort("score")
    corner = scores.filter(contradicts).sort("mean", "completion_id")
    return {
        "num_scored": scores.height,
        "num_top": scores.filter(pl.col("score") >= CORNER[0]).height,
        "num_corner": corner.height,
        "density": plots.density(cells["score"], cells["mean"], cells["len"], corner=CORNER),
        "histogram": plots.histogram(bars["score"], bars["len"], bars["bad"]),
        "worst": with_texts(feedback, corner.head(NUM_WORST)),
    }


def with_texts(feedback: Feedback, rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Give each row with a completion_id its answer and its prompt, in the order of the rows."""
    ids = rows["completion_id"].implode()
    answers = feedback.completions.filter(pl.col("completion_id").is_in(ids))
    prompts = feedback.prompts.select(
        "prompt_id", prompt=pl.col("messages").list.last().struct.field("content")
    )
    texts = answers.join(prompts, on="prompt_id").select("completion_id", "model", "text", "prompt")
    joined = rows.join(texts.collect(), on="completion_id", how="left", maintain_order="left")
    return joined.to_dicts()


def _scores(ratings: pl.LazyFrame) -> pl.LazyFrame:
    """One row a completion: overall score on 1..10, mean of its aspect ratings on 1..5."""
    share = (pl.col("value") - pl.col("scale_min")) / (pl.col("scale_max") - pl.col("scale_min"))
    scaled = ratings.with_columns(share=share)
    aspects = scaled.filter(pl.col("aspect").is_in(ASPECTS)).group_by("completion_id")
    overall = scaled.filter(pl.col("aspect") == OVERALL).group_by("completion_id")
    means = aspects.agg(mean=1 + 4 * pl.col("share").mean())
    scores = overall.agg(
        score=1 + 9 * pl.col("share").mean(), critique=pl.col("rationale").drop_nulls().first()
    )
    return scores.join(means, on="completion_id").drop_nulls(["score", "mean"])
