"""Pairs with a conversation of several turns before them, as ShareGPT and LLaMA-Factory write them.

`conversations` holds turns with `from` and `value` up to the user's last one; `chosen` and
`rejected` are one more turn each. A system prompt is a first turn or the field `system`.
"""

from collections.abc import Mapping

from notus.data.formats import pairs
from notus.data.formats.conversations import turns
from notus.data.parsed import Parsed

NAME = "sharegpt"


def recognises(row: Mapping[str, object]) -> bool:
    """Tell whether a row is a pair after `conversations`."""
    return pairs.recognises(row) and isinstance(row.get("conversations"), list)


def parse(row: Mapping[str, object]) -> Parsed:
    """Read one conversation and the two answers to it."""
    return pairs.read_pair(row, name=NAME, prompts=("conversations",), read=turns)
