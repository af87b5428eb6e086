"""Foreign text inside Markdown: whatever it holds, it means nothing there."""

import re
from collections.abc import Iterable, Sequence


def escape_text(value: object) -> str:
    """Make a value fit for a table cell or a line of Markdown: one line, nothing means anything."""
    line = " ".join(str(value).split())
    return re.sub(r"([\\`*_{}\[\]<>#|~$])", r"\\\1", line)


def escape_code(value: object) -> str:
    """Make a value fit for a code span inside a table."""
    line = " ".join(str(value).split()).replace("`", "'")
    # A backslash of the text's own would escape ours, and the bar would end the cell.
    return re.sub(r"\\*\|", r"\\|", line)


def fence(text: str, language: str = "") -> str:
    """Put text of several lines into a code block that it cannot close."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{text.rstrip()}\n{ticks}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0) -> str:
    """Lay out a table of cells that are escaped already.

    Args:
        head: Titles of the columns.
        rows: Cells, as many a row as there are titles.
        numbers: How many of the last columns hold numbers, which stand to the right.
    """
    rules = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rules, *rows))
