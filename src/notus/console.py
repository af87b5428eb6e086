"""What a person sees: lines and progress bars on stderr, and facts as aligned lines."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Talk:
    """Talks on stderr: short lines, and one progress bar at a time.

    Where stderr is no terminal, a bar becomes a line at each tenth of the way, so that a log shows
    progress without control characters.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        # Lines stay lines and text stays text: a path is not wrapped, ":x:" in it is no emoji.
        self.console = Console(
            stderr=True, quiet=quiet, highlight=False, soft_wrap=True, emoji=False
        )
        self._progress: Progress | None = None
        self._what = ""
        self._tenth = 0

    def say(self, text: str) -> None:
        """Print one line."""
        self._close()
        self.console.print(text, markup=False)

    def bar(self, what: str) -> Callable[[int, int], None]:
        """Make a callback (done, total) that draws a progress bar named `what`."""

        def advance(done: int, total: int) -> None:
            self.advance(what, done, total)

        return advance

    def advance(self, what: str, done: int, total: int) -> None:
        """Draw how far `what` has come."""
        if what != self._what:
            self._close()
            self._what, self._tenth = what, 0
        if sys.stderr.isatty():
            self._draw(what, done, total)
        elif (tenth := 10 * done // max(total, 1)) > self._tenth:
            self._tenth = tenth
            self.console.print(f"  {what}: {done} of {total}", markup=False)
        if done >= total:
            self._close()

    def _draw(self, what: str, done: int, total: int) -> None:
        if self._progress is None:
            self._progress = Progress(
                TextColumn("  {task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._progress.start()
            self._progress.add_task(what, total=total)
        self._progress.update(self._progress.task_ids[0], completed=done, total=total)

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        self._what = ""


def lines_of(facts: Mapping[str, Any]) -> Iterator[str]:
    """Write facts as aligned lines: a name, then its value; a list of rows as a table below."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
            yield name
            yield from (f"  {line}" for line in _table(value))
        else:
            yield f"{name:<{width}}  {_shown(value)}".rstrip()


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Align rows under the names of their columns, numbers to the right; empty columns go."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    names = [name for name in names if any(row.get(name) is not None for row in rows)]
    cells = [names, *([_shown(row.get(name)) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    to_right = [
        all(isinstance(row.get(name), int | float | None) for row in rows) for name in names
    ]
    for line in cells:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, to_right, strict=True)
        ]
        yield "  ".join(padded).rstrip()


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(_entry(name, inner) for name, inner in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value)) or "none"
    return str(value)


def _entry(name: object, value: Any) -> str:
    nested = isinstance(value, Mapping)
    return f"{name} ({_shown(value)})" if nested else f"{name}: {_shown(value)}"
