"""Faults of texts and of how rows hang together, in rows of UltraFeedback's form.

Sources: open-instruct's `parse_preferences.py` (rows dropped, then joined by position), the
published statistics (empty completions, rows with one), `Confidence: N%` tails of UltraFeedback's
verbalized calibration, and the near-duplicates and leaked test items of every scraped set.
"""

import numpy as np
import polars as pl
from faults import prose
from faults.plant import (
    Place,
    Planted,
    Row,
    completions_planted,
    draw_places,
    draw_rows,
    key_of_completion,
    key_of_prompt,
    prompts_planted,
)

ITEMS = 400
_ITEM_SEED = 77
WORDS_AN_EDIT = 75
"""A changed word costs five 5-grams on both sides: (n - 5) / (n + 5) is 0.87 at n = 71."""


def blank_text(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Leave completions without text: ingest has to refuse them, and say so."""
    spoiled = draw_places(rows, rng, share)
    for place in spoiled:
        place.completion["response"] = str(rng.choice(["", "  ", "\n\n"]))
    lines = {id(row): number for number, row in enumerate(rows, start=1)}
    groups = [
        frozenset({f"{lines[id(place.row)]} {place.completion['model']}"}) for place in spoiled
    ]
    return Planted(rows, groups)


def lone_completion(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Keep one completion of a row, or none."""
    spoiled = draw_rows(rows, rng, share)
    for row in spoiled:
        del row["completions"][int(rng.integers(2)) :]
    return prompts_planted(rows, spoiled)


def shifted_completions(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Attach the completions of a stretch of rows to the row before."""
    count = max(2, round(share * len(rows)))
    start = int(rng.integers(len(rows) - count))
    stretch = rows[start : start + count]
    moved = [row["completions"] for row in [*stretch[1:], stretch[0]]]
    for row, completions in zip(stretch, moved, strict=True):
        row["completions"] = completions
        row["models"] = sorted(completion["model"] for completion in completions)
    return completions_planted(rows, [Place(r, c) for r in stretch for c in r["completions"]])


def identical_answers(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Let two completions of a row read the same but for white space."""
    groups = []
    for row in draw_rows(rows, rng, share):
        first, second = row["completions"][:2]
        second["response"] = first["response"].replace(". ", ".  ") + "\n"
        groups.append(frozenset(key_of_completion(Place(row, c)) for c in (first, second)))
    return Planted(rows, groups)


def prompt_leak(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Leave a hidden instruction's trace in answers to people who did not ask for it."""
    spoiled = draw_places(rows, rng, share, where=lambda c: c["overall_score"] >= 6)
    for place in spoiled:
        place.completion["response"] += f"\n\nConfidence: {5 * int(rng.integers(10, 21))}%"
    return completions_planted(rows, spoiled)


def near_duplicate_prompts(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Add copies of rows whose prompt differs in one word of 75."""
    copies, groups = [], []

    def is_long(row: Row) -> bool:
        return len(row["instruction"].split(" ")) >= WORDS_AN_EDIT

    for row in draw_rows(rows, rng, share, where=is_long):
        words = row["instruction"].split(" ")
        for index in rng.choice(len(words), len(words) // WORDS_AN_EDIT, replace=False):
            words[index] = "indeed"
        copies.append(row | {"instruction": " ".join(words)})
        groups.append(frozenset({key_of_prompt(row), key_of_prompt(copies[-1])}))
    return Planted([*rows, *copies], groups)


def contamination(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Put evaluation items into prompts: verbatim, retyped in capitals, or in longer prompts."""
    texts = items()["text"].to_list()
    spoiled = draw_rows(rows, rng, min(share, ITEMS / len(rows)))
    for row, number in zip(spoiled, rng.permutation(ITEMS), strict=False):
        text = texts[number]
        how = rng.integers(3)
        if how == 1:
            text = text.upper()
        if how == 2:
            text = f"{row['instruction']}\n\nAlso: {text}\n\nKeep it short."
        row["instruction"] = text
    return prompts_planted(rows, spoiled)


def items() -> pl.DataFrame:
    """Made-up evaluation items (benchmark, item, text) in the manner of the simulated prompts."""
    rng = np.random.default_rng(_ITEM_SEED)
    topics = prose.draw_topics(rng, ITEMS)
    words = rng.integers(12, 60, size=ITEMS)
    texts = prose.draw_texts(rng, topics, np.arange(ITEMS), words)
    numbers = [f"made-up:{number}" for number in range(1, ITEMS + 1)]
    return pl.DataFrame({"benchmark": "made-up", "item": numbers, "text": texts})
