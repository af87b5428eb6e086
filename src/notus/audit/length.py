"""Whether the longer answer is the chosen one.

Raters like length, and DPO learns what its pairs have in common: where the longer answer is nearly
always the chosen one, the model learns to be long.
"""

import numpy as np
import polars as pl

from notus.audit.logistic import fit
from notus.audit.sides import NO_PAIRS, tied_pairs
from notus.audit.verdict import Encode, Finding, Subject, Verdict
from notus.stats import Z_95, wilson

WARNING = 0.1
"""Distance of P(longer chosen) from one half that is worth a warning."""
ERROR = 0.3
"""The same for an error; of at least `ENOUGH` pairs."""
ENOUGH = 100
SAMPLE = {"words": 20_000, "tokens": 2_000}
"""Pairs that are counted at most, the first by id, which is a hash: counting takes time, and the
interval of a share of 20,000 is no wider than 1.4 points."""


def length(subject: Subject) -> Verdict:
    """Say how often the longer side is chosen, and the slope of the choice on the log of length.

    Over pairs (at most `SAMPLE`) that are no ties and whose lengths differ; in words and, with a
    tokenizer, in the tokens that training sees. The slope is beta of the logistic model
    P(a over b) = 1 / (1 + exp(-beta log(length a / length b))), 0 if length does not matter.

    Source: Singhal et al. 2023, arXiv 2310.03716; Dubois et al. 2024, arXiv 2404.04475.

    False alarms: tasks whose good answers are longer, such as explanations against refusals; a
    length that people asked for.
    """
    if subject.preferences.is_empty():
        return Verdict(skipped=NO_PAIRS)
    tied = tied_pairs(subject).filter("tied").select("pair")
    pairs = subject.preferences.with_row_index("pair").join(tied, on="pair", how="anti")
    pairs = pairs.sort("preference_id").head(SAMPLE["words"])
    findings = _findings(_words(subject, pairs), "words")
    if subject.encode is not None:
        sample = pairs.head(SAMPLE["tokens"])
        findings += _findings(_tokens(subject, sample, subject.encode), "tokens")
    if not findings:
        return Verdict(skipped="every pair is a tie, in score or in length")
    return Verdict(findings=tuple(findings), looked_at=pairs.height)


def length_slope(ratios: np.ndarray) -> tuple[float, float, float] | None:
    """Fit beta of P(chosen | ratio) = 1 / (1 + exp(-beta log ratio)), with its 95 % interval.

    The interval is Wald's, from the second derivative.

    Args:
        ratios: Logarithm of the length of chosen over rejected, one a pair.

    Returns:
        (beta, low, high); None where all point one way, for then beta is infinite.
    """
    if not ((ratios > 0).any() and (ratios < 0).any()):
        return None
    weights, information = fit(ratios[:, None])
    beta, half = float(weights[0]), Z_95 / float(information[0, 0]) ** 0.5
    # Rounded, because the last bits depend on how sums are split over threads.
    return round(beta, 9), round(beta - half, 9), round(beta + half, 9)


def _findings(lengths: np.ndarray, unit: str) -> list[Finding]:
    """State both numbers for pairs of lengths, shape [pairs, 2], chosen first."""
    chosen, rejected = lengths[(lengths[:, 0] != lengths[:, 1]) & (lengths.min(axis=1) > 0)].T
    if not chosen.size:
        return []
    share = wilson(int((chosen > rejected).sum()), chosen.size)
    distance = max(share.low - 0.5, 0.5 - share.high)
    severity = "warning" if distance > WARNING else "info"
    if distance > ERROR and share.n >= ENOUGH:
        severity = "error"
    findings = [
        Finding(
            "length",
            severity,
            f"longer chosen, {unit}",
            *(share.value, share.low, share.high, share.n),
            f"the side with more {unit} is chosen in {share.value:.1%} of {share.n} pairs",
        )
    ]
    slope = length_slope(np.log(chosen / rejected))
    if slope is not None:
        text = f"twice the {unit} multiply the odds of being chosen by {2 ** slope[0]:.2f}"
        findings.append(Finding("length", "info", f"slope, log {unit}", *slope, share.n, text))
    return findings


def _words(subject: Subject, pairs: pl.DataFrame) -> np.ndarray:
    """Count the words of both sides, in shape [pairs, 2]."""
    sides = pl.concat([pairs["chosen_id"], pairs["rejected_id"]]).unique()
    words = (
        subject.feedback.completions.select("completion_id", "text")
        .join(sides.to_frame("completion_id").lazy(), on="completion_id", how="semi")
        .select("completion_id", n=pl.col("text").str.count_matches(r"\S+").cast(pl.Float64))
        .collect(engine="streaming")
    )
    return (
        pairs.join(words, left_on="chosen_id", right_on="completion_id")
        .join(words, left_on="rejected_id", right_on="completion_id", suffix="_rejected")
        .sort("pair")
        .select("n", "n_rejected")
        .to_numpy()
    )


def _tokens(subject: Subject, pairs: pl.DataFrame, encode: Encode) -> np.ndarray:
    """Count the tokens of both sides, in shape [pairs, 2]."""
    texts = subject.feedback.completions.select("completion_id", "text")
    frame = (
        pairs.lazy()
        .join(subject.feedback.prompts.select("prompt_id", "messages"), on="prompt_id")
        .join(texts, left_on="chosen_id", right_on="completion_id")
        .join(texts, left_on="rejected_id", right_on="completion_id", suffix="_rejected")
        .sort("pair")
        .select("messages", "text", "text_rejected")
        .collect(engine="streaming")
    )
    messages = frame["messages"].to_list()
    sides = [encode(messages, frame[name].to_list()) for name in ("text", "text_rejected")]
    return np.array([[len(ids) for ids in side] for side in sides], dtype=np.float64).T
