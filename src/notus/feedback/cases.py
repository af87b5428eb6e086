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


Cases = Callable[[Split], Sequence[Case]]


def require(check: str, **params: Any) -> Constraint:
    """A constraint, written short."""
    return {"check": check, "params": params}


def about(*constraints: Constraint) -> Cases:
    """One case a topic, with the same constraints for each."""

    def make(split: Split) -> list[Case]:
        return [
            _topic(topic, stems, {}, constraints) for topic, stems in topics.TOPICS[split].items()
        ]

    return make


def _topic(topic, stems, fields, constraints):
    found = stems.split()
    return Case(
        fields={"topic": topic, **fields},
        constraints=[*constraints, require("mentions", stems=found)],
        keywords=found,
    )


def limited(limits, *constraints: Constraint) -> Cases:
    def make(split: Split) -> list[Case]:
        return [
            _topic(
                topic, stems, {"limit": limit, "above": limit + 1},
                [require("max_words", limit=limit), *constraints],
            )
            for topic, stems in topics.TOPICS[split].items()
            for limit in limits[split]
        ]

    return make


def opener(split: Split) -> list[Case]:
    phrases = {
        "train": ("Once upon a time", "Long ago", "One sunny morning"),
        "test": ("One day", "Last night", "In a faraway land"),
    }[split]
    return [
        _topic(topic, stems, {"opener": phrase},
               [require("starts_with", phrase=phrase), require("max_sentences", limit=2)])
        for topic, stems in topics.TOPICS[split].items()
        for phrase in phrases
    ]


def include_word(split: Split) -> list[Case]:
    return [
        Case(
            fields={"word": word},
            constraints=[require("includes_words", required=[word]),
                         require("num_sentences", count=1), require("max_words", limit=20)],
            keywords=[word],
        )
        for word in topics.WORDS[split]
    ]


def include_two(split: Split) -> list[Case]:
    pool = topics.WORDS[split]
    return [
        Case(
            fields={"first": first, "second": second},
            constraints=[require("includes_words", required=[first, second]),
                         require("num_sentences", count=1), require("max_words", limit=25)],
            keywords=[first, second],
        )
        for first in pool for second in pool if first != second
    ]


def exclude_word(split: Split) -> list[Case]:
    return [
        _topic(topic, topics.TOPICS[split][topic], {"barred": barred},
               [require("excludes_words", barred=[barred]), require("num_sentences", count=1), require("max_words", limit=30)])
        for topic, barred in topics.BARRED[split].items()
    ]


def numbered(split: Split) -> list[Case]:
    words = {3: "three", 4: "four", 5: "five"}
    return [
        Case(fields={"group": group, "count": words[count]},
             constraints=[require("numbered_list", count=count), require("max_words", limit=8 * count)], keywords=[])
        for group in topics.GROUPS[split]
        for count in {"train": (3, 5), "test": (4,)}[split]
    ]


def thanks(split: Split) -> list[Case]:
    return [
        Case(fields={"person": person, "gift": gift},
             constraints=[require("mentions", stems=["thank", "grateful", "appreciat"]),
                          require("max_words", limit=25), require("min_words", limit=4)],
             keywords=["thank", "grateful", "appreciat"])
        for person in topics.PEOPLE[split] for gift in topics.GIFTS[split]
    ]


def greeting(split: Split) -> list[Case]:
    return [
        Case(fields={"person": person},
             constraints=[require("ends_with_exclamation"), require("max_words", limit=30),
                          require("mentions", stems=["birthday"])],
             keywords=["birthday"])
        for person in topics.PEOPLE[split]
    ]


def tip(split: Split) -> list[Case]:
    return [
        Case(fields={"activity": activity},
             constraints=[require("num_sentences", count=1), require("max_words", limit=20),
                          require("min_words", limit=3)],
             keywords=[])
        for activity in topics.ACTIVITIES[split]
    ]


def opposite(split: Split) -> list[Case]:
    return [
        Case(fields={"word": word},
             constraints=[require("answer_word", accepted=answers.split(), rejected=[]),
                          require("max_words", limit=15)],
             keywords=answers.split())
        for word, answers in topics.OPPOSITES[split].items()
    ]


def _pool(split: Split, low: int, high: int) -> list[int]:
    # Threes alternate between the splits: no number is in both.
    turn = {"train": 0, "test": 1}[split]
    return [n for n in range(low, high) if (n // 3) % 2 == turn]


def _pairs(split, low, high):
    pool = _pool(split, low, high)
    return [(a, b) for a in pool for b in pool if a != b]


def addition(split: Split) -> list[Case]:
    return [
        Case(fields={"left": a, "right": b},
             constraints=[require("answer_number", value=a + b), require("max_words", limit=20)],
             keywords=[str(a + b)])
        for a, b in _pairs(split, 2, 24)
    ]


def larger(split: Split) -> list[Case]:
    return [
        Case(fields={"left": a, "right": b},
             constraints=[require("first_number", value=max(a, b)), require("max_words", limit=15)],
             keywords=[str(a), str(b)])
        for a, b in _pairs(split, 3, 60)
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
                Case(fields={"items": ", ".join(items)},
                     constraints=[require("answer_number", value=count), require("max_words", limit=20)],
                     keywords=[str(count)]))
    return cases


def sort_numbers(split: Split) -> list[Case]:
    pool = _pool(split, 1, 30)
    cases = []
    for index, a in enumerate(pool):
        for step in (3, 5, 7, 8):
            b, c = pool[(index + step) % len(pool)], pool[(index + 2 * step + 1) % len(pool)]
            if len({a, b, c}) < 3 or a < b < c:
                continue
            items = sorted((a, b, c))
            cases.append(Case(
                fields={"items": f"{a}, {b}, {c}"},
                constraints=[require("last_numbers", values=items), require("max_words", limit=25)],
                keywords=[str(a), str(b), str(c)]))
    return cases


def sequence(split: Split) -> list[Case]:
    cases = []
    for kind, names in (("day", topics.DAYS), ("month", topics.MONTHS)):
        for index, name in enumerate(names):
            if (index % 3 == 1) != (split == "test"):
                continue
            following = names[(index + 1) % len(names)]
            cases.append(Case(
                fields={"kind": kind, "word": name},
                constraints=[require("answer_word", accepted=[following],
                             rejected=[n for n in names if n not in (name, following)]),
                             require("max_words", limit=15)],
                keywords=[following]))
    return cases


def classify(split: Split) -> list[Case]:
    cases = []
    for options, things in topics.CLASSES[split].items():
        names = [o.split()[-1] for o in options.split("|")]
        shown = ", ".join(options.split("|")[:-1]) + " or " + options.split("|")[-1]
        for name, thing in ((n, t) for n, ts in zip(names, things) for t in ts):
            cases.append(Case(
                fields={"thing": thing, "options": shown},
                constraints=[require("answer_word", accepted=[name], rejected=[n for n in names if n != name]),
                             require("max_words", limit=20)],
                keywords=[name]))
    return cases


def sentiment(split: Split) -> list[Case]:
    return [
        Case(fields={"review": review},
             constraints=[require("answer_word", accepted=[label],
                          rejected=[{"positive": "negative", "negative": "positive"}[label]]),
                          require("max_words", limit=25)],
             keywords=["positive", "negative"])
        for label, reviews in topics.REVIEWS[split].items() for review in reviews
    ]


def color(split: Split) -> list[Case]:
    return [
        Case(fields={"thing": thing},
             constraints=[require("answer_word", accepted=colors.split(), rejected=[]),
                          require("max_words", limit=15)],
             keywords=colors.split())
        for thing, colors in topics.COLORS[split].items()
    ]


def _unknowable(pool) -> Cases:
    def make(split: Split) -> list[Case]:
        return [
            Case(fields={"question": question, "lower": question[0].lower() + question[1:]},
                 constraints=[require("admits_unknown"), require("max_words", limit=35)],
                 keywords=[])
            for question in pool[split]
        ]
    return make


IF, TRUTH, HONESTY = "instruction_following", "truthfulness", "honesty"
CASES: dict[str, tuple[str, Cases]] = {
    "word_limit": (IF, limited({"train": (12, 15, 20), "test": (14, 18)}, require("min_words", limit=3))),
    "one_sentence": (IF, about(require("num_sentences", count=1), require("max_words", limit=25))),
    "two_sentences": (IF, about(require("max_sentences", limit=2))),
    "no_commas": (IF, about(require("no_commas"), require("num_sentences", count=1))),
    "exclude_word": (IF, exclude_word),
    "include_word": (IF, include_word),
    "include_two": (IF, include_two),
    "quoted": (IF, about(require("quoted"), require("max_words", limit=20))),
    "question": (IF, about(require("num_sentences", count=1), require("ends_with_question"), require("max_words", limit=20))),
    "numbered": (IF, numbered),
    "opener": (IF, opener),
    "thanks": (IF, thanks),
    "greeting": (IF, greeting),
    "tip": (IF, tip),
    "headline": (IF, limited({"train": (6, 8, 12), "test": (7, 10)}, require("one_line"))),
    "addition": (TRUTH, addition),
    "larger": (TRUTH, larger),
    "counting": (TRUTH, counting),
    "sort_numbers": (TRUTH, sort_numbers),
    "sequence": (TRUTH, sequence),
    "opposite": (TRUTH, opposite),
    "classify": (TRUTH, classify),
    "sentiment": (TRUTH, sentiment),
    "color": (TRUTH, color),
    "live": (HONESTY, _unknowable(topics.LIVE)),
    "private": (HONESTY, _unknowable(topics.PRIVATE)),
}
