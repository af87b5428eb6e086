"""What one example of a training is: a pair, a vote on one completion, a demonstration.

All three are a prompt with completions behind it: one token tree. The trainer knows no more of them
than the protocol `Example`; what their numbers mean is the objective's affair.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

from notus.scoring.tree import TokenTree


class Example(Protocol):
    """What the trainer packs, weighs and hands to an objective."""

    @property
    def prompt_id(self) -> str:
        """The prompt that it answers."""
        ...

    @property
    def name(self) -> str:
        """The id by which people find it."""
        ...

    @property
    def num_tokens(self) -> int:
        """Tokens of the tree, before completions share any."""
        ...

    @property
    def tree(self) -> TokenTree:
        """Its completions behind its prompt; each example of a training has equally many."""
        ...

    @property
    def mismatched(self) -> TokenTree | None:
        """A completion of another prompt behind this one; scored, never trained on."""
        ...

    @property
    def weight(self) -> float:
        """Share of the step's loss: 1 a pair or vote, its number of tokens a demonstration."""
        ...

    @property
    def targets(self) -> tuple[float, ...]:
        """The constants of its loss, beginning with a reference log-prob a completion."""
        ...


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One preference as tokens, with its reference log-probs."""

    preference_id: str
    prompt_id: str
    source: str = ""
    """Where the prompt comes from."""
    strategy: str = ""
    """What chose between the completions."""
    prompt_ids: list[int]
    """Prompt tokens, shared by both completions."""
    chosen_ids: list[int]
    rejected_ids: list[int]
    reference_chosen: float = math.nan
    """Summed log-prob of the chosen completion under the reference, in nats; NaN: not known."""
    reference_rejected: float = math.nan
    prompt_cut: int = 0
    """Tokens that the prompt lost to max_prompt_length."""
    chosen_cut: int = 0
    """Tokens that the chosen completion lost to max_length."""
    rejected_cut: int = 0
    weight: float = 1.0
    """Share of the step's loss."""

    @property
    def name(self) -> str:
        """The id by which people find it."""
        return self.preference_id

    @property
    def num_tokens(self) -> int:
        """Tokens of the tree, before completions share any."""
        return len(self.prompt_ids) + len(self.chosen_ids) + len(self.rejected_ids)

    @property
    def tree(self) -> TokenTree:
        """The pair as a tree that scores its completions: sequence 0 chosen, 1 rejected."""
        return completion_tree(self.prompt_ids, self.completions)

    @property
    def mismatched(self) -> None:
        """No loss of pairs needs one."""

    @property
    def completions(self) -> list[list[int]]:
        """What the reference scores."""
        return [self.chosen_ids, self.rejected_ids]

    @property
    def targets(self) -> tuple[float, ...]:
        """References and numbers of tokens: the fields of `PairLogps` behind the policy's."""
        tokens = (len(self.chosen_ids), len(self.rejected_ids))
        return (self.reference_chosen, self.reference_rejected, *tokens)

    def with_reference(self, chosen: float, rejected: float) -> Self:
        """The same pair with its reference log-probs."""
        return replace(self, reference_chosen=chosen, reference_rejected=rejected)


@dataclass(frozen=True, kw_only=True)
class Vote:
    """One completion that is desirable or not, with its reference log-prob."""

    completion_id: str = ""
    """Of votes that were cast as ratings, the completion in the feedback."""
    prompt_id: str
    source: str = ""
    """Where the prompt comes from."""
    strategy: str = ""
    """What cast the vote."""
    prompt_ids: list[int]
    completion_ids: list[int]
    desirable: bool
    mismatched_ids: list[int] | None = None
    """A completion of another prompt, for KTO's estimate of the drift."""
    reference: float = math.nan
    """Summed log-prob of the completion under the reference, in nats; NaN: not known."""
    reference_mismatched: float = math.nan
    """The same of the mismatched completion."""
    weight: float = 1.0
    """Share of the step's loss."""

    @property
    def name(self) -> str:
        """The id by which people find it."""
        return self.prompt_id

    @property
    def num_tokens(self) -> int:
        """Tokens that are trained on or read for it."""
        return len(self.prompt_ids) + len(self.completion_ids)

    @property
    def tree(self) -> TokenTree:
        """The vote as a tree of one sequence."""
        return completion_tree(self.prompt_ids, [self.completion_ids])

    @property
    def mismatched(self) -> TokenTree | None:
        """The other prompt's completion behind this prompt."""
        if self.mismatched_ids is None:
            return None
        return completion_tree(self.prompt_ids, [self.mismatched_ids])

    @property
    def completions(self) -> list[list[int]]:
        """What the reference scores."""
        others = [] if self.mismatched_ids is None else [self.mismatched_ids]
        return [self.completion_ids, *others]

    @property
    def targets(self) -> tuple[float, ...]:
        """(reference, number of tokens, 1 if desirable, reference of the mismatched)."""
        tokens, desirable = len(self.completion_ids), float(self.desirable)
        return (self.reference, tokens, desirable, self.reference_mismatched)

    def with_reference(self, own: float, mismatched: float = math.nan) -> Self:
        """The same vote with its reference log-probs."""
        return replace(self, reference=own, reference_mismatched=mismatched)


@dataclass(frozen=True, kw_only=True)
class Demonstration:
    """One completion to imitate."""

    prompt_id: str
    source: str = ""
    """Where the prompt comes from."""
    strategy: str = ""
    """What chose the completion."""
    prompt_ids: list[int]
    completion_ids: list[int]

    @property
    def name(self) -> str:
        """The id by which people find it."""
        return self.prompt_id

    @property
    def num_tokens(self) -> int:
        """Tokens of prompt and completion."""
        return len(self.prompt_ids) + len(self.completion_ids)

    @property
    def tree(self) -> TokenTree:
        """The demonstration as a tree of one sequence."""
        return completion_tree(self.prompt_ids, [self.completion_ids])

    @property
    def mismatched(self) -> None:
        """Nothing is estimated."""

    @property
    def weight(self) -> float:
        """Every token of a step weighs the same."""
        return float(len(self.completion_ids))

    @property
    def targets(self) -> tuple[float, ...]:
        """(number of tokens)."""
        return (self.weight,)


def demonstrations(pairs: Sequence[Pair]) -> list[Demonstration]:
    """Take the distinct chosen completions of pairs, in their order."""
    found: dict[tuple[tuple[int, ...], tuple[int, ...]], Demonstration] = {}
    for pair in pairs:
        demonstration = Demonstration(
            prompt_id=pair.prompt_id,
            source=pair.source,
            strategy=pair.strategy,
            prompt_ids=pair.prompt_ids,
            completion_ids=pair.chosen_ids,
        )
        found.setdefault((tuple(pair.prompt_ids), tuple(pair.chosen_ids)), demonstration)
    return list(found.values())


def completion_tree(prompt_ids: list[int], completions: list[list[int]]) -> TokenTree:
    """One prompt and its completions as a tree that scores the completions alone."""
    sequences = [[*prompt_ids, *completion] for completion in completions]
    return TokenTree.from_sequences(sequences, [len(prompt_ids)] * len(sequences))
