"""Scores against the words they come with."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from critics import critiques, ids, some_scores
from row_subjects import make_subject, named, shuffled, summary

from notus.audit.critiques import critique_conflict
from notus.audit.verdict import Subject, Verdict
from notus.data.schema import COMPLETIONS, PREFERENCES, RATINGS, Feedback

DEMO = Path(__file__).parents[2] / "data" / "demo"


def scored(scores: np.ndarray, texts: list[str], *, per_prompt: int = 4) -> Subject:
    """Completions that have nothing but a score and a critique; c0, c1 ... are their models."""
    names = ids(scores.size + scores.size // per_prompt + 1)
    completions = names[: scores.size]
    prompts = [names[scores.size + i // per_prompt] for i in range(scores.size)]
    made = pl.DataFrame({"completion_id": completions, "prompt_id": prompts}).with_columns(
        model=pl.format("c{}", pl.int_range(scores.size)),
        text=pl.lit("An answer."),
        origin=pl.lit(None, COMPLETIONS.schema["origin"]),
        metadata=pl.lit("{}"),
    )
    ratings = pl.DataFrame({"completion_id": completions, "value": scores}).with_columns(
        rater=pl.lit("critic"),
        aspect=pl.lit("overall"),
        scale_min=pl.lit(1.0),
        scale_max=pl.lit(10.0),
        rationale=pl.Series(texts, dtype=pl.String),
    )
    feedback = Feedback(
        prompts=pl.LazyFrame(schema={"prompt_id": pl.String}),
        completions=made.select(COMPLETIONS.schema.names()).lazy(),
        ratings=ratings.select(RATINGS.schema.names()).lazy(),
    )
    return Subject(feedback=feedback, preferences=pl.DataFrame(schema=PREFERENCES.schema))


def flagged(subject: Subject, verdict: Verdict, severity: str) -> set[int]:
    return {
        int(str(row["model"])[1:]) for row in named(subject, verdict) if row["severity"] == severity
    }


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.005, 0.01])
def test_planted_flips_are_found_blind(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    scores = some_scores(4000, rng)
    texts = critiques(scores, rng)
    candidates = np.flatnonzero(scores <= 1.5)
    planted = rng.choice(candidates, min(candidates.size, int(share * 4000)), replace=False)
    written = scores.copy()
    written[planted] = 10.0
    subject = scored(written, texts)
    verdict = critique_conflict(subject)
    assert flagged(subject, verdict, "error") == set(planted.tolist())
    assert len(flagged(subject, verdict, "warning")) <= 0.001 * 4000
    assert verdict.looked_at == 4000


def test_clean_critiques_have_no_error_and_hardly_a_warning() -> None:
    rng = np.random.default_rng(9)
    scores = some_scores(8000, rng)
    subject = scored(scores, critiques(scores, rng))
    verdict = critique_conflict(subject)
    assert flagged(subject, verdict, "error") == set()
    assert verdict.issues.height <= 0.001 * 8000
    (agreement,) = verdict.findings
    assert agreement.severity == "info"
    assert agreement.low < agreement.value < agreement.high
    assert agreement.value > 0.85


def test_exchanged_critiques_are_warnings() -> None:
    rng = np.random.default_rng(4)
    scores = some_scores(4000, rng)
    texts = critiques(scores, rng)
    high = np.flatnonzero((scores >= 8.5) & (scores < 10))[:30].tolist()
    low = np.flatnonzero(scores <= 2)[:30].tolist()
    for one, other in zip(high, low, strict=True):
        texts[one], texts[other] = texts[other], texts[one]
    subject = scored(scores, texts)
    verdict = critique_conflict(subject)
    assert not flagged(subject, verdict, "error")
    found = flagged(subject, verdict, "warning")
    assert len(found & {*high, *low}) >= 57
    assert len(found - {*high, *low}) <= 4


def test_ten_times_a_fraction_is_a_warning() -> None:
    rng = np.random.default_rng(5)
    scores = some_scores(4000, rng)
    texts = critiques(scores, rng)
    planted = np.flatnonzero(scores == 1)
    written = scores.copy()
    written[planted] = 7.5
    subject = scored(written, texts)
    found = flagged(subject, critique_conflict(subject), "warning")
    assert planted.size > 10
    assert len(found & set(planted.tolist())) >= planted.size - 1
    assert len(found) <= planted.size + 4


def test_scores_and_critiques_that_have_nothing_to_do_with_each_other() -> None:
    """Critiques that are off by one row: hardly a row can be blamed, the whole set is."""
    rng = np.random.default_rng(6)
    scores = some_scores(3000, rng)
    texts = critiques(scores, rng)
    verdict = critique_conflict(scored(scores, [*texts[1:], texts[0]]))
    assert verdict.issues.height <= 0.001 * 3000
    assert set(verdict.issues["severity"]) <= {"warning"}
    (agreement,) = verdict.findings
    assert agreement.severity == "warning"
    assert abs(agreement.value) < 0.1


def test_few_critiques_are_read_by_the_lexicon() -> None:
    """By hand: useless, wrong: 0 of 1; perfect: (2 - 0) / (2 + 2), .75; spread .165.

    The 10 is (1 - 1/6) / .165 = 5.1 spreads away: blame 4, so -4/6, which is 1/6 of the scale.
    """
    answers = [
        ("flip", "a", {"overall": 10.0}),
        ("fine", "b", {"overall": 10.0}),
        ("low", "c", {"overall": 1.0}),
        ("silent", "d", {"overall": 10.0}),
        ("blank", "e", {"overall": 10.0}),
        ("unscored", "f", {"overall": None}),
        ("outside", "g", {"overall": 11.0}),
    ]
    said = {
        "a": "Useless and\n wrong.",
        "b": "Perfect!",
        "c": "Wrong.",
        "d": None,
        "e": " ",
        "f": "Wrong.",
        "g": "Wrong.",
    }
    subject = make_subject({"?": answers}, critiques=said)
    verdict = critique_conflict(subject)
    assert verdict.looked_at == 3
    assert named(subject, verdict) == [
        {
            "model": "flip",
            "severity": "error",
            "score": pytest.approx(5.050505),
            "evidence": "score 10.0, the critique means about 2.5 (5.1 spreads apart): "
            '"Useless and wrong."',
        }
    ]
    assert verdict.findings == ()


def test_one_issue_a_completion_however_many_critics() -> None:
    subject = make_subject(
        {"?": [("m", "a", {"overall": 10.0}), ("n", "b", {"overall": 8.0})]},
        critiques={"a": "Useless and wrong.", "b": "Good."},
    )
    ratings = subject.feedback.ratings
    second = ratings.with_columns(rater=pl.lit("other"), rationale=pl.lit("Wrong."))
    both = replace(subject.feedback, ratings=pl.concat([ratings, second]))
    verdict = critique_conflict(replace(subject, feedback=both))
    assert named(subject, verdict)[0]["evidence"].startswith(
        "score 10.0, the critique means about 2.5"
    )
    assert verdict.issues["completion_id"].is_unique().all()


def test_row_order_changes_nothing() -> None:
    rng = np.random.default_rng(7)
    scores = some_scores(400, rng)
    texts = critiques(scores, rng)
    scores[scores <= 1.5] = 10
    subject = scored(scores, texts)
    verdict = critique_conflict(subject)
    assert not verdict.issues.is_empty()
    assert summary(critique_conflict(shuffled(subject, 1))) == summary(verdict)


def test_without_critiques_it_says_so() -> None:
    for subject in (
        make_subject({}),
        make_subject({"?": [("m", "a", {"overall": 10.0})]}),
        make_subject({"?": [("m", "a", {"honesty": 5.0})]}, critiques={"a": "Wrong."}),
    ):
        verdict = critique_conflict(subject)
        assert "critique" in (verdict.skipped or "")
        assert verdict.issues.is_empty()


def test_the_demos_planted_flips_are_found_blind() -> None:
    """All 50 of 5,000, and nothing else, as errors; with the true scores, nothing."""
    planted = {
        (row["line"], row["model"]): row["true_score"]
        for row in map(json.loads, (DEMO / "planted.jsonl").read_text().splitlines())
    }
    places, scores, texts = [], [], []
    with gzip.open(DEMO / "feedback.jsonl.gz", "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            for completion in json.loads(line)["completions"]:
                places.append((number, completion["model"]))
                scores.append(completion["overall_score"])
                texts.append(completion["critique"])
    subject = scored(np.array(scores), texts)
    verdict = critique_conflict(subject)
    found = {places[i] for i in flagged(subject, verdict, "error")}
    assert len(planted) == 50
    assert found == planted.keys()
    assert not flagged(subject, verdict, "warning")
    truth = [planted.get(place, score) for place, score in zip(places, scores, strict=True)]
    assert critique_conflict(scored(np.array(truth), texts)).issues.is_empty()
