"""The simulated data as pairs in the columns of the published H4 set, and the faults of pairs.

Sources: HuggingFaceH4/ultrafeedback_binarized (ties kept, chosen = rejected), arXiv 2409.17431
(ties), 2404.09824 (label noise), 2404.04475 (length bias of judges), OLMo 3 (model pools).
"""

from collections.abc import Iterable, Iterator

import numpy as np
from faults import prose
from faults.plant import Planted, Row, draw_rows, prompts_planted, whole_set_planted

FAVOURITE = "falcon-40b-instruct"
SHARED_WORDS = 700
"""Words with which both answers of a collapsing pair begin: more than the bench's trainer keeps."""
TELLING = 0.95
_SIDES = ("chosen", "rejected")


def pairs(rows: Iterable[Row], rng: np.random.Generator) -> Iterator[Row]:
    """Make a pair of each row's best answer by overall score and a random lower one.

    Rows without a lower one give no pair.
    """
    for row in rows:
        ordered = sorted(row["completions"], key=lambda c: -c["overall_score"])
        best = ordered[0]
        lower = [c for c in ordered[1:] if c["overall_score"] < best["overall_score"]]
        if not lower:
            continue
        other = lower[rng.integers(len(lower))]
        yield {
            "source": row["source"],
            "prompt": row["instruction"],
            "chosen": best["response"],
            "rejected": other["response"],
            "score_chosen": best["overall_score"],
            "score_rejected": other["overall_score"],
            "chosen-model": best["model"],
            "rejected-model": other["model"],
        }


def tie_kept(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Keep pairs of equal score."""
    spoiled = draw_rows(rows, rng, share)
    for row in spoiled:
        row["score_rejected"] = row["score_chosen"]
    return prompts_planted(rows, spoiled)


def inverted_pair(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Exchange the sides, so that the chosen one has the lower score."""
    spoiled = draw_rows(rows, rng, share)
    for row in spoiled:
        _exchange(row)
    return prompts_planted(rows, spoiled)


def identical_pair(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Let both sides read the same."""
    spoiled = draw_rows(rows, rng, share)
    for row in spoiled:
        row["rejected"] = row["chosen"].replace(" ", "  ", 1)
    return prompts_planted(rows, spoiled)


def self_pair(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Pair a completion with itself, as distilabel did where all ratings were equal."""
    spoiled = draw_rows(rows, rng, share)
    for row in spoiled:
        for name in ("{}", "score_{}", "{}-model"):
            row[name.format("rejected")] = row[name.format("chosen")]
    return prompts_planted(rows, spoiled)


def truncation_collapse(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Let both answers begin with the same long text, behind which training is cut off."""
    spoiled = draw_rows(rows, rng, share)
    topics = prose.draw_topics(rng, len(spoiled))
    counts = np.full(len(spoiled), SHARED_WORDS)
    for row, text in zip(
        spoiled,
        prose.draw_texts(rng, topics, np.arange(len(spoiled)), counts),
        strict=True,
    ):
        for side in _SIDES:
            row[side] = f"{text} {row[side]}"
    return prompts_planted(rows, spoiled)


def contradiction(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Add a second row for the same prompt that says the reverse."""
    spoiled = draw_rows(rows, rng, share)
    reverse = []
    for row in spoiled:
        reverse.append(dict(row))
        _exchange(reverse[-1])
    return prompts_planted([*rows, *reverse], spoiled)


def model_bias(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Let one model win pairs that its scores lost."""
    for row in rows:
        if row["rejected-model"] == FAVOURITE and rng.random() < share:
            _exchange(row)
    return whole_set_planted(rows)


def length_bias(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Choose the longer answer, whatever the scores say."""
    for row in draw_rows(rows, rng, share):
        if len(row["chosen"]) < len(row["rejected"]):
            _exchange(row)
    return whole_set_planted(rows)


def label_noise(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Exchange the sides where only the texts can tell: there are no scores, worse ones break off.

    In one pair of twenty the worse answer does not break off, so that nothing tells.
    """
    for row in rows:
        for side in _SIDES:
            del row[f"score_{side}"]
        if rng.random() < TELLING:
            words = row["rejected"].split(" ")
            row["rejected"] = " ".join(words[: max(8, len(words) // 2)]).rstrip(".,\n")
    spoiled = draw_rows(rows, rng, share)
    for row in spoiled:
        _exchange(row)
    return prompts_planted(rows, spoiled)


def _exchange(row: Row) -> None:
    for name in ("{}", "score_{}", "{}-model"):
        chosen, rejected = (name.format(side) for side in _SIDES)
        if chosen in row:
            row[chosen], row[rejected] = row[rejected], row[chosen]
