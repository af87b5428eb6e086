"""Every error that notus raises on purpose.

    NotusError
    |-- UsageError (ValueError)              wrong usage or bad input: exit code 2, no traceback
    |   |-- RecipeError                      a recipe key or value that does not exist or fit
    |   |-- DataError                        a file, a table or too many of its rows cannot be used
    |   |-- IncompleteError                  a directory without a manifest, or with another stage's
    |   |-- ModelError                       a model or tokenizer that is missing or does not fit
    |   |-- UnsupportedModelError            a model that the tree layout cannot score
    |   `-- MissingExtraError (ImportError)  an optional dependency that is not installed
    `-- StageError (RuntimeError)            a stage that failed on good input: exit code 1
        `-- TrainingError                    training that must not go on

A leaf also inherits the standard class that it refines. None has a constructor of its own, so all
of them can be pickled. `explain` builds their messages.
"""

import difflib
from collections.abc import Iterable, Mapping


class NotusError(Exception):
    """Root of all errors raised by notus."""


class UsageError(NotusError, ValueError):
    """Wrong usage or bad input; the command line exits with code 2 and prints no traceback."""


class RecipeError(UsageError):
    """A recipe key or value does not exist or does not fit."""


class DataError(UsageError):
    """A file, a table or too many of its rows cannot be used."""


class IncompleteError(UsageError):
    """A directory has no manifest, or the manifest of another stage."""


class ModelError(UsageError):
    """A model or its tokenizer is missing or does not fit."""


class UnsupportedModelError(UsageError):
    """A model has a layer that the tree layout cannot score exactly."""


class MissingExtraError(UsageError, ImportError):
    """An optional dependency is not installed; the message has the install line."""


class StageError(NotusError, RuntimeError):
    """A stage failed on good input; the command line exits with code 1."""


class TrainingError(StageError):
    """Training must not go on: its numbers would be wrong."""


def explain(*, found: str, expected: str, where: str, remedy: str) -> str:
    """Build the one message a user gets: what, expected what, where, and what to do."""
    return f"{found}\n  expected: {expected}\n  where:    {where}\n  do this:  {remedy}"


def explain_unknown(
    what: str,
    name: str,
    known: Iterable[str],
    *,
    where: str,
    notes: Mapping[str, str] | None = None,
) -> str:
    """Build the message for an unknown name: the known ones, with their notes, and the nearest."""
    names = list(known)
    listed = [f"{one} ({notes[one]})" if notes else one for one in names]
    near = difflib.get_close_matches(name, names, n=1)
    return explain(
        found=f"{what} {name!r}",
        expected=f"one of {', '.join(listed)}",
        where=where,
        remedy=f"did you mean {near[0]!r}?" if near else "name a known one",
    )
