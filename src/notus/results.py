"""The rows of results.json: one number of one model, and the same items under two models."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

MODES = ("greedy", "sampled")
UNSEEN = "unseen:"

Part = Literal["overall", "families", "unseen"]
PARTS: tuple[Part, ...] = ("overall", "families", "unseen")


class Row(BaseModel):
    """What every row of results.json says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    benchmark: str
    metric: str
    mode: str | None = None
    """greedy or sampled; None where nothing was generated."""
    family: str | None = None
    """None: all families that training saw; "unseen:NAME": one that it never saw."""
    n: int
    """Number of items."""

    @property
    def part(self) -> Part:
        """Which part of the results this row belongs to; the main number is "overall"."""
        if self.family is None:
            return "overall"
        return "unseen" if self.family.startswith(UNSEEN) else "families"

    @property
    def label(self) -> str:
        """The family in words."""
        return (self.family or "all families").removeprefix(UNSEEN).replace("_", " ")


class Result(Row):
    """One number of one model, as a share of 1, with its 95 % interval."""

    model: str
    value: float
    standard_error: float
    low: float
    high: float


class Paired(Row):
    """The tuned model against its base on the same items, as shares of 1."""

    base: float
    tuned: float
    difference: float
    low: float
    high: float
    p_value: float | None = None
    """Exact McNemar test; None where an item's outcome is not 0 or 1."""
    gained: int
    lost: int
    num_clusters: int
    """Independent groups of items that the bootstrap resampled."""
    verdict: str
