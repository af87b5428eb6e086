"""Measure one model: its answers to verifiable prompts, its log-probs of held-out preferences."""

from collections.abc import Callable
from typing import Protocol

import polars as pl

from notus.data.prompts import read_prompts
from notus.data.schema import Feedback
from notus.evaluation.preferences import LOGPS_SCHEMA, score_preferences
from notus.evaluation.verifiable import SAMPLES_SCHEMA, answer_prompts
from notus.models import load
from notus.recipe import EvaluateSection


class Heldout(Protocol):
    """Preferences that no model was trained on, and how they were encoded."""

    @property
    def max_length(self) -> int:
        """Longest prompt and completion, in tokens."""
        ...

    @property
    def max_prompt_length(self) -> int:
        """Longest prompt, in tokens."""
        ...

    def read(self) -> tuple[pl.DataFrame, Feedback]:
        """Read the preferences and the tables that their ids point into."""
        ...


def measure(
    recipe: EvaluateSection,
    model: str,
    label: str,
    *,
    heldout: Heldout | None,
    seed: int,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Take all measurements of one model that the recipe asks for.

    Args:
        recipe: What to measure.
        model: The model's folder or name.
        label: What to call it in the tables.
        heldout: Held-out preferences, where there are any.
        seed: Seed of the sampled answers.
        progress: Called with (what, done, total).

    Returns:
        (samples, log-probs), either of them empty when it was not asked for.
    """
    loaded = load(model)
    samples = pl.DataFrame(schema=SAMPLES_SCHEMA)
    logps = pl.DataFrame(schema=LOGPS_SCHEMA)

    def named(what: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(what, done, total) if progress else None

    if recipe.prompts is not None:
        samples = answer_prompts(
            read_prompts(recipe.prompts),
            loaded,
            label=label,
            samples=recipe.samples,
            temperature=recipe.temperature,
            max_new_tokens=recipe.max_new_tokens,
            seed=seed,
            progress=named(f"answers of {label}"),
        )
    if heldout is not None:
        preferences, feedback = heldout.read()
        if not preferences.is_empty():
            logps = score_preferences(
                preferences,
                feedback,
                loaded,
                label=label,
                max_length=heldout.max_length,
                max_prompt_length=heldout.max_prompt_length,
                progress=named(f"held-out preferences of {label}"),
            )
    return samples, logps
