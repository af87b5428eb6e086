"""What the two sides of a pair differ in, as numbers that are cheap to count.

They are crude on purpose: enough for a model to be surprised by a label (`audit.votes`), at a
second for 64,000 pairs.
"""

import polars as pl

from notus.audit.sides import kinds_of_pairs
from notus.audit.verdict import Subject

OPENING = 300
"""Characters in which a refusal shows."""
REFUSALS = (
    "i'm sorry",
    "i am sorry",
    "i apologize",
    "i cannot",
    "i can't",
    "i am unable",
    "i'm unable",
    "as an ai",
)
LONG_WORD = "[A-Za-z]{7,}"
KEY_WORDS = 3
"""Long words of the prompt that are looked for in the answer: they tell what it is about."""


def features(subject: Subject) -> pl.DataFrame:
    """Count what chosen has more of than rejected.

    Returns:
        pair, prompt_id and a column for each feature: a difference, 0 where neither side is known;
        sorted by pair.
    """
    pairs = subject.preferences.select("prompt_id", "chosen_id", "rejected_id").with_row_index(
        "pair"
    )
    kinds = kinds_of_pairs(subject)
    text = _text_features(subject)
    names = [name for name in text.columns if name != "completion_id"]
    both = pairs.join(text, left_on="chosen_id", right_on="completion_id").join(
        text, left_on="rejected_id", right_on="completion_id", suffix="_rejected"
    )
    differences = [(pl.col(name) - pl.col(f"{name}_rejected")).alias(name) for name in names]
    told = both.select("pair", "prompt_id", *differences)
    if kinds.height:
        # The sign beside the size: where scores made the labels, a small lead is as sure as any.
        scores = kinds.with_columns(sign=pl.col("delta").sign()).rename({"delta": "lead"})
        wide = scores.pivot("kind", index="pair", values=["lead", "sign"])
        told = told.join(wide, on="pair", how="left")
    return told.with_columns(pl.exclude("pair", "prompt_id").fill_null(0.0)).sort("pair")


def _text_features(subject: Subject) -> pl.DataFrame:
    """Count marks in each completion that is a side of a pair."""
    sides = pl.concat([subject.preferences["chosen_id"], subject.preferences["rejected_id"]])
    text = pl.col("text")
    lines = text.str.count_matches("\n", literal=True)
    items = text.str.count_matches("\n- ", literal=True) + text.str.count_matches(
        "\n1. ", literal=True
    )
    words = [
        text.str.contains(pl.col("words").list.get(i, null_on_oob=True), literal=True)
        for i in range(KEY_WORDS)
    ]
    return (
        subject.feedback.completions.select("completion_id", "prompt_id", "text")
        .join(sides.unique().to_frame("completion_id").lazy(), on="completion_id", how="semi")
        .join(_key_words(subject), on="prompt_id")
        .select(
            "completion_id",
            log_length=text.str.len_chars().log1p(),
            log_lines=lines.log1p(),
            lists=(items > 0).cast(pl.Float64),
            refuses=text.str.slice(0, OPENING)
            .str.contains_any(list(REFUSALS), ascii_case_insensitive=True)
            .cast(pl.Float64),
            ends=text.str.slice(-3).str.contains(r"[.!?)\]\x60\"]\s*$").cast(pl.Float64),
            words_of_prompt=pl.sum_horizontal(words).cast(pl.Float64),
        )
        .collect(engine="streaming")
    )


def _key_words(subject: Subject) -> pl.LazyFrame:
    """List the first long words of each prompt's last turn: prompt_id, words."""
    last = pl.col("messages").list.last().struct.field("content")
    words = last.str.slice(0, 1000).str.extract_all(LONG_WORD).list.head(KEY_WORDS)
    return subject.feedback.prompts.select("prompt_id", words=words)
