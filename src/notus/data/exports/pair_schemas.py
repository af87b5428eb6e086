"""Preference pairs in the columns that other tools and published data sets have.

Each schema is an expression over the rows of `exports.pair_rows.pair_batches`. Sources: TRL's
"Dataset formats" (conversational preference, explicit prompt) and the cards of
argilla/ultrafeedback-binarized-preferences-cleaned and HuggingFaceH4/ultrafeedback_binarized. The
published columns have the prompt as text beside answers as messages, which TRL 1 does not take: for
its trainers there is `trl`.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import polars as pl


class PairSchema(NamedTuple):
    """One way to write a pair."""

    columns: Callable[[pl.DataFrame], pl.DataFrame]
    """Rows of `pair_batches` -> rows to write."""
    splits: tuple[str, str]
    """Names of what is trained on and of what is held out."""
    overall_first: bool | None
    """Which score the columns in `scored` hold, see `pair_rows.scores`; None: there are none."""
    meaning: Mapping[str, str]
    """Column -> what it holds, for the card."""
    scored: tuple[str, ...] = ()


def prompt_hash(text: str) -> str:
    """Hash a prompt as HuggingFaceH4/ultrafeedback_binarized does: 64 hex digits.

    Source: recomputed from the first row of its split train_prefs: it is SHA-256 of the text.
    """
    return hashlib.sha256(text.encode()).hexdigest()


def _messages() -> pl.Expr:
    """The prompt's turns, with the keys in the order of the published sets."""
    turn = pl.element().struct
    return pl.col("messages").list.eval(
        pl.struct(turn.field("content").alias("content"), turn.field("role").alias("role"))
    )


def _answer(side: str) -> pl.Expr:
    turn = pl.struct(pl.col(side).alias("content"), pl.lit("assistant").alias("role"))
    return pl.concat_list(turn)


def _conversation(side: str) -> pl.Expr:
    return pl.concat_list(_messages(), _answer(side))


def _prompt_text() -> pl.Expr:
    return pl.col("messages").list.last().struct.field("content")


def _trl(pairs: pl.DataFrame) -> pl.DataFrame:
    return pairs.select(prompt=_messages(), chosen=_answer("chosen"), rejected=_answer("rejected"))


def _argilla(pairs: pl.DataFrame) -> pl.DataFrame:
    sides = ("chosen", "rejected")
    return pairs.select(
        "source",
        _prompt_text().alias("prompt"),
        *(
            expression
            for side in sides
            for expression in (
                _conversation(side).alias(side),
                pl.col(f"{side}_score").alias(f"{side}-rating"),
                pl.col(f"{side}_model").alias(f"{side}-model"),
            )
        ),
    )


def _h4(pairs: pl.DataFrame) -> pl.DataFrame:
    texts = pairs.select(_prompt_text())["content"]
    hashes = [prompt_hash(text) for text in texts]
    return pairs.select(
        texts.alias("prompt"),
        pl.Series("prompt_id", hashes, dtype=pl.String),
        chosen=_conversation("chosen"),
        rejected=_conversation("rejected"),
        messages=_conversation("chosen"),
        score_chosen="chosen_score",
        score_rejected="rejected_score",
    )


_LAST = "the last turn before the answer, as text"
_CHOSEN, _REJECTED = (
    f"the whole conversation, ending with the {side} answer" for side in ("chosen", "rejected")
)

PAIR_SCHEMAS: dict[str, PairSchema] = {
    "trl": PairSchema(
        columns=_trl,
        splits=("train", "test"),
        overall_first=None,
        meaning={
            "prompt": "the conversation before the answer",
            "chosen": "the preferred answer, one turn",
            "rejected": "the other answer, one turn",
        },
    ),
    "argilla": PairSchema(
        columns=_argilla,
        splits=("train", "test"),
        overall_first=False,
        meaning={
            "source": "where the prompt is from",
            "prompt": _LAST,
            "chosen": _CHOSEN,
            "chosen-rating": "score of the chosen answer",
            "chosen-model": "who wrote the chosen answer",
            "rejected": _REJECTED,
            "rejected-rating": "score of the rejected answer",
            "rejected-model": "who wrote the rejected answer",
        },
        scored=("chosen-rating", "rejected-rating"),
    ),
    "h4": PairSchema(
        columns=_h4,
        splits=("train_prefs", "test_prefs"),
        overall_first=True,
        meaning={
            "prompt": _LAST,
            "prompt_id": "SHA-256 of `prompt`",
            "chosen": _CHOSEN,
            "rejected": _REJECTED,
            "messages": "the same as `chosen`, for supervised training",
            "score_chosen": "score of the chosen answer",
            "score_rejected": "score of the rejected answer",
        },
        scored=("score_chosen", "score_rejected"),
    ),
}
