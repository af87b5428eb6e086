"""What is said of a number must never be more than the number shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notus.run_facts import Paired, RunFacts
from notus.words import MINUS, duration, headline, p_value, percent, points, sentence


def paired(verdict: str, mode: str = "greedy", family: str | None = None, n: int = 72) -> Paired:
    return Paired(
        benchmark="verifiable",
        metric="pass_rate",
        mode=mode,
        family=family,
        base=0.75,
        tuned=0.847,
        difference=0.097,
        low=-0.031,
        high=0.167,
        p_value=0.016,
        gained=7,
        lost=0,
        n=n,
        num_clusters=72,
        verdict=verdict,
    )


def run(*rows: Paired, num_leaked: int = 0) -> RunFacts:
    nothing = dict.fromkeys(("feedback", "planted", "preferences", "training"))
    empty = {"recipe": {}, "stages": {}, "issues": {}, "metrics": (), "results": (), "settings": {}}
    facts = {**nothing, **empty, "directory": None, "name": "x", "num_leaked": num_leaked}
    return RunFacts(**facts, paired=rows)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("greedy", "sampled", "expected"),
    [
        ("better", "better", "With greedy and sampled answers the tuned model passes more"),
        ("worse", "worse", "With greedy and sampled answers the tuned model passes fewer"),
        (
            "no difference shown",
            "no difference shown",
            "With greedy and sampled answers no difference between the tuned model and its base",
        ),
        ("better", "worse", "With greedy answers the tuned model passes more"),
        ("no difference shown", "better", "With greedy answers no difference"),
    ],
)
def test_the_headline_says_what_each_mode_showed(greedy, sampled, expected) -> None:
    text = headline(run(paired(greedy), paired(sampled, "sampled")))
    assert text.startswith(expected)
    assert text.endswith(".")
    if greedy != sampled:
        assert "with sampled answers" in text
    if "better" not in (greedy, sampled):
        assert "more" not in text


def test_a_family_never_makes_the_headline() -> None:
    rows = [paired("no difference shown"), paired("better", family="word_limit")]
    rows.append(paired("better", family="unseen:capitals"))
    assert "more" not in headline(run(*rows))


def test_a_run_without_evaluation_claims_nothing() -> None:
    assert headline(run()) == "Trained, and not evaluated on held-out prompts."


def test_leaked_prompts_stand_beside_the_headline() -> None:
    text = headline(run(paired("better"), num_leaked=3))
    assert text.endswith("3 of the prompts stand in the training feedback too: not held out.")


def test_a_sentence_holds_every_number() -> None:
    text = sentence(paired("no difference shown")).replace("\u00a0", " ")
    assert text == (
        "Greedy pass rate: 75.0 % for the base model, 84.7 % for the tuned one; difference "
        f"+9.7 points (95 % interval {MINUS}3.1 to +16.7, n = 72): no difference shown."
    )


def test_a_sentence_names_the_family_and_the_clusters() -> None:
    text = sentence(paired("better", "sampled", "unseen:all_capitals", n=288))
    assert text.startswith("Sampled pass rate on all capitals: ")
    assert "288 of 72 prompts)" in text


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, "0.0"), (-0.0001, "0.0"), (0.0004, "0.0"), (-0.031, f"{MINUS}3.1"), (0.1, "+10.0")],
)
def test_points_have_a_sign_unless_they_round_to_nothing(share, expected) -> None:
    assert points(share) == expected


@given(st.floats(-1, 1))
def test_points_are_within_rounding(share: float) -> None:
    assert abs(float(points(share).replace(MINUS, "-")) - 100 * share) <= 0.05 + 1e-9


def test_other_numbers() -> None:
    assert percent(0.8475).replace("\u00a0", " ") == "84.8 %"
    assert (p_value(None), p_value(0.0004), p_value(0.0156)) == ("-", "< 0.001", "0.016")
    assert duration(4.24) == "4.2 s"
    assert duration(192) == "3 min 12 s"
    assert duration(3599.7) == "1 h 00 min"
    assert duration(7500) == "2 h 05 min"
