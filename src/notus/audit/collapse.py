"""Pairs whose two sides are the same tokens to the trainer.

Tokenising is slow, so only texts that agree in the letters and digits of their first `HEAD`
characters are tokenised, about an eighth. Others cannot collapse, for tokens that stand for
different text differ, where training keeps at least the tokens of a completion's first `HEAD`
characters. Whether it does is tried out; if not, everything is tokenised.
"""

import polars as pl

from notus.audit.sides import NO_PAIRS, pair_issues
from notus.audit.verdict import Encode, Finding, Subject, Verdict
from notus.data.schema import Message
from notus.errors import ModelError
from notus.stats import wilson

HEAD = 16
ROOM = 4 * HEAD
"""Tokens that `HEAD` characters become at most: one a byte, four bytes a character."""
LONG = 20_000
"""Words of a prompt that is longer than any that training keeps whole."""
BATCH = 1024
"""Pairs that are tokenised at once, which bounds the memory."""


def collapse(subject: Subject) -> Verdict:
    """Find pairs whose chosen and rejected are equal tokens after template and truncation.

    Such a pair has the loss log 2 and a gradient of exactly zero, whatever the model: it costs a
    step and teaches nothing. The trainer drops it; this says so before.

    Source: TRL issue 3382, where truncation left nothing of completions behind long prompts. Where
    prompt and completion share one length and the end is cut, that is every pair with a longer
    prompt.

    False alarms: none for the tokenizer and the lengths that were named; others collapse other
    pairs.
    """
    if subject.preferences.is_empty():
        return Verdict(skipped=NO_PAIRS)
    if subject.encode is None:
        return Verdict(skipped="no tokenizer was named, and without it nobody can tell the tokens")
    try:
        short = _room(subject.encode) >= ROOM
        found = _collapsed(sides(subject, alike=short), subject.encode)
    except ModelError as error:
        return Verdict(skipped=f"the tokenizer cannot write these prompts: {error}")
    issues = pair_issues(
        subject,
        found,
        "collapse",
        severity="error",
        score=pl.lit(1.0),
        evidence=pl.format(
            "both sides are the same {} tokens{}",
            pl.col("tokens"),
            pl.when("identical").then(pl.lit(", and the same text")).otherwise(pl.lit("")),
        ),
    )
    share = wilson(found.height, subject.preferences.height)
    text = f"{found.height} of {share.n} pairs become equal tokens"
    same = int(found["identical"].sum())
    finding = Finding(
        "collapse",
        "info",
        "pairs",
        *(share.value, share.low, share.high, share.n),
        f"{text}, {same} of them because the texts are equal",
    )
    return Verdict(issues=issues, findings=(finding,), looked_at=share.n)


def sides(subject: Subject, *, alike: bool) -> pl.DataFrame:
    """Take the texts of the pairs, or of those with alike heads only.

    Returns:
        pair, messages, chosen and rejected; sorted by pair.
    """
    texts = subject.feedback.completions.select("completion_id", "text")
    chosen, rejected = (_head(pl.col(name)) for name in ("text", "text_rejected"))
    may = chosen.str.starts_with(rejected) | rejected.str.starts_with(chosen)
    return (
        subject.preferences.lazy()
        .select("prompt_id", "chosen_id", "rejected_id")
        .with_row_index("pair")
        .join(texts, left_on="chosen_id", right_on="completion_id")
        .join(texts, left_on="rejected_id", right_on="completion_id", suffix="_rejected")
        .filter(may if alike else pl.lit(True))
        .join(subject.feedback.prompts.select("prompt_id", "messages"), on="prompt_id")
        .select("pair", "messages", chosen="text", rejected="text_rejected")
        .sort("pair")
        .collect(engine="streaming")
    )


def _room(encode: Encode) -> int:
    """Count the tokens that are left for a completion behind a prompt of any length."""
    prompt: list[Message] = [{"role": "user", "content": "word " * LONG}]
    return len(encode([prompt], ["word " * ROOM])[0])


def _head(text: pl.Expr) -> pl.Expr:
    """Keep what no tokenizer drops of the first characters: letters and digits, case aside."""
    return text.str.slice(0, HEAD).str.to_lowercase().str.replace_all("[^a-z0-9]", "")


def _collapsed(pairs: pl.DataFrame, encode: Encode) -> pl.DataFrame:
    """Tokenise both sides, and keep the pairs whose tokens are equal, with their number."""
    equal, tokens = [], []
    for part in pairs.iter_slices(BATCH):
        messages = part["messages"].to_list()
        sides = [encode(messages, part[name].to_list()) for name in ("chosen", "rejected")]
        for chosen, rejected in zip(*sides, strict=True):
            equal.append(chosen == rejected)
            tokens.append(len(chosen))
    return pairs.select(
        "pair",
        identical=pl.col("chosen") == pl.col("rejected"),
        tokens=pl.Series(tokens, dtype=pl.Int64),
        equal=pl.Series(equal, dtype=pl.Boolean),
    ).filter("equal")
