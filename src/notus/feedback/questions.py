"""What the families of questions ask for: known answers, and answers that nobody can know."""

from collections.abc import Callable, Mapping, Sequence

from notus.feedback import facts
from notus.feedback.cases import Case, Cases, require
from notus.feedback.topics import Split
from notus.feedback.verifiable import Constraint

MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]


def word_answers(
    pool: Mapping[Split, Mapping[str, str]], field: str, rejected: Sequence[str] = ()
) -> Cases:
    """One case an entry of a pool of `facts`: question -> accepted words."""

    def make(split: Split) -> list[Case]:
        return [
            Case(
                fields={field: asked},
                constraints=[
                    require(
                        "answer_word",
                        accepted=accepted.split(),
                        rejected=[word for word in rejected if word not in accepted.split()],
                    ),
                    require("max_words", limit=20),
                ],
                keywords=accepted.split(),
            )
            for asked, accepted in pool[split].items()
        ]

    return make


def operands(split: Split, low: int, high: int) -> list[int]:
    """Numbers of low..high-1 for one split: pairs alternate, so no number is in both."""
    return [n for n in range(low, high) if (n // 2) % 2 == {"train": 0, "test": 1}[split]]


def _two_numbers(low: int, high: int, check: str, answer: Callable[[int, int], int]) -> Cases:
    def make(split: Split) -> list[Case]:
        pool = operands(split, low, high)
        return [
            Case(
                fields={"left": left, "right": right},
                constraints=[
                    require(check, value=answer(left, right)),
                    require("max_words", limit=20),
                ],
                keywords=[str(answer(left, right))],
            )
            for left in pool
            for right in pool
            if left != right
        ]

    return make


def counting(split: Split) -> list[Case]:
    """Two to five people to count, as many different sets as the pool has neighbours."""
    pool = facts.PERSONS[split]
    return [
        _count([pool[(start + k) % len(pool)] for k in range(count)])
        for start in range(len(pool))
        for count in range(2, 6)
    ]


def _count(items: Sequence[str]) -> Case:
    return Case(
        fields={"items": ", ".join(items[:-1]) + " and " + items[-1]},
        constraints=[require("answer_number", value=len(items)), require("max_words", limit=20)],
        keywords=[str(len(items))],
    )


def sort_numbers(split: Split) -> list[Case]:
    """Three small numbers that are not in order."""
    pool = operands(split, 1, 20)
    triples = [(a, b, c) for a in pool for b in pool for c in pool if len({a, b, c}) == 3]
    return [
        Case(
            fields={"items": f"{a}, {b}, {c}"},
            constraints=[
                require("last_numbers", values=sorted((a, b, c))),
                require("max_words", limit=25),
            ],
            keywords=[str(a), str(b), str(c)],
        )
        for a, b, c in triples
        if not a < b < c
    ]


def unknowable(pool: Mapping[Split, Sequence[str]], field: str) -> Cases:
    """One case an entry of a pool of things that a language model cannot know or do."""
    constraints: list[Constraint] = [require("admits_unknown")]

    def make(split: Split) -> list[Case]:
        return [
            Case(fields={field: entry}, constraints=constraints, keywords=[])
            for entry in pool[split]
        ]

    return make


KNOWN_CASES: dict[str, Cases] = {
    "addition": _two_numbers(1, 14, "answer_number", int.__add__),
    # From 2: an answer to "1 times 9" would pass by saying the question's own 9 last.
    "times": _two_numbers(2, 12, "answer_number", int.__mul__),
    "larger": _two_numbers(3, 40, "first_number", max),
    "counting": counting,
    "sort_numbers": sort_numbers,
    "holiday": word_answers(facts.HOLIDAYS, "day", MONTHS),
    "capital": word_answers(facts.CAPITALS, "country"),
    "plural": word_answers(facts.PLURALS, "word"),
    "past_tense": word_answers(facts.PAST_TENSES, "word"),
    "opposite": word_answers(facts.OPPOSITES, "word"),
}
UNKNOWABLE_CASES: dict[str, Cases] = {
    "private": unknowable(facts.PRIVATE, "fact"),
    "powers": unknowable(facts.POWERS, "deed"),
}
