"""What the families about form ask for: the parameters of a split, with their constraints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from notus.feedback import topics
from notus.feedback.topics import Split
from notus.feedback.verifiable import Constraint


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One choice of parameters: what the wording shows and what the answer must meet."""

    fields: Mapping[str, str | int]
    """Values for the wording's format fields."""
    constraints: Sequence[Constraint]
    """What a good answer meets."""
    keywords: Sequence[str]
    """Stems, one of which an answer on the subject has; empty where any words are on it."""


Cases = Callable[[Split], list[Case]]


def require(check: str, **params: Any) -> Constraint:
    """A constraint, written short."""
    return {"check": check, "params": params}


def about_topics(*constraints: Constraint) -> Cases:
    """One case a topic, with the same constraints for each."""

    def make(split: Split) -> list[Case]:
        return [_on_topic(topic, {}, constraints, split) for topic in topics.TOPICS[split]]

    return make


def within_limits(train: Sequence[int], test: Sequence[int], *constraints: Constraint) -> Cases:
    """One case a topic and word limit."""

    def make(split: Split) -> list[Case]:
        return [
            _on_topic(
                topic,
                {"limit": limit, "above": limit + 1},
                [require("max_words", limit=limit), *constraints],
                split,
            )
            for topic in topics.TOPICS[split]
            for limit in {"train": train, "test": test}[split]
        ]

    return make


def _on_topic(
    topic: str,
    fields: Mapping[str, str | int],
    constraints: Sequence[Constraint],
    split: Split,
) -> Case:
    stems = topics.TOPICS[split][topic].split()
    return Case(
        fields={"topic": topic, **fields},
        constraints=[*constraints, require("mentions", stems=stems)],
        keywords=stems,
    )


def exclude_word(split: Split) -> list[Case]:
    """A topic whose most obvious word is barred."""
    return [
        _on_topic(
            topic,
            {"barred": barred},
            [
                require("excludes_words", barred=[barred]),
                require("num_sentences", count=1),
                require("max_words", limit=30),
            ],
            split,
        )
        for topic, barred in topics.BARRED[split].items()
    ]


def opener(split: Split) -> list[Case]:
    """A topic and the words that the sentence must start with."""
    return [
        _on_topic(
            topic,
            {"opener": phrase},
            [require("starts_with", phrase=phrase), require("num_sentences", count=1)],
            split,
        )
        for topic in topics.TOPICS[split]
        for phrase in topics.OPENERS[split]
    ]


def include_word(split: Split) -> list[Case]:
    """One word that a short sentence must have."""
    return [_with_words({"word": word}, [word], limit=20) for word in topics.WORDS[split]]


def include_two(split: Split) -> list[Case]:
    """Two words that a sentence must have."""
    pool = topics.WORDS[split]
    return [
        _with_words({"first": first, "second": second}, [first, second], limit=25)
        for first in pool
        for second in pool
        if first != second
    ]


def _with_words(fields: Mapping[str, str], required: Sequence[str], *, limit: int) -> Case:
    return Case(
        fields=fields,
        constraints=[
            require("includes_words", required=list(required)),
            require("num_sentences", count=1),
            require("min_words", limit=len(required) + 2),
            require("max_words", limit=limit),
        ],
        keywords=list(required),
    )


def numbered(split: Split) -> list[Case]:
    """A group and how many of it to list."""
    words = {3: "three", 4: "four"}
    return [
        Case(
            fields={"group": group, "count": words[count]},
            constraints=[
                require("numbered_list", count=count),
                require("max_words", limit=8 * count),
            ],
            keywords=[],
        )
        for group in topics.GROUPS[split]
        for count in {"train": (3,), "test": (4,)}[split]
    ]


def tip(split: Split) -> list[Case]:
    """An activity to give one tip for."""
    return [
        Case(
            fields={"activity": activity},
            constraints=[
                require("num_sentences", count=1),
                require("max_words", limit=20),
                require("min_words", limit=4),
            ],
            keywords=[],
        )
        for activity in topics.ACTIVITIES[split]
    ]


def copy(split: Split) -> list[Case]:
    """A sentence to give back as it is."""
    return [
        Case(
            fields={"sentence": sentence},
            constraints=[require("same_words", phrase=sentence)],
            keywords=[],
        )
        for sentence in topics.SENTENCES[split]
    ]


def capitals(split: Split) -> list[Case]:
    """A word to write in capital letters."""
    return [
        Case(
            fields={"word": word},
            constraints=[
                require("letter_case", case="upper"),
                require("includes_words", required=[word]),
                require("max_words", limit=3),
            ],
            keywords=[word],
        )
        for word in topics.WORDS[split]
    ]


def greeting(split: Split) -> list[Case]:
    """A person to wish a happy birthday."""
    return [
        Case(
            fields={"person": person},
            constraints=[
                require("ends_with_exclamation"),
                require("max_words", limit=30),
                require("mentions", stems=["birthday"]),
            ],
            keywords=["birthday"],
        )
        for person in topics.PEOPLE[split]
    ]


FORM_CASES: dict[str, Cases] = {
    "word_limit": within_limits((12, 15, 20), (14, 18), require("min_words", limit=3)),
    "one_sentence": about_topics(require("num_sentences", count=1), require("max_words", limit=25)),
    "two_sentences": about_topics(
        require("max_sentences", limit=2), require("max_words", limit=35)
    ),
    "no_commas": about_topics(require("no_commas"), require("num_sentences", count=1)),
    "exclude_word": exclude_word,
    "include_word": include_word,
    "include_two": include_two,
    "opener": opener,
    "quoted": about_topics(require("quoted"), require("max_words", limit=20)),
    "question": about_topics(
        require("num_sentences", count=1),
        require("ends_with_question"),
        require("max_words", limit=20),
    ),
    "numbered": numbered,
    "tip": tip,
    "headline": within_limits(
        (6, 8, 12), (7, 10), require("one_line"), require("min_words", limit=2)
    ),
    "copy": copy,
    "capitals": capitals,
    "greeting": greeting,
}
