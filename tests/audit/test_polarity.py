"""What critiques mean: learned from the others, robust against the fault that it looks for."""

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from critics import ENGLISH, OWN, critiques, ids, some_scores

from notus.audit.polarity import (
    LEARN_AT_LEAST,
    LEXICON_SPREAD,
    Measure,
    expected_scores,
    learn_polarity,
)


def read(
    texts: list[str], scores: np.ndarray, prompts: list[str] | None = None
) -> tuple[Measure, np.ndarray]:
    """Learn from critiques with scores 1..10, and read the same ones."""
    names = pl.Series(prompts or ids(len(texts)))
    measure = learn_polarity(pl.Series(texts), names, (scores - 1) / 9)
    return measure, expected_scores(measure, pl.Series(texts), names)


@pytest.mark.parametrize("sentences", [ENGLISH, OWN])
def test_it_learns_the_raters_language(sentences: tuple[tuple[str, ...], ...]) -> None:
    rng = np.random.default_rng(0)
    scores = some_scores(2000, rng)
    measure, expected = read(critiques(scores, rng, sentences), scores)
    assert measure.learned_from == (scores < 10).sum()
    assert measure.sampled == 2000
    assert measure.agreement > 0.85
    assert measure.low < 0.45 < 0.75 < measure.high
    residual = np.abs((scores - 1) / 9 - expected)
    assert measure.spread == pytest.approx(1.4826 * np.median(residual[scores < 10]), rel=1e-6)


def test_scores_of_one_that_all_became_ten_do_not_make_blame_praise() -> None:
    """Every critique of a 1 is written beside a 10; its words occur nowhere else."""
    rng = np.random.default_rng(1)
    scores = some_scores(3000, rng)
    texts = np.array(critiques(scores, rng), dtype=object)
    worst = scores <= 1.5
    texts[worst] = "Useless, wrong, terrible, incoherent, worthless."
    _, expected = read(texts.tolist(), np.where(worst, 10.0, scores))
    assert worst.sum() > 10
    assert expected[worst].max() < 0.5 < expected[scores == 10].min()


def test_no_critique_teaches_its_own_half() -> None:
    """A word that goes with 9 in one half only is praise in the other half, and neutral at home."""
    rng = np.random.default_rng(2)
    names = pl.Series(ids(2000))
    half = (names.str.slice(-4).str.to_integer(base=16) % 2).to_numpy()
    scores = np.where(half == 0, np.where(rng.random(2000) < 0.5, 9.0, 3.0), 6.0)
    texts = [("zonk" if score == 9 else "bleg") for score in scores]
    measure = learn_polarity(pl.Series(texts), names, (scores - 1) / 9)
    probe = pl.Series(["zonk", "zonk"])
    home, away = names.filter(pl.Series(half == 0))[0], names.filter(pl.Series(half == 1))[0]
    at_home, elsewhere = expected_scores(measure, probe, pl.Series([home, away]))
    assert at_home == pytest.approx(5 / 9, abs=0.01)
    assert elsewhere > 0.8


def test_row_order_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    scores = some_scores(1200, rng)
    texts, names = critiques(scores, rng), ids(1200)
    _, expected = read(texts, scores, names)
    order = rng.permutation(1200)
    _, again = read([texts[i] for i in order], scores[order], [names[i] for i in order])
    assert again == pytest.approx(expected[order], abs=1e-4)


def test_too_little_to_learn_from_leaves_the_lexicon() -> None:
    """(2 - 0) / (2 + 2) is .5 and (0 - 2) / (2 + 2) is -.5: as shares of the scale, .75 and .25."""
    measure, expected = read(["Excellent.", "Wrong.", "Yes."], np.array([9.0, 2.0, 5.0]))
    assert measure.weights is None
    assert measure.learned_from == 0
    assert measure.spread == LEXICON_SPREAD
    assert expected.tolist() == [0.75, 0.25, 0.5]
    assert measure.agreement == 1.0


def test_highest_scores_alone_teach_nothing() -> None:
    scores = np.full(2 * LEARN_AT_LEAST, 10.0)
    measure, _ = read(["Good."] * scores.size, scores)
    assert measure.weights is None


@pytest.mark.shared
def test_against_gpt4s_own_ratings(shared_data: Path) -> None:
    """Judgments of MT-Bench without their rating: the two measures, and where they stand.

    The figures are those of benchmarks/results/polarity_2026-11-25.md.
    """
    folder = shared_data / "judging" / "mt_bench" / "model_judgment"
    lines = [path.read_text(encoding="utf-8").splitlines() for path in sorted(folder.iterdir())]
    rows = [json.loads(line) for file in lines for line in file]
    rows = [row for row in rows if row["score"] > 0]
    texts = [re.sub(r"(?i)(rating:? *)?\[\[[\d.]+\]\]", "", row["judgment"]) for row in rows]
    scores = np.array([row["score"] for row in rows], dtype=float)
    questions = ids(200)
    prompts = [questions[row["question_id"]] for row in rows]
    measure, _ = read(texts, scores, prompts)
    assert len(rows) == 1125
    assert measure.learned_from > 800
    assert measure.agreement > 0.85
    small = [i for i, row in enumerate(rows) if row["question_id"] % 5 == 0]
    lexicon, _ = read([texts[i] for i in small], scores[small], [prompts[i] for i in small])
    assert lexicon.learned_from == 0
    assert lexicon.agreement > 0.8
