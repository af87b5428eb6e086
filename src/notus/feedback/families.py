"""Prompts whose answers can be checked: families of wordings times cases.

    FAMILIES[name] = wordings + cases(split)      a case = fields of the wording + constraints
    make_prompts("train", per_family=60, seed=0)  -> every family, every wording, balanced

Nothing is shared between the splits: wordings and parameters are disjoint, and a family without
training wordings (`Family.unseen`) exists in the test split only.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from notus.errors import UsageError, explain
from notus.feedback.cases import FORM_CASES, Case, Cases
from notus.feedback.question_wordings import QUESTION_WORDINGS
from notus.feedback.questions import KNOWN_CASES, UNKNOWABLE_CASES
from notus.feedback.topics import Split
from notus.feedback.wordings import WORDINGS


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """Prompts that ask for the same kind of thing."""

    name: str
    aspect: str
    """The aspect that the family is about: instruction_following, truthfulness or honesty."""
    cases: Cases
    """All parameter choices of a split, in a fixed order."""
    wordings: Mapping[Split, Sequence[str]]
    """Format strings over the fields of a case."""

    @property
    def unseen(self) -> bool:
        """Whether the family is kept out of training."""
        return not self.wordings["train"]


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifiablePrompt:
    """One prompt and all that is needed to check an answer to it."""

    messages: list[dict[str, str]]
    """The chat turns, here a single user turn."""
    family: str
    """Key of FAMILIES."""
    metadata: dict[str, Any] = field(hash=False)
    """JSON: family, split, aspect, wording (its id), instruction, constraints, keywords."""


def make_prompts(
    split: Split,
    per_family: int,
    seed: int,
    *,
    per_unseen: int | None = None,
    families: Sequence[str] | None = None,
) -> list[VerifiablePrompt]:
    """Draw `per_family` different prompts of every family of a split.

    A family that is kept out of training gives `per_unseen` (None: as many): alone it needs more
    prompts than one of many for an interval that says anything. `families` names those to draw
    from, None means all.

    Wordings and cases are balanced: no case comes back before all cases were used once, and the
    wording moves on by one from prompt to prompt. A family's draw depends on the seed, the split
    and its own name only, so adding a family changes no other.

    Raises:
        UsageError: the split or a family does not exist, or a family has fewer prompts than asked
            for.
    """
    if split not in ("train", "test"):
        raise UsageError(
            explain(
                found=f"split {split!r}",
                expected='"train" or "test"',
                where="make_prompts",
                remedy="name one of the two",
            )
        )
    unknown = sorted(set(families or ()) - FAMILIES.keys())
    if unknown:
        raise UsageError(
            explain(
                found=f"families {', '.join(unknown)}",
                expected=f"some of {', '.join(FAMILIES)}",
                where="make_prompts",
                remedy="name known families, or leave them out for all",
            )
        )
    found = []
    for family in FAMILIES.values():
        if family.wordings[split] and (families is None or family.name in families):
            count = per_unseen or per_family if family.unseen else per_family
            found += _draw(family, split, count, seed)
    return found


def _draw(family: Family, split: Split, count: int, seed: int) -> list[VerifiablePrompt]:
    all_cases, wordings = family.cases(split), family.wordings[split]
    if not 1 <= count <= len(all_cases) * len(wordings):
        raise UsageError(
            explain(
                found=f"{count} prompts asked of family {family.name!r}",
                expected=f"1 to {len(all_cases) * len(wordings)}: {len(all_cases)} cases in "
                f"{len(wordings)} wordings",
                where=f"make_prompts, split {split!r}",
                remedy="ask for fewer prompts a family",
            )
        )
    digest = hashlib.sha256(f"{seed}/{split}/{family.name}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    case_order = rng.permutation(len(all_cases))
    wording_order = rng.permutation(len(wordings))
    found = []
    for index in range(count):
        lap, place = divmod(index, len(all_cases))
        # Within a lap every case is new; from lap to lap a case's wording moves on by one.
        wording = int(wording_order[(place + lap) % len(wordings)])
        found.append(_prompt(family, split, wording, all_cases[case_order[place]]))
    return found


def _prompt(family: Family, split: Split, wording: int, case: Case) -> VerifiablePrompt:
    instruction = family.wordings[split][wording].format(**case.fields)
    return VerifiablePrompt(
        messages=[{"role": "user", "content": instruction}],
        family=family.name,
        metadata={
            "family": family.name,
            "split": split,
            "aspect": family.aspect,
            "wording": f"{family.name}-{split}-{wording}",
            "instruction": instruction,
            "constraints": [dict(constraint) for constraint in case.constraints],
            "keywords": list(case.keywords),
        },
    )


FAMILIES: dict[str, Family] = {
    name: Family(name=name, aspect=aspect, cases=make, wordings=wordings[name])
    for aspect, group, wordings in (
        ("instruction_following", FORM_CASES, WORDINGS),
        ("truthfulness", KNOWN_CASES, QUESTION_WORDINGS),
        ("honesty", UNKNOWABLE_CASES, QUESTION_WORDINGS),
    )
    for name, make in group.items()
}
