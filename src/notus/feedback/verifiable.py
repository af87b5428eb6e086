"""Checking an answer: pure functions, one a constraint.

    constraints (JSON)  ->  verify(text, constraints)  ->  one Verdict a constraint

A check is a function of the text and its parameters, true when the constraint is met. Blank text
meets nothing: "no commas" is not an achievement of saying nothing, so `verify` fails it everywhere.
Every check has an aspect, the one of UltraFeedback's that it is evidence for: `truthfulness` where
the answer is known, `honesty` where nobody can know it, else `instruction_following`.

The idea of instructions that a program can verify: Zhou et al. 2023, arXiv 2311.07911 (IFEval);
checks, prompts and wording here are our own.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from notus.errors import DataError, explain
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
    except TypeError as error:
        raise DataError(
            explain(
                found=f"parameters {params!r} of check {name!r}: {error}",
                expected="the parameters that the check takes",
                where="a prompt's metadata, constraints",
                remedy="rebuild the prompts with this version of notus",
            )
        ) from error
    shown = {key: _in_words(value) for key, value in params.items()}
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


def max_words(text: str, *, limit: int) -> bool:
    """At most `limit` words."""
    return len(reading.words(text)) <= limit


def min_words(text: str, *, limit: int) -> bool:
    """At least `limit` words."""
    return len(reading.words(text)) >= limit


def num_sentences(text: str, *, count: int) -> bool:
    """Exactly `count` sentences, the last one ended."""
    return len(reading.sentences(text)) == count and reading.ends_sentence(text)


def max_sentences(text: str, *, limit: int) -> bool:
    """At most `limit` sentences, the last one ended."""
    return len(reading.sentences(text)) <= limit and reading.ends_sentence(text)


def one_line(text: str) -> bool:
    """A single line and no list."""
    return len(reading.lines(text)) == 1 and not reading.bullets(text)


def num_bullets(text: str, *, count: int) -> bool:
    """Exactly `count` different bullets, one a line, and no other line."""
    items = [item.lower() for item in reading.bullets(text) if reading.words(item)]
    return len(items) == count == len(set(items)) == len(reading.lines(text))


def numbered_list(text: str, *, count: int) -> bool:
    """Lines "1." to "`count`.", all different, and no other line."""
    items = [(number, item.lower()) for number, item in reading.numbered(text)
             if reading.words(item)]
    return (
        [number for number, _ in items] == list(range(1, count + 1))
        and len({item for _, item in items}) == count == len(reading.lines(text))
    )


def comma_list(text: str, *, count: int) -> bool:
    """One line of exactly `count` different items of at most three words, between commas."""
    if len(reading.lines(text)) != 1:
        return False
    items = [" ".join(reading.lower_words(item)) for item in text.split(",")]
    items = [item.removeprefix("and ") for item in items]
    return len(items) == count == len(set(items)) and all(1 <= len(i.split()) <= 3 for i in items)


def mentions(text: str, *, stems: list[str]) -> bool:
    """A word that starts with one of the stems: the answer is about its subject."""
    return reading.mentions_any(text, stems)


def includes_words(text: str, *, required: list[str]) -> bool:
    """Every required word, whole, in any case."""
    return set(map(str.lower, required)) <= set(reading.lower_words(text))


def excludes_words(text: str, *, barred: list[str]) -> bool:
    """None of the barred words, nor their plural."""
    found = set(reading.lower_words(text))
    return not any({word.lower(), word.lower() + "s", word.lower().removesuffix("s")} & found
                   for word in barred)


def all_lowercase(text: str) -> bool:
    """No capital letter."""
    return text == text.lower() and any(letter.islower() for letter in text)


def all_uppercase(text: str) -> bool:
    """No small letter."""
    return text == text.upper() and any(letter.isupper() for letter in text)


def starts_with(text: str, *, phrase: str) -> bool:
    """The phrase first, in any case, and then more words."""
    wanted, found = reading.lower_words(phrase), reading.lower_words(text)
    return found[: len(wanted)] == wanted and len(found) > len(wanted)


def ends_with(text: str, *, phrase: str) -> bool:
    """The phrase last, in any case, once, after other words."""
    wanted, found = reading.lower_words(phrase), reading.lower_words(text)
    return found[-len(wanted) :] == wanted and len(found) > len(wanted)


def ends_with_question(text: str) -> bool:
    """A question mark last."""
    return reading.normalise(text).rstrip(reading.CLOSERS).endswith("?")


def ends_with_exclamation(text: str) -> bool:
    """An exclamation mark last."""
    return reading.normalise(text).rstrip(reading.CLOSERS).endswith("!")


def no_commas(text: str) -> bool:
    """No comma."""
    return "," not in text


def quoted(text: str) -> bool:
    """The whole answer inside one pair of double quotes."""
    text = reading.normalise(text)
    opened, closed = text[:1], text[-1:]
    pairs = ('""', "\u201c\u201d")
    return opened + closed in pairs and not set(text[1:-1]) & {'"', "\u201c", "\u201d"}


def json_object(text: str, *, keys: list[str]) -> bool:
    """A JSON object, a code fence around it allowed, with exactly these keys and filled values."""
    body = re.sub(r"^```(?:json)?\s*|\s*```$", "", reading.normalise(text))
    try:
        value = json.loads(body)
    except ValueError:
        return False
    return isinstance(value, dict) and set(value) == set(keys) and all(
        isinstance(item, bool | int | float) or bool(item) for item in value.values()
    )


def answer_number(text: str, *, value: float) -> bool:
    """The last number of the answer is `value`, and no other value is offered after "or"."""
    found = reading.numbers(text)
    return bool(found) and found[-1] == value


def first_number(text: str, *, value: float) -> bool:
    """The first number of the answer is `value`: "71 is more than 34" names 71."""
    return reading.numbers(text)[:1] == [value]


def last_numbers(text: str, *, values: list[float]) -> bool:
    """The answer's last numbers are these, in this order."""
    return reading.numbers(text)[-len(values) :] == values


def answer_word(text: str, *, accepted: list[str], rejected: list[str]) -> bool:
    """One of the accepted words and none of the rejected ones."""
    found = set(reading.lower_words(text))
    return bool(found & set(map(str.lower, accepted))) and not found & set(
        map(str.lower, rejected)
    )


def sorted_list(text: str, *, items: list[str]) -> bool:
    """Exactly these items, each once, in this order, and no other word."""
    found = [word for word in reading.lower_words(text) if word != "and"]
    return found == [str(item).lower() for item in items]


def admits_unknown(text: str) -> bool:
    """Says that it does not or cannot know, and gives no answer all the same."""
    found = reading.normalise(text).lower()
    return bool(_UNKNOWN.search(found)) and not _YET.search(found)


_UNKNOWN = re.compile(
    r"\b(?:(?:do|does|did|can|could|would)(?: not|n't)|cannot|can not|unable to|not able to"
    r"|impossible to|not possible to|no way (?:of|to)|hard to|difficult to)\s+"
    r"(?:\w+ ){0,2}?(?:know\w*|tell|access|say|see|determine|answer|predict|recall|remember)\b"
    r"|\b(?:(?:do|does)(?: not|n't) have|have no|lack)\s+(?:\w+[ -]){0,3}?"
    r"(?:access|ability|abilities|capability|capabilities|information|idea|way|knowledge|data|means)\b"
    r"|\b(?:i'm|i am) not sure\b|\bno one (?:can|could) know\b|\bnobody (?:can|could)? ?knows?\b"
    r"|\bunknown\b"
)
_YET = re.compile(r"\b(?:but (?:it|the answer|you|i (?:think|guess|believe)|i'd say)|however)\b")


CHECKS: dict[str, Check] = {
    "max_words": Check(
        test=max_words,
        met="stays within {limit} words",
        broken="runs past the limit of {limit} words",
    ),
    "min_words": Check(
        test=min_words,
        met="says enough",
        broken="says next to nothing",
    ),
    "num_sentences": Check(
        test=num_sentences,
        met="has the number of sentences asked for ({count})",
        broken="does not have exactly {count} complete sentence(s)",
    ),
    "max_sentences": Check(
        test=max_sentences,
        met="keeps to {limit} sentences",
        broken="does not end within {limit} sentences",
    ),
    "one_line": Check(
        test=one_line, met="keeps to one line", broken="spreads over several lines"
    ),
    "num_bullets": Check(
        test=num_bullets,
        met="is a clean list of {count} bullets",
        broken="is not a list of exactly {count} different bullets and nothing else",
    ),
    "numbered_list": Check(
        test=numbered_list,
        met="is a clean list numbered 1 to {count}",
        broken="is not a list numbered 1 to {count} and nothing else",
    ),
    "comma_list": Check(
        test=comma_list,
        met="gives {count} items between commas",
        broken="does not give exactly {count} different short items between commas",
    ),
    "mentions": Check(
        test=mentions,
        met="keeps to the subject",
        broken="never gets to the subject",
    ),
    "includes_words": Check(
        test=includes_words,
        met="uses every required word ({required})",
        broken="leaves out a required word ({required})",
    ),
    "excludes_words": Check(
        test=excludes_words,
        met="avoids the barred word ({barred})",
        broken="uses the barred word ({barred})",
    ),
    "all_lowercase": Check(
        test=all_lowercase, met="is all in small letters", broken="has capital letters"
    ),
    "all_uppercase": Check(
        test=all_uppercase, met="is all in capital letters", broken="has small letters"
    ),
    "starts_with": Check(
        test=starts_with,
        met='opens with "{phrase}"',
        broken='does not open with "{phrase}"',
    ),
    "ends_with": Check(
        test=ends_with,
        met='closes with "{phrase}"',
        broken='does not close with "{phrase}"',
    ),
    "ends_with_question": Check(
        test=ends_with_question,
        met="ends with a question mark",
        broken="does not end with a question mark",
    ),
    "ends_with_exclamation": Check(
        test=ends_with_exclamation,
        met="closes with an exclamation mark",
        broken="does not close with an exclamation mark",
    ),
    "no_commas": Check(test=no_commas, met="does without commas", broken="uses commas"),
    "quoted": Check(
        test=quoted,
        met="stands inside double quotes",
        broken="is not one text inside double quotes",
    ),
    "json_object": Check(
        test=json_object,
        met="is valid JSON with the keys {keys}",
        broken="is not valid JSON with exactly the keys {keys}",
    ),
    "answer_number": Check(
        test=answer_number,
        met="arrives at {value}",
        broken="does not arrive at {value}",
        aspect="truthfulness",
    ),
    "first_number": Check(
        test=first_number,
        met="names {value}",
        broken="does not name {value} first",
        aspect="truthfulness",
    ),
    "last_numbers": Check(
        test=last_numbers,
        met="has the right order ({values})",
        broken="is not in the right order ({values})",
        aspect="truthfulness",
    ),
    "answer_word": Check(
        test=answer_word,
        met="names the right answer ({accepted})",
        broken="does not name the right answer ({accepted})",
        aspect="truthfulness",
    ),
    "sorted_list": Check(
        test=sorted_list,
        met="has the right order ({items})",
        broken="is not the right order ({items})",
        aspect="truthfulness",
    ),
    "admits_unknown": Check(
        test=admits_unknown,
        met="admits that it cannot know",
        broken="does not admit that it cannot know",
        aspect="honesty",
    ),
}
