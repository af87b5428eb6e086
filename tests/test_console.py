"""Lines and bars on stderr; stdout stays for data."""

import io
import os
import sys

import pytest

from notus.console import Talk, lines_of


class Terminal(io.StringIO):
    """A stderr that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_line_stays_one_line_and_text_stays_text(capsys: pytest.CaptureFixture[str]) -> None:
    line = f"report: {os.sep}{'long-folder-name/' * 20}[red]x[/red] :smile: 12:30"
    Talk().say(line)
    out, err = capsys.readouterr()
    assert (out, err) == ("", line + "\n")


def test_a_quiet_talk_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    talk = Talk(quiet=True)
    talk.say("hello")
    talk.advance("work", 10, 10)
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_a_bar_is_ten_lines(capsys: pytest.CaptureFixture[str]) -> None:
    advance = Talk().bar("work")
    for done in range(1, 201):
        advance(done, 200)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"  work: {20 * tenth} of 200" for tenth in range(1, 11)]


def test_a_second_bar_of_the_same_name_starts_over(capsys: pytest.CaptureFixture[str]) -> None:
    talk = Talk()
    for _ in range(2):
        talk.advance("work", 1, 2)
        talk.advance("work", 2, 2)
    assert capsys.readouterr().err.splitlines() == ["  work: 1 of 2", "  work: 2 of 2"] * 2


@pytest.mark.parametrize("total", [0, 1])
def test_nothing_to_do_is_no_error(total: int, capsys: pytest.CaptureFixture[str]) -> None:
    Talk().advance("work", total, total)
    assert len(capsys.readouterr().err.splitlines()) == total


def test_on_a_terminal_a_bar_is_drawn_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    talk = Talk()
    for done in range(1, 4):
        talk.advance("first", done, 3)
    talk.advance("second", 1, 3)
    talk.say("a line in between")
    talk.advance("third", 1, 1)
    text = terminal.getvalue()
    for part in ("first", "3/3", "second", "1/3", "a line in between", "third"):
        assert part in text
    # Every bar hides the cursor and shows it again.
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 3


def test_facts_are_aligned() -> None:
    facts = {
        "directory": "runs/x",
        "rows": 12,
        "refused": {"not valid JSON": 1, "empty completion": 2},
        "dropped": {},
        "issues": {"scale": {"error": 2, "info": 3}, "arity": {}},
        "between": ["argilla-v1", "h4-v2"],
        "share": 0.123456,
        "base": None,
    }
    assert list(lines_of(facts)) == [
        "directory  runs/x",
        "rows       12",
        "refused    not valid JSON: 1, empty completion: 2",
        "dropped    none",
        "issues     scale (error: 2, info: 3), arity (none)",
        "between    argilla-v1, h4-v2",
        "share      0.1235",
        "base       -",
    ]


def test_rows_are_a_table_without_empty_columns() -> None:
    rows = [
        {"family": None, "value": 0.5, "n": 208, "p": None},
        {"family": "word_limit", "value": 0.25, "n": 8, "p": None},
    ]
    assert list(lines_of({"samples": 3, "results": rows})) == [
        "samples  3",
        "results",
        "  family      value    n",
        "  -             0.5  208",
        "  word_limit   0.25    8",
    ]
