"""Paths into a row, as a mapping file writes them: `answers[*].scores.honesty`.

Names are divided by dots. Behind a name, `[*]` stands for each element of a list, `[2]` for the
third, `[-1]` for the last, and `[:-1]` for all but the last. A name with a dot or a bracket in it
cannot be written.
"""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

EACH = "[*]"
_INDEX = re.compile(r"\[(\*|:-1|-?\d+)\]")
_PATH = re.compile(rf"[^.\[\]]+(?:{_INDEX.pattern})*(?:\.[^.\[\]]+(?:{_INDEX.pattern})*)*")
_STEP = re.compile(rf"[^.\[\]]+|{_INDEX.pattern}")


def check_path(path: str) -> str:
    """Check that a text is a path.

    Raises:
        ValueError: it is none, or has more than one `[*]`.
    """
    if not _PATH.fullmatch(path):
        raise ValueError("not a path: write names divided by dots, as in answers[*].text")
    if path.count(EACH) > 1:
        raise ValueError("more than one [*] in a path")
    return path


Path = Annotated[str, AfterValidator(check_path)]


def resolve(row: object, path: str) -> object:
    """Follow a path; with `[*]` in it the result is a list, one value an element.

    Returns:
        What is there; None where a field or an element is missing, or the way to it is null.

    Raises:
        ValueError: something on the way is of another kind than the path says.
    """
    return _follow(row, [step[0] for step in _STEP.finditer(path)])


def _follow(value: object, steps: list[str]) -> object:
    for place, step in enumerate(steps):
        if value is None:
            return None
        if not step.startswith("["):
            if not isinstance(value, Mapping):
                raise ValueError(f"{_before(steps, place)} is not an object: {_kind(value)}")
            value = value.get(step)
            continue
        if not isinstance(value, list):
            raise ValueError(f"{_before(steps, place)} is not a list: {_kind(value)}")
        if step == EACH:
            return [_follow(item, steps[place + 1 :]) for item in value]
        if step == "[:-1]":
            value = value[:-1]
        else:
            index = int(step[1:-1])
            value = value[index] if -len(value) <= index < len(value) else None
    return value


def _before(steps: list[str], place: int) -> str:
    return ".".join(steps[:place]).replace(".[", "[") or "an element"


def _kind(value: object) -> str:
    return type(value).__name__
