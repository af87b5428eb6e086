"""What a check says: one statement with its evidence, and what to do about it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from notus.chat_template import select_texts
from notus.training.examples import Pair
from notus.training.prepare import Prepared

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
"""error: the training would be wrong or would fail, so it does not start; warning: it is probably
not what was meant; note: good to know."""

MOST_SHOWN = 3
"""Offending rows that a finding shows."""
_WIDTH = 80


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One statement about a training that has not begun."""

    level: Level
    found: str
    """What was found, with the offending values."""
    where: str
    """File, section or row."""
    remedy: str
    rows: tuple[str, ...] = ()
    """Some of the offending rows."""
    rule: str = ""
    """Name of the check, filled in by the preflight."""
    source: str = ""
    """Where people met this, from the check's docstring."""


Check = Callable[[Prepared], Iterable[Finding]]


def share(count: int, total: int) -> str:
    """Write a count as part of a total."""
    return f"{count:,} of {total:,} ({100 * count / max(total, 1):.1f} %)"


def quoted(text: str) -> str:
    """Write foreign text on one short line: control characters escaped, its middle left out."""
    line = ascii(text)
    half = _WIDTH // 2 - 3
    return line if len(line) <= _WIDTH else f"{line[:half]} ... {line[-half:]}"


def token_names(tokenizer: Any, ids: Sequence[int]) -> str:
    """Write token ids with the tokens that they are."""
    known = len(tokenizer)
    names = [tokenizer.convert_ids_to_tokens(i) if i < known else None for i in ids]
    return ", ".join(f"{i} {name!r}" for i, name in zip(ids, names, strict=True))


def shown(pairs: Sequence[Pair], say: Callable[[Pair], str]) -> tuple[str, ...]:
    """Name the first few pairs and say something of each."""
    return tuple(f"{pair.preference_id[:12]}: {say(pair)}" for pair in pairs[:MOST_SHOWN])


def texts_of(prepared: Prepared, pairs: Sequence[Pair]) -> pl.DataFrame:
    """Look up what pairs were made of: preference_id, messages, chosen and rejected texts."""
    ids = [pair.preference_id for pair in pairs]
    wanted = pl.DataFrame({"preference_id": ids}, schema={"preference_id": pl.String})
    rows = prepared.preferences.join(wanted, on="preference_id", how="semi")
    return select_texts(rows, prepared.feedback)
