"""Evaluation items that feedback is compared with: read and looked for by audit and binarize."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from notus.audit.overlap import overlaps
from notus.audit.tokens import user_turns
from notus.data.evaluation_items import read_items
from notus.data.schema import Feedback
from notus.store import digest_path


class Compared(NamedTuple):
    """What the feedback was compared with, and what was found."""

    items: pl.DataFrame
    """benchmark, item and text."""
    refused: pl.DataFrame
    """Table `REFUSED`: what no item could be read from."""
    overlaps: pl.DataFrame
    """Columns of `notus.audit.overlap.OVERLAPS`."""

    def facts(self) -> dict[str, object]:
        """Counts, for a summary."""
        sets = self.items.group_by("benchmark").len().sort("benchmark")
        return {
            "items": dict(sets.iter_rows()),
            "refused": self.refused.height,
            "overlaps": self.overlaps.height,
            "prompts": self.overlaps["prompt_id"].n_unique(),
        }


def input_digests(against: Sequence[Path]) -> dict[str, str]:
    """Digests of the files, as inputs of a stage."""
    return {
        f"against {number}: {path.name}": digest_path(path)
        for number, path in enumerate(against, start=1)
    }


def compare_with(feedback: Feedback, against: Sequence[Path]) -> Compared:
    """Look for the evaluation items of some files in the prompts' user turns.

    Raises:
        DataError: a file that cannot be read as items.
    """
    read = read_items(against)
    return Compared(read.items, read.refused, overlaps(user_turns(feedback), read.items))
