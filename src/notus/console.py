"""What a person sees while notus works: lines and progress bars, all on stderr."""

import sys
from collections.abc import Callable

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
