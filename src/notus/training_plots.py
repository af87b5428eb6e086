"""Plots of a training that are more than lines: a band of quantiles, bars of time."""

from collections.abc import Mapping, Sequence

from numpy.typing import ArrayLike

from notus.plots import BASE, INK, LINE, MUTED, TUNED, figure_of, grid, svg_of


def band(
    steps: ArrayLike, low: ArrayLike, middle: ArrayLike, high: ArrayLike, *, name: str, label: str
) -> str:
    """Draw a middle line within a band over the optimiser steps; 0 is marked.

    Args:
        steps: [n] steps.
        low: [n] lower edge of the band.
        middle: [n] the line.
        high: [n] upper edge.
        name: Prefix of the ids: unique on the page.
        label: What a screen reader says.

    Returns:
        An `<svg>` element.
    """
    with figure_of(3.5, 2.2) as (figure, axes):
        axes.axhline(0.0, color=LINE, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.fill_between(steps, low, high, color=BASE, alpha=0.35, linewidth=0)
        axes.plot(steps, middle, color=TUNED)
        axes.set_xlabel("step")
        axes.locator_params(axis="both", nbins=5)
        grid(axes)
        return svg_of(figure, name=name, label=label)


def bars(shares: Mapping[str, float], *, strong: Sequence[str], name: str, label: str) -> str:
    """Draw shares of a whole as bars, one a row, in the order given, with their percentages.

    Args:
        shares: Name -> share, 0 to 1.
        strong: Those drawn in the strong colour.
        name: Prefix of the ids: unique on the page.
        label: What a screen reader says.
    """
    with figure_of(4.4, 0.35 + 0.24 * len(shares)) as (figure, axes):
        for i, (part, share) in enumerate(shares.items()):
            colour = TUNED if part in strong else BASE
            axes.barh(i, 100 * share, height=0.62, color=colour, linewidth=0)
            axes.text(100 * share + 1, i, f"{100 * share:.1f} %", va="center", color=MUTED)
        axes.set_yticks(range(len(shares)), list(shares))
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set(ylim=(len(shares) - 0.4, -0.6), xlim=(0, 115 * max(shares.values())), xticks=[])
        axes.spines["bottom"].set_visible(False)
        return svg_of(figure, name=name, label=label)
