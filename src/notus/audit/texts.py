"""Which completions of a prompt read the same."""

import polars as pl

from notus.audit.verdict import Subject, Verdict, make_issues

# Folding never changes how often these occur, and counting them costs a twentieth of folding.
_MARKS = (".", ",", "q", "0", "1")


def folded(text: pl.Expr) -> pl.Expr:
    """Fold texts that read the same: NFC, white space collapsed and trimmed."""
    return text.str.normalize("NFC").str.replace_all(r"\s+", " ").str.strip_chars()


def text_keys(completions: pl.LazyFrame) -> pl.DataFrame:
    """Number the texts: within a prompt, two keys are equal if and only if the texts read the same.

    Only texts that agree with another one of their prompt in the counts of a few characters are
    folded: 64,000 prompts with four long answers take a second instead of nine.

    Args:
        completions: Table `COMPLETIONS`.

    Returns:
        completion_id, prompt_id and key (UInt64; a hash, so never to be stored).
    """
    counts = [pl.col("text").str.count_matches(mark, literal=True).alias(mark) for mark in _MARKS]
    about = pl.struct("prompt_id", *counts).hash(seed=0).alias("about")
    marked = completions.select("completion_id", "prompt_id", about).collect(engine="streaming")
    alike = marked.filter(pl.col("about").is_duplicated()).select("completion_id")
    keys = (
        completions.join(alike.lazy(), on="completion_id", how="semi")
        .select("completion_id", key=folded(pl.col("text")).hash(seed=0))
        .collect(engine="streaming")
    )
    return (
        marked.select("completion_id", "prompt_id")
        .join(keys, on="completion_id", how="left")
        .with_columns(pl.col("key").fill_null(pl.col("completion_id").hash(seed=1)))
    )


def identical(subject: Subject) -> Verdict:
    """Find completions of one prompt that read the same as another one.

    Texts are compared as `folded` writes them; the first by id stands for all.

    Source: HuggingFaceH4/ultrafeedback_binarized, where chosen and rejected read the same in 5 of
    1,000 pairs; distilabel's UltraFeedback, where tied ratings made them the same completion.

    False alarms: short right answers ("4") agree by themselves; they still teach DPO nothing.
    """
    keys = text_keys(subject.feedback.completions) if subject.keys is None else subject.keys
    if keys.is_empty():
        return Verdict(skipped="there are no completions; ingest a source first")
    group = ["prompt_id", "key"]
    found = (
        keys.lazy()
        .with_columns(
            first=pl.col("completion_id").min().over(group),
            n=pl.len().over(group),
        )
        .filter(pl.col("completion_id") != pl.col("first"))
    )
    issues = make_issues(
        found,
        "identical",
        severity="warning",
        score=pl.col("n"),
        evidence=pl.format("same text as completion {}", pl.col("first")),
    )
    return Verdict(issues=issues, looked_at=keys.height)
