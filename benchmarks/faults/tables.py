"""Tables of Markdown that line up in plain text, and shares with their intervals."""

from collections.abc import Sequence

from notus.stats import wilson


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table whose columns line up; numbers are on the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(3, *(len(row[i]) for row in [header, *cells])) for i in range(len(header))]
    right = [
        all(row[i][:1] in "0123456789-+" or not row[i] for row in cells) for i in range(len(header))
    ]
    rule = [("-" * (w - 1) + ":") if r else "-" * w for w, r in zip(widths, right, strict=True)]
    lines = [header, rule, *cells]
    return "\n".join(
        "| "
        + " | ".join(
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(line, widths, right, strict=True)
        )
        + " |"
        for line in lines
    )


def share(part: int, whole: int) -> str:
    """A share with its 95 % interval: "0.980 [0.950, 0.992]"."""
    if whole == 0:
        return ""
    found = wilson(part, whole)
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
