"""Plots must take their colours from the page, carry no rule of their own, and be reproducible."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from notus import plots


def density() -> str:
    scores, means, counts = [10.0, 10.0, 5.0], [2.0, 5.0, 3.0], [4, 9, 100]
    return plots.density(scores, means, counts, corner=(10.0, 2.0))


def histogram() -> str:
    return plots.histogram([1.0, 2.0, 10.0], [5, 9, 20], [0, 0, 4])


def curves() -> str:
    series = {"training": ([1, 2, 3], [0.7, 0.6, 0.5]), "held-out": ([3], [0.55])}
    return plots.curves(series, name="curve-0", label="Loss", reference=0.693)


def forest(label: str = "word limit") -> str:
    rows = [
        plots.Interval(label="all", value=5, low=1, high=9, verdict="better"),
        plots.Interval(label=label, value=-4, low=-8, high=-1, verdict="worse", group=1),
        plots.Interval(
            label="unclear", value=1, low=-3, high=5, verdict="no difference shown", group=2
        ),
    ]
    return plots.forest(rows, name="forest", label='a "label" <b>', unit="x", limits=(-9, 9))


@pytest.mark.parametrize("plot", [density, histogram, curves, forest])
def test_a_plot_belongs_to_its_page(plot) -> None:
    svg = plot()
    assert svg.startswith("<svg ")
    assert svg.endswith("</svg>")
    for absent in ("<style", "<metadata", "<?xml", "<!DOCTYPE", "<script"):
        assert absent not in svg
    assert "var(--" in svg
    colours = set(re.findall(r"#[0-9a-fA-F]{6}\b", svg))
    assert not colours, f"colours that do not follow the page: {colours}"
    assert 'viewBox="' in svg.split(">", 1)[0]
    assert not re.search(r'<svg [^>]*\b(width|height)="', svg)
    assert plot() == svg


def fills(svg: str, role: str) -> int:
    return len(re.findall(rf"fill: var\(--{role}\)", svg))


def test_only_what_contradicts_itself_has_the_colour_of_a_bug() -> None:
    # Three cells, one of them (score 10, mean 2) in the corner.
    assert fills(density(), "bug") == 1
    assert fills(density(), "tuned") == 2
    far = plots.density([10.0, 9.0], [2.25, 1.0], [1, 1], corner=(10.0, 2.0))
    assert fills(far, "bug") == 0


def test_a_forest_row_is_strong_only_when_its_interval_excludes_zero() -> None:
    svg = forest()
    strokes = {role: len(re.findall(rf"stroke: var\(--{role}\)", svg)) for role in plots.ROLES}
    assert strokes["tuned"] == strokes["bug"] == strokes["base"] >= 1


def test_ids_of_two_plots_never_meet() -> None:
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (density(), curves(), forest())]
    assert all(ids)
    assert len(set.union(*ids)) == sum(map(len, ids))
    for svg, name in ((density(), "density-"), (curves(), "curve-0-")):
        used = re.findall(r'(?:url\(#|href="#)([^")]+)', svg)
        assert used
        assert all(use.startswith(name) for use in used)


def test_hostile_labels_stay_text() -> None:
    svg = forest("<script>$x^{</script>")
    found: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag != "script"
            found.extend(value or "" for key, value in attrs if key == "aria-label")

        def handle_data(self, data: str) -> None:
            found.append(data.strip())

    Parser().feed(svg)
    assert 'a "label" <b>' in found
    assert "<script>$x^{</script>" in found


def test_the_histogram_has_a_place_for_every_half_point() -> None:
    scores = np.random.default_rng(0).uniform(1, 10, 500)
    svg = plots.histogram(scores, np.ones(500), np.zeros(500))
    # 19 places, each drawn twice: what fits the ratings, and what contradicts them.
    assert fills(svg, "tuned") == 19
    assert fills(svg, "bug") == 19
