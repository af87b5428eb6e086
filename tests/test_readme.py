"""What the README tells people to type must exist, and its Python must run."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from notus.cli import app

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("notus ")]


@pytest.mark.parametrize("command", commands(), ids=lambda command: command[0])
def test_every_command_is_one(command: list[str]) -> None:
    """Parsing alone: an unknown verb or option, or a missing argument, raises."""
    verb, *arguments = command
    known = get_command(app).commands  # type: ignore[attr-defined]
    assert verb in known
    assert known[verb].make_context(verb, list(arguments)).params


def test_the_tour_has_every_verb_that_it_promises() -> None:
    promised = {"ingest", "audit", "binarize", "prompts", "generate", "rate", "train"}
    promised |= {"evaluate", "card", "chat", "run"}
    assert {command[0] for command in commands()} == promised


def test_every_file_that_a_command_reads_is_there() -> None:
    words = {word for command in commands() for word in command}
    read = {word for word in words if word.startswith(("data/", "recipes/"))}
    assert read
    assert [path for path in sorted(read) if not (ROOT / path).is_file()] == []


def test_the_python_runs_as_printed(tmp_path, monkeypatch, capsys) -> None:
    (code,) = blocks("python")
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert "chosen_id" in capsys.readouterr().out
    assert names["made"].preferences.height > 100  # type: ignore[attr-defined]


def test_make_has_the_targets_that_are_named() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", "\n".join(blocks("bash")), re.MULTILINE):
        assert re.search(rf"^{target}: \.venv/", makefile, re.MULTILINE), target
