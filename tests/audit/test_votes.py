"""Majorities and models against labels."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from pair_subjects import best_and_other, flagged, make_subject, world

from notus.audit.features import features
from notus.audit.votes import confident, rm_vote


def rewarded(chosen: list[float], rejected: list[float]) -> list[tuple[str, str, Any]]:
    return [
        (name, name, {f"rm{i}: reward": value for i, value in enumerate(values)})
        for name, values in (("a", chosen), ("b", rejected))
    ]


def test_majorities() -> None:
    prompts = {
        "all against?": rewarded([0.1, 0.1, 0.1], [0.2, 0.2, 0.9]),
        "two of three?": rewarded([0.1, 0.1, 0.5], [0.2, 0.2, 0.1]),
        "one of three?": rewarded([0.1, 0.3, 0.5], [0.2, 0.2, 0.1]),
        "one abstains?": rewarded([0.1, 0.2, 0.5], [0.2, 0.2, 0.1]),
        "two of four?": rewarded([0.1, 0.1, 0.5, 0.5], [0.2, 0.2, 0.1, 0.1]),
        "two raters?": rewarded([0.1, 0.1], [0.2, 0.2]),
        "one side?": rewarded([0.1, 0.1, 0.1], []),
    }
    subject = make_subject(prompts, [(text, 0, 1) for text in prompts])
    verdict = rm_vote(subject)
    found = flagged(subject, verdict)
    assert found.keys() == {"all against?", "two of three?"}
    severity, evidence = found["two of three?"]
    assert severity == "warning"
    assert evidence.endswith(": 2 of 3 votes against it, 1 for it: rm0 (reward), rm1 (reward)")
    assert verdict.looked_at == 5


def test_aspects_count_as_one_vote_of_a_rater() -> None:
    aspects = ("honesty", "helpfulness", "truthfulness")
    low, high = dict.fromkeys(aspects, 2.0), dict.fromkeys(aspects, 4.0)
    subject = make_subject({"?": [("a", "x", low), ("b", "y", high)]}, [("?", 0, 1)])
    assert "at most 1 votes" in str(rm_vote(subject).skipped)
    assert rm_vote(make_subject({}, [])).skipped


def test_the_label_itself_is_no_vote_but_those_of_several_people_are() -> None:
    def people(*preferences: float) -> list[tuple[str, str, Any]]:
        sides: list[Any] = [("a", "x", {}), ("b", "y", {})]
        for i, value in enumerate(preferences):
            sides[0][2][f"p{i}: preference"] = value
            sides[1][2][f"p{i}: preference"] = 1 - value
        return sides

    one = {"rm: overall": 3.0, "rm: honesty": 2.0, "other: overall": 3.0, "p: preference": 1.0}
    other = {"rm: overall": 5.0, "rm: honesty": 3.0, "other: overall": 2.0, "p: preference": 0.0}
    prompts = {
        "label?": [("a", "x", one), ("b", "y", other)],
        "people?": people(1.0, 0.0, 0.0),
        "agreed?": people(1.0, 1.0, 0.0),
    }
    subject = make_subject(prompts, [(text, 0, 1) for text in prompts])
    found = flagged(subject, rm_vote(subject))
    assert found.keys() == {"label?", "people?"}
    assert found["label?"][1].endswith("rm (overall), rm (rating)")
    assert found["people?"][1].endswith("p1 (preference), p2 (preference)")


ROWS = 1200
PROMPTS = world(ROWS, seed=10, sides=2)
PAIRS = [
    (text, chosen, rejected)
    for text, chosen, rejected in best_and_other(PROMPTS, seed=11)
    if PROMPTS[text][chosen][2]["overall"] != PROMPTS[text][rejected][2]["overall"]
]


def test_labels_that_follow_the_scores_are_no_issue() -> None:
    verdict = confident(make_subject(PROMPTS, PAIRS))
    assert verdict.issues.height <= 0.01 * len(PAIRS)
    assert verdict.looked_at == len(PAIRS)
    (finding,) = verdict.findings
    assert finding.value is not None
    assert finding.value > 0.9
    assert finding.severity == "info"


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_flipped_labels_are_found(rate: float) -> None:
    flipped = np.random.default_rng(12).random(len(PAIRS)) < rate
    pairs = [
        (text, low, high) if turn else (text, high, low)
        for (text, high, low), turn in zip(PAIRS, flipped, strict=True)
    ]
    subject = make_subject(PROMPTS, pairs)
    found = flagged(subject, confident(subject)).keys()
    planted = {text for (text, _, _), turn in zip(pairs, flipped, strict=True) if turn}
    assert len(found & planted) >= 0.9 * len(planted)
    assert len(found - planted) <= 0.01 * len(pairs)


def test_nothing_is_sure_without_scores() -> None:
    bare = {text: [(m, answer, {}) for m, answer, _ in rows] for text, rows in PROMPTS.items()}
    assert confident(make_subject(bare, PAIRS)).issues.is_empty()


def test_too_few_pairs_are_skipped() -> None:
    assert "199 pairs" in str(confident(make_subject(PROMPTS, PAIRS[:199])).skipped)
    assert confident(make_subject({}, [])).skipped


def test_a_label_is_told_by_other_prompts_alone() -> None:
    """A prompt's fold does not depend on the others, nor does row order change anything."""
    subject = make_subject(PROMPTS, PAIRS)
    turned = make_subject(PROMPTS, PAIRS[::-1])
    one, other = confident(subject), confident(turned)
    assert one.findings[0].value == other.findings[0].value
    assert one.issues.equals(other.issues)


def test_features_by_hand() -> None:
    prompts: dict[str, Any] = {
        "Describe elephants shortly?": [
            ("a", "Elephants are big.\n- grey", {"overall": 8.0, "honesty": 3.0}),
            ("b", "I'm sorry, but elephants", {"overall": 3.5, "honesty": 4.0}),
        ],
        "Unrated?": [("a", "yes", {}), ("b", "no", {})],
    }
    table = features(make_subject(prompts, [(text, 0, 1) for text in prompts])).drop("prompt_id")
    one, other = table.to_dicts()
    assert one["lead_overall"] == pytest.approx(0.5)
    assert one["lead_rating"] == pytest.approx(-0.25)
    assert one["sign_rating"] == -1
    assert one["log_length"] == pytest.approx(np.log(26 / 25))
    assert one["log_lines"] == pytest.approx(np.log(2))
    assert (one["lists"], one["refuses"], one["ends"], one["words_of_prompt"]) == (1, -1, 0, -1)
    assert other["lead_overall"] == other["sign_rating"] == 0
    assert table.select(pl.all().is_null().any()).sum_horizontal().item() == 0
