"""Prompts that stand on both sides: in training and held out, or in training and the evaluation."""

from collections.abc import Iterator, Sequence

import polars as pl

from notus.audit.near_duplicates import near_duplicates
from notus.audit.tokens import user_turns
from notus.data.prompts import read_prompts
from notus.data.schema import Message
from notus.training.checks.finding import MOST_SHOWN, Finding, quoted, share
from notus.training.checks.sample import sides
from notus.training.examples import Example
from notus.training.prepare import Prepared

MANY_COPIES = 0.01
"""Share of a side's prompts that stand in training word for word, from which it measures memory."""
MANY_LIKE = 0.10
"""The same for prompts that nearly do."""


def heldout_leakage(prepared: Prepared) -> Iterator[Finding]:
    """Look for held-out prompts that repeat a training prompt, word for word or nearly.

    The split keeps equal prompts together; this finds those that differ in case, layout, a system
    turn or a few words (word 5-grams of the user's turns, Jaccard at least 0.8). An error where
    more than 1 % are copies, a warning for a copy or more than 10 % near ones, a note below.

    Source: open-instruct issue 1448, arXiv 2411.15124 (Tulu 3, section 3.2: decontamination).
    """
    both = sides(prepared)
    yield from _leaks(
        _turns(prepared, both.train),
        _turns(prepared, both.heldout),
        what="held-out prompts",
        remedy="drop one of each two (`notus audit` lists them as near_dup), or hold out a file of "
        "its own (data.heldout)",
    )


def evaluation_leakage(prepared: Prepared) -> Iterator[Finding]:
    """Look for the recipe's evaluation prompts among the training prompts.

    Levels as for held-out prompts.

    Source: arXiv 2411.15124 (Tulu 3, section 3.2: decontamination).
    """
    path = prepared.recipe.evaluate.prompts
    if path is None:
        return
    asked = read_prompts(path).select("prompt_id", "messages")
    rows = [(f"evaluation {name}", _user_text(turns)) for name, turns in asked.iter_rows()]
    yield from _leaks(
        _turns(prepared, sides(prepared).train),
        pl.DataFrame(rows, schema={"prompt_id": pl.String, "text": pl.String}, orient="row"),
        what=f"evaluation prompts of {path.name}",
        remedy="leave these prompts out of the feedback (binarize.against), or evaluate on others",
    )


def _leaks(
    training: pl.DataFrame, other: pl.DataFrame, *, what: str, remedy: str
) -> Iterator[Finding]:
    """Judge which prompts of `other` repeat one of `training`; both (prompt_id, text)."""
    if other.is_empty():
        return
    both = pl.concat([training, other])
    seen = set(training["prompt_id"])
    earlier = {a: (b, j) for a, b, j in near_duplicates(both).iter_rows() if a not in seen}
    texts = dict(both.select("prompt_id", "text").iter_rows())
    found = []
    for name in earlier:
        # An earlier prompt of the same side may repeat a training prompt itself.
        at, jaccard = earlier[name]
        while at not in seen and at in earlier:
            jaccard = min(jaccard, earlier[at][1])
            at = earlier[at][0]
        if at in seen:
            found.append((name, at, jaccard))
    copies = [row for row in found if row[2] == 1]
    total = other["prompt_id"].n_unique()
    for rows, level, how in (
        (copies, "error" if len(copies) > MANY_COPIES * total else "warning", "word for word"),
        (
            [row for row in found if row[2] < 1],
            "warning" if len(found) - len(copies) > MANY_LIKE * total else "note",
            "but for a few words",
        ),
    ):
        if rows:
            yield Finding(
                level=level,  # type: ignore[arg-type]
                found=f"{share(len(rows), total)} {what} stand in training {how}",
                where="user turns of the prompts",
                remedy=remedy,
                rows=tuple(
                    f"{name[:24]}: {quoted(texts[name])} as {at[:12]}: {quoted(texts[at])}"
                    for name, at, _ in rows[:MOST_SHOWN]
                ),
            )


def _turns(prepared: Prepared, examples: Sequence[Example]) -> pl.DataFrame:
    wanted = {example.prompt_id for example in examples}
    return user_turns(prepared.feedback).filter(pl.col("prompt_id").is_in(wanted))


def _user_text(messages: Sequence[Message]) -> str:
    return "\n".join(turn["content"] for turn in messages if turn["role"] == "user")
