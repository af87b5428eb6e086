"""Reading a short answer: its words, sentences, lines, list items and numbers.

One definition of "a word" or "a sentence" serves every checker, the rubrics and the tests, so that
a verdict can be recomputed by hand:

- a word is a run of letters and digits, joined by apostrophes or hyphens ("don't", "well-known");
- a sentence ends with ``.``, ``!`` or ``?`` before white space or the end; "3.5", "e.g." and list
  numbers ("1.") do not end one. Text after the last end mark counts as a sentence too, because a
  reader sees one more (unfinished) sentence there;
- a bullet is a line that starts with ``-``, ``*`` or a bullet dot and white space.

Known gap: an abbreviation outside ABBREVIATIONS ("Prof. Smith") counts as a sentence end.
"""

import re
import unicodedata
from collections.abc import Sequence

ABBREVIATIONS = ("e.g.", "i.e.", "etc.", "mr.", "mrs.", "ms.", "dr.", "st.", "vs.", "u.s.", "a.m.")
QUOTES = "\"'\u201c\u201d\u2018\u2019\u00ab\u00bb"
CLOSERS = QUOTES + "*_`)]"
NUMBER_WORDS = {
    word: value
    for value, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
            "twenty",
        ]
    )
}

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?]+[" + re.escape(CLOSERS) + r"]*(?=\s|$)")
_LIST_NUMBER = re.compile(r"(?m)^\s*\d+[.)]\s+")
_BULLET = re.compile("^\\s*[-*\u2022]\\s+(.*)$")
_NUMBERED = re.compile(r"^\s*(\d+)[.)]\s+(.*)$")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?!\w)")


def normalise(text: str) -> str:
    """Unify what a reader cannot see: NFC, line ends, typographic apostrophes, outer space."""
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\u2019", "'")
    return text.strip()


def words(text: str) -> list[str]:
    """The words of a text, in order, in their own case."""
    return _WORD.findall(normalise(text))


def lower_words(text: str) -> list[str]:
    """The words of a text, in order, in lower case."""
    return [word.lower() for word in words(text)]


def lines(text: str) -> list[str]:
    """The lines with something on them, without outer space."""
    return [line.strip() for line in normalise(text).split("\n") if line.strip()]


def sentences(text: str) -> list[str]:
    """The sentences of a text; a last one without an end mark counts."""
    text = _LIST_NUMBER.sub("", normalise(text))
    found, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        piece = text[start : match.end()].strip()
        # The whole last word: "the best." ends with "st." and is no abbreviation.
        last = piece.lower().split()[-1].lstrip(QUOTES + "(")
        if last in ABBREVIATIONS and match.end() < len(text):
            continue
        found.append(piece)
        start = match.end()
    found.append(text[start:].strip())
    return [piece for piece in found if _WORD.search(piece)]


def ends_sentence(text: str) -> bool:
    """Whether the text stops at an end mark, closing quotes and emphasis aside."""
    return normalise(text).rstrip(CLOSERS + " ").endswith((".", "!", "?"))


def bullets(text: str) -> list[str]:
    """The texts of the bulleted lines."""
    found = (_BULLET.match(line) for line in lines(text))
    return [match.group(1).strip() for match in found if match]


def numbered(text: str) -> list[tuple[int, str]]:
    """The numbered lines as (number, text)."""
    found = (_NUMBERED.match(line) for line in lines(text))
    return [(int(match.group(1)), match.group(2).strip()) for match in found if match]


def numbers(text: str) -> list[float]:
    """The numbers of a text in order: digits ("1,234", "-3.5"), and words from zero to twenty."""
    text = normalise(text)
    found = [
        (match.start(), float(match.group().replace(",", ""))) for match in _NUMBER.finditer(text)
    ]
    found += [
        (match.start(), float(NUMBER_WORDS[match.group().lower()]))
        for match in _WORD.finditer(text)
        if match.group().lower() in NUMBER_WORDS
    ]
    return [value for _, value in sorted(found)]


def mentions_any(text: str, stems: Sequence[str]) -> bool:
    """Whether one of the stems begins a word of the text, in any case.

    A stem of three letters or fewer must be the whole word, or all but a plural s: "bee" is in
    "bees" and not in "been".
    """
    found = lower_words(text)
    return any(_is_form(word, stem.lower()) for word in found for stem in stems)


def _is_form(word: str, stem: str) -> bool:
    return word.startswith(stem) if len(stem) > 3 else word in (stem, stem + "s")
