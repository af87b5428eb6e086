"""Scores that were given by default, and popular ones."""

from dataclasses import replace

import numpy as np
import polars as pl
from critics import critiques
from row_subjects import make_subject, shuffled, summary

from notus.audit.histograms import pile_up
from notus.audit.verdict import Subject
from notus.data.schema import ASPECTS

STEPS = np.arange(2, 21) / 2
POPULAR = np.array([1, 1, 9, 2, 8, 2, 6, 2, 7, 3, 40, 8, 30, 20, 22, 18, 5, 1, 1], dtype=float)


def world(
    number: int = 3000, *, default: float | None = None, share: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Scores with popular values, and ratings of the aspects that follow them."""
    rng = np.random.default_rng(seed)
    scores = rng.choice(STEPS, number, p=POPULAR / POPULAR.sum())
    quality = (scores - 1) / 9 * 4 + 1
    ratings = np.clip((quality[:, None] + 0.6 * rng.standard_normal((number, 4))).round(), 1, 5)
    if default is not None:
        scores = np.where(rng.random(number) < share, default, scores)
    return scores, ratings


def rated(scores: np.ndarray, ratings: np.ndarray, said: list[str] | None = None) -> Subject:
    answers = {
        f"{i}?": [("m", f"answer {i}", {"overall": score, **dict(zip(ASPECTS, row, strict=False))})]
        for i, (score, row) in enumerate(zip(scores.tolist(), ratings.tolist(), strict=True))
    }
    texts = {f"answer {i}": text for i, text in enumerate(said or [])}
    return make_subject(answers, critiques=texts)


def unrated(scores: np.ndarray, said: list[str] | None = None) -> Subject:
    return rated(scores, np.empty((scores.size, 0)), said)


def test_popular_scores_are_no_pile_up() -> None:
    scores, ratings = world()
    verdict = pile_up(rated(scores, ratings))
    assert verdict.findings == ()
    assert verdict.looked_at == 5 * 3000


def test_a_default_in_the_middle_is_an_error() -> None:
    scores, ratings = world(default=5.0, share=0.06)
    (found,) = pile_up(rated(scores, ratings)).findings
    assert (found.severity, found.subject) == ("error", "overall = 5")
    count = int((scores == 5).sum())
    beside = [(scores == 4.5).sum(), (scores == 5.5).sum()]
    assert found.n == count
    assert found.value == round(count / (sum(beside) / 2), 6)
    assert f"{count} ratings of overall are 5" in found.evidence


def test_unparsable_read_as_one_is_an_error() -> None:
    scores, ratings = world(default=1.0, share=0.03)
    (found,) = pile_up(rated(scores, ratings)).findings
    assert (found.severity, found.subject) == ("error", "overall = 1")
    assert "above" in found.evidence
    assert "below" not in found.evidence.split("of the scores")[1]


def test_flips_pile_up_at_ten() -> None:
    """A 1 read as 10: the items of the highest score are the worst and the best."""
    scores, ratings = world(6000)
    low = np.flatnonzero(scores <= 2)
    ratings[low] = 1
    ratings[scores == 10] = 5
    scores = scores.copy()
    scores[low] = 10
    found = pile_up(rated(scores, ratings)).findings
    assert [f.subject for f in found if f.severity == "error"] == ["overall = 10"]


def test_a_default_of_an_aspect() -> None:
    scores, ratings = world()
    rng = np.random.default_rng(3)
    ratings[rng.random(len(ratings)) < 0.4, 1] = 1
    found = pile_up(rated(scores, ratings)).findings
    assert [f.subject for f in found] == [f"{ASPECTS[1]} = 1"]


def test_critiques_stand_in_for_ratings() -> None:
    rng = np.random.default_rng(4)
    true, _ = world()
    said = critiques(true, rng)
    assert pile_up(unrated(true, said)).findings == ()
    written = np.where(rng.random(true.size) < 0.06, 5.0, true)
    (found,) = pile_up(unrated(written, said)).findings
    assert (found.severity, found.subject) == ("error", "overall = 5")


def test_scores_alone_warn() -> None:
    """Nothing else is said: 6 has 3.3 times the mean of 5 and 7, and of 5.5 and 6.5 as well."""
    counts = {5.0: 40, 5.5: 20, 6.0: 200, 6.5: 30, 7.0: 80}
    scores = np.repeat(list(counts), list(counts.values()))
    (found,) = pile_up(unrated(scores)).findings
    assert (found.severity, found.subject, found.value) == ("warning", "overall = 6", 8.0)
    milder = np.repeat(list(counts), [40, 20, 180, 30, 80])
    assert pile_up(unrated(milder)).findings == ()


def test_measured_values_are_not_steps() -> None:
    scores = np.append(np.linspace(1, 10, 400), np.full(100, 5.0))
    assert "steps" in (pile_up(unrated(scores)).skipped or "")


def test_the_choice_of_a_pair_is_no_score() -> None:
    answers = [("m", "a", {"preference": 1.0}), ("n", "b", {"preference": 0.0})]
    assert pile_up(make_subject({"?": answers})).skipped
    assert pile_up(make_subject({})).skipped


def test_row_order_changes_nothing() -> None:
    scores, ratings = world(800, default=5.0, share=0.1)
    subject = rated(scores, ratings)
    assert summary(pile_up(shuffled(subject, 5))) == summary(pile_up(subject))


def test_a_second_rater_does_not_hide_a_pile() -> None:
    scores, ratings = world(default=5.0, share=0.06)
    subject = rated(scores, ratings)
    other = subject.feedback.ratings.with_columns(rater=pl.lit("second"))
    both = pl.concat([subject.feedback.ratings, other])
    twice = replace(subject, feedback=replace(subject.feedback, ratings=both))
    assert [f.subject for f in pile_up(twice).findings] == ["overall = 5"]
