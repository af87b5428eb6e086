"""The registry of rules: each keeps the contract on whatever it is given."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notus.audit.rules import RULES, audit, count_issues
from notus.audit.verdict import Subject
from notus.binarize import binarize
from notus.data.schema import ASPECTS, FINDINGS, ISSUES, PREFERENCES, Feedback, check
from notus.errors import DataError
from notus.specifications import SPECIFICATIONS

Values = Mapping[str, float | None]
Make = Callable[[Mapping[str, Sequence[tuple[str, str, Values]]]], Feedback]
ORDER_DEPENDENT = {"position", "rejected_index", "alignment"}
"""Rules about the order of rows or of answers."""


def subject_of(feedback: Feedback) -> Subject:
    made = {}
    for name in ("given", "argilla-v1", "h4-v2"):
        try:
            made[name] = binarize(feedback, SPECIFICATIONS[name]).preferences
        except DataError:
            continue
    main = next(iter(made.values()), pl.DataFrame(schema=PREFERENCES.schema))
    items = pl.DataFrame({"benchmark": ["quiz"], "item": ["1"], "text": ["What is the question?"]})
    return Subject(
        feedback=feedback,
        preferences=main,
        strategies=made,
        encode=lambda _, answers: [list(answer.encode()) for answer in answers],
        items=items,
    )


def rated(overall: float, mean: float) -> Values:
    return {"overall": overall, **dict.fromkeys(ASPECTS, mean)}


def clean(n: int = 12) -> dict[str, list[tuple[str, str, Values]]]:
    """Prompts with four different answers each, whose overall scores follow their ratings."""
    scores = ((9.0, 5.0), (7.0, 4.0), (5.0, 3.0), (3.0, 1.0))
    return {
        f"{i}?": [(f"m{k}", f"{i} {k}", rated(*score)) for k, score in enumerate(scores)]
        for i in range(n)
    }


def test_every_audit_worth_having_is_there() -> None:
    assert set(RULES) == {
        *("score_conflict", "critique_conflict", "pile_up", "scale", "arity", "alignment", "tie"),
        *("inversion", "flip", "identical", "collapse", "rejected_index", "model_bias", "length"),
        *("prompt_leak", "position", "self_preference", "near_dup", "contradiction"),
        *("contamination", "rm_vote", "confident"),
    }


@pytest.mark.parametrize("name", RULES)
def test_a_rule_says_what_it_catches_its_source_and_its_false_alarms(name: str) -> None:
    doc = inspect.getdoc(RULES[name]) or ""
    assert len(doc.splitlines()[0]) > 20
    assert "Source:" in doc
    assert "False alarms:" in doc


@pytest.mark.parametrize("name", RULES)
def test_a_rule_that_has_nothing_to_look_at_says_so(name: str, make_feedback: Make) -> None:
    verdict = RULES[name](subject_of(make_feedback({})))
    assert verdict.issues.is_empty()
    assert (verdict.skipped is not None) or verdict.looked_at == 0


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


def test_clean_feedback_has_nothing_grave(make_feedback: Make) -> None:
    found = audit(subject_of(make_feedback(clean())))
    assert found.issues.filter(pl.col("severity") != "info").is_empty()
    assert found.findings.filter(pl.col("severity") == "error").is_empty()


VALUES = st.sampled_from([None, 0.0, 1.0, 2.0, 4.5, 5.0, 10.0])
ANSWERS = st.lists(
    st.tuples(
        st.sampled_from("mn"),
        st.sampled_from(["x", "x ", "y", "Confidence: 80%"]),
        st.dictionaries(
            st.sampled_from([*ASPECTS, "overall", "humour", "preference"]),
            VALUES,
        ),
    ),
    max_size=4,
    unique_by=lambda answer: answer[:2],
)


@given(prompts=st.dictionaries(st.sampled_from("ABCDE"), ANSWERS), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_any_feedback_gives_good_tables_in_a_fixed_order(
    make_feedback: Make, prompts: Any, seed: int
) -> None:
    feedback = make_feedback(prompts)
    found = audit(subject_of(feedback))
    assert check(ISSUES, found.issues).refused.is_empty()
    assert check(FINDINGS, found.findings).refused.is_empty()
    assert set(found.issues["rule"]) <= set(RULES)

    def shuffled(frame: pl.LazyFrame) -> pl.LazyFrame:
        return frame.collect().sample(fraction=1.0, shuffle=True, seed=seed).lazy()

    turned = Feedback(
        prompts=shuffled(feedback.prompts),
        completions=shuffled(feedback.completions),
        ratings=shuffled(feedback.ratings),
    )
    again = audit(subject_of(turned))
    for table in ("issues", "findings"):
        one, two = (
            getattr(result, table).filter(~pl.col("rule").is_in(ORDER_DEPENDENT))
            for result in (found, again)
        )
        assert one.equals(two)


def test_rules_can_be_chosen(make_feedback: Make) -> None:
    subject = subject_of(make_feedback({"?": [("a", "x", {"honesty": None})]}))
    assert set(audit(subject).issues["rule"]) == {"scale", "arity"}
    found = audit(subject, {"scale": RULES["scale"]})
    assert set(found.issues["rule"]) == {"scale"}
    assert found.rules["scale"] == {
        "looked_at": 1,
        "issues": {"info": 1},
        "findings": {},
        "skipped": None,
    }
    assert audit(subject, {}).issues.is_empty()


def test_progress_is_told_rule_by_rule(make_feedback: Make) -> None:
    told: list[tuple[int, int]] = []
    audit(subject_of(make_feedback(clean(2))), progress=lambda *step: told.append(step))
    assert told == [(done, len(RULES)) for done in range(1, len(RULES) + 1)]
