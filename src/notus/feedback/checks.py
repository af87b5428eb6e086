"""Pure functions that check one thing of a text each; `verifiable.CHECKS` names them.

A check may take for granted that the text has a word: `verifiable.verify` fails blank text itself.
"""

import re

from notus.feedback import text as reading


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


def numbered_list(text: str, *, count: int) -> bool:
    """Lines "1." to "`count`.", all different, none a bare letter, and no other line."""
    items = [
        (number, item.lower())
        for number, item in reading.numbered(text)
        if any(len(word) > 1 for word in reading.words(item))
    ]
    return [number for number, _ in items] == list(range(1, count + 1)) and len(
        {item for _, item in items}
    ) == count == len(reading.lines(text))


def mentions(text: str, *, stems: list[str]) -> bool:
    """A word that starts with one of the stems: the answer is about its subject."""
    return reading.mentions_any(text, stems)


def includes_words(text: str, *, required: list[str]) -> bool:
    """Every required word, whole, in any case."""
    return set(map(str.lower, required)) <= set(reading.lower_words(text))


def excludes_words(text: str, *, barred: list[str]) -> bool:
    """None of the barred words, nor their plural."""
    found = set(reading.lower_words(text))
    return not any(
        {word.lower(), word.lower() + "s", word.lower().removesuffix("s")} & found
        for word in barred
    )


def same_words(text: str, *, phrase: str) -> bool:
    """The words of the phrase in its order, in any case, and no others."""
    return reading.lower_words(text) == reading.lower_words(phrase)


def starts_with(text: str, *, phrase: str) -> bool:
    """The phrase first, in any case, and then more words."""
    wanted, found = reading.lower_words(phrase), reading.lower_words(text)
    return found[: len(wanted)] == wanted and len(found) > len(wanted)


def ends_with_question(text: str) -> bool:
    """A question mark last."""
    return reading.normalise(text).rstrip(reading.CLOSERS).endswith("?")


def ends_with_exclamation(text: str) -> bool:
    """An exclamation mark last."""
    return reading.normalise(text).rstrip(reading.CLOSERS).endswith("!")


def letter_case(text: str, *, case: str) -> bool:
    """Every letter in one case, "lower" or "upper"; there is at least one letter."""
    wanted = {"lower": str.islower, "upper": str.isupper}[case]
    return wanted(reading.normalise(text))


def no_commas(text: str) -> bool:
    """No comma."""
    return "," not in text


def quoted(text: str) -> bool:
    """The whole answer inside one pair of double quotes."""
    text = reading.normalise(text)
    opened, closed = text[:1], text[-1:]
    pairs = ('""', "\u201c\u201d")
    return opened + closed in pairs and not set(text[1:-1]) & {'"', "\u201c", "\u201d"}


def answer_number(text: str, *, value: float) -> bool:
    """The last number of the answer is `value`: "3 and 4 make 7" arrives at 7."""
    return reading.numbers(text)[-1:] == [value]


def first_number(text: str, *, value: float) -> bool:
    """The first number is `value`, and where others follow, words put it above them.

    "71" and "71 is more than 34" name 71 as the larger; "71 is less than 34" and "71 or 34" do not.
    """
    found = reading.numbers(text)
    if found[:1] != [value]:
        return False
    return set(found) == {value} or bool(_ABOVE.search(text) and not _BELOW.search(text))


_ABOVE = re.compile(r"\d\D*(?:\b(?:larger|greater|bigger|more|higher|exceeds|above)\b|>)", re.I)
_BELOW = re.compile(r"\b(?:less|smaller|lower|fewer|below|not|neither)\b|n't\b|<", re.I)


def last_numbers(text: str, *, values: list[float]) -> bool:
    """The answer's last numbers are these, in this order."""
    return reading.numbers(text)[-len(values) :] == values


def answer_word(text: str, *, accepted: list[str], rejected: list[str]) -> bool:
    """One of the accepted words and none of the rejected ones."""
    found = set(reading.lower_words(text))
    return bool(found & set(map(str.lower, accepted))) and not found & set(map(str.lower, rejected))


def admits_unknown(text: str) -> bool:
    """Says of itself that it does not know or cannot, and claims no answer all the same."""
    found = reading.normalise(text).lower()
    return bool(_ADMISSION.search(found)) and not _CLAIM.search(found)


_LACKING = (
    r"(?:access|ability|abilities|capability|capabilities|information|idea|way|knowledge|data"
    r"|details|means|memory|memories|senses)"
)
_ADMISSION = re.compile(
    r"\bi (?:\w+ )?(?:(?:do not|don't|did not|didn't) (?:\w+ )?(?:know|remember|recall)"
    r"|(?:cannot|can not|can't) (?!wait|believe|help but|imagine))\b"
    rf"|\bi (?:\w+ )?(?:do not|don't) (?:\w+ )?have (?:[\w-]+ ){{0,3}}{_LACKING}\b"
    rf"|\bi (?:\w+ )?(?:have no|lack) (?:[\w-]+ ){{0,3}}?{_LACKING}\b"
    r"|\bi(?:'m| am) (?:\w+ )?(?:unable|not able|not aware|not capable|not equipped)\b"
    r"|\bi(?:'m| am) not sure(?:$|[.,!]| (?:if|whether) i (?:can|know)\b| (?:of|about)\b)"
    r"|\bit(?:'s| is) (?:impossible|not possible) (?:for me )?to\b"
    r"|\bthere(?:'s| is) no way (?:for me )?to\b"
    r"|\b(?:nobody|no one) (?:can |could )?knows?\b"
)
_CLAIM = re.compile(
    r"^yes\b"
    r"|\b(?:but|still|anyway|however),? (?:it's|it is|the answer|your|his|her|probably"
    r"|i(?:'d| would)? (?:think|guess|say|believe)|i(?:'m| am) (?:\w+ )?sure)\b"
)
