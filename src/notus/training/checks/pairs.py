"""The pairs themselves: cut, empty, identical, repeated, reversed, or told apart by a trifle."""

from collections import Counter
from collections.abc import Iterator

import polars as pl

from notus.stats import wilson
from notus.training.checks.finding import MOST_SHOWN, Finding, Level, quoted, share, shown, texts_of
from notus.training.examples import Pair
from notus.training.prepare import Prepared

CUT_WARNING, CUT_ERROR = 0.10, 0.50
"""Shares of cut completions."""
CUT_APART = 0.10
"""Difference between the sides' shares of cut completions."""
DROPPED_WARNING, DROPPED_ERROR = 0.01, 0.25
"""Shares of pairs that are equal tokens. UltraFeedback loses 2.2 % at 1,024 tokens and 7.8 % at
512."""
SHORT = 2
"""Tokens of a completion, its ending left out, below which a cut has emptied it."""
REPEATED = 0.05
"""Share of pairs that stand there more than once."""
FEW = 50
"""Pairs below which chance alone may reach `TELLING`."""
TELLING = 0.98
"""Share of pairs that a trifle tells apart, from which it is all that there is to learn."""
_LENGTHS = "recipe keys data.max_length and data.max_prompt_length"


def truncation(prepared: Prepared) -> Iterator[Finding]:
    """Count what the two lengths cut, by side.

    An error where half of the completions are cut, or where a cut leaves next to nothing of one; a
    warning over 10 %, or where chosen and rejected are cut differently often (then the ending alone
    tells them apart); a note below.

    Source: trl issues 3382 and 5826 (completions emptied by truncation, NaN loss).
    """
    pairs = prepared.encoded.pairs
    if not pairs:  # ratings are trained on
        return
    counts = {
        "prompts": sum(p.prompt_cut > 0 for p in pairs),
        "chosen": sum(p.chosen_cut > 0 for p in pairs),
        "rejected": sum(p.rejected_cut > 0 for p in pairs),
    }
    cut = (counts["chosen"] + counts["rejected"]) / (2 * len(pairs))
    if any(counts.values()):
        said = ", ".join(f"{name} {share(n, len(pairs))}" for name, n in counts.items())
        longest = max(pairs, key=lambda p: p.chosen_cut + p.rejected_cut)
        yield Finding(
            level=_level(cut, CUT_WARNING, CUT_ERROR),
            found=f"cut: {said}",
            where=_LENGTHS,
            remedy="raise data.max_length (for prompts data.max_prompt_length) if memory allows",
            rows=shown(
                [longest],
                lambda p: (
                    f"lost {p.prompt_cut} tokens of the prompt, {p.chosen_cut} of the chosen "
                    f"and {p.rejected_cut} of the rejected completion"
                ),
            ),
        )
    apart = abs(counts["chosen"] - counts["rejected"]) / len(pairs)
    one, other = (wilson(counts[side], len(pairs)) for side in ("chosen", "rejected"))
    if apart > CUT_APART and (one.low > other.high or other.low > one.high):
        yield Finding(
            level="warning",
            found=f"chosen are cut in {one.value:.0%} and rejected in {other.value:.0%} of the "
            "pairs",
            where=_LENGTHS,
            remedy="raise data.max_length: only what is not cut ends with the end-of-sequence "
            "token, so the model learns from the cut itself",
        )
    yield from _emptied(prepared)


def _emptied(prepared: Prepared) -> Iterator[Finding]:
    def left(pair: Pair) -> int:
        sides = ((pair.chosen_ids, pair.chosen_cut), (pair.rejected_ids, pair.rejected_cut))
        return min((len(ids) for ids, cut in sides if cut), default=SHORT)

    emptied = [pair for pair in prepared.encoded.pairs if left(pair) < SHORT]
    if emptied:
        yield Finding(
            level="error",
            found=f"truncation leaves one token of a completion in "
            f"{share(len(emptied), len(prepared.encoded.pairs))} pairs",
            where=_LENGTHS,
            remedy="keep data.max_prompt_length well below data.max_length",
            rows=shown(
                emptied,
                lambda p: (
                    f"{len(p.prompt_ids)} prompt tokens, {len(p.chosen_ids)} chosen, "
                    f"{len(p.rejected_ids)} rejected"
                ),
            ),
        )


def identical(prepared: Prepared) -> Iterator[Finding]:
    """Count the pairs whose two sides became the same tokens, and those that read the same.

    The first are dropped: their gradient is zero. An error where that is more than a quarter of all
    pairs, a warning over 1 %.

    Source: trl issue 3382; arXiv 2409.17431 (ties in plain DPO).
    """
    dropped, total = prepared.encoded.dropped, prepared.preferences.height
    if not dropped.is_empty():
        part = dropped.height / total
        yield Finding(
            level=_level(part, DROPPED_WARNING, DROPPED_ERROR),
            found=f"{share(dropped.height, total)} pairs are dropped: "
            + "; ".join(f"{n} {reason}" for reason, n in dropped["reason"].value_counts().rows()),
            where="dropped.parquet of the training",
            remedy="raise data.max_length if truncation made them equal; otherwise drop ties when "
            "binarizing",
            rows=tuple(f"prompt {name}" for name in dropped["prompt_id"].head(MOST_SHOWN)),
        )
    rows = texts_of(prepared, prepared.split.train)
    same = rows.filter(_folded("chosen") == _folded("rejected"))
    if not same.is_empty():
        yield Finding(
            level="error" if same.height > DROPPED_ERROR * rows.height else "warning",
            found=f"{share(same.height, rows.height)} pairs differ in case or white space only",
            where="chosen and rejected texts",
            remedy="leave them out: they teach layout, and nothing of what was rated",
            rows=tuple(
                f"{row['preference_id'][:12]}: {quoted(row['chosen'])} over "
                f"{quoted(row['rejected'])}"
                for row in same.head(MOST_SHOWN).iter_rows(named=True)
            ),
        )


def empty(prepared: Prepared) -> Iterator[Finding]:
    """Look for prompts whose user says nothing, and for answers without a letter or digit.

    An error where that is more than 1 % of the pairs, else a warning. (Answers of white space alone
    are refused when they are read.)

    Source: trl issue 3382 (empty completions, NaN loss).
    """
    rows = texts_of(prepared, prepared.split.train).with_columns(
        prompt=pl.col("messages").list.last().struct.field("content")
    )
    blank = pl.any_horizontal(
        ~pl.col(name).str.contains(r"[\p{L}\p{N}\p{S}]")
        for name in ("prompt", "chosen", "rejected")
    )
    found = rows.filter(blank)
    if not found.is_empty():
        yield Finding(
            level="error" if found.height > 0.01 * rows.height else "warning",
            found=f"{share(found.height, rows.height)} pairs have a prompt or an answer that says "
            "nothing",
            where="last turn of the prompt, chosen and rejected texts",
            remedy="leave these rows out of the feedback",
            rows=tuple(
                f"{row['preference_id'][:12]}: prompt {quoted(row['prompt'][-30:])}, chosen "
                f"{quoted(row['chosen'][:30])}, rejected {quoted(row['rejected'][:30])}"
                for row in found.head(MOST_SHOWN).iter_rows(named=True)
            ),
        )


def repeated(prepared: Prepared) -> Iterator[Finding]:
    """Look for pairs that stand there more than once, and for pairs that contradict each other.

    Pairs are compared by their tokens. An error where more than 5 % contradict: the gradients of
    the two cancel. Else a warning; for mere repetitions, which weigh double, a warning over 5 % and
    a note below.

    Source: arXiv 2404.09824 (10 points of wrong labels can cost 30 points of win rate).
    """
    pairs = prepared.split.train
    sides = {p.preference_id: _sides(p) for p in pairs}
    counts = Counter(sides.values())
    again = [p for p in pairs if counts[sides[p.preference_id]] > 1]
    extra = sum(n - 1 for n in counts.values())
    if again:
        yield Finding(
            level="warning" if extra > REPEATED * len(pairs) else "note",
            found=f"{share(extra, len(pairs))} pairs repeat another one token by token",
            where="preferences after template and truncation",
            remedy="leave them out, or see that they are meant to weigh more",
            rows=shown(again, lambda p: f"{counts[sides[p.preference_id]]} times"),
        )
    reverse = [p for p in pairs if _reversed(sides[p.preference_id]) in counts]
    if reverse:
        yield Finding(
            level="error" if len(reverse) > REPEATED * len(pairs) else "warning",
            found=f"{share(len(reverse), len(pairs))} pairs stand there the other way round, too",
            where="preferences after template and truncation",
            remedy="decide which is right (`notus audit` lists them as contradiction), or leave "
            "both out",
            rows=tuple(_both_ways(prepared, reverse)),
        )


def _sides(pair: Pair) -> tuple[tuple[int, ...], ...]:
    return tuple(pair.prompt_ids), tuple(pair.chosen_ids), tuple(pair.rejected_ids)


def _reversed(sides: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    prompt, chosen, rejected = sides
    return prompt, rejected, chosen


def _both_ways(prepared: Prepared, pairs: list[Pair]) -> Iterator[str]:
    for row in texts_of(prepared, pairs[:MOST_SHOWN]).iter_rows(named=True):
        yield (
            f"{row['preference_id'][:12]}: {quoted(row['messages'][-1]['content'][:50])}: chosen "
            f"{quoted(row['chosen'][:30])} over {quoted(row['rejected'][:30])}, and the reverse"
        )


def shortcuts(prepared: Prepared) -> Iterator[Finding]:
    """See whether a trifle tells chosen from rejected in nearly every pair.

    Length, the first token, or whether the answer was cut: where one of them is right in 98 % of 50
    or more pairs, that is all the model needs to learn. A warning.

    Source: alignment-handbook issue 188 (worse than SFT, and longer); arXiv 2310.03716 (a long way
    to go: length in RLHF).
    """
    pairs = prepared.split.train
    if len(pairs) < FEW:
        return
    opens = Counter(p.chosen_ids[0] for p in pairs).most_common(1)[0][0]
    opens_rejected = Counter(p.rejected_ids[0] for p in pairs).most_common(1)[0][0]
    apart = {
        "the longer answer is chosen": [len(p.chosen_ids) - len(p.rejected_ids) for p in pairs],
        "the shorter answer is chosen": [len(p.rejected_ids) - len(p.chosen_ids) for p in pairs],
        "the answer that was not cut is chosen": [
            (p.rejected_cut > 0) - (p.chosen_cut > 0) for p in pairs
        ],
        "only the chosen answer opens with one and the same token": [
            (p.chosen_ids[0] == opens) - (p.rejected_ids[0] == opens) for p in pairs
        ],
        "only the rejected answer opens with one and the same token": [
            (p.rejected_ids[0] == opens_rejected) - (p.chosen_ids[0] == opens_rejected)
            for p in pairs
        ],
    }
    for what, values in apart.items():
        right = sum(value > 0 for value in values)
        if right >= TELLING * len(pairs):
            yield Finding(
                level="warning",
                found=f"{what} in {share(right, len(pairs))} pairs",
                where="completions after template and truncation",
                remedy="see how the pairs were made; `notus audit` shows length and position bias",
            )


def _level(part: float, warning: float, error: float) -> Level:
    return "error" if part > error else "warning" if part > warning else "note"


def _folded(name: str) -> pl.Expr:
    return pl.col(name).str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
