"""Rows of HH-RLHF: a chosen and a rejected dialogue, each one text with marked turns.

The turns before the last answer must be the same on both sides; they are the prompt. A side whose
answer runs on into a turn of its own making has another history: such a row is refused, because its
answers are not to the same prompt (5 of the 2,312 rows of the harmless test set). So is an empty
answer (4 more). The relatives that write the prompt in a field of its own are read too.
Source: the data set's README and its harmless-base test file.
"""

from collections.abc import Mapping

from notus.data.formats import pairs
from notus.data.formats.conversations import dialogue, is_dialogue
from notus.data.parsed import Parsed

NAME = "hh_rlhf"


def recognises(row: Mapping[str, object]) -> bool:
    """Tell whether a row is a pair with a marked dialogue in it."""
    return pairs.recognises(row) and any(
        is_dialogue(row.get(field)) for field in ("prompt", "chosen")
    )


def parse(row: Mapping[str, object]) -> Parsed:
    """Read one pair of dialogues."""
    return pairs.read_pair(row, name=NAME, prompts=("prompt",), read=dialogue)
