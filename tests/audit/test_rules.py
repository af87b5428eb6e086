"""Audit rules: planted defects are found, clean feedback is left alone."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notus.audit.rules import (
    CONFLICT,
    RULES,
    arity,
    audit,
    count_issues,
    identical,
    scale,
    score_conflict,
)
from notus.data.schema import ASPECTS, ISSUES, Feedback, check

Make = Callable[[Mapping[str, Sequence[tuple[str, str, Mapping[str, float | None]]]]], Feedback]


def rated(overall: float | None, mean: float | None) -> dict[str, float | None]:
    return {"overall": overall, **dict.fromkeys(ASPECTS, mean)}


def clean(n: int = 8) -> dict[str, list[tuple[str, str, dict[str, float | None]]]]:
    """Prompts with four different answers each, whose overall scores follow their ratings."""
    scores = ((9.0, 5.0), (7.0, 4.0), (5.0, 3.0), (3.0, 1.0))
    return {
        f"{i}?": [(f"m{k}", f"{i} {k}", rated(*score)) for k, score in enumerate(scores)]
        for i in range(n)
    }


def named(feedback: Feedback, issues: pl.DataFrame) -> list[dict[str, Any]]:
    """Issues with the model's name in place of ids, for tests where models are unique."""
    models = feedback.completions.select("completion_id", "model").collect()
    joined = issues.join(models, on="completion_id", how="left", maintain_order="left")
    return joined.drop("prompt_id", "completion_id", "rule").to_dicts()


def test_issues_are_counted_by_rule_and_severity() -> None:
    rows = [
        ("scale", "info"),
        ("scale", "error"),
        ("scale", "info"),
        ("identical", "warning"),
        ("of_old", "warning"),
    ]
    frame = pl.DataFrame(rows, schema=["rule", "severity"], orient="row")
    found = count_issues(frame)
    assert list(found) == [*RULES, "of_old"]
    assert {rule: counts for rule, counts in found.items() if counts} == {
        "scale": {"error": 1, "info": 2},
        "identical": {"warning": 1},
        "of_old": {"warning": 1},
    }
    assert list(found["scale"]) == ["error", "info"]


def test_clean_feedback_has_no_issues(make_feedback: Make) -> None:
    issues = audit(make_feedback(clean()))
    assert issues.is_empty()
    assert issues.schema == ISSUES.schema


def test_the_famous_bug_is_an_error(make_feedback: Make) -> None:
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
    feedback = make_feedback({"?": answers})
    assert named(feedback, score_conflict(feedback)) == [
        {
            "severity": "error",
            "score": 0.75,
            "evidence": "overall 10.0 (rank 0.875), mean rating 1.0 (rank 0.125)",
            "model": "bug",
        }
    ]


def test_the_bug_is_found_whatever_its_rank_and_a_true_ten_is_not(make_feedback: Make) -> None:
    """Overall 10 with mean 2 is the mark even where every other rating is 1; mean 2.1 is not."""
    answers = [("bug", "a", rated(10.0, 2.0)), ("b", "b", rated(10.0, 5.0))]
    answers += [(f"low{i}", f"low {i}", rated(2.0, 1.0)) for i in range(8)]
    feedback = make_feedback({"?": answers, "!": [("c", "c", rated(10.0, 2.1))]})
    found = named(feedback, score_conflict(feedback))
    assert [(row["severity"], row["model"]) for row in found] == [("error", "bug")]


def test_a_low_score_with_high_ratings_is_a_warning(make_feedback: Make) -> None:
    prompts = clean() | {"odd?": [("odd", "odd", rated(1.5, 5.0)), ("ok", "ok", rated(5.0, 3.0))]}
    feedback = make_feedback(prompts)
    found = named(feedback, score_conflict(feedback))
    assert [(row["severity"], row["model"]) for row in found] == [("warning", "odd")]
    assert found[0]["score"] > CONFLICT


def test_completions_without_both_are_not_compared(make_feedback: Make) -> None:
    answers = [("a", "a", rated(10.0, None)), ("b", "b", rated(None, 1.0)), ("c", "c", {})]
    assert score_conflict(make_feedback({"?": answers})).is_empty()


@given(
    st.lists(
        st.tuples(st.integers(1, 10), st.integers(1, 5)).map(lambda p: (float(p[0]), float(p[1]))),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=60)
def test_score_conflict_against_brute_force(
    make_feedback: Make, scores: list[tuple[float, float]]
) -> None:
    """A rank is the share of lower values plus half the share of equal ones (itself included)."""

    def rank(values: list[float], value: float) -> Fraction:
        lower = sum(other < value for other in values)
        return (lower + Fraction(sum(other == value for other in values), 2)) / len(values)

    feedback = make_feedback({"?": [(f"m{i}", f"t{i}", rated(*s)) for i, s in enumerate(scores)]})
    overall, means = [list(column) for column in zip(*scores, strict=True)]
    expected = {}
    for i, (score, mean) in enumerate(scores):
        distance = abs(rank(overall, score) - rank(means, mean))
        bug = score == 10 and mean <= 2
        if bug or distance > Fraction(1, 2):
            expected[f"m{i}"] = ("error" if bug else "warning", float(distance))
    found = {row["model"]: row for row in named(feedback, score_conflict(feedback))}
    assert found.keys() == expected.keys()
    for model, (severity, score) in expected.items():
        assert found[model]["severity"] == severity
        assert found[model]["score"] == pytest.approx(score, abs=3e-9)


@pytest.mark.parametrize(
    ("ratings", "severity", "score", "evidence"),
    [
        ({"honesty": 0.0}, "error", 1.0, "honesty: 0.0 on a scale 1.0..5.0"),
        ({"overall": 10.5}, "error", 1.0, "overall: 10.5 on a scale 1.0..10.0"),
        ({"honesty": -1.0, "helpfulness": None}, "error", 2.0, "helpfulness: N/A; honesty: -1.0"),
        ({"honesty": 3.5}, "warning", 1.0, "honesty: 3.5 on a scale"),
        ({"overall": 7.25}, "warning", 1.0, "overall: 7.25 on a scale"),
        ({"honesty": None}, "info", 1.0, "honesty: N/A"),
        ({"honesty": None, "overall": 0.75}, "error", 2.0, "honesty: N/A; overall: 0.75"),
    ],
)
def test_scale(
    make_feedback: Make,
    ratings: dict[str, float | None],
    severity: str,
    score: float,
    evidence: str,
) -> None:
    fine = {"honesty": 4.0, "overall": 7.5, "humour": 2.25, "preference": 1.0}
    feedback = make_feedback({"?": [("odd", "a", ratings), ("ok", "b", fine)]})
    (issue,) = named(feedback, scale(feedback))
    assert (issue["model"], issue["severity"], issue["score"]) == ("odd", severity, score)
    assert issue["evidence"].startswith(evidence)


def test_arity(make_feedback: Make) -> None:
    feedback = make_feedback(
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
    found = named(feedback, arity(feedback))
    rows = {(row["model"], row["evidence"], row["score"]) for row in found}
    assert rows == {
        (None, "0 completions", 2.0),
        (None, "1 completions", 1.0),
        ("partly", "not rated: overall", 1.0),
        ("not at all", "not rated: honesty, overall", 2.0),
    }
    assert {row["severity"] for row in found} == {"warning"}


def test_arity_expects_of_a_source_only_what_it_rates(make_feedback: Make) -> None:
    one = make_feedback({"a?": [("m", "x", {"honesty": 1.0}), ("n", "y", {"honesty": 2.0})]})
    two = make_feedback({"b?": [("m", "x", {"overall": 1.0}), ("n", "y", {"overall": 2.0})]})
    both = Feedback(
        prompts=pl.concat([one.prompts, two.prompts.with_columns(source=pl.lit("other"))]),
        completions=pl.concat([one.completions, two.completions]),
        ratings=pl.concat([one.ratings, two.ratings]),
    )
    assert arity(both).is_empty()
    assert arity(
        Feedback(prompts=both.prompts, completions=both.completions, ratings=both.ratings.clear())
    ).is_empty()


def test_identical(make_feedback: Make) -> None:
    feedback = make_feedback(
        {
            "a?": [("m", "Yes.", {}), ("n", " Yes.\n", {}), ("o", "yes.", {}), ("p", "Yes.", {})],
            "b?": [("m", "Yes.", {}), ("n", "No.", {})],
        }
    )
    found = identical(feedback)
    copies = feedback.completions.filter(
        pl.col("text").str.strip_chars() == "Yes.", pl.col("prompt_id") == found["prompt_id"][0]
    ).collect()["completion_id"]
    # The first by id stands for all, and so row order does not matter.
    first = min(copies)
    assert set(found["completion_id"]) == set(copies) - {first}
    assert found["evidence"].to_list() == [f"same text as completion {first}"] * 2
    assert found["score"].to_list() == [3.0, 3.0]


VALUES = st.sampled_from([None, 0.0, 1.0, 2.0, 4.5, 5.0, 10.0])
ANSWERS = st.lists(
    st.tuples(
        st.sampled_from("mn"),
        st.sampled_from(["x", "x ", "y"]),
        st.dictionaries(st.sampled_from([*ASPECTS, "overall", "humour"]), VALUES),
    ),
    max_size=4,
    unique_by=lambda answer: answer[:2],
)


@given(prompts=st.dictionaries(st.sampled_from("ABCDE"), ANSWERS), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_any_feedback_gives_good_issues_in_a_fixed_order(
    make_feedback: Make, prompts: Any, seed: int
) -> None:
    feedback = make_feedback(prompts)
    issues = audit(feedback)
    assert check(ISSUES, issues).refused.is_empty()
    assert set(issues["rule"]) <= set(RULES)

    def shuffled(frame: pl.LazyFrame) -> pl.LazyFrame:
        return frame.collect().sample(fraction=1.0, shuffle=True, seed=seed).lazy()

    turned = Feedback(
        prompts=shuffled(feedback.prompts),
        completions=shuffled(feedback.completions),
        ratings=shuffled(feedback.ratings),
    )
    assert audit(turned).equals(issues)


def test_rules_can_be_chosen(make_feedback: Make) -> None:
    feedback = make_feedback({"?": [("a", "x", {"honesty": None})]})
    assert set(audit(feedback)["rule"]) == {"scale", "arity"}
    assert set(audit(feedback, {"scale": scale})["rule"]) == {"scale"}
    assert audit(feedback, {}).is_empty()
