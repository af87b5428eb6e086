"""Turns, dialogues, and the history that two answers share."""

from typing import Any

import pytest

from notus.data.formats.conversations import dialogue, is_dialogue, turns, with_system

USER = {"role": "user", "content": "Why?"}
HELLO = {"role": "assistant", "content": "Hello"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, []),
        ("Why?", [USER]),
        ({"role": "user", "content": "Why?"}, [USER]),
        ([{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Hello"}], [USER, HELLO]),
        ([{"role": "human", "content": "Why?", "weight": 1}], [USER]),
        ([{"from": "narrator", "value": "x"}], [{"role": "narrator", "content": "x"}]),
    ],
    ids=["nothing", "text", "one turn", "sharegpt", "more fields", "unknown speaker"],
)
def test_turns(value: Any, expected: Any) -> None:
    assert turns(value, "prompt", "user") == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (7, "prompt is neither text nor messages: int"),
        ([7], "prompt has a turn that is not an object: int"),
        ([{"role": "user", "content": None}], "without role and content: content, role"),
        ([{"from": "human", "value": 7}], "without role and content: from, value"),
    ],
)
def test_what_is_no_turn(value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        turns(value, "prompt", "user")


def test_a_dialogue_keeps_every_character_but_the_marks() -> None:
    text = "\n\nHuman: Why? \n\nAssistant:  Hello\n\nor so\n\nHuman:Human: yes"
    assert is_dialogue(text)
    assert dialogue(text, "prompt", "user") == [
        {"role": "user", "content": "Why? "},
        {"role": "assistant", "content": " Hello\n\nor so"},
        {"role": "user", "content": "Human: yes"},
    ]


def test_the_empty_turn_that_asks_for_an_answer_is_no_part_of_the_prompt() -> None:
    text = "\n\nHuman: Why?\n\nAssistant: "
    assert dialogue(text, "prompt", "user") == [USER]
    assert len(dialogue(text, "chosen", "assistant")) == 2


def test_what_is_no_dialogue_is_a_text() -> None:
    text = "See:\n\nHuman: x"
    assert not is_dialogue(text)
    assert dialogue(text, "prompt", "user") == [{"role": "user", "content": text}]


def test_system_prompts() -> None:
    system = {"role": "system", "content": "Be brief."}
    assert with_system([USER], "") == [USER]
    assert with_system([USER], "Be brief.") == [system, USER]
    assert with_system([system, USER], "Be brief.") == [system, USER]
    with pytest.raises(ValueError, match="two system prompts that differ"):
        with_system([system, USER], "Be long.")
