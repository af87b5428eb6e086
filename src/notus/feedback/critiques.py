"""A critique in two to four sentences, written from verdicts.

    opening (by overall score)  +  what is broken, at most two  +  what is met, or how it ends

The wording is drawn by a digest of the question and the answer: the same answer always gets the
same critique, and no two rows share a template by chance of their order. Low scores get plainly
negative words and high ones plainly positive, so that a critique's polarity agrees with its score.
"""

from collections.abc import Sequence

OPENINGS: dict[str, tuple[str, ...]] = {
    "ruinous": (
        "This answer is worthless.",
        "A complete failure: nothing that was asked for is here.",
        "This is about as bad as an answer can get.",
        "Useless from the first word to the last.",
        "This response is a total miss and should be thrown away.",
        "Terrible work, with nothing in it to save.",
    ),
    "bad": (
        "This is a poor answer.",
        "The answer fails at its main task.",
        "Very little of this is usable.",
        "A weak response that would have to be redone.",
        "The instruction was largely ignored.",
    ),
    "mixed": (
        "The answer is partly there.",
        "This is a mediocre response that misses something it was told to do.",
        "Some of what was asked is done and some is not.",
        "A reasonable attempt with a clear flaw.",
        "Close, but not what was asked for.",
    ),
    "good": (
        "This is a good answer.",
        "A strong response that does what was asked.",
        "The instruction is followed well.",
        "Clear, correct and to the point.",
        "Well done: this can be used as it is.",
    ),
}

FAULTS = (
    "The main fault is that it {0}.",
    "Most of all, it {0}.",
    "It plainly {0}.",
    "A reader will notice at once that it {0}.",
)
MORE_FAULTS = (
    "On top of that, it {0}.",
    "It also {0}.",
    "Worse, it {0}.",
    "Besides, it {0}.",
)
MERITS = (
    "It {0}.",
    "It {0}, as it should.",
    "To its credit, it {0}.",
    "Rightly, it {0}.",
)
LESSONS: dict[str, tuple[str, ...]] = {
    "ruinous": (
        "Start again and read the question first.",
        "It should be rewritten from scratch.",
        "No part of it helps the person who asked.",
    ),
    "bad": (
        "Read the instruction again and follow it to the letter.",
        "A better answer would do exactly what was asked and stop there.",
        "It needs to be written again.",
    ),
    "mixed": (
        "With that mended it would be a good answer.",
        "Fixing this one point would make it useful.",
        "A second reading of the instruction would have caught it.",
    ),
    "good": (
        "There is nothing to mend.",
        "The person who asked gets just what they need.",
        "It stops where it should.",
    ),
}


def write_critique(
    *, overall: float, faults: Sequence[str], merits: Sequence[str], key: bytes
) -> str:
    """Write two to four sentences about one answer.

    Args:
        overall: The overall score, 1..10; it sets the tone.
        faults: What is wrong, most important first, each to follow "it".
        merits: What is right, likewise.
        key: A digest of question and answer, at least 5 bytes: the same key, the same wording.
    """
    tone = tone_of(overall)
    found = [_pick(OPENINGS[tone], key[0])]
    if faults:
        found.append(_pick(FAULTS, key[1]).format(faults[0]))
    if len(faults) > 1 and tone != "mixed":
        found.append(_pick(MORE_FAULTS, key[2]).format(faults[1]))
    elif merits:
        found.append(_pick(MERITS, key[3]).format(merits[key[2] % len(merits)]))
    found.append(_pick(LESSONS[tone], key[4]))
    return " ".join(found)


def tone_of(overall: float) -> str:
    """Key of OPENINGS: "ruinous" at exactly 1, "bad" below 5, "mixed" below 8, then "good"."""
    if overall == 1:
        return "ruinous"
    if overall < 5:
        return "bad"
    return "mixed" if overall < 8 else "good"


def _pick(choices: Sequence[str], draw: int) -> str:
    return choices[draw % len(choices)]
