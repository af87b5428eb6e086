"""Pairs against their scores, other rows and other strategies."""

from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair_subjects import best_and_other, flagged, make_subject, world

from notus.audit.pairs import agreement_of_choices, contradiction, flip, inversion, tie
from notus.data.schema import COMPLETIONS, PREFERENCES
from notus.stats import wilson

RULES = (tie, inversion, contradiction, flip)


def stated(chosen: dict[str, Any], rejected: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """A pair whose preference the rater of the scores states."""
    return [
        ("a", "chosen", {"preference": 1.0, **chosen}),
        ("b", "rejected", {"preference": 0.0, **rejected}),
    ]


def test_ties_of_stated_pairs_are_in_every_kind_of_score() -> None:
    prompts = {
        "overall?": stated({"overall": 7.0}, {"overall": 7.0}),
        "mean?": stated({"honesty": 2.0, "helpfulness": 4.0}, {"honesty": 3.0}),
        "one differs?": stated({"overall": 7.0, "honesty": 3.0}, {"overall": 7.0, "honesty": 2.0}),
        "half a point?": stated({"overall": 7.0}, {"overall": 6.5}),
        "N/A?": stated({"overall": None}, {"overall": 6.5}),
        "other aspects?": stated({"verbosity": 2.0}, {"verbosity": 2.0}),
    }
    subject = make_subject(prompts, [(text, 0, 1) for text in prompts])
    verdict = tie(subject)
    found = flagged(subject, verdict)
    assert found.keys() == {"overall?", "mean?"}
    assert {severity for severity, _ in found.values()} == {"warning"}
    assert found["overall?"][1].endswith(": equal scores: overall 7.0")
    assert found["mean?"][1].endswith(": equal scores: rating 3.0")
    assert verdict.looked_at == 4
    share = wilson(2, 4)
    (finding,) = verdict.findings
    assert finding[1:7] == ("warning", "pairs", 0.5, share.low, share.high, 4)


def test_ties_of_a_strategy_are_in_its_margin_alone() -> None:
    prompts = {"?": [("a", "x", {"overall": 7.0}), ("b", "y", {"overall": 7.0})]}
    made = make_subject(prompts, [("?", 0, 1)], strategy="mine", margin=0.5)
    assert tie(made).looked_at == 1
    assert tie(made).issues.is_empty()
    kept = make_subject(prompts, [("?", 0, 1)], strategy="mine", margin=0.0)
    assert flagged(kept, tie(kept))["?"][1].endswith(": margin 0 by mine")


@pytest.mark.parametrize(
    ("chosen", "rejected", "severity", "evidence"),
    [
        ({"overall": 3.0}, {"overall": 8.0}, "error", "overall 3.0 < 8.0"),
        ({"overall": 7.0}, {"overall": 7.5}, "warning", "overall 7.0 < 7.5"),
        (
            {"overall": 3.0, "honesty": 1.0},
            {"overall": 8.0, "honesty": 5.0},
            "error",
            "overall 3.0 < 8.0, rating 1.0 < 5.0",
        ),
        (
            {"overall": 3.0, "honesty": 2.0},
            {"overall": 8.0, "honesty": 2.5},
            "warning",
            "overall 3.0 < 8.0, rating 2.0 < 2.5",
        ),
        ({"overall": 3.0, "honesty": 2.0}, {"overall": 8.0, "honesty": 1.0}, "info", "overall"),
        # Another judge's scores: a preference may differ from them.
        ({"judge: overall": 3.0}, {"judge: overall": 8.0}, "warning", "overall 3.0 < 8.0"),
        (
            {"overall": 3.0, "judge: overall": 4.0},
            {"overall": 8.0, "judge: overall": 5.0},
            "error",
            "overall 4.0 < 5.0, overall 3.0 < 8.0",
        ),
    ],
)
def test_inversions(
    chosen: dict[str, float], rejected: dict[str, float], severity: str, evidence: str
) -> None:
    fine = stated({"overall": 8.0}, {"overall": 7.0})
    prompts = {"?": stated(chosen, rejected), "fine?": fine, "equal?": stated(chosen, chosen)}
    subject = make_subject(prompts, [(text, 0, 1) for text in prompts])
    verdict = inversion(subject)
    found = flagged(subject, verdict)
    assert found.keys() == {"?"}
    assert found["?"][0] == severity
    assert evidence in found["?"][1].replace("tester ", "").replace("judge ", "")
    assert verdict.looked_at == 3


def test_the_row_of_a_stated_preference_does_not_make_another_rater() -> None:
    """A later row's rater is "pairs@FILE:LINE"; the scores beside it are its own all the same."""
    answers = [
        ("a", "x", {"pairs@f:2: preference": 1.0, "pairs: overall": 2.0}),
        ("b", "y", {"pairs@f:2: preference": 0.0, "pairs: overall": 9.0}),
    ]
    subject = make_subject({"?": answers}, [("?", 0, 1)])
    assert flagged(subject, inversion(subject))["?"][0] == "error"


def test_several_pairs_of_one_chosen_completion_are_one_issue() -> None:
    answers = [("a", "x", {"overall": 3.0})]
    answers += [(f"b{i}", f"y{i}", {"overall": 3.5 + 2 * i}) for i in range(3)]
    subject = make_subject({"?": answers}, [("?", 0, 1), ("?", 0, 2), ("?", 0, 3)], strategy="s")
    severity, evidence = flagged(subject, inversion(subject))["?"]
    assert severity == "error"
    assert evidence.endswith("overall 3.0 < 7.5 (and 2 more pairs)")


def reversed_rows(first: str, second: str, **texts: str) -> list[tuple[str, str, Any]]:
    """Two rows that order two texts oppositely; each names its models by side, as readers do."""
    one, other = texts.get("one", "one"), texts.get("other", "other")
    return [
        ("chosen", one, {f"{first}: preference": 1.0}),
        ("rejected", other, {f"{first}: preference": 0.0}),
        ("chosen", texts.get("again", other), {f"{second}: preference": 1.0}),
        ("rejected", texts.get("below", one), {f"{second}: preference": 0.0}),
    ]


def test_contradictions() -> None:
    prompts = {
        "rows?": reversed_rows("pairs", "pairs@f:7"),
        "white space?": reversed_rows("pairs", "pairs@f:7", again="other ", below=" one"),
        "people?": reversed_rows("ann", "bob"),
        "agreed?": reversed_rows("pairs", "pairs@f:7", again="one", below="other "),
        "identical?": reversed_rows("pairs", "pairs@f:7", other="one"),
        "another text?": reversed_rows("pairs", "pairs@f:7", again="third"),
        "one rater?": stated({}, {}),
    }
    subject = make_subject(prompts, [])
    verdict = contradiction(subject)
    found = flagged(subject, verdict)
    assert {text: severity for text, (severity, _) in found.items()} == {
        "rows?": "warning",
        "white space?": "warning",
        "people?": "info",
    }
    assert found["rows?"][1].startswith("pairs: ")
    assert found["rows?"][1].endswith("pairs@f:7: the reverse")
    assert verdict.looked_at == len(prompts)
    assert verdict.issues["completion_id"].null_count() == 3


def test_rules_say_what_they_lack() -> None:
    prompts = {"?": [("a", "x", {}), ("b", "y", {})]}
    empty = make_subject({}, [])
    bare = make_subject(prompts, [("?", 0, 1)])
    for rule in RULES:
        for subject in (empty, bare):
            verdict = rule(subject)
            assert verdict.skipped
            assert verdict.issues.is_empty()
            assert not verdict.findings


def test_clean_pairs_have_no_warnings() -> None:
    prompts = world(500, seed=0)
    pairs = best_and_other(prompts, seed=1)
    subject = make_subject(prompts, pairs, strategy="best", margin=1.0)
    for rule in (tie, inversion):
        verdict = rule(subject)
        assert verdict.looked_at == 500
        grave = verdict.issues.filter(pl.col("severity") != "info")
        assert grave.height <= 0.05 * 500  # overall ties among them: the draw keeps those
        assert grave.filter(pl.col("severity") == "error").is_empty()


def preferences(chosen: dict[str, str]) -> pl.DataFrame:
    rows = [("0" * 32, prompt, one, "r" * 32, 1.0, "s") for prompt, one in chosen.items()]
    return pl.DataFrame(rows, schema=PREFERENCES.schema, orient="row")


def completions(sizes: dict[str, int]) -> pl.LazyFrame:
    rows = [
        (f"{prompt}{i}", prompt, "m", "t", None, "{}")
        for prompt, size in sizes.items()
        for i in range(size)
    ]
    return pl.LazyFrame(rows, schema=COMPLETIONS.schema, orient="row")


def test_agreement_by_hand() -> None:
    """Three of four agree, chance agrees in (1/2 + 1/4 + 1/4 + 1/2) / 4 = 3/8: kappa is 3/5."""
    sizes = {"a": 2, "b": 4, "c": 4, "d": 2, "e": 3}
    first = preferences({"a": "a0", "b": "b1", "c": "c2", "d": "d0"})
    second = preferences({"a": "a0", "b": "b1", "c": "c3", "d": "d0", "e": "e0"})
    found = agreement_of_choices(first, second, completions(sizes))
    assert found is not None
    assert found[:3] == (4, 1, 0.375)
    assert found.kappa == pytest.approx(0.6)
    twice = pl.concat([first, preferences({"c": "c3"})])
    assert agreement_of_choices(twice, second, completions(sizes)).n == 3
    assert agreement_of_choices(first.clear(), second, completions(sizes)) is None


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
def test_kappa_of_equally_many_choices_is_the_textbook_formula(
    draws: list[tuple[int, int]],
) -> None:
    names = [f"p{i}" for i in range(len(draws))]
    tables = [
        preferences({name: f"{name}{draw[side]}" for name, draw in zip(names, draws, strict=True)})
        for side in (0, 1)
    ]
    found = agreement_of_choices(*tables, completions(dict.fromkeys(names, 3)))
    same = sum(one == other for one, other in draws) / len(draws)
    assert found is not None
    assert found.kappa == pytest.approx((same - 1 / 3) / (2 / 3))


def test_flip_states_share_and_kappa_of_each_two_strategies() -> None:
    prompts = world(200, seed=2)
    pairs = best_and_other(prompts, seed=3)
    same = make_subject(prompts, pairs).preferences
    reverse = make_subject(prompts, [(text, low, high) for text, high, low in pairs]).preferences
    subject = make_subject(prompts, pairs)
    strategies = {"one": same, "same": same, "reverse": reverse}
    verdict = flip(replace(subject, strategies=strategies))
    found = {finding.subject: finding for finding in verdict.findings}
    assert len(found) == 6
    assert found["one / same"][3:4] == (0.0,)
    assert found["kappa of one / same"].value == 1
    assert found["one / reverse"].value == 1
    assert found["kappa of one / reverse"].value == pytest.approx(-1 / 3)
    kappa = found["kappa of one / reverse"]
    share = found["one / reverse"]
    assert kappa.low is not None
    assert share.high is not None
    assert kappa.low == pytest.approx((1 - share.high - 0.25) / 0.75)
    assert {finding.severity for finding in verdict.findings} == {"info"}
