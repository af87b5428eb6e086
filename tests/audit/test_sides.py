"""What is said of both sides of each pair."""

import polars as pl
import pytest
from pair_subjects import flagged, make_subject

from notus.audit.sides import kinds_of_pairs, pair_issues, stated_pairs, staters, votes
from notus.audit.verdict import Verdict
from notus.data.schema import PREFERENCE

PROMPTS = {
    "a?": [
        ("m", "x", {"overall": 10.0, "honesty": 5.0, "helpfulness": None, "rm: reward": 0.25}),
        ("n", "y", {"overall": 5.5, "honesty": 2.0, "helpfulness": 4.0, "other: reward": 0.5}),
    ],
    "b?": [("m", "x", {"rm: reward": 0.25}), ("n", "y", {"rm: reward": 0.5, "verbosity": 5.0})],
}


def test_votes() -> None:
    found = votes(make_subject(PROMPTS, [("a?", 0, 1), ("b?", 0, 1)]))
    rows = [
        (0, "tester", "overall", 10.0, 5.5, 0.5),
        (0, "tester", "rating", 5.0, 3.0, 0.5),
        (1, "rm", "reward", 0.25, 0.5, -0.25),
    ]
    assert found.rows() == rows


def test_kinds_are_averaged_over_raters() -> None:
    sides = [
        ("m", "x", {"one: overall": 10.0, "two: overall": 1.0}),
        ("n", "y", {"one: overall": 5.5, "two: overall": 2.8}),
    ]
    found = kinds_of_pairs(make_subject({"?": sides}, [("?", 0, 1)]))
    assert found.row(0)[:2] == (0, "overall")
    assert found.row(0)[2:] == pytest.approx((5.5, 4.15, 0.15))


def test_stated_pairs_hold_within_one_rater() -> None:
    stated = [
        ("m", "x", {"one: preference": 1.0}),
        ("n", "y", {"one: preference": 0.0, "two: preference": 0.5}),
        ("o", "z", {"two: preference": 0.5, "one: preference": 0.5}),
    ]
    subject = make_subject({"?": stated}, [])
    found = stated_pairs(subject.feedback.ratings, subject.feedback.completions)
    models = dict(subject.feedback.completions.select("completion_id", "model").collect().rows())
    pairs = {(rater, models[one], models[other]) for _, rater, one, other in found.rows()}
    assert pairs == {("one", "m", "n"), ("one", "m", "o"), ("one", "o", "n")}


def test_staters_are_named_without_their_row() -> None:
    sides = [
        ("m", "x", {"pairs: preference": 1.0, "pairs@f:9: preference": 1.0, "ann: overall": 2.0}),
        ("n", "y", {"pairs: preference": 0.0}),
    ]
    found = staters(make_subject({"?": sides, **PROMPTS}, [("?", 0, 1), ("a?", 0, 1)]))
    assert found.rows() == [(0, ["pairs"])]
    assert PREFERENCE == "preference"


def test_issues_of_one_chosen_completion_are_one_row_with_the_gravest() -> None:
    answers = [(f"m{i}", f"t{i}", {}) for i in range(4)]
    subject = make_subject({"?": answers}, [("?", 0, 1), ("?", 0, 2), ("?", 3, 1)])
    found = pl.DataFrame({"pair": [0, 1, 2], "score": [9.0, 1.0, 5.0], "level": [0, 1, 0]})
    issues = pair_issues(
        subject,
        found,
        "rule",
        severity=pl.when(pl.col("level") > 0).then(pl.lit("error")).otherwise(pl.lit("info")),
        score=pl.col("score"),
        evidence=pl.format("score {}", pl.col("score")),
    )
    rejected = subject.preferences["rejected_id"]
    by_chosen = {row["completion_id"]: row for row in issues.to_dicts()}
    assert len(by_chosen) == 2
    worst = by_chosen[subject.preferences["chosen_id"][0]]
    assert (worst["severity"], worst["score"]) == ("error", 1.0)
    assert worst["evidence"] == f"over {rejected[1]}: score 1.0 (and 1 more pairs)"
    assert by_chosen[subject.preferences["chosen_id"][2]]["evidence"] == (
        f"over {rejected[2]}: score 5.0"
    )
    assert len(flagged(subject, Verdict(issues=issues.head(1), looked_at=1))) == 1
