"""The kinds of faults: what is planted, how much of it, and which rule must catch it."""

from typing import Literal, NamedTuple

from faults import plant_pairs, plant_ratings, plant_texts
from faults.plant import Planter

REFUSED = "ingest"
"""Stands for a rule where the reader itself must refuse the item, with a reason."""


class Fault(NamedTuple):
    """One kind of fault."""

    plant: Planter
    rules: tuple[str, ...]
    """Rules of which any counts as having caught it."""
    share: float
    """Of the completions, or the rows, that are spoiled."""
    form: Literal["ultrafeedback", "pairs"] = "ultrafeedback"
    shown: Literal["items", "finding", "shift"] = "items"
    """How it shows: issues about the items; a finding that is a warning or an error; or a finding
    whose 95 % interval has no value in common with that of the same data without the fault."""
    strategy: str = "argilla-v1"
    """The specification whose preferences are audited; pairs state theirs themselves."""
    rater: str | None = None
    """Whose ratings make the preferences; None: everybody's."""
    severity: Literal["info", "warning", "error"] = "warning"
    """The least that an issue or a finding must be to count."""

    @property
    def what(self) -> str:
        """The fault in one line."""
        return (self.plant.__doc__ or "").splitlines()[0]


FAULTS: dict[str, Fault] = {
    "ten_flip": Fault(plant_ratings.ten_flip, ("score_conflict",), 0.0075, severity="error"),
    "decimal_flip": Fault(
        plant_ratings.decimal_flip, ("score_conflict", "critique_conflict"), 0.0075
    ),
    "critique_swap": Fault(plant_ratings.critique_swap, ("critique_conflict",), 0.02),
    "pile_up": Fault(plant_ratings.pile_up, ("pile_up",), 0.06, shown="finding"),
    "unparsable_as_one": Fault(
        plant_ratings.unparsable_as_one, ("pile_up",), 0.03, shown="finding"
    ),
    "na_as_minus_one": Fault(plant_ratings.na_as_minus_one, ("scale",), 0.05),
    "out_of_scale": Fault(plant_ratings.out_of_scale, ("scale",), 0.02),
    "fractional_rating": Fault(plant_ratings.fractional_rating, ("scale",), 0.02),
    "missing_aspect": Fault(plant_ratings.missing_aspect, ("arity",), 0.02),
    "lone_completion": Fault(plant_texts.lone_completion, ("arity",), 0.02),
    "blank_text": Fault(plant_texts.blank_text, (REFUSED,), 0.02),
    "shifted_completions": Fault(plant_texts.shifted_completions, ("alignment",), 0.05),
    "identical_answers": Fault(plant_texts.identical_answers, ("identical",), 0.02),
    "prompt_leak": Fault(plant_texts.prompt_leak, ("prompt_leak",), 0.05),
    "scrambled_scores": Fault(plant_ratings.scrambled_scores, ("flip",), 0.3, shown="shift"),
    "position_bias": Fault(plant_ratings.position_bias, ("position",), 0.5, shown="finding"),
    "self_preference": Fault(
        plant_ratings.self_preference, ("self_preference",), 1.0, shown="finding"
    ),
    "judge_disagreement": Fault(
        plant_ratings.judge_disagreement, ("rm_vote",), 0.1, rater="ultrafeedback"
    ),
    # Nothing is planted in the rows: the fault is in how h4-v1 draws.
    "rejected_index": Fault(
        plant_ratings.nothing,
        ("rejected_index",),
        0.0,
        shown="finding",
        strategy="h4-v1",
    ),
    # Copies that are not quite the same are no more than info: templates make them, too.
    "near_duplicate_prompts": Fault(
        plant_texts.near_duplicate_prompts, ("near_dup",), 0.02, severity="info"
    ),
    "contamination": Fault(plant_texts.contamination, ("contamination",), 0.02),
    "tie_kept": Fault(plant_pairs.tie_kept, ("tie",), 0.05, form="pairs"),
    "inverted_pair": Fault(plant_pairs.inverted_pair, ("inversion",), 0.05, form="pairs"),
    "identical_pair": Fault(plant_pairs.identical_pair, ("identical",), 0.02, form="pairs"),
    "self_pair": Fault(plant_pairs.self_pair, ("arity",), 0.02, form="pairs"),
    "contradiction": Fault(plant_pairs.contradiction, ("contradiction",), 0.02, form="pairs"),
    "truncation_collapse": Fault(
        plant_pairs.truncation_collapse, ("collapse",), 0.02, form="pairs"
    ),
    "model_bias": Fault(
        plant_pairs.model_bias, ("model_bias",), 0.5, form="pairs", shown="finding"
    ),
    "length_bias": Fault(plant_pairs.length_bias, ("length",), 0.6, form="pairs", shown="finding"),
    "label_noise": Fault(plant_pairs.label_noise, ("confident",), 0.1, form="pairs"),
}
