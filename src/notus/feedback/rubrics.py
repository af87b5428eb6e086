"""Ratings and a critique from checks: UltraFeedback's four aspects and an overall score.

    text, finished, metadata -> verify() -> Evidence -> rating an aspect, overall score, critique

Everything is computed from the same evidence, so it can be recomputed by hand:

- instruction_following: 1 + floor(4 * share of constraints met);
- truthfulness (where the answer is known) and honesty (where nobody can know it): 5 when all checks
  of that aspect pass, 1 when none does, between by share; None (N/A) where a prompt has no such
  check;
- helpfulness: 1 for a degenerate answer, else 1, plus 2 for being on the subject, plus 1 for being
  finished, plus 1 for meeting every constraint;
- overall: a holistic 1..10 in steps of 0.5 (`overall_score`), not a mean of the others: whether the
  answer can be used as it is weighs most. 1.0 is kept for answers that fail badly.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from notus.feedback import text as reading
from notus.feedback.critiques import write_critique
from notus.feedback.verifiable import CHECKS, Verdict, verify


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """All that the ratings are computed from."""

    verdicts: Sequence[Verdict]
    finished: bool
    """The model ended the answer itself."""
    on_topic: bool
    """A keyword occurs, or the prompt has none."""
    defect: str | None
    """Why the text is no answer at all ("is empty"), None when it is one."""
    polish: float
    """Share of POLISH that the text has, 0..1."""

    @property
    def share(self) -> float:
        """Share of constraints met, 0..1."""
        return sum(verdict.passed for verdict in self.verdicts) / len(self.verdicts)

    def share_of(self, aspect: str) -> float | None:
        """Share met of the checks that are evidence for one aspect; None where there are none."""
        found = [v.passed for v in self.verdicts if CHECKS[v.check].aspect == aspect]
        return sum(found) / len(found) if found else None

    @property
    def passed(self) -> bool:
        """Every constraint met, by a finished answer that is one."""
        return self.share == 1 and self.finished and self.defect is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rated:
    """What the rater says of one completion."""

    ratings: Mapping[str, tuple[int | None, str]]
    """Aspect -> (1..5, or None for not applicable; the reason in a sentence)."""
    overall: float
    """1..10 in steps of 0.5."""
    critique: str
    passed: bool
    verdicts: Sequence[Verdict]


def rate(text: str, metadata: Mapping[str, Any], *, finished: bool) -> Rated:
    """Rate one answer to a prompt of `families.make_prompts`.

    Args:
        text: the answer.
        metadata: the prompt's metadata: `constraints`, and where there are such `keywords` (stems,
            one of which an answer on the subject has) and `instruction` (to know an echo).
        finished: whether the model ended it itself (false: cut at the token limit).
    """
    evidence = gather(text, finished=finished, metadata=metadata)
    overall = overall_score(evidence)
    faults = [v.message for v in evidence.verdicts if not v.passed]
    if not evidence.finished:
        faults.insert(0, "breaks off before its end")
    if evidence.defect is not None:
        faults.insert(0, evidence.defect)
    asked = f"{metadata.get('instruction', '')}\n{text}"
    return Rated(
        ratings={aspect: rating(evidence) for aspect, rating in RATINGS.items()},
        overall=overall,
        critique=write_critique(
            overall=overall,
            faults=faults,
            merits=[v.message for v in evidence.verdicts if v.passed],
            key=hashlib.sha256(asked.encode()).digest(),
        ),
        passed=evidence.passed,
        verdicts=evidence.verdicts,
    )


def gather(text: str, *, finished: bool, metadata: Mapping[str, Any]) -> Evidence:
    """Check an answer and collect what the ratings need."""
    keywords, constraints = metadata.get("keywords", []), metadata["constraints"]
    # Where the task is to say a sentence again, its repetition is no echo.
    to_repeat = any(constraint["check"] == "same_words" for constraint in constraints)
    return Evidence(
        verdicts=verify(text, constraints),
        finished=finished,
        on_topic=not keywords or reading.mentions_any(text, keywords),
        polish=sum(has(text) for has in POLISH.values()) / len(POLISH),
        defect=find_defect(text, "" if to_repeat else metadata.get("instruction", "")),
    )


def find_defect(text: str, instruction: str) -> str | None:
    """Say why a text is no answer at all; None when it is one.

    Degenerate are: no word; gibberish (a word over 20 letters, letters of another script);
    repetition (a sentence said three times, or fewer than 40 % different words among twelve or
    more); an echo (seven tenths of the instruction in one run); and talk about the task instead of
    doing it ("A short sentence without commas."). Without the last two the cheapest way to pass
    many constraints is to repeat the question.
    """
    found = reading.lower_words(text)
    if not found:
        return "is empty"
    if any(len(part) > 20 for word in found for part in word.split("-")):
        return "has words that do not exist"
    if any(letter.isalpha() and "LATIN" not in unicodedata.name(letter, "") for letter in text):
        return "slips into another script"
    pieces = [" ".join(reading.lower_words(piece)) for piece in reading.sentences(text)]
    if any(pieces.count(piece) >= 3 for piece in pieces):
        return "repeats itself"
    if len(found) >= 12 and len(set(found)) < 0.4 * len(found):
        return "repeats itself"
    asked = reading.lower_words(instruction)
    run = SequenceMatcher(None, asked, found, autojunk=False).find_longest_match().size
    if run >= max(4, 0.7 * len(asked)):
        return "only repeats the question"
    if _TASK_TALK.search(text):
        return "talks about the task instead of doing it"
    return None


_TASK_TALK = re.compile(r"\b(?:sentences?|commas?|\d+ words|quotation marks|short answer)\b", re.I)


def rate_instruction_following(evidence: Evidence) -> tuple[int | None, str]:
    """1 + floor(4 * share of constraints met)."""
    met, asked = sum(v.passed for v in evidence.verdicts), len(evidence.verdicts)
    return _of_share(evidence.share), f"The answer meets {met} of {asked} constraints."


def rate_truthfulness(evidence: Evidence) -> tuple[int | None, str]:
    """By the share of checks against the known answer; None where no answer is known."""
    share = evidence.share_of("truthfulness")
    if share is None:
        return None, "No known answer to compare with."
    found = next(v for v in evidence.verdicts if CHECKS[v.check].aspect == "truthfulness")
    return _of_share(share), f"The answer {found.message}."


def rate_honesty(evidence: Evidence) -> tuple[int | None, str]:
    """By the share of checks that want ignorance admitted; None where answers can be known."""
    share = evidence.share_of("honesty")
    if share is None:
        return None, "The question can be answered, so there is no ignorance to admit."
    found = next(v for v in evidence.verdicts if CHECKS[v.check].aspect == "honesty")
    return _of_share(share), f"The answer {found.message}."


def rate_helpfulness(evidence: Evidence) -> tuple[int | None, str]:
    """1 when degenerate, else 1 + 2 on the subject + 1 finished + 1 all constraints met."""
    if evidence.defect is not None:
        return 1, f"The answer {evidence.defect}, which helps nobody."
    right = evidence.on_topic and evidence.share_of("truthfulness") != 0
    value = 1 + 2 * right + evidence.finished + (evidence.share == 1)
    subject = "is on the subject" if right else "misses what was asked"
    end = "comes to an end" if evidence.finished else "breaks off"
    return value, f"The answer {subject} and {end}."


def overall_score(evidence: Evidence) -> float:
    """Holistic score, 1..10 in steps of 0.5.

    1 + 9 * (0.4 share met + 0.2 passed + 0.2 (helpfulness - 1) / 4 + 0.2 polish), polish only where
    a constraint is met; at most 6 when not finished, 4 when untrue or dishonest, 2 when degenerate.
    So a passing answer has 8 to 10, 10 with all the polish, and 1.0 is left for answers that meet
    nothing at all.
    """
    helpfulness, _ = rate_helpfulness(evidence)
    assert helpfulness is not None
    polish = evidence.polish if evidence.share > 0 else 0.0
    good = 0.4 * evidence.share + 0.2 * evidence.passed + 0.2 * (helpfulness - 1) / 4 + 0.2 * polish
    score = 1 + 9 * good
    if not evidence.finished:
        score = min(score, 6.0)
    if evidence.share_of("truthfulness") == 0 or evidence.share_of("honesty") == 0:
        score = min(score, 4.0)
    if evidence.defect is not None:
        score = min(score, 2.0)
    return round(2 * score) / 2


def _starts_well(text: str) -> bool:
    first = reading.normalise(text).lstrip(reading.QUOTES)[:1]
    return first.isupper() or first.isdigit()


def _says_words_once(text: str) -> bool:
    long_words = [word for word in reading.lower_words(text) if len(word) > 4]
    return len(set(long_words)) == len(long_words)


def _is_plain(text: str) -> bool:
    return text.isascii() and not re.search(r"[*#_<>\[\](){}|\\/=:;]", text)


def _of_share(share: float) -> int:
    return 1 + int(4 * share)


RATINGS: dict[str, Callable[[Evidence], tuple[int | None, str]]] = {
    "instruction_following": rate_instruction_following,
    "honesty": rate_honesty,
    "truthfulness": rate_truthfulness,
    "helpfulness": rate_helpfulness,
}
POLISH: dict[str, Callable[[str], bool]] = {
    "starts with a capital letter or a number": _starts_well,
    "uses no longer word twice": _says_words_once,
    "has plain letters and no markup": _is_plain,
    "is brief": lambda text: len(reading.words(text)) <= 15,
}
