"""Prompts that a specification's filters keep out before anything is chosen, with the reason."""

import polars as pl

from notus.audit.texts import folded
from notus.data.schema import Feedback
from notus.errors import DataError, explain
from notus.specification import Filters

CONTAMINATED = "overlaps with evaluation items"
NO_REQUIRED_MODEL = "no completion of a required model"


def withheld_prompts(
    feedback: Feedback, filters: Filters, contaminated: pl.Series | None
) -> pl.DataFrame:
    """Name the prompts that are kept out, each with the first reason that holds.

    Args:
        feedback: The three tables.
        filters: Of the specification.
        contaminated: Ids of prompts that overlap with evaluation items.

    Returns:
        prompt_id and reason.

    Raises:
        DataError: The specification decontaminates and nothing was compared.
    """
    found = [pl.DataFrame(schema={"prompt_id": pl.String, "reason": pl.String})]
    if filters.drop_sources:
        found.append(_of_sources(feedback.prompts, filters.drop_sources))
    if filters.decontaminate:
        if contaminated is None:
            raise DataError(
                explain(
                    found="no evaluation items to compare with",
                    expected="the files of the evaluation sets that must not be trained on",
                    where="filters.decontaminate of the specification",
                    remedy="name them: --against FILE, or against: [FILE] in the recipe",
                )
            )
        rows = contaminated.unique().alias("prompt_id").to_frame()
        found.append(rows.with_columns(reason=pl.lit(CONTAMINATED)))
    if filters.require_models:
        answered = models_of(feedback).filter(pl.col("model").is_in(filters.require_models))
        prompts = feedback.prompts.select("prompt_id").collect()
        without = prompts.join(answered, on="prompt_id", how="anti")
        found.append(without.with_columns(reason=pl.lit(NO_REQUIRED_MODEL)))
    return pl.concat(found).unique("prompt_id", keep="first", maintain_order=True)


def models_of(feedback: Feedback) -> pl.DataFrame:
    """Which model wrote each completion: completion_id, prompt_id, model."""
    return feedback.completions.select("completion_id", "prompt_id", "model").collect()


def _of_sources(prompts: pl.LazyFrame, sources: list[str]) -> pl.DataFrame:
    """Prompts of some sources, and those of others that read the same (case and space aside)."""
    turns = pl.col("messages").list.eval(pl.element().struct.field("content")).list.join("\n")
    frame = prompts.select("prompt_id", "source", text=turns).collect()
    # Neither folding nor case changes how often these occur: few prompts are left to be folded.
    marks = [pl.col("text").str.count_matches(m, literal=True).alias(m) for m in (".", ",", "0")]
    frame = frame.with_columns(marks)
    asked = frame.filter(pl.col("source").is_in(sources))
    frame = frame.join(asked.select(".", ",", "0").unique(), on=[".", ",", "0"], how="semi")
    frame = frame.with_columns(text=folded(pl.col("text")).str.to_lowercase())
    theirs = frame.filter(pl.col("source").is_in(sources))
    of = theirs.select("prompt_id", reason=pl.format("source {}", pl.col("source")))
    alike = frame.join(theirs.select("text", theirs="source").unique("text"), on="text")
    rest = alike.join(theirs, on="prompt_id", how="anti").select(
        "prompt_id", reason=pl.format("reads like a prompt of source {}", pl.col("theirs"))
    )
    return pl.concat([of, rest])
