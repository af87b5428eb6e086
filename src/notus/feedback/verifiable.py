"""Checking an answer: pure functions, one a constraint.

    constraints (JSON)  ->  verify(text, constraints)  ->  one Verdict a constraint

A check is a function of the text and its parameters, true when the constraint is met. Blank text
meets nothing: "no commas" is not an achievement of saying nothing, so `verify` fails it everywhere.
Every check has an aspect, the one of UltraFeedback's that it is evidence for: `truthfulness` where
the answer is known, `honesty` where nobody can know it, else `instruction_following`.

The idea of instructions that a program can verify: Zhou et al. 2023, arXiv 2311.07911 (IFEval);
checks, prompts and wording here are our own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from notus.errors import DataError, explain
from notus.feedback import checks
from notus.feedback import text as reading

CheckAspect = Literal["instruction_following", "truthfulness", "honesty"]


class Constraint(TypedDict):
    """One thing asked of an answer, as it is written in a prompt's metadata."""

    check: str
    params: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A checker and the words for its verdicts."""

    test: Callable[..., bool]
    """Takes the text and the parameters by keyword; true when the constraint is met."""
    met: str
    """What a critique says of an answer that meets it ("it ..."), a format string of the params."""
    broken: str
    """What a critique says of an answer that does not."""
    aspect: CheckAspect = "instruction_following"
    """The aspect of UltraFeedback that this check is evidence for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What one check said of one text."""

    check: str
    params: Mapping[str, Any]
    passed: bool
    message: str
    """In words, the subject left out: "uses 14 words or fewer"."""


def verify(text: str, constraints: Sequence[Constraint]) -> list[Verdict]:
    """Check a text against every constraint, in order.

    Raises:
        DataError: a constraint names a check that does not exist, or parameters it does not take.
    """
    return [_verdict(text, constraint) for constraint in constraints]


def _verdict(text: str, constraint: Constraint) -> Verdict:
    name, params = constraint["check"], constraint["params"]
    if name not in CHECKS:
        raise DataError(
            explain(
                found=f"check {name!r}",
                expected=f"one of {', '.join(CHECKS)}",
                where="a prompt's metadata, constraints",
                remedy="rebuild the prompts with this version of notus",
            )
        )
    check = CHECKS[name]
    try:
        passed = bool(reading.words(text)) and check.test(text, **params)
    except (TypeError, KeyError) as error:
        raise DataError(
            explain(
                found=f"parameters {params!r} of check {name!r}: {error}",
                expected="the parameters that the check takes",
                where="a prompt's metadata, constraints",
                remedy="rebuild the prompts with this version of notus",
            )
        ) from error
    shown = {key: _in_words(value) for key, value in params.items()}
    shown["s"] = "" if 1 in (params.get("count"), params.get("limit")) else "s"
    return Verdict(
        check=name,
        params=params,
        passed=passed,
        message=(check.met if passed else check.broken).format(**shown),
    )


def _in_words(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(f'"{item}"' if isinstance(item, str) else str(item) for item in value)
    return str(value)


CHECKS: dict[str, Check] = {
    "max_words": Check(
        test=checks.max_words,
        met="stays within {limit} word{s}",
        broken="runs past the limit of {limit} word{s}",
    ),
    "min_words": Check(
        test=checks.min_words,
        met="says enough",
        broken="says next to nothing",
    ),
    "num_sentences": Check(
        test=checks.num_sentences,
        met="has {count} finished sentence{s}, as asked",
        broken="does not have exactly {count} finished sentence{s}",
    ),
    "max_sentences": Check(
        test=checks.max_sentences,
        met="keeps to {limit} sentence{s}",
        broken="does not end within {limit} sentence{s}",
    ),
    "one_line": Check(
        test=checks.one_line, met="keeps to one line", broken="spreads over several lines"
    ),
    "numbered_list": Check(
        test=checks.numbered_list,
        met="is a clean list numbered 1 to {count}",
        broken="is not a list numbered 1 to {count} and nothing else",
    ),
    "mentions": Check(
        test=checks.mentions,
        met="keeps to the subject",
        broken="never gets to the subject",
    ),
    "includes_words": Check(
        test=checks.includes_words,
        met="uses every required word ({required})",
        broken="leaves out a required word ({required})",
    ),
    "excludes_words": Check(
        test=checks.excludes_words,
        met="avoids the barred word ({barred})",
        broken="uses the barred word ({barred})",
    ),
    "same_words": Check(
        test=checks.same_words,
        met='says exactly "{phrase}"',
        broken='does not say exactly "{phrase}"',
    ),
    "starts_with": Check(
        test=checks.starts_with,
        met='opens with "{phrase}"',
        broken='does not open with "{phrase}"',
    ),
    "ends_with_question": Check(
        test=checks.ends_with_question,
        met="ends with a question mark",
        broken="does not end with a question mark",
    ),
    "ends_with_exclamation": Check(
        test=checks.ends_with_exclamation,
        met="closes with an exclamation mark",
        broken="does not close with an exclamation mark",
    ),
    "letter_case": Check(
        test=checks.letter_case,
        met="is all in {case} case",
        broken="is not all in {case} case",
    ),
    "no_commas": Check(test=checks.no_commas, met="does without commas", broken="uses commas"),
    "quoted": Check(
        test=checks.quoted,
        met="stands inside double quotes",
        broken="is not one text inside double quotes",
    ),
    "answer_number": Check(
        test=checks.answer_number,
        met="arrives at {value}",
        broken="does not arrive at {value}",
        aspect="truthfulness",
    ),
    "first_number": Check(
        test=checks.first_number,
        met="names {value} as the larger",
        broken="does not name {value} as the larger",
        aspect="truthfulness",
    ),
    "last_numbers": Check(
        test=checks.last_numbers,
        met="has the right order ({values})",
        broken="is not in the right order ({values})",
        aspect="truthfulness",
    ),
    "answer_word": Check(
        test=checks.answer_word,
        met="names the right answer ({accepted})",
        broken="does not name the right answer ({accepted})",
        aspect="truthfulness",
    ),
    "admits_unknown": Check(
        test=checks.admits_unknown,
        met="admits that it cannot know",
        broken="does not admit that it cannot know",
        aspect="honesty",
    ),
}
