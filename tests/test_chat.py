"""A conversation in the terminal: what is remembered, what is drawn, what reaches the screen."""

import io
import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny
from notus import chat as chat_module
from notus.chat import as_json, chat, on_screen, printable, read_lines
from notus.errors import DataError
from notus.generation import generate
from notus.models import Model

NEW = 6


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny.make_model()


def hold(model: Model, *lines: str, **settings: Any) -> list[str]:
    """The answers, one a turn, as they reach the screen."""
    said = "".join(on_screen(chat(model, lines, max_new_tokens=NEW, **settings)))
    return said.removesuffix("\n").split("\n") if said else []


def answer(model: Model, *turns: str, system: str | None = None, **settings: Any) -> str:
    """What `generate` answers to turns of user and assistant."""
    messages: Any = [] if system is None else [{"role": "system", "content": system}]
    for i, text in enumerate(turns):
        messages.append({"role": ("user", "assistant")[i % 2], "content": text})
    return generate(model, [messages], max_new_tokens=NEW, **settings)[0].text


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], int]]:
    """What the model is asked: the conversation's texts and the seed. It answers "re: " and it."""
    calls: list[tuple[list[str], int]] = []

    def answers(_: Model, messages: Any, *, seed: int, **__: Any) -> list[str]:
        calls.append(([f"{m['role'][0]}:{m['content']}" for m in messages], seed))
        return ["re: ", messages[-1]["content"]]

    monkeypatch.setattr(chat_module, "stream", answers)
    return calls


def test_the_models_answer_is_streamed(model: Model) -> None:
    assert (
        "".join(hold(model, "the thing")).strip() == printable(answer(model, "the thing")).strip()
    )
    pieces = list(on_screen(chat(model, ["the thing"], max_new_tokens=NEW)))
    assert len(pieces) > 2
    assert pieces[-1] == "\n"


def test_the_conversation_is_remembered(model: Model, asked: list[tuple[list[str], int]]) -> None:
    assert hold(model, "one\n", "  two  ", "", "\n") == ["re: one", "re: two"]
    assert [texts for texts, _ in asked] == [["u:one"], ["u:one", "a:re: one", "u:two"]]


def test_new_forgets_all_but_the_system_turn(
    model: Model, asked: list[tuple[list[str], int]]
) -> None:
    hold(model, "one", "/new\n", "two", system="Be brief.")
    assert [texts for texts, _ in asked] == [["s:Be brief.", "u:one"], ["s:Be brief.", "u:two"]]


def test_a_machine_gets_one_line_an_answer(
    model: Model, asked: list[tuple[list[str], int]]
) -> None:
    lines = list(as_json(chat(model, ["one\x1b", "two"], max_new_tokens=NEW)))
    assert [line.count("\n") for line in lines] == [1, 1]
    assert [json.loads(line) for line in lines] == [
        {"user": "one\x1b", "assistant": "re: one\x1b"},
        {"user": "two", "assistant": "re: two"},
    ]
    assert all(line.isascii() and "\x1b" not in line for line in lines)
    assert asked[1][0] == ["u:one\x1b", "a:re: one\x1b", "u:two"]


def test_quit_ends(model: Model, asked: list[tuple[list[str], int]]) -> None:
    assert hold(model, "one", " /quit ", "two") == ["re: one"]
    assert len(asked) == 1


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_every_answer_has_the_next_seed(
    system: str | None, model: Model, asked: list[tuple[list[str], int]]
) -> None:
    hold(model, "one", "two", "/new", "three", system=system, seed=7)
    assert [seed for _, seed in asked] == [7, 8, 9]


def test_a_conversation_that_outgrows_the_window(model: Model) -> None:
    turns = chat(model, ["the thing " * 5] * 20, max_new_tokens=NEW)
    assert list(next(turns).pieces), "the first answer still fits"
    with pytest.raises(DataError, match="at most 128 tokens"):
        list(on_screen(turns))


@given(st.text())
def test_what_reaches_the_screen_cannot_steer_it(text: str) -> None:
    shown = printable(text)
    # C0, C1, line separators, and marks that turn the direction of writing are gone.
    assert not set(shown) & {chr(i) for i in (*range(9), *range(11, 32), *range(127, 160))}
    assert not set(shown) & set(
        "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    )
    kept = [c for c in text if c.isprintable() or c in "\n\t\u00a0\u3000\u202f"]
    assert [c for c in shown if c in kept] == kept


def test_spaces_of_other_scripts_stay() -> None:
    assert printable("Quoi\u202f?\u3000\u00a0\x1b[31m\x07") == "Quoi\u202f?\u3000\u00a0[31m"


def test_lines_come_from_a_pipe_without_a_prompt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\n\ntwo"))
    assert list(read_lines()) == ["one\n", "\n", "two"]
    assert capsys.readouterr() == ("", "")


def test_a_person_sees_a_prompt_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stdin = io.StringIO("one\n")
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", stdin)
    assert list(read_lines()) == ["one\n"]
    assert capsys.readouterr() == ("", "> > ")
