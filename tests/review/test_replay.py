"""Rulings replayed onto tables: each action by hand, and every row accounted for."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notus.data.schema import (
    COMPLETIONS,
    DROPPED,
    PREFERENCES,
    PROMPTS,
    RATINGS,
    Feedback,
    Table,
    check,
    completion_id,
    preference_id,
    prompt_id,
)
from notus.review.replay import (
    ReplayedFeedback,
    ReplayedPreferences,
    replay_on_feedback,
    replay_on_preferences,
)
from notus.review.rulings import current, frame_of, settle, value_text
from notus.review.tables import OVERRIDDEN, UNMATCHED, WITHHELD

Make = Callable[[Mapping[str, Sequence[tuple[str, str, Mapping[str, float | None]]]]], Feedback]
Line = tuple[Any, ...]

P, Q = (prompt_id([{"role": "user", "content": text}]) for text in ("p?", "q?"))
P1, P2, P3 = (completion_id(P, model, text) for model, text in (("a", "1"), ("b", "2"), ("c", "3")))
Q1, Q2 = (completion_id(Q, model, text) for model, text in (("a", "1"), ("b", "2")))
GONE = "f" * 32


@pytest.fixture
def feedback(make_feedback: Make) -> Feedback:
    return make_feedback(
        {
            "p?": [
                ("a", "1", {"honesty": 5.0, "helpfulness": 4.0, "preference": 1.0}),
                ("b", "2", {"honesty": None, "preference": 0.0}),
                ("c", "3", {"honesty": 1.0}),
            ],
            "q?": [("a", "1", {"honesty": 3.0}), ("b", "2", {"honesty": 2.0, "overall": 9.0})],
        }
    )


def rulings(*lines: Line) -> pl.DataFrame:
    """Settled rulings from (kind, item, action, reviewer, value?)."""
    rows = [
        (i, kind, item, action, value_text(rest[0] if rest else None), "", name, f"{i:03d}", None)
        for i, (kind, item, action, name, *rest) in enumerate(lines, start=1)
    ]
    return settle(current(frame_of(rows))).rulings


def replay(feedback: Feedback, *lines: Line) -> ReplayedFeedback:
    after = replay_on_feedback(feedback, rulings(*lines))
    expected: list[tuple[Table, pl.DataFrame]] = [
        (PROMPTS, after.feedback.prompts.collect()),
        (COMPLETIONS, after.feedback.completions.collect()),
        (RATINGS, after.feedback.ratings.collect()),
        (RATINGS, after.added),
        (WITHHELD, after.withheld),
        (OVERRIDDEN, after.overridden),
        (UNMATCHED, after.unmatched),
    ]
    for table, frame in expected:
        assert check(table, frame).refused.is_empty(), table.name
    return after


def ids(frame: pl.LazyFrame, column: str) -> list[str]:
    return frame.select(column).collect()[column].to_list()


def ratings_of(after: ReplayedFeedback, completion: str, aspect: str) -> list[tuple[Any, ...]]:
    found = after.feedback.ratings.filter(completion_id=completion, aspect=aspect)
    return found.select("rater", "value", "scale_min", "scale_max").collect().rows()


def test_without_rulings_nothing_changes(feedback: Feedback) -> None:
    after = replay(feedback)
    for name in ("prompts", "completions", "ratings"):
        assert getattr(after.feedback, name).collect().equals(getattr(feedback, name).collect())
    assert after.withheld.height == after.overridden.height == after.unmatched.height == 0


def test_a_dropped_prompt_leaves_with_all_that_hangs_on_it(feedback: Feedback) -> None:
    after = replay(feedback, ("prompt", Q, "drop", "anna"))
    assert ids(after.feedback.prompts, "prompt_id") == [P]
    assert ids(after.feedback.completions, "completion_id") == [P1, P2, P3]
    assert set(ids(after.feedback.ratings, "completion_id")) == {P1, P2, P3}
    reason = "decision 1 of anna"
    assert sorted(after.withheld.rows()) == sorted(
        [
            ("prompt", Q, Q, reason, [1]),
            ("completion", Q1, Q, f"its prompt leaves: {reason}", [1]),
            ("completion", Q2, Q, f"its prompt leaves: {reason}", [1]),
        ]
    )


def test_a_dropped_completion_leaves_its_prompt_behind(feedback: Feedback) -> None:
    after = replay(feedback, *[("completion", item, "drop", "anna") for item in (Q1, Q2)])
    assert ids(after.feedback.prompts, "prompt_id") == [P, Q]
    assert ids(after.feedback.completions, "completion_id") == [P1, P2, P3]
    assert after.withheld["prompt_id"].to_list() == [Q, Q]


def test_a_completion_dropped_twice_is_withheld_once(feedback: Feedback) -> None:
    after = replay(feedback, ("completion", Q1, "drop", "anna"), ("prompt", Q, "drop", "ben"))
    assert after.withheld.height == 3
    assert after.withheld["decisions"].to_list() == [[2]] * 3


def test_a_rating_stands_in_for_all_others_of_its_aspect(feedback: Feedback) -> None:
    value = {"aspect": "honesty", "value": 2}
    after = replay(feedback, ("completion", P1, "re-rate", "anna", value))
    assert ratings_of(after, P1, "honesty") == [("reviewer:anna", 2.0, 1.0, 5.0)]
    assert ratings_of(after, P1, "helpfulness") == [("tester", 4.0, 1.0, 5.0)]
    (old,) = after.overridden.rows(named=True)
    assert (old["completion_id"], old["rater"], old["value"]) == (P1, "tester", 5.0)
    assert (old["reason"], old["decisions"]) == ("decision 1 of anna", [1])


def test_a_rating_of_nothing_and_by_several(feedback: Feedback) -> None:
    value = {"aspect": "helpfulness", "value": None}
    lines = [("completion", P2, "re-rate", name, value) for name in ("ben", "anna")]
    after = replay(feedback, *lines)
    # Nobody had rated that aspect of P2, but its scale is known from elsewhere.
    assert ratings_of(after, P2, "helpfulness") == [("reviewer:anna+ben", None, 1.0, 5.0)]
    assert after.overridden.is_empty()
    assert after.added["rationale"].to_list() == [None]


def test_a_rating_off_the_scale_or_of_an_unknown_aspect_fits_nothing(feedback: Feedback) -> None:
    lines = [
        ("completion", P1, "re-rate", "anna", {"aspect": "honesty", "value": 6}),
        ("completion", P2, "re-rate", "anna", {"aspect": "honsety", "value": 1}),
    ]
    after = replay(feedback, *lines)
    assert set(after.unmatched["reason"]) == {
        "6.0 is outside of 1.0..5.0, the scale of honesty",
        "no one scale of honsety is known",
    }
    assert after.feedback.ratings.collect().equals(feedback.ratings.collect())


def test_a_choice_replaces_what_the_source_said(feedback: Feedback) -> None:
    after = replay(feedback, ("prompt", P, "choose", "anna", P3))
    for completion, value in ((P1, 0.0), (P2, 0.0), (P3, 1.0)):
        expected = [("reviewer:anna", value, 0.0, 1.0)]
        assert ratings_of(after, completion, "preference") == expected
    assert after.overridden.select("completion_id", "value").sort("value").rows() == [
        (P2, 0.0),
        (P1, 1.0),
    ]


def test_a_choice_among_what_is_left(feedback: Feedback) -> None:
    lines = [("completion", P1, "drop", "anna"), ("prompt", P, "choose", "anna", P3)]
    after = replay(feedback, *lines)
    assert after.added["completion_id"].sort().to_list() == sorted([P2, P3])


def test_what_no_longer_matches_is_said(feedback: Feedback) -> None:
    lines: list[Line] = [
        ("prompt", GONE, "drop", "anna"),
        ("completion", GONE, "keep", "anna"),
        ("prompt", P, "choose", "anna", Q1),
        ("prompt", Q, "drop", "anna"),
        ("completion", Q1, "re-rate", "anna", {"aspect": "honesty", "value": 1}),
        ("completion", Q2, "keep", "anna"),
        ("preference", GONE, "flip", "anna"),
    ]
    after = replay(feedback, *lines)
    found = {row["decisions"][0]: row["reason"] for row in after.unmatched.to_dicts()}
    assert found == {
        1: "no such prompt here",
        2: "no such completion here",
        3: "the chosen answer is not among those of the prompt",
        5: "it leaves the data set by another ruling",
        6: "it leaves the data set by another ruling",
    }
    assert after.added.is_empty()


def test_replaying_on_the_result_changes_nothing_more(feedback: Feedback) -> None:
    lines: list[Line] = [
        ("prompt", P, "choose", "anna", P2),
        ("completion", P1, "re-rate", "anna", {"aspect": "honesty", "value": 1}),
        ("completion", Q1, "drop", "anna"),
    ]
    once = replay(feedback, *lines)
    twice = replay(once.feedback, *lines)
    for name in ("prompts", "completions"):
        one, two = (getattr(after.feedback, name).collect() for after in (once, twice))
        assert one.equals(two)
    one, two = (after.feedback.ratings.sort(RATINGS.key).collect() for after in (once, twice))
    assert one.equals(two)
    assert twice.unmatched["item"].to_list() == [Q1]


ITEMS = {"prompt": [P, Q, GONE], "completion": [P1, P2, P3, Q1, Q2, GONE]}


def any_ruling() -> st.SearchStrategy[Line]:
    def value(kind: str, action: str) -> st.SearchStrategy[object]:
        if action == "choose":
            return st.sampled_from(ITEMS["completion"])
        numbers = st.sampled_from([1, 2.5, 7, None])
        aspects = st.sampled_from(["honesty", "overall", "none"])
        pair = st.fixed_dictionaries({"aspect": aspects, "value": numbers})
        return pair if action == "re-rate" else st.none()

    pairs = [
        (kind, action)
        for kind in ITEMS
        for action in ("drop", "keep", {"prompt": "choose", "completion": "re-rate"}[kind])
    ]
    return st.sampled_from(pairs).flatmap(
        lambda pair: st.tuples(
            st.just(pair[0]),
            st.sampled_from(ITEMS[pair[0]]),
            st.just(pair[1]),
            st.sampled_from(["anna", "ben"]),
            value(*pair),
        )
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(any_ruling(), max_size=8))
def test_every_row_is_accounted_for(feedback: Feedback, lines: list[Line]) -> None:
    after = replay(feedback, *lines)
    gone = {kind: set(after.withheld.filter(kind=kind)["item"]) for kind in ITEMS}
    for kind, table in (("prompt", "prompts"), ("completion", "completions")):
        column = f"{kind}_id"
        left = ids(getattr(after.feedback, table), column)
        before = ids(getattr(feedback, table), column)
        assert left == [item for item in before if item not in gone[kind]]
    old = feedback.ratings.collect().filter(
        ~pl.col("completion_id").is_in(list(gone["completion"]))
    )
    new = after.feedback.ratings.collect()
    key = list(RATINGS.key)
    assert new.join(after.added, on=key, how="anti").height == new.height - after.added.height
    kept = new.join(after.added, on=key, how="anti")
    rebuilt = pl.concat([kept, after.overridden.select(RATINGS.schema.names())])
    assert rebuilt.sort(key).equals(old.sort(key))
    # One rating of an aspect a completion is in force wherever a reviewer ruled.
    place = ["completion_id", "aspect"]
    assert new.join(after.added, on=place, how="semi").height == after.added.height
    # Every ruling is applied or said to fit nothing, never both and never neither.
    settled = rulings(*lines)
    fit = settled.join(after.unmatched, on=["kind", "item", "action", "value"], how="anti")
    drops = fit.filter(action="drop")
    assert {(kind, item) for kind in ITEMS for item in gone[kind]} >= set(
        drops.select("kind", "item").rows()
    )
    assert fit.height + after.unmatched.height == settled.height


def preferences(*pairs: tuple[str, str, float]) -> pl.DataFrame:
    rows = [(preference_id(P, a, b), P, a, b, margin, "given") for a, b, margin in pairs]
    return pl.DataFrame(rows, schema=PREFERENCES.schema, orient="row")


def replay_pairs(pairs: pl.DataFrame, *lines: Line) -> ReplayedPreferences:
    dropped = pl.DataFrame([(Q, "given", "tie")], schema=DROPPED.schema, orient="row")
    after = replay_on_preferences(pairs, dropped, rulings(*lines))
    for table, frame in (
        (PREFERENCES, after.preferences),
        (DROPPED, after.dropped),
        (WITHHELD, after.withheld),
        (UNMATCHED, after.unmatched),
    ):
        assert check(table, frame).refused.is_empty(), table.name
    assert after.dropped.height - 1 == pairs.height - after.preferences.height
    return after


def test_a_flip_is_the_other_pair_with_the_opposite_margin() -> None:
    pairs = preferences((P1, P2, 0.5), (P2, P3, 0.0))
    lines = [("preference", item, "flip", "anna") for item in pairs["preference_id"]]
    after = replay_pairs(pairs, *lines)
    assert after.preferences.sort("margin").rows() == [
        (preference_id(P, P2, P1), P, P2, P1, -0.5, "given"),
        (preference_id(P, P3, P2), P, P3, P2, 0.0, "given"),
    ]
    assert str(after.preferences.sort("margin")["margin"][1]) == "0.0", "no negative zero"
    assert after.dropped.rows() == [(Q, "given", "tie")]


def test_a_dropped_preference_leaves_with_its_reason() -> None:
    pairs = preferences((P1, P2, 0.5), (P2, P3, 0.5))
    first = preference_id(P, P1, P2)
    kept = ("preference", preference_id(P, P2, P3), "keep", "anna")
    after = replay_pairs(pairs, ("preference", first, "drop", "anna"), kept)
    assert after.preferences.rows() == pairs[1:].rows()
    assert after.withheld.rows() == [("preference", first, P, "decision 1 of anna", [1])]
    assert set(after.dropped.rows()) == {
        (P, "given", "decision 1 of anna"),
        (Q, "given", "tie"),
    }
    assert after.unmatched.is_empty()


def test_a_flip_onto_a_pair_that_is_there_leaves_one() -> None:
    pairs = preferences((P1, P2, 1.0), (P2, P1, 1.0))
    first, second = pairs["preference_id"]
    after = replay_pairs(pairs, ("preference", first, "flip", "anna"))
    assert after.preferences.rows() == pairs[1:].rows()
    assert after.withheld["item"].to_list() == [first]
    assert "is there already; decision 1 of anna" in after.withheld["reason"].item()
    both = replay_pairs(pairs, *[("preference", item, "flip", "anna") for item in (first, second)])
    assert both.preferences["preference_id"].sort().to_list() == sorted([first, second])
    assert both.preferences["margin"].to_list() == [-1.0, -1.0]


def test_a_preference_that_no_longer_stands_so_is_said() -> None:
    pairs = preferences((P2, P1, 1.0))
    lines = [
        ("preference", preference_id(P, P1, P2), "flip", "anna"),
        ("preference", GONE, "drop", "anna"),
        ("prompt", P, "drop", "anna"),
    ]
    after = replay_pairs(pairs, *lines)
    assert after.preferences.equals(pairs)
    found = {row["decisions"][0]: row["reason"] for row in after.unmatched.to_dicts()}
    assert found == {
        1: "the preference stands the other way round already",
        2: "no such preference here",
    }
