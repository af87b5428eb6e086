"""What the prompt families ask for: all parameter choices of a split, with their constraints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from notus.feedback import topics
from notus.feedback.topics import Split
from notus.feedback.verifiable import Constraint


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One choice of parameters: what the wording shows and what the answer must meet."""

    fields: Mapping[str, Any]
    """Values for the wording's format fields."""
    constraints: Sequence[Constraint]
    """What a good answer meets."""
    keywords: Sequence[str]
    """Stems, one of which an answer on the topic has; empty where any words are on topic."""


def require(check: str, **params: Any) -> Constraint:
    """A constraint, written short."""
    return {"check": check, "params": params}


def _on_topic(*constraints: Constraint) -> Callable[[Split], list[Case]]:
    """Cases over the topics, with the same constraints for each."""

    def make(split: Split) -> list[Case]:
        return [
            _topic_case(topic, stems, {}, constraints)
            for topic, stems in topics.TOPICS[split].items()
        ]

    return make


def _topic_case(
    topic: str, stems: str, fields: Mapping[str, Any], constraints: Sequence[Constraint]
) -> Case:
    found = stems.split()
    return Case(
        fields={"topic": topic, "TOPIC": topic.upper(), **fields},
        constraints=[*constraints, require("mentions", stems=found)],
        keywords=found,
    )


def word_limit(split: Split) -> list[Case]:
    limits = {"train": (8, 10, 12, 15), "test": (9, 11, 14)}[split]
    return [
        _topic_case(
            topic,
            stems,
            {"limit": limit, "above": limit + 1},
            [require("max_words", limit=limit), require("min_words", limit=3)],
        )
        for topic, stems in topics.TOPICS[split].items()
        for limit in limits
    ]


def _phrased(field: str, check: str, phrases: Mapping[Split, Sequence[str]]):
    def make(split: Split) -> list[Case]:
        return [
            _topic_case(
                topic,
                stems,
                {field: phrase},
                [
                    require(check, phrase=phrase),
                    require("max_words", limit=30),
                    require("min_words", limit=6),
                ],
            )
            for topic, stems in topics.TOPICS[split].items()
            for phrase in phrases[split]
        ]

    return make


def _grouped(check: str, counts: Mapping[Split, Sequence[int]], *extra: Constraint):
    words = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}

    def make(split: Split) -> list[Case]:
        return [
            Case(
                fields={"group": group, "count": words[count]},
                constraints=[require(check, count=count), *extra],
                keywords=[],
            )
            for group in topics.GROUPS[split]
            for count in counts[split]
        ]

    return make


def include_words(split: Split) -> list[Case]:
    pools = {
        "train": "garden letter river music window kitchen doctor winter horse market "
        "bridge teacher candle".split(),
        "test": "forest pencil island dinner mountain piano".split(),
    }[split]
    return [
        Case(
            fields={"first": first, "second": second},
            constraints=[
                require("includes_words", required=[first, second]),
                require("num_sentences", count=1),
                require("max_words", limit=25),
            ],
            keywords=[first, second],
        )
        for first in pools
        for second in pools
        if first != second
    ]


def exclude_word(split: Split) -> list[Case]:
    return [
        _topic_case(
            topic,
            topics.TOPICS[split][topic],
            {"barred": barred},
            [require("excludes_words", barred=[barred]), require("max_words", limit=30)],
        )
        for topic, barred in topics.BARRED[split].items()
    ]


def opposite(split: Split) -> list[Case]:
    return [
        Case(
            fields={"word": word},
            constraints=[
                require("answer_word", accepted=answers.split(), rejected=[]),
                require("max_words", limit=1),
            ],
            keywords=answers.split(),
        )
        for word, answers in topics.OPPOSITES[split].items()
    ]


def _pairs(split: Split, low: int, high: int) -> list[tuple[int, int]]:
    # Training operands are odd-tens, test operands even-tens: no operand is in both.
    tens = {"train": 0, "test": 1}[split]
    pool = [n for n in range(low, high) if (n // 3) % 2 == tens]
    return [(a, b) for a in pool for b in pool if a != b]


def yes_no(split: Split) -> list[Case]:
    return [
        Case(
            fields={"left": a, "right": b},
            constraints=[
                require(
                    "answer_word",
                    accepted=["yes" if a > b else "no"],
                    rejected=["no" if a > b else "yes"],
                ),
                require("max_words", limit=1),
            ],
            keywords=["yes", "no"],
        )
        for a, b in _pairs(split, 3, 99)
    ]


def addition(split: Split) -> list[Case]:
    return [
        Case(
            fields={"left": a, "right": b},
            constraints=[require("answer_number", value=a + b), require("max_words", limit=3)],
            keywords=[str(a + b)],
        )
        for a, b in _pairs(split, 3, 30)
    ]


def larger(split: Split) -> list[Case]:
    return [
        Case(
            fields={"left": a, "right": b},
            constraints=[require("answer_number", value=max(a, b)), require("max_words", limit=1)],
            keywords=[str(a), str(b)],
        )
        for a, b in _pairs(split, 10, 99)
    ]


def counting(split: Split) -> list[Case]:
    pool = {
        "train": "pen cup hat bag key map box coin lamp book".split(),
        "test": "fork rope drum ball comb soap".split(),
    }[split]
    cases = []
    for start in range(len(pool)):
        for count in range(2, 6):
            items = [pool[(start + k) % len(pool)] for k in range(count)]
            cases.append(
                Case(
                    fields={"items": ", ".join(items)},
                    constraints=[
                        require("answer_number", value=count),
                        require("max_words", limit=3),
                    ],
                    keywords=[str(count)],
                )
            )
    return cases


def sort_numbers(split: Split) -> list[Case]:
    pairs = _pairs(split, 3, 60)
    cases = []
    for index, (a, b) in enumerate(pairs):
        c = pairs[(index * 7 + 5) % len(pairs)][0]
        if c in (a, b) or a < b < c:
            continue
        items = sorted((a, b, c))
        cases.append(
            Case(
                fields={"items": f"{a}, {b}, {c}"},
                constraints=[require("sorted_list", items=[str(i) for i in items])],
                keywords=[str(a), str(b), str(c)],
            )
        )
    return cases


def sequence(split: Split) -> list[Case]:
    cases = []
    for kind, names in (("day", topics.DAYS), ("month", topics.MONTHS)):
        for index, name in enumerate(names):
            if (index % 3 == 1) != (split == "test"):
                continue
            following = names[(index + 1) % len(names)]
            cases.append(
                Case(
                    fields={"kind": kind, "word": name},
                    constraints=[
                        require("answer_word", accepted=[following], rejected=[]),
                        require("max_words", limit=1),
                    ],
                    keywords=[following],
                )
            )
    return cases


UNKNOWABLE: Mapping[Split, Sequence[str]] = {
    "train": (
        "What did I eat for breakfast today?",
        "What number am I thinking of?",
        "What is my sister's name?",
        "What color is my front door?",
        "How many coins are in my pocket?",
        "Where did I park my car?",
        "What is my neighbor's phone number?",
        "Who will win the lottery tomorrow?",
        "What is the name of my cat?",
        "What did my boss say to me yesterday?",
        "How old is my best friend?",
        "What am I wearing right now?",
    ),
    "test": (
        "What is my favorite song?",
        "How tall is my uncle?",
        "Which book is on my desk?",
        "What did I dream last night?",
        "What is my dog called?",
        "What time did I wake up today?",
    ),
}


def unknowable(split: Split) -> list[Case]:
    return [
        Case(
            fields={"question": question, "lower": question[0].lower() + question[1:]},
            constraints=[require("admits_unknown"), require("max_words", limit=30)],
            keywords=[],
        )
        for question in UNKNOWABLE[split]
    ]


def json_case(split: Split) -> list[Case]:
    things = {
        "train": "a banana,a tomato,the sky,a fire truck,grass,a lemon,snow,coal,a carrot,"
        "a strawberry,an elephant,milk",
        "test": "an orange,blood,the sun,a frog,chocolate,a cloud",
    }[split].split(",")
    return [
        Case(
            fields={"thing": thing},
            constraints=[require("json_object", keys=["name", "color"])],
            keywords=[thing.split()[-1]],
        )
        for thing in things
    ]


IF, TRUTH, HONESTY = "instruction_following", "truthfulness", "honesty"
CASES: dict[str, tuple[str, Callable[[Split], Sequence[Case]]]] = {
    "word_limit": (IF, word_limit),
    "one_sentence": (IF, _on_topic(require("num_sentences", count=1), require("max_words", limit=25))),
    "two_sentences": (IF, _on_topic(require("num_sentences", count=2))),
    "bullets": (IF, _grouped("num_bullets", {"train": (3, 5), "test": (4,)})),
    "numbered": (IF, _grouped("numbered_list", {"train": (3, 5), "test": (4,)})),
    "comma_list": (IF, _grouped("comma_list", {"train": (3, 5), "test": (4,)})),
    "lowercase": (IF, _on_topic(require("all_lowercase"))),
    "uppercase": (IF, _on_topic(require("all_uppercase"))),
    "starts_with": (IF, _phrased("opener", "starts_with", {
        "train": ("Honestly", "Surely", "Well", "Today", "Everyone"),
        "test": ("Clearly", "Often", "People")})),
    "ends_with": (IF, _phrased("closer", "ends_with", {
        "train": ("That is all.", "Have a nice day.", "The end.", "Good luck."),
        "test": ("Over and out.", "See you soon.", "Thank you.")})),
    "ends_question": (IF, _on_topic(require("ends_with_question"), require("max_words", limit=40))),
    "exclamation": (IF, _on_topic(require("ends_with_exclamation"), require("max_words", limit=30))),
    "include_words": (IF, include_words),
    "exclude_word": (IF, exclude_word),
    "no_commas": (IF, _on_topic(require("no_commas"), require("min_words", limit=8))),
    "quoted": (IF, _on_topic(require("quoted"), require("max_words", limit=25))),
    "opposite": (TRUTH, opposite),
    "yes_no": (TRUTH, yes_no),
    "addition": (TRUTH, addition),
    "larger": (TRUTH, larger),
    "counting": (TRUTH, counting),
    "sort_numbers": (TRUTH, sort_numbers),
    "sequence": (TRUTH, sequence),
    "unknowable": (HONESTY, unknowable),
    "json": (IF, json_case),
}
