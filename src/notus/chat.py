"""`notus chat MODEL`: talk to a model in the terminal, streaming."""

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from unicodedata import category

from notus.data.schema import Message
from notus.generation import stream
from notus.models import Model

HELP = "Type a message; /new starts over, /quit (or Ctrl-D) ends."


class Turn(NamedTuple):
    """One exchange; the next one can only begin when all pieces of this one were taken."""

    message: str
    """What the person typed."""
    pieces: Iterator[str]
    """The answer, in pieces as they are sampled."""


def chat(
    model: Model,
    lines: Iterable[str],
    *,
    system: str | None = None,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    seed: int = 0,
) -> Iterator[Turn]:
    """Hold a conversation: for each line read, yield a turn whose answer streams.

    Args:
        model: The model to talk to.
        lines: What the person types; "/new" forgets the conversation, "/quit" ends it.
        system: A system turn to begin with; None: the template's own.
        max_new_tokens: Cut an answer after so many tokens.
        temperature: 0 for the likeliest answer.
        seed: Seed of the first answer's draws; every later answer adds 1.

    Raises:
        DataError: The conversation has outgrown the model's window.
    """
    start: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    messages = list(start)
    settings: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature}
    for line in lines:
        text = line.strip()
        if text == "/quit":
            return
        if text == "/new":
            messages = list(start)
            continue
        if not text:
            continue
        messages.append({"role": "user", "content": text})
        said: list[str] = []
        yield Turn(text, _kept(stream(model, messages, seed=seed, **settings), said))
        seed += 1
        messages.append({"role": "assistant", "content": "".join(said)})


def _kept(pieces: Iterable[str], said: list[str]) -> Iterator[str]:
    for piece in pieces:
        said.append(piece)
        yield piece


def on_screen(turns: Iterable[Turn]) -> Iterator[str]:
    """Write turns for a person: the answers' pieces, and a line break behind each answer."""
    for turn in turns:
        yield from map(printable, turn.pieces)
        yield "\n"


def as_json(turns: Iterable[Turn]) -> Iterator[str]:
    """Write turns for a machine: one JSON object {"user", "assistant"} a line."""
    for turn in turns:
        yield json.dumps({"user": turn.message, "assistant": "".join(turn.pieces)}) + "\n"


def printable(text: str) -> str:
    """Drop control characters but newline and tab: a model's text must not steer the terminal.

    Spaces that are not ASCII's (French and Japanese texts have them) are no control characters.
    """
    return "".join(c for c in text if c in "\n\t" or c.isprintable() or category(c) == "Zs")


def read_lines() -> Iterator[str]:
    """Read lines from a person (with a prompt) or from a pipe, until the end of input."""
    interactive = sys.stdin.isatty()
    while True:
        if interactive:
            sys.stderr.write("> ")
            sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            return
        yield line
