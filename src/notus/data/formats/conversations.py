"""Conversations in the forms that data sets have, as lists of messages.

A text is one turn. A turn has `role` and `content`, or `from` and `value` as in ShareGPT. A
dialogue is one text with "Human:" and "Assistant:" before its turns, each after an empty line, as
in HH-RLHF. Names of speakers that nobody uses for a role stay as they are, and ingest refuses the
row for them.
"""

import re
from collections.abc import Callable, Mapping

from notus.data.schema import Message

Read = Callable[[object, str, str], list[Message]]
"""How a field's value becomes turns: (value, field for messages, role of a bare text)."""

DIFFERENT = "prompt, chosen and rejected are of different conversations"
SPEAKERS = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "observation": "tool",
    "function": "tool",
}
_MARK = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")


def turns(value: object, field: str, role: str) -> list[Message]:
    """Read a text, one turn or a list of turns.

    Raises:
        ValueError: the reason why it is none of them.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if isinstance(value, Mapping):
        return [_turn(value, field)]
    if not isinstance(value, list):
        raise ValueError(f"{field} is neither text nor messages: {type(value).__name__}")
    return [_turn(turn, field) for turn in value]


def _turn(turn: object, field: str) -> Message:
    if not isinstance(turn, Mapping):
        raise ValueError(f"{field} has a turn that is not an object: {type(turn).__name__}")
    speaker, content = turn.get("role"), turn.get("content")
    if speaker is None and content is None:
        speaker, content = turn.get("from"), turn.get("value")
    if not isinstance(speaker, str) or not isinstance(content, str):
        fields = ", ".join(sorted(map(str, turn)))
        raise ValueError(f"{field} has a turn without role and content: {fields or 'no fields'}")
    return {"role": SPEAKERS.get(speaker, speaker), "content": content}


def is_dialogue(value: object) -> bool:
    """Tell whether a value is a text that begins with a marked turn."""
    return isinstance(value, str) and _MARK.match(value) is not None


def dialogue(value: object, field: str, role: str) -> list[Message]:
    """Read a marked dialogue; what is none is read by `turns`.

    The one space after a marker belongs to the marker, everything else to the turn. A last turn of
    the assistant with nothing in it only asks for an answer, and is left out of a prompt.

    Raises:
        ValueError: see `turns`.
    """
    if not isinstance(value, str) or not is_dialogue(value):
        return turns(value, field, role)
    marks = list(_MARK.finditer(value))
    ends = [mark.start() for mark in marks[1:]] + [len(value)]
    found: list[Message] = [
        {
            "role": "user" if mark[1] == "Human" else "assistant",
            "content": value[mark.end() : end].removeprefix(" "),
        }
        for mark, end in zip(marks, ends, strict=True)
    ]
    if role == "user" and found[-1]["role"] == "assistant" and not found[-1]["content"].strip():
        found.pop()
    return found


def with_system(messages: list[Message], system: str) -> list[Message]:
    """Put a system prompt that has a field of its own before its conversation.

    Raises:
        ValueError: the conversation has another one.
    """
    if not system:
        return messages
    if messages and messages[0]["role"] == "system":
        if messages[0]["content"] == system:
            return messages
        raise ValueError("two system prompts that differ")
    return [{"role": "system", "content": system}, *messages]


def answer(found: list[Message], field: str) -> tuple[list[Message], str]:
    """Take the last turn, the assistant's, from the turns before it.

    Raises:
        ValueError: nothing is there, or somebody else's turn.
    """
    if not found or not found[-1]["content"].strip():
        raise ValueError(f"empty completion: {field}")
    if found[-1]["role"] != "assistant":
        raise ValueError(f"{field} does not end with the assistant: {found[-1]['role']!r}")
    return found[:-1], found[-1]["content"]


def shared_history(
    prompt: list[Message], sides: Mapping[str, list[Message]]
) -> tuple[list[Message], dict[str, str]]:
    """Take the one prompt and the answers from conversations that may each repeat the prompt.

    Args:
        prompt: The prompt, which may be only the last turn of what an answer repeats; or nothing.
        sides: By the side's field, the answer alone or the whole conversation that ends with it.

    Raises:
        ValueError: an answer is missing, or the conversations are not one.
    """
    histories: list[list[Message]] = []
    texts: dict[str, str] = {}
    for side, found in sides.items():
        history, texts[side] = answer(found, side)
        if history:
            histories.append(history)
    messages = histories[0] if histories else prompt
    if any(history != messages for history in histories[1:]):
        raise ValueError(DIFFERENT)
    if messages[-len(prompt) :] != (prompt or messages):
        raise ValueError(DIFFERENT)
    if not messages:
        raise ValueError("empty prompt")
    return messages, texts
