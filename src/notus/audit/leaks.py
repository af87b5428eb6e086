"""The rule over traces of hidden system prompts in answers.

UltraFeedback's models were given a hidden note ("express your confidence ...") that neither the
prompt nor the training data shows. A model trained on such answers learns to append what nobody
asked for; and if one side of the pairs has more of it, preference learning teaches just that.
"""

import json

import polars as pl

from notus.audit.verdict import Finding, Subject, Verdict, make_issues
from notus.data.schema import Feedback
from notus.stats import mcnemar_exact, wilson

NOTE_FIELDS = ("custom_system_prompt", "hidden_system_prompt")
"""Keys of a completion's metadata that hold the hidden note."""
COPIED_WORDS = 8
"""Consecutive words of a note that are no chance."""
MOST_NOTES = 500
"""Notes that are looked for, the most frequent first; UltraFeedback has 45."""
STATED = "confidence that the prompt did not ask for"
COPIED = "words of the hidden note"
SURE = 0.01
"""Value of p from which the two sides are said to differ."""
SHOWN = 100

# What a confident answer ends with, as a line of its own or in its last words.
_STATED = (
    r"confidence(?: level| score| rating)?(?: (?:in|for|of) (?:my|this|the) \w+)?[^\w.!?]{0,4}"
)
_PER_CENT = r"(?:(?:is|of|at)\W+)?(?:about |around )?\d{1,3}(?:\.\d+)?\s*%"
_LINE = rf"(?im)^\W*(?:my )?{_STATED}{_PER_CENT}"
_TAIL = rf"(?i)\b{_STATED}{_PER_CENT}"
_TAIL_CHARACTERS = 200
_SPOKEN = r"(?i)\bverbali[sz]\w+ (?:my |its |the )?confidence"
_ASKED = r"(?i)\bconfidence\b|\bhow (?:sure|certain|confident)\b|\bcalibrat"


def prompt_leak(subject: Subject) -> Verdict:
    """Find answers with a trace of a hidden system prompt, of which the prompt knows nothing.

    A trace is a confidence in per cent at the end or on a line of its own ("Confidence: 85%"), a
    word on verbalizing confidence, or `COPIED_WORDS` consecutive words of the completion's hidden
    note. What the prompt asks for or has itself is none. Each is a warning that shows it; findings
    give the share of such answers, for preferences by side, with Wilson's interval, and McNemar's
    p over pairs in which one side has a trace.

    Source: openbmb/UltraFeedback, principle "verbalized_calibration"; in 1,000 pairs of the
    binarized set it marks one chosen answer in eleven and one rejected in eighteen.

    False alarms: answers on statistics that end with a confidence level. Copies are searched for
    literally, case and line ends included, and only of the `MOST_NOTES` most frequent notes.
    """
    completions = subject.feedback.completions
    looked_at = int(completions.select(pl.len()).collect(engine="streaming").item())
    if not looked_at:
        return Verdict(skipped="there are no completions; ingest a source first")
    found = _traces(subject.feedback)
    issues = make_issues(
        found.lazy(),
        "prompt_leak",
        severity="warning",
        score=pl.lit(1.0),
        evidence=pl.format(
            '{}: "{}"', pl.col("what"), pl.col("trace").str.replace_all(r"\s+", " ")
        ),
    )
    leaking = found["completion_id"]
    return Verdict(issues=issues, findings=_rates(subject, leaking, looked_at), looked_at=looked_at)


def _traces(feedback: Feedback) -> pl.DataFrame:
    """Collect (completion_id, prompt_id, what, trace), at most one a completion."""
    prompt = pl.col("messages").list.eval(pl.element().struct.field("content")).list.join("\n")
    found = pl.concat([_stated(feedback.completions), *_copied(feedback.completions)])
    repeats = pl.col("prompt").str.contains(pl.col("trace"), literal=True)
    is_stated = pl.col("what") == STATED
    return (
        found.lazy()
        .join(feedback.prompts.select("prompt_id", prompt=prompt), on="prompt_id")
        .filter(pl.when(is_stated).then(~pl.col("prompt").str.contains(_ASKED)).otherwise(~repeats))
        .select(
            "completion_id",
            "prompt_id",
            "what",
            pl.col("trace").str.strip_chars().str.slice(0, SHOWN),
        )
        .sort("completion_id", "what")
        .unique("completion_id", keep="first", maintain_order=True)
        .collect()
    )


def _stated(completions: pl.LazyFrame) -> pl.DataFrame:
    """Find answers that say how confident they are."""
    text = pl.col("text")
    trace = pl.coalesce(
        text.str.extract(_LINE, 0),
        text.str.tail(_TAIL_CHARACTERS).str.extract(_TAIL, 0),
        text.str.extract(_SPOKEN, 0),
    )
    return (
        # A plain search first: it is ten times as fast.
        completions.filter(text.str.contains("(?i)confidence"))
        .select("completion_id", "prompt_id", what=pl.lit(STATED), trace=trace)
        .drop_nulls("trace")
        .collect(engine="streaming")
    )


def _copied(completions: pl.LazyFrame) -> list[pl.DataFrame]:
    """Find answers that repeat `COPIED_WORDS` words of their own hidden note, note by note."""
    fields = [
        pl.col("metadata").str.extract(rf'"{field}":\s*("(?:[^"\\]|\\.)*")')
        for field in NOTE_FIELDS
    ]
    noted = (
        completions.select("completion_id", "prompt_id", "text", note=pl.coalesce(fields))
        .drop_nulls("note")
        .collect(engine="streaming")
    )
    common = noted.group_by("note").len().sort("len", "note", descending=[True, False])
    noted = noted.join(common.head(MOST_NOTES), on="note", how="semi")
    found = []
    for part in noted.partition_by("note"):
        words = str(json.loads(part["note"][0])).split(" ")
        starts = range(len(words) - COPIED_WORDS + 1)
        stretches = [" ".join(words[start : start + COPIED_WORDS]) for start in starts]
        if stretches:
            pattern = "|".join(map(pl.escape_regex, stretches))
            trace = pl.col("text").str.extract(f"({pattern})")
            found.append(
                part.filter(pl.col("text").str.contains(pattern)).select(
                    "completion_id", "prompt_id", what=pl.lit(COPIED), trace=trace
                )
            )
    return found


def _rates(subject: Subject, leaking: pl.Series, looked_at: int) -> tuple[Finding, ...]:
    pairs = subject.preferences
    if pairs.is_empty():
        return (_rate("completions", leaking.len(), looked_at, "info", ""),)
    chosen, rejected = (
        pairs[side].is_in(leaking.implode()) for side in ("chosen_id", "rejected_id")
    )
    only_chosen, only_rejected = int((chosen & ~rejected).sum()), int((rejected & ~chosen).sum())
    p = mcnemar_exact(only_chosen, only_rejected)
    severity = "warning" if p < SURE else "info"
    why = f"; {only_chosen} pairs only in chosen, {only_rejected} only in rejected, p = {p:.2g}"
    return tuple(
        _rate(side, int(marked.sum()), pairs.height, severity, why)
        for side, marked in (("chosen", chosen), ("rejected", rejected))
    )


def _rate(side: str, number: int, n: int, severity: str, why: str) -> Finding:
    share = wilson(number, n)
    return Finding(
        "prompt_leak",
        severity,
        side,
        round(share.value, 9),
        round(share.low, 9),
        round(share.high, 9),
        n,
        f"{number} of {n} {side} have a trace of a hidden prompt{why}",
    )
