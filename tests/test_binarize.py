"""Preferences from ratings: by hand, against a slow oracle, and the known defects of others."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notus.binarize import (
    ALL_EQUAL,
    IDENTICAL,
    TIE,
    TOO_FEW,
    Binarized,
    binarize,
)
from notus.data.schema import DROPPED, PREFERENCES, Feedback, check, preference_id
from notus.errors import DataError
from notus.specification import Specification
from notus.specifications import SPECIFICATIONS

Make = Callable[[Mapping[str, Sequence[tuple[str, str, Mapping[str, float | None]]]]], Feedback]


def replace(spec: Specification, **fields: Any) -> Specification:
    return Specification.model_validate(spec.model_dump() | fields)


ARGILLA, H4, GIVEN = (SPECIFICATIONS[name] for name in ("argilla-v1", "h4-v2", "given"))


def same(value: float | None) -> dict[str, float | None]:
    return dict.fromkeys(ARGILLA.score.weights, value)


def chosen_and_rejected(feedback: Feedback, made: Binarized) -> list[tuple[str, str]]:
    models = dict(feedback.completions.select("completion_id", "model").collect().iter_rows())
    rows = made.preferences.select("chosen_id", "rejected_id").iter_rows()
    return sorted((models[chosen], models[rejected]) for chosen, rejected in rows)


def reasons(made: Binarized) -> list[str]:
    return sorted(made.dropped["reason"])


def test_the_best_mean_against_a_lower_one(make_feedback: Make) -> None:
    """Means: a (5+4+5+2)/4 = 4, b 3, c 4.25; so c is chosen, by 0.25 over a or 1.25 over b."""
    a = dict(zip(ARGILLA.score.weights, (5.0, 4.0, 5.0, 2.0), strict=True))
    c = dict(zip(ARGILLA.score.weights, (5.0, 5.0, 5.0, 2.0), strict=True))
    feedback = make_feedback({"?": [("a", "x", a), ("b", "y", same(3)), ("c", "z", c)]})
    made = binarize(feedback, ARGILLA)
    (pair,) = chosen_and_rejected(feedback, made)
    assert pair[0] == "c"
    margin = made.preferences["margin"].item()
    assert margin == {"a": 0.25, "b": 1.25}[pair[1]]
    assert made.summary == {
        "strategy": "argilla-v1",
        "prompts": 1,
        "preferences": 1,
        "dropped": {},
        "mean_margin": margin,
        "ties": 0,
    }
    row = made.preferences.row(0, named=True)
    assert row["preference_id"] == preference_id(
        row["prompt_id"], row["chosen_id"], row["rejected_id"]
    )


def test_not_applicable_is_never_minus_one(make_feedback: Make) -> None:
    """a is (4+4+4)/3 = 4 without its N/A, and would be (4+4+4-1)/4 = 2.75 with a -1: then b's 3
    would win."""
    a = same(4) | {"honesty": None}
    feedback = make_feedback({"?": [("a", "x", a), ("b", "y", same(3))]})
    made = binarize(feedback, ARGILLA)
    assert chosen_and_rejected(feedback, made) == [("a", "b")]
    assert made.preferences["margin"].item() == 1.0


def test_a_completion_without_any_value_is_not_rated(make_feedback: Make) -> None:
    """Neither N/A throughout nor no rating at all is a low score."""
    feedback = make_feedback(
        {"?": [("a", "x", same(4)), ("b", "y", same(None)), ("c", "z", {})], "!": [], "0": []}
    )
    made = binarize(feedback, ARGILLA)
    assert made.preferences.is_empty()
    assert reasons(made) == [TOO_FEW] * 3
    assert made.summary["dropped"] == {TOO_FEW: 3}
    assert made.summary["mean_margin"] is None


def test_equal_ratings_never_make_a_completion_its_own_rival(make_feedback: Make) -> None:
    tied = {"?": [("a", "x", same(3) | {"overall": 7.0}), ("b", "y", same(3) | {"overall": 7.0})]}
    feedback = make_feedback(tied)
    assert reasons(binarize(feedback, ARGILLA)) == [ALL_EQUAL]
    kept = binarize(feedback, H4)
    ((chosen, rejected),) = chosen_and_rejected(feedback, kept)
    assert {chosen, rejected} == {"a", "b"}
    assert kept.preferences["margin"].item() == 0
    assert kept.summary["ties"] == 1


def test_dropped_ties_say_whether_all_were_equal(make_feedback: Make) -> None:
    """A draw among all others may hit the other best one: that prompt is lost, and says so."""
    spec = replace(H4, ties="drop")
    prompts = {
        f"{i}?": [(m, m, {"overall": v}) for m, v in (("a", 9.0), ("b", 9.0), ("c", 5.0))]
        for i in range(40)
    }
    feedback = make_feedback(
        prompts | {"=": [("a", "x", {"overall": 2}), ("b", "y", {"overall": 2})]}
    )
    made = binarize(feedback, spec)
    counts = Counter(reasons(made))
    assert counts[ALL_EQUAL] == 1
    assert 5 < counts[TIE] < 35
    assert made.preferences.height == 40 - counts[TIE]
    assert {rejected for _, rejected in chosen_and_rejected(feedback, made)} == {"c"}


def test_identical_texts_are_no_pair(make_feedback: Make) -> None:
    """Not even if they differ in white space or Unicode composition, as long as others are left."""
    twins = [("a", "caf\u00e9  yes", {"overall": 9.0}), ("b", " cafe\u0301\nyes", {"overall": 3.0})]
    other = ("c", "no", {"overall": 5.0})
    feedback = make_feedback({"?": twins, "!": [*twins, other]})
    made = binarize(feedback, H4)
    assert chosen_and_rejected(feedback, made) == [("a", "c")]
    assert reasons(made) == [IDENTICAL]


def test_given_keeps_the_sources_own_pair(make_feedback: Make) -> None:
    pair = [
        ("chosen", "x", {"preference": 1.0, "overall": 3.0}),
        ("rejected", "y", {"preference": 0.0, "overall": 9.0}),
    ]
    feedback = make_feedback({"?": pair})
    assert chosen_and_rejected(feedback, binarize(feedback, GIVEN)) == [("chosen", "rejected")]
    assert chosen_and_rejected(feedback, binarize(feedback, H4)) == [("rejected", "chosen")]


VALUES = st.sampled_from([None, 1.0, 2.0, 3.0, 4.0, 5.0])
ANSWERS = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.sampled_from(["x", "x ", "y", "z", "long, long. text", "long,  long. text"]),
        st.dictionaries(st.sampled_from([*ARGILLA.score.weights, "overall"]), VALUES),
    ),
    max_size=5,
    unique_by=lambda answer: answer[:2],
)
# One prompt that is always rated, as a table without any value is an error of its own.
RATED = {"!": [("a", "p", same(2) | {"overall": 2.0}), ("b", "q", same(1) | {"overall": 1.0})]}
PROMPTS = st.dictionaries(st.sampled_from("ABCDEFGH"), ANSWERS, max_size=6).map(lambda p: p | RATED)
SPECS = st.builds(
    replace,
    st.sampled_from([ARGILLA, H4]),
    rejected=st.sampled_from(["random_lower", "random_other"]),
    ties=st.sampled_from(["drop", "keep"]),
    seed=st.integers(-1, 2**70),
)


def oracle(
    feedback: Feedback, spec: Specification
) -> dict[str, tuple[dict[str, float], dict[str, str]]]:
    """Score and fold every rated completion of each prompt, the slow way."""
    values = defaultdict(list)
    for rating in feedback.ratings.collect().iter_rows(named=True):
        if rating["aspect"] in spec.score.weights and rating["value"] is not None:
            values[rating["completion_id"]].append(rating["value"])
    found: dict[str, tuple[dict[str, float], dict[str, str]]] = {
        key: ({}, {}) for key in feedback.prompts.collect()["prompt_id"]
    }
    for row in feedback.completions.collect().iter_rows(named=True):
        present = values[row["completion_id"]]
        if present:
            scores, texts = found[row["prompt_id"]]
            scores[row["completion_id"]] = sum(present) / len(present)
            texts[row["completion_id"]] = " ".join(row["text"].split())
    return found


@given(prompts=PROMPTS, spec=SPECS)
@settings(max_examples=80)
def test_against_the_oracle(make_feedback: Make, prompts: Any, spec: Specification) -> None:
    feedback = make_feedback(prompts)
    made = binarize(feedback, spec)
    assert check(PREFERENCES, made.preferences).refused.is_empty()
    assert check(DROPPED, made.dropped).refused.is_empty()
    expected = oracle(feedback, spec)
    pairs = {row["prompt_id"]: row for row in made.preferences.iter_rows(named=True)}
    dropped = dict(made.dropped.select("prompt_id", "reason").iter_rows())
    assert pairs.keys() | dropped.keys() == expected.keys()
    assert not pairs.keys() & dropped.keys()
    for key, (scores, texts) in expected.items():
        best = max(scores.values(), default=0.0)
        lower = spec.rejected == "random_lower"
        if key in pairs:
            chosen, rejected = pairs[key]["chosen_id"], pairs[key]["rejected_id"]
            assert scores[chosen] == best
            assert rejected in scores.keys() - {chosen}
            assert texts[chosen] != texts[rejected]
            assert pairs[key]["margin"] == pytest.approx(best - scores[rejected], abs=1e-9)
            assert scores[rejected] < best or not (lower or spec.ties == "drop")
            continue
        equal = set(scores.values()) <= {best}
        tops = [name for name, score in scores.items() if score == best]
        if len(scores) < 2:
            assert dropped[key] == TOO_FEW
        elif dropped[key] == IDENTICAL:
            # Some top one has none but identical texts among those that may be rejected.
            may = {
                t: [o for o in scores if o != t and (scores[o] < best or not lower)] for t in tops
            }
            assert any(may[t] and {texts[o] for o in may[t]} == {texts[t]} for t in tops)
        elif equal:
            assert dropped[key] == ALL_EQUAL
            assert lower or spec.ties == "drop"
        else:
            assert dropped[key] == TIE
            assert spec.ties == "drop"
            assert len(tops) > 1


@given(prompts=PROMPTS, spec=SPECS, seed=st.integers(0, 1000))
@settings(max_examples=25)
def test_neither_row_order_nor_other_prompts_change_a_pair(
    make_feedback: Make, prompts: Any, spec: Specification, seed: int
) -> None:
    feedback = make_feedback(prompts)
    made = binarize(feedback, spec)

    def shuffled(frame: pl.LazyFrame) -> pl.LazyFrame:
        return frame.collect().sample(fraction=1.0, shuffle=True, seed=seed).lazy()

    turned = Feedback(
        prompts=shuffled(feedback.prompts),
        completions=shuffled(feedback.completions),
        ratings=shuffled(feedback.ratings),
    )
    again = binarize(turned, spec)
    assert again.preferences.equals(made.preferences)
    assert again.dropped.equals(made.dropped)
    assert again.summary == made.summary
    alone = make_feedback({key: prompts[key] for key in sorted(prompts)[:2]})
    part = binarize(alone, spec).preferences
    assert part.equals(made.preferences.join(part, on="prompt_id", how="semi"))


def test_draws_are_fair_and_depend_on_the_seed(make_feedback: Make) -> None:
    """600 prompts, two tied for the best and two lower ones.

    Among 4 completions h4-v2 draws an ordered pair: the chosen one evenly from {a, b} and the
    rejected one evenly from the three others: 1/6 a pair, so 100 +- 9 (one standard deviation); 45
    is five of them.
    """
    values = {"a": 9.0, "b": 9.0, "c": 5.0, "d": 4.0}
    answers = [(model, model, {"overall": value}) for model, value in values.items()]
    feedback = make_feedback({f"{i}?": answers for i in range(600)})
    first = binarize(feedback, H4)
    counts = Counter(chosen_and_rejected(feedback, first))
    assert set(counts) == {(c, r) for c in "ab" for r in "abcd" if c != r}
    assert all(abs(count - 100) < 45 for count in counts.values()), counts
    second = binarize(feedback, replace(H4, seed=43))
    assert not second.preferences.equals(first.preferences)
    # Half of the chosen ones are drawn anew: 300 +- 12.
    same = first.preferences.join(second.preferences, on="chosen_id", how="semi").height
    assert abs(same - 300) < 61


def test_ratings_on_two_scales_are_not_averaged(make_feedback: Make) -> None:
    feedback = make_feedback(RATED)
    doubled = feedback.ratings.with_columns(rater=pl.lit("other"), scale_max=pl.lit(10.0))
    both = Feedback(
        prompts=feedback.prompts,
        completions=feedback.completions,
        ratings=pl.concat([feedback.ratings, doubled]),
    )
    message = r"scales 1\.\.5, 1\.\.10\n.*on one scale\n.*'argilla-v1'"
    with pytest.raises(DataError, match=message):
        binarize(both, ARGILLA)


def test_ratings_that_the_specification_does_not_know(make_feedback: Make) -> None:
    feedback = make_feedback({"?": [("a", "x", {"overall": 3.0, "honesty": None})]})
    message = r"no value; rated are honesty, overall\n.*ratings of preference[^$]*take a strategy"
    with pytest.raises(DataError, match=message):
        binarize(feedback, GIVEN)
    with pytest.raises(DataError, match="no value; nothing is rated"):
        binarize(make_feedback({"?": [("a", "x", {})]}), H4)
