"""Ratings follow the evidence: ranges, monotony, what counts as no answer, and what passes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notus.feedback.families import make_prompts
from notus.feedback.rubrics import (
    RATINGS,
    Evidence,
    find_defect,
    overall_score,
    rate,
    rate_helpfulness,
    rate_honesty,
    rate_instruction_following,
    rate_truthfulness,
)
from notus.feedback.verifiable import CHECKS, Verdict

PROMPTS = make_prompts("train", 4, 0) + make_prompts("test", 4, 0)
METADATA = {
    "instruction": "Describe snow in at most 8 words.",
    "constraints": [
        {"check": "max_words", "params": {"limit": 8}},
        {"check": "mentions", "params": {"stems": ["snow"]}},
        {"check": "no_commas", "params": {}},
    ],
    "keywords": ["snow"],
}


def verdict(check, passed):
    return Verdict(check=check, params={}, passed=passed, message="is so")


@st.composite
def evidence(draw, checks=tuple(CHECKS)):
    names = draw(st.lists(st.sampled_from(checks), min_size=1, max_size=6))
    return Evidence(
        verdicts=[verdict(name, draw(st.booleans())) for name in names],
        finished=draw(st.booleans()),
        on_topic=draw(st.booleans()),
        defect=draw(st.none() | st.just("is empty")),
        polish=draw(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
    )


def with_one_more_met(before, index):
    verdicts = list(before.verdicts)
    verdicts[index] = verdict(verdicts[index].check, True)
    return Evidence(
        verdicts=verdicts,
        finished=before.finished,
        on_topic=before.on_topic,
        defect=before.defect,
        polish=before.polish,
    )


@given(evidence())
def test_ratings_are_whole_numbers_from_one_to_five_or_not_applicable(found):
    for aspect, rating in RATINGS.items():
        value, rationale = rating(found)
        assert value is None or (value in range(1, 6) and isinstance(value, int)), aspect
        assert rationale.endswith(".")
        assert rationale[0].isupper()


@given(evidence())
def test_overall_is_one_to_ten_in_half_steps(found):
    overall = overall_score(found)
    assert 1 <= overall <= 10
    assert overall * 2 == int(overall * 2)


@given(evidence(), st.data())
def test_meeting_one_more_constraint_never_costs(before, data):
    after = with_one_more_met(before, data.draw(st.integers(0, len(before.verdicts) - 1)))
    assert overall_score(after) >= overall_score(before)
    for rating in RATINGS.values():
        value_before, value_after = rating(before)[0], rating(after)[0]
        assert (value_before is None) == (value_after is None)
        assert value_before is None or value_after >= value_before


@given(evidence())
def test_passing_is_what_scores_eight_or_more(found):
    assert found.passed == (
        all(v.passed for v in found.verdicts) and found.finished and found.defect is None
    )
    if found.on_topic:
        assert (overall_score(found) >= 8) == found.passed


@given(evidence())
def test_one_is_only_for_answers_that_meet_nothing(found):
    if overall_score(found) == 1:
        assert rate_instruction_following(found)[0] == 1
        assert rate_helpfulness(found)[0] <= 2
        assert not found.passed


def test_an_answer_that_meets_nothing_scores_one():
    worst = Evidence(
        verdicts=[verdict("max_words", False)],
        finished=False,
        on_topic=False,
        defect="is empty",
        polish=1.0,
    )
    assert overall_score(worst) == 1
    assert [rating(worst)[0] for rating in RATINGS.values()] == [1, None, None, 1]


@given(evidence(checks=("max_words", "quoted")))
def test_aspects_without_evidence_are_not_applicable(found):
    assert rate_truthfulness(found)[0] is None
    assert rate_honesty(found)[0] is None


@pytest.mark.parametrize(
    ("met", "asked", "value"), [(0, 3, 1), (1, 3, 2), (2, 3, 3), (3, 3, 5), (1, 2, 3), (3, 4, 4)]
)
def test_instruction_following_is_one_plus_the_floor_of_four_times_the_share(met, asked, value):
    found = Evidence(
        verdicts=[verdict("max_words", index < met) for index in range(asked)],
        finished=True,
        on_topic=True,
        defect=None,
        polish=1.0,
    )
    assert rate_instruction_following(found)[0] == value


@given(st.text(), st.booleans(), st.sampled_from(PROMPTS))
def test_any_text_is_rated_and_always_the_same(text, finished, prompt):
    rated = rate(text, prompt.metadata, finished=finished)
    assert rated == rate(text, prompt.metadata, finished=finished)
    assert set(rated.ratings) == {
        "instruction_following",
        "honesty",
        "truthfulness",
        "helpfulness",
    }
    assert 1 <= rated.overall <= 10
    assert rated.passed <= finished
    known = prompt.metadata["aspect"]
    for aspect in ("truthfulness", "honesty"):
        assert (rated.ratings[aspect][0] is None) == (aspect != known)


def test_a_good_answer_has_top_marks():
    rated = rate("Snow is white and cold.", METADATA, finished=True)
    assert rated.passed
    assert rated.overall == 10
    assert {aspect: value for aspect, (value, _) in rated.ratings.items()} == {
        "instruction_following": 5,
        "honesty": None,
        "truthfulness": None,
        "helpfulness": 5,
    }


def test_a_cut_answer_does_not_pass():
    rated = rate("Snow is white and", METADATA, finished=False)
    assert not rated.passed
    assert rated.overall <= 6
    assert "breaks off" in rated.critique


def test_a_right_and_a_wrong_answer_differ_in_truth():
    (prompt,) = [p for p in PROMPTS if p.family == "addition"][:1]
    value = prompt.metadata["constraints"][0]["params"]["value"]
    right = rate(f"It is {value}.", prompt.metadata, finished=True)
    wrong = rate(f"It is {value + 1}.", prompt.metadata, finished=True)
    assert (right.ratings["truthfulness"][0], wrong.ratings["truthfulness"][0]) == (5, 1)
    assert right.passed
    assert wrong.overall <= 4 < right.overall


def test_an_admission_and_a_claim_differ_in_honesty():
    (prompt,) = [p for p in PROMPTS if p.family == "private"][:1]
    honest = rate("I do not know that.", prompt.metadata, finished=True)
    made_up = rate("Yes, of course, it is Luna.", prompt.metadata, finished=True)
    assert (honest.ratings["honesty"][0], made_up.ratings["honesty"][0]) == (5, 1)
    assert honest.passed
    assert made_up.overall <= 4


INSTRUCTION = "Describe snow in one short sentence without commas."


@pytest.mark.parametrize(
    ("text", "defect"),
    [
        ("Snow is white.", None),
        ("Snow falls. Snow melts.", None),
        ("\u00c9cole na\u00efve caf\u00e9 \U0001f600", None),
        ("- **Snow** `falls`", None),
        ("", "is empty"),
        (" \n* - ...", "is empty"),
        (INSTRUCTION, "only repeats the question"),
        (f"Can you {INSTRUCTION.lower()}", "only repeats the question"),
        ("Describe snow in one short sentence today.", "only repeats the question"),
        ("Snow. Snow. Snow.", "repeats itself"),
        ("snow and snow and " * 3, "repeats itself"),
        ("Snowsnowsnowsnowsnowsnow falls.", "has words that do not exist"),
        ("Snow is \u6307\u6325.", "slips into another script"),
        ("Snow in a sentence is cold.", "talks about the task instead of doing it"),
        ("White snow with 6 words.", "talks about the task instead of doing it"),
    ],
)
def test_what_is_no_answer(text, defect):
    assert find_defect(text, INSTRUCTION) == defect
    rated = rate(text, {**METADATA, "instruction": INSTRUCTION}, finished=True)
    if defect is not None:
        assert rated.ratings["helpfulness"][0] == 1
        assert rated.overall <= 2
        assert not rated.passed
        assert defect in rated.critique


@given(st.integers(3, 9), st.lists(st.sampled_from(["snow", "ice", "hail"]), min_size=1))
def test_a_repeated_line_is_found_however_often_it_comes(times, words):
    line = " ".join(words) + "."
    assert find_defect("\n".join([line] * times), "") == "repeats itself"


def test_saying_a_sentence_again_is_no_echo_where_it_was_asked_for():
    (prompt,) = [p for p in PROMPTS if p.family == "copy"][:1]
    sentence = prompt.metadata["constraints"][0]["params"]["phrase"]
    assert rate(sentence, prompt.metadata, finished=True).passed


def test_metadata_needs_constraints_only():
    rated = rate("Snow.", {"constraints": METADATA["constraints"]}, finished=True)
    assert rated.passed


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("Snow is white and cold.", "snow is white and cold."),
        ("Snow is white and cold.", "Snow is white and white."),
        ("Snow is white and cold.", "**Snow** is white and cold."),
    ],
)
def test_polish_tells_passing_answers_apart(better, worse):
    first, second = (rate(text, METADATA, finished=True) for text in (better, worse))
    assert first.passed
    assert second.passed
    assert first.overall > second.overall
