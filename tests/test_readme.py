"""What the README tells people to type must exist, and its Python must run."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from notus.cli import app
from notus.data.formats.mapping import load_mapping
from notus.specifications import specification

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def commands(page: str = README) -> list[list[str]]:
    lines = [line for block in blocks("bash", page) for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("notus ")]


@pytest.mark.parametrize("command", commands() + commands(GUIDE), ids=lambda command: command[0])
def test_every_command_is_one(command: list[str]) -> None:
    """Parsing alone: an unknown verb or option, or a missing argument, raises."""
    known: Any = get_command(app)
    while hasattr(known, "commands"):
        verb, *command = command
        assert verb in known.commands
        known = known.commands[verb]
    assert known.make_context(verb, command).params


def test_every_yaml_of_the_guide_is_one(tmp_path: Path) -> None:
    mapping, strategy = blocks("yaml", GUIDE)
    for name, text in (("map.yaml", mapping), ("contrast.yaml", strategy)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert load_mapping(tmp_path / "map.yaml")
    assert specification(str(tmp_path / "contrast.yaml")).name == "contrast"


def test_the_tour_has_every_verb_that_it_promises() -> None:
    promised = {"ingest", "audit", "binarize", "prompts", "generate", "rate", "train"}
    promised |= {"evaluate", "card", "chat", "run", "preflight", "plan", "publish"}
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
