"""What a binarizer can be told: a score, which completion is chosen, which rejected, and filters.

A specification is one YAML file; those of the published data sets are in `notus/specifications/`.
Everything that changes a preference is a key here, so two data sets can be compared row by row.
"""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

RejectedRule = Literal[
    "random_lower", "random_other", "lowest", "second", "all_lower", "margin", "index_0_or_2"
]


class Part(BaseModel):
    """A part of a specification: frozen, and any unknown key in it is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class Score(Part):
    """How the ratings of a completion become one number."""

    weights: dict[str, PositiveFloat] = Field(min_length=1)
    """Aspect -> weight of the mean. A rating that is N/A or not there has no weight, and is never
    a number."""
    missing: Literal["ignore", "unrated"] = "ignore"
    """What a completion is that lacks one of the aspects: scored by the others, or not rated."""
    rater: str | None = None
    """Take this rater's ratings alone (null: the mean over all)."""
    unit_scale: bool = False
    """Bring every rating to 0..1 by its own scale first, for aspects of different scales."""


class Filters(Part):
    """Which prompts, completions and pairs do not count; each loss is a row of `dropped`."""

    drop_sources: list[str] = []
    """Prompts of these sources, and prompts of other sources that read the same."""
    drop_models: list[str] = []
    """Completions of these models are no candidates."""
    require_models: list[str] = []
    """Only prompts that one of these models has answered (empty: all)."""
    decontaminate: bool = False
    """Prompts that overlap with the evaluation items that binarize is given (`against`)."""
    min_margin: float = Field(default=0.0, ge=0)
    """Pairs whose scores differ by less."""
    max_length_difference: int | None = Field(default=None, ge=0)
    """Pairs whose texts differ by more words (null: none)."""


class Specification(Part):
    """One way to turn ratings into preferences."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The strategy's name in every table."""
    version: int = Field(default=1, ge=1)
    """Counts up when the same name comes to mean something else."""
    note: str = Field(min_length=1)
    """What it stands for, for help and reports."""
    source: str | None = None
    """Where it was published, with the rows it gave there."""
    score: Score
    per: Literal["prompt", "rater"] = "prompt"
    """Choose once a prompt, or once for every rater of it (comparisons hold within one rater)."""
    best_tie: Literal["draw", "first"] = "draw"
    """Which of equally best completions is chosen: a draw, or the first in the source's order."""
    rejected: RejectedRule
    """Which completion is rejected; see `notus.binarize.REJECTED`."""
    margin: float | None = Field(default=None, gt=0)
    """Points that rule `margin` asks for."""
    ties: Literal["drop", "keep"]
    """Whether a pair of equal scores is kept (margin 0)."""
    identical: Literal["drop", "keep"] = "drop"
    """Whether completions that read the same as the chosen one may be rejected."""
    filters: Filters = Filters()
    seed: int = 42
    """Of the draws."""

    @model_validator(mode="after")
    def _margin_fits_the_rule(self) -> Self:
        if (self.rejected == "margin") != (self.margin is not None):
            raise ValueError(
                f"margin {self.margin} with rejected {self.rejected!r}: "
                "the rule 'margin' needs a margin, and no other rule has one"
            )
        return self
