"""How a model ranks preferences it was not trained on.

Two numbers, both a share of pairs with ties counted half:

    reward_accuracy  the implicit reward log p(y) - log p_ref(y) is higher for the chosen completion
                     (Rafailov et al. 2023, section 5); the reference itself has no value, all its
                     rewards being 0
    logp_accuracy    the chosen completion is the likelier one; base and tuned can be paired
"""

from collections.abc import Callable

import polars as pl

from notus.chat_template import Encoder, encode_pairs
from notus.data.schema import Feedback
from notus.models import Model
from notus.scoring.score import score
from notus.scoring.tree import TokenTree

LOGPS_SCHEMA = pl.Schema(
    {
        "model": pl.String,
        "preference_id": pl.String,
        "prompt_id": pl.String,
        "chosen_logp": pl.Float64,
        "rejected_logp": pl.Float64,
    }
)


def score_preferences(
    preferences: pl.DataFrame,
    feedback: Feedback,
    model: Model,
    *,
    label: str,
    max_length: int,
    max_prompt_length: int,
    max_tokens: int = 4096,
    progress: Callable[[int, int], None] | None = None,
) -> pl.DataFrame:
    """Log-probs of both completions of every preference.

    Args:
        preferences: A preferences table.
        feedback: The tables that its ids point into.
        model: The model that scores.
        label: What to call it.
        max_length: Longest prompt and completion, as in training.
        max_prompt_length: Longest prompt, as in training.
        max_tokens: Most tokens in one forward pass.
        progress: Called with (trees so far, trees in all).

    Returns:
        One row a preference, with the columns of LOGPS_SCHEMA; log-probs are sums in nats.
    """
    encode = Encoder(model.tokenizer, max_length=max_length, max_prompt_length=max_prompt_length)
    pairs = list(encode_pairs(preferences, feedback, encode))
    trees = [
        TokenTree.from_sequences(
            [[*one.prompt_ids, *one.completion_ids] for one in (pair.chosen, pair.rejected)],
            [len(pair.chosen.prompt_ids)] * 2,
        )
        for pair in pairs
    ]
    scores = score(model.model, trees, max_tokens=max_tokens, progress=progress)
    logps = scores.logps.double().reshape(-1, 2).tolist()
    rows = [
        (label, pair.preference_id, pair.prompt_id, chosen, rejected)
        for pair, (chosen, rejected) in zip(pairs, logps, strict=True)
    ]
    return pl.DataFrame(rows, schema=LOGPS_SCHEMA, orient="row")


def rank(logps: pl.DataFrame) -> pl.DataFrame:
    """Add to the log-probs of "base" and "tuned" who ranks each pair right (1, 0, tie 0.5)."""
    base = logps.filter(pl.col("model") == "base").select(
        "preference_id", base_chosen="chosen_logp", base_rejected="rejected_logp"
    )
    gap = pl.col("chosen_logp") - pl.col("rejected_logp")
    reward_gap = gap - (pl.col("base_chosen") - pl.col("base_rejected"))
    return (
        logps.join(base, on="preference_id", how="left", maintain_order="left")
        .with_columns(logp_correct=_correct(gap), reward_margin=reward_gap)
        .with_columns(reward_correct=_correct(pl.col("reward_margin")))
        .drop("base_chosen", "base_rejected")
    )


def _correct(difference: pl.Expr) -> pl.Expr:
    return (difference.sign() + 1) / 2
