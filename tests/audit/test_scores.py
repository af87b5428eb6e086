"""Rules over ratings: contradictions, scales, what is missing."""

from dataclasses import replace
from fractions import Fraction
from statistics import median

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from row_subjects import make_subject, named, rated

from notus.audit.scores import CONFLICT, CONFLICT_MEDIANS, arity, scale, score_conflict
from notus.audit.verdict import Subject
from notus.data.schema import Feedback


def clean(n: int = 8) -> dict[str, list[tuple[str, str, dict[str, float | None]]]]:
    """Prompts with four different answers each, whose overall scores follow their ratings."""
    scores = ((9.0, 5.0), (7.0, 4.0), (5.0, 3.0), (3.0, 1.0))
    return {
        f"{i}?": [(f"m{k}", f"{i} {k}", rated(*score)) for k, score in enumerate(scores)]
        for i in range(n)
    }


def test_clean_ratings_have_no_issues() -> None:
    subject = make_subject(clean())
    for rule, items in ((score_conflict, 32), (scale, 160), (arity, 40)):
        verdict = rule(subject)
        assert verdict.issues.is_empty()
        assert verdict.skipped is None
        assert verdict.looked_at == items


def test_the_famous_bug_is_an_error() -> None:
    """A critique's 1 that was read as 10, beside three honest scores: ranks by hand.

    Overall 10, 8, 6, 1: the 10 has rank (4 - .5)/4 = .875. Means 1, 5, 4, 2: the 1 has rank
    (1 - .5)/4 = .125. The distance is .75.
    """
    answers = [
        ("bug", "a", rated(10.0, 1.0)),
        ("best", "b", rated(8.0, 5.0)),
        ("good", "c", rated(6.0, 4.0)),
        ("poor", "d", rated(1.0, 2.0)),
    ]
    subject = make_subject({"?": answers})
    assert named(subject, score_conflict(subject)) == [
        {
            "severity": "error",
            "score": 0.75,
            "evidence": "overall 10.0 (rank 0.875), mean rating 1.0 (rank 0.125)",
            "model": "bug",
        }
    ]


def test_the_bug_is_found_whatever_its_rank_and_a_true_ten_is_not() -> None:
    """Overall 10 with mean 2 is the mark even where every other rating is 1; mean 2.1 is not."""
    answers = [("bug", "a", rated(10.0, 2.0)), ("b", "b", rated(10.0, 5.0))]
    answers += [(f"low{i}", f"low {i}", rated(2.0, 1.0)) for i in range(8)]
    subject = make_subject({"?": answers, "!": [("c", "c", rated(10.0, 2.1))]})
    found = named(subject, score_conflict(subject))
    assert [(row["severity"], row["model"]) for row in found] == [("error", "bug")]


def test_ten_times_a_fraction_is_a_warning() -> None:
    """7.5 with a mean of at most 2, 5 with the lowest ratings only: their ranks are not far."""
    odd = [
        ("three quarters", "a", rated(7.5, 2.0)),
        ("half", "b", rated(5.0, 1.0)),
        ("fine", "c", rated(7.5, 2.1)),
        ("also fine", "d", rated(5.0, 1.1)),
    ]
    many = [(f"low{i}", f"low {i}", rated(2.0 + i / 10, 1.5 + i / 10)) for i in range(8)]
    subject = make_subject({"?": odd, "!": many, **clean(2)})
    found = [
        row for row in named(subject, score_conflict(subject)) if "may have" in row["evidence"]
    ]
    assert [(row["model"], row["severity"]) for row in found] == [
        ("half", "warning"),
        ("three quarters", "warning"),
    ]
    assert found[0]["evidence"].endswith("; 5.0 may have been 0.5")
    assert found[1]["evidence"].endswith("; 7.5 may have been 0.75")


def test_a_low_score_with_high_ratings_is_a_warning() -> None:
    prompts = clean() | {"odd?": [("odd", "odd", rated(1.5, 5.0)), ("ok", "ok", rated(5.0, 3.0))]}
    subject = make_subject(prompts)
    found = named(subject, score_conflict(subject))
    assert [(row["severity"], row["model"]) for row in found] == [("warning", "odd")]
    assert found[0]["score"] > CONFLICT


def test_completions_without_both_are_not_compared() -> None:
    answers = [("a", "a", rated(10.0, None)), ("b", "b", rated(None, 1.0)), ("c", "c", {})]
    verdict = score_conflict(make_subject({"?": answers}))
    assert verdict.issues.is_empty()
    assert "critique_conflict" in (verdict.skipped or "")


@given(
    st.lists(
        st.tuples(st.integers(1, 10), st.integers(1, 5)).map(lambda p: (float(p[0]), float(p[1]))),
        min_size=1,
        max_size=12,
    )
)
@example(  # the third is six medians apart, 9/11, and not more
    [(1, 2), (1, 3), (1, 4), (3, 1), (3, 2), (3, 2), (4, 2), (4, 3), (4, 3), (4, 3), (4, 3)]
)
@settings(max_examples=60)
def test_score_conflict_against_brute_force(scores: list[tuple[float, float]]) -> None:
    """A rank is the share of lower values plus half the share of equal ones (itself included)."""

    def rank(values: list[float], value: float) -> Fraction:
        lower = sum(other < value for other in values)
        return (lower + Fraction(sum(other == value for other in values), 2)) / len(values)

    subject = make_subject({"?": [(f"m{i}", f"t{i}", rated(*s)) for i, s in enumerate(scores)]})
    overall, means = [list(column) for column in zip(*scores, strict=True)]
    distances = [abs(rank(overall, s) - rank(means, m)) for s, m in scores]
    bound = max(Fraction(CONFLICT), Fraction(CONFLICT_MEDIANS) * median(distances))
    expected = {}
    for i, (score, mean) in enumerate(scores):
        bug, half = score == 10 and mean <= 2, score == 5 and mean == 1
        if bug or half or distances[i] > bound:
            expected[f"m{i}"] = ("error" if bug else "warning", float(distances[i]))
    found = {row["model"]: row for row in named(subject, score_conflict(subject))}
    assert found.keys() == expected.keys()
    for model, (severity, score) in expected.items():
        assert found[model]["severity"] == severity
        assert found[model]["score"] == pytest.approx(score, abs=3e-9)


def test_raters_who_hardly_agree_contradict_nowhere() -> None:
    """All pairs of ten scores and five means: independent, and not one contradiction.

    The median distance of the ranks is above .2, five of which are more than any distance.
    """
    values = [(float(s), m / 2) for s in range(1, 10) for m in range(5, 11)]
    subject = make_subject({"?": [(f"m{i}", f"t{i}", rated(*v)) for i, v in enumerate(values)]})
    assert score_conflict(subject).issues.is_empty()


@pytest.mark.parametrize(
    ("ratings", "severity", "score", "evidence"),
    [
        ({"honesty": 0.0}, "error", 1.0, "honesty: 0.0 on a scale 1.0..5.0 (a rating that was not"),
        ({"overall": 10.5}, "error", 1.0, "overall: 10.5 on a scale 1.0..10.0"),
        ({"honesty": -1.0, "helpfulness": None}, "error", 2.0, "helpfulness: N/A; honesty: -1.0"),
        ({"honesty": -1.0}, "error", 1.0, "honesty: -1.0 on a scale 1.0..5.0 (N/A that became"),
        ({"honesty": 3.5}, "warning", 1.0, "honesty: 3.5 on a scale 1.0..5.0"),
        ({"overall": 7.25}, "warning", 1.0, "overall: 7.25 on a scale"),
        ({"honesty": None}, "info", 1.0, "honesty: N/A"),
        ({"honesty": None, "overall": 0.75}, "error", 2.0, "honesty: N/A; overall: 0.75"),
    ],
)
def test_scale(
    ratings: dict[str, float | None], severity: str, score: float, evidence: str
) -> None:
    fine = {"honesty": 4.0, "overall": 7.5, "humour": 2.25, "preference": 1.0}
    subject = make_subject({"?": [("odd", "a", ratings), ("ok", "b", fine)]})
    (issue,) = named(subject, scale(subject))
    assert (issue["model"], issue["severity"], issue["score"]) == ("odd", severity, score)
    assert str(issue["evidence"]).startswith(evidence)


def test_arity() -> None:
    subject = make_subject(
        {
            "none?": [],
            "one?": [("one", "a", {"honesty": 3.0, "overall": 5.0})],
            "two?": [
                ("partly", "b", {"honesty": None}),
                ("not at all", "c", {}),
                ("fully", "d", {"honesty": 2.0, "overall": 4.0}),
            ],
        }
    )
    found = named(subject, arity(subject))
    rows = {(row["model"], row["evidence"], row["score"]) for row in found}
    assert rows == {
        (None, "0 completions", 2.0),
        (None, "1 completions", 1.0),
        ("partly", "not rated: overall", 1.0),
        ("not at all", "not rated: honesty, overall", 2.0),
    }
    assert {row["severity"] for row in found} == {"warning"}


def test_arity_expects_of_a_source_only_what_it_rates() -> None:
    one = make_subject({"a?": [("m", "x", {"honesty": 1.0}), ("n", "y", {"honesty": 2.0})]})
    two = make_subject({"b?": [("m", "x", {"overall": 1.0}), ("n", "y", {"overall": 2.0})]})
    first, second = one.feedback, two.feedback
    prompts = pl.concat([first.prompts, second.prompts.with_columns(source=pl.lit("other"))])
    completions = pl.concat([first.completions, second.completions])
    ratings = pl.concat([first.ratings, second.ratings])
    both = Feedback(prompts=prompts, completions=completions, ratings=ratings)
    unrated = Feedback(prompts=prompts, completions=completions, ratings=ratings.clear())
    assert arity(replace(one, feedback=both)).issues.is_empty()
    assert arity(replace(one, feedback=unrated)).issues.is_empty()


@pytest.mark.parametrize("rule", [score_conflict, scale, arity])
def test_nothing_is_skipped_and_says_why(rule: object) -> None:
    nothing: Subject = make_subject({})
    verdict = rule(nothing)  # type: ignore[operator]
    assert verdict.skipped
    assert verdict.issues.is_empty()
    assert verdict.looked_at == 0
