"""Plots as SVG that belongs to a page: arrays in, one `<svg>` element out.

The report holds the SVG inline, so a plot takes the page's font, and its colours are the page's CSS
variables: one plot serves light and dark. matplotlib knows no CSS variables, so each role has a
colour of its own here (ROLES) that is exchanged for the variable when the text of the SVG is there.
What matplotlib writes besides the drawing (prolog, metadata with the date, a global style rule) is
taken off, and ids get the plot's name as prefix, because a page holds many plots.

Sizes are in points: a plot is about 360 wide, so that its text stays readable on a phone.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

# Any distinct colours would do; none may be #000000, which matplotlib leaves out of a style.
ROLES = {
    "ink": "#101113",
    "muted": "#707173",
    "line": "#d0d1d3",
    "base": "#909193",
    "tuned": "#107173",
    "bug": "#b04123",
    "paper": "#f0f1f3",
}
INK, MUTED, LINE, BASE, TUNED, BUG, PAPER = ROLES.values()

STYLE = {
    "svg.fonttype": "none",  # text stays text: selectable, and in the page's font
    "svg.hashsalt": "notus",  # ids do not differ between two runs on the same numbers
    "font.size": 9.0,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "text.color": INK,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "lines.linewidth": 1.4,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}


@dataclass(frozen=True, kw_only=True)
class Interval:
    """One row of a forest plot, in the plot's unit."""

    label: str
    value: float
    low: float
    high: float
    verdict: str
    """"better" and "worse" are drawn in strong colours, all else in the quiet one."""
    group: int = 0
    """Rows of one group stand together; a thin rule divides groups."""


@contextmanager
def figure_of(width: float, height: float) -> Iterator[tuple[Figure, Axes]]:
    """Give a figure of so many inches and its axes, under our style and no global state."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        yield figure, figure.add_subplot()


def svg_of(figure: Figure, *, name: str, label: str) -> str:
    """Write the figure and make it an element of the page; call inside `figure_of`."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", text, count=1)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1)
    for role, colour in ROLES.items():
        text = text.replace(colour, f"var(--{role})")
    return text.strip()


def density(
    scores: ArrayLike, means: ArrayLike, counts: ArrayLike, *, corner: tuple[float, float]
) -> str:
    """Draw how often each pair of overall score and mean rating occurs.

    Args:
        scores: Overall scores, 1 to 10; one per distinct pair.
        means: Mean ratings, 1 to 5.
        counts: How many completions have that pair.
        corner: (score, mean): completions at or above that score and at or below that mean are the
            ones that contradict themselves; their cells are drawn in the colour of a bug.

    Returns:
        An `<svg>` element. The darkness of a cell goes with the logarithm of its count.
    """
    cells = _cells(np.column_stack([scores, means, counts]).astype(float), corner)
    most = np.log1p(max(cells.values(), default=1))
    with figure_of(4.6, 3.4) as (figure, axes):
        for (score, mean, bad), count in sorted(cells.items()):
            shade = 0.12 + 0.88 * np.log1p(count) / most
            axes.add_patch(
                Rectangle(
                    (score - 0.23, mean - 0.115),
                    0.46,
                    0.23,
                    facecolor=to_rgba(BUG if bad else TUNED, 1.0 if bad else shade),
                    linewidth=0,
                )
            )
        x, y = corner[0] - 0.35, 0.8
        height = corner[1] + 0.17 - y
        axes.add_patch(Rectangle((x, y), 0.7, height, fill=False, edgecolor=BUG, linewidth=1))
        axes.set(xlim=(0.6, 10.5), ylim=(0.7, 5.25), xticks=range(1, 11), yticks=range(1, 6))
        axes.set(xlabel="overall score", ylabel="mean of the aspect ratings")
        return svg_of(figure, name="density", label="Mean rating against overall score")


def _cells(
    rows: NDArray[np.float64], corner: tuple[float, float]
) -> dict[tuple[float, float, bool], int]:
    """Add the counts of each cell of half a point by a quarter, the finest both scales use."""
    cells: dict[tuple[float, float, bool], int] = {}
    for score, mean, count in rows.tolist():
        bad = score >= corner[0] and mean <= corner[1]
        cell = (round(score * 2) / 2, round(mean * 4) / 4, bad)
        cells[cell] = cells.get(cell, 0) + int(count)
    return cells


def histogram(scores: ArrayLike, counts: ArrayLike, contradicted: ArrayLike) -> str:
    """Draw how often each overall score occurs.

    Args:
        scores: Distinct overall scores, 1 to 10.
        counts: Completions with that score.
        contradicted: Those among them whose ratings contradict the score.

    Returns:
        An `<svg>` element; the contradicted part of a bar stands at its foot.
    """
    values, number, bad = (np.asarray(a, dtype=float) for a in (scores, counts, contradicted))
    places = np.arange(1.0, 10.25, 0.5)
    nearest = np.abs(values[:, None] - places[None, :]).argmin(axis=1)
    heights = np.bincount(nearest, weights=number, minlength=len(places))
    wrong = np.bincount(nearest, weights=bad, minlength=len(places))
    with figure_of(4.6, 3.4) as (figure, axes):
        axes.bar(places, heights - wrong, bottom=wrong, width=0.42, color=TUNED, linewidth=0)
        axes.bar(places, wrong, width=0.42, color=BUG, linewidth=0)
        axes.set(xlim=(0.6, 10.5), xticks=range(1, 11))
        axes.set(xlabel="overall score", ylabel="completions")
        grid(axes)
        return svg_of(figure, name="histogram", label="Completions by overall score")


def curves(
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    name: str,
    label: str,
    reference: float | None = None,
) -> str:
    """Draw one or two quantities over the optimiser steps.

    Args:
        series: Name to (steps, values). The first is drawn strong, the second light, a name that
            ends in "held-out" as points.
        name: Prefix of the ids: unique on the page.
        label: What a screen reader says.
        reference: A value to mark with a thin rule (ln 2 for the loss, 0 for a difference).

    Returns:
        An `<svg>` element.
    """
    with figure_of(3.5, 2.2) as (figure, axes):
        if reference is not None:
            axes.axhline(reference, color=LINE, linewidth=1.0, linestyle=(0, (4, 3)))
        for i, (title, (steps, values)) in enumerate(series.items()):
            sparse = title.endswith("held-out") or np.size(values) == 1
            (line,) = axes.plot(np.asarray(steps), np.asarray(values), label=title)
            line.set(color=(TUNED, BASE, INK, BUG)[i % 4])
            line.set(marker="o" if sparse else "", markersize=3.2, markeredgewidth=0)
        axes.set_xlabel("step")
        axes.locator_params(axis="both", nbins=5)
        grid(axes)
        if len(series) > 1:
            axes.legend(
                loc="lower left",
                bbox_to_anchor=(-0.02, 1.0),
                ncols=len(series),
                borderaxespad=0.1,
                handlelength=1.2,
                columnspacing=1.2,
            )
        return svg_of(figure, name=name, label=label)


def forest(
    rows: Sequence[Interval], *, name: str, label: str, unit: str, limits: tuple[float, float]
) -> str:
    """Draw differences with their intervals, one row each, around the line of no difference.

    Args:
        rows: From top to bottom, groups together.
        name: Prefix of the ids: unique on the page.
        label: What a screen reader says.
        unit: Title of the axis.
        limits: Ends of the axis, the same for plots that stand side by side.

    Returns:
        An `<svg>` element.
    """
    with figure_of(4.4, 0.62 + 0.235 * len(rows)) as (figure, axes):
        axes.axvline(0.0, color=MUTED, linewidth=0.8)
        for i, row in enumerate(rows):
            colour = {"better": TUNED, "worse": BUG}.get(row.verdict, BASE)
            axes.plot([row.low, row.high], [i, i], color=colour, linewidth=1.6)
            axes.plot([row.value], [i], "o", color=colour, markersize=4.6, markeredgewidth=0)
            if i and row.group != rows[i - 1].group:
                axes.axhline(i - 0.5, color=LINE, linewidth=0.8)
        # A dollar sign would start mathematics.
        axes.set_yticks(range(len(rows)), [row.label.replace("$", r"\$") for row in rows])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set(xlim=limits, ylim=(len(rows) - 0.4, -0.6), xlabel=unit)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=LINE, linewidth=0.5)
        axes.set_axisbelow(True)
        return svg_of(figure, name=name, label=label)


def grid(axes: Axes) -> None:
    """Draw thin horizontal rules behind the data instead of an axis."""
    axes.grid(axis="y", color=LINE, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
