"""Plots of biases, beside those of `notus.plots`: arrays in, one `<svg>` element out."""

from collections.abc import Sequence
from typing import NamedTuple

from notus.plots import BASE, LINE, MUTED, TUNED, figure_of, svg_of


class Point(NamedTuple):
    """A share with its interval, at a place on the axis."""

    place: float
    share: float
    low: float
    high: float


def length_curve(points: Sequence[Point]) -> str:
    """Draw how often the longer answer is chosen, by how many times longer it is.

    Args:
        points: From left to right; places are ratios of lengths, above 1.

    Returns:
        An `<svg>` element, with the line of no preference at one half.
    """
    with figure_of(4.6, 3.0) as (figure, axes):
        axes.axhline(50, color=MUTED, linewidth=0.8)
        places = [point.place for point in points]
        for point in points:
            axes.plot([point.place] * 2, [100 * point.low, 100 * point.high], color=BASE)
        shares = [100 * point.share for point in points]
        axes.plot(places, shares, color=TUNED, marker="o", markersize=4, markeredgewidth=0)
        axes.set_xscale("log")
        ticks = [tick for tick in (1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100) if tick <= max(places)]
        axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
        axes.minorticks_off()
        axes.set(ylim=(0, 100), yticks=range(0, 101, 25))
        axes.set(xlabel="longer by a factor of", ylabel="longer answer chosen, %")
        axes.grid(axis="y", color=LINE, linewidth=0.5)
        axes.set_axisbelow(True)
        return svg_of(figure, name="length", label="Longer answers chosen, by length ratio")
