"""Signs set in where they should, are said once, and name numbers, meaning and remedy."""

import math
from collections.abc import Iterable
from typing import Any

import pytest

from notus.training.signs import RULES, WINDOW, Sign, Signs

TOTAL = 100


def training(step: int, **given: float) -> dict[str, Any]:
    usual = {
        "loss": 0.6,
        "grad_norm": 3.0,
        "clipped": 0.0,
        "num_examples": 16,
        "displaced": 0.4,
        "displacement": 0.01,
        "rewards/accuracies": 0.7,
    }
    return {"step": step, **usual, **given}


def evaluation(step: int, **given: float) -> dict[str, Any]:
    usual = {"loss": 0.6, "displaced": 0.4, "displacement": 0.01, "num_examples": 200}
    usual |= {"rewards/accuracies": 0.7}
    return {"step": step, **{f"eval_{name}": v for name, v in (usual | given).items()}}


def answers(step: int, **given: float) -> dict[str, Any]:
    usual = {
        "tokens": 40.0,
        "length_ratio": 1.0,
        "finished": 0.8,
        "repetition": 0.05,
        "base_repetition": 0.04,
        "kl": 0.05,
        "kl_sequence": 2.0,
        "entropy": 2.0,
        "entropy_ratio": 1.0,
    }
    return {"step": step, **{f"answers/{name}": v for name, v in (usual | given).items()}}


def said(rows: Iterable[dict[str, Any]]) -> list[Sign]:
    signs = Signs(TOTAL)
    return [sign for row in rows for sign in signs.observe(row)]


def test_a_good_training_says_nothing() -> None:
    rows = [training(step) for step in range(1, TOTAL + 1)]
    assert said([*rows, evaluation(TOTAL), answers(TOTAL)]) == []


BAD: dict[str, list[dict[str, Any]]] = {
    "not_finite": [training(5, loss=math.nan)],
    "displacement": [training(step, displaced=0.9, displacement=0.3) for step in range(1, 9)],
    "collapse": [answers(10, repetition=0.6)],
    "length_drift": [answers(10, length_ratio=1.8, tokens=72)],
    "kl": [answers(10, kl=0.9, kl_sequence=36)],
    "chance": [training(step, **{"rewards/accuracies": 0.52}) for step in range(1, TOTAL + 1)],
    "clipping": [training(step, clipped=1) for step in range(1, WINDOW + 5)],
}


@pytest.mark.parametrize("name", BAD)
def test_each_sign_sets_in_once(name: str) -> None:
    found = said(BAD[name])
    assert [sign.name for sign in found] == [name]
    assert found[0].numbers in found[0].text
    assert any(character.isdigit() or character == "n" for character in found[0].numbers)
    assert found[0].since < found[0].step


def test_every_sign_is_tested() -> None:
    assert set(BAD) == set(RULES)


MORE = {
    "displacement": [evaluation(10, displaced=0.7, displacement=0.2)],
    "chance": [evaluation(60, **{"rewards/accuracies": 0.5})],
    "collapse": [answers(10, entropy_ratio=0.1)],
    "length_drift": [answers(10, length_ratio=0.5)],
    "kl": [answers(10, kl=math.nan)],
    "not_finite": [evaluation(5, loss=math.inf)],
}


@pytest.mark.parametrize("name", MORE)
def test_signs_are_seen_in_other_rows_too(name: str) -> None:
    assert [sign.name for sign in said(MORE[name])] == [name]


def test_length_collapse_is_both() -> None:
    assert {s.name for s in said([answers(10, length_ratio=0.1)])} == {"collapse", "length_drift"}


def test_what_hovers_about_a_threshold_is_said_once() -> None:
    values = [0.11, 0.09, 0.12, 0.08, 0.2]
    rows = [evaluation(i, displaced=0.8, displacement=v) for i, v in enumerate(values, start=1)]
    assert [sign.step for sign in said(rows)] == [1]


def test_what_has_ended_may_set_in_again() -> None:
    values = [0.2, 0.02, 0.2]
    rows = [evaluation(i, displaced=0.8, displacement=v) for i, v in enumerate(values, start=1)]
    assert [sign.step for sign in said(rows)] == [1, 3]


def test_few_pairs_and_few_steps_say_nothing() -> None:
    assert said([training(1, displaced=1, displacement=0.5, num_examples=8)]) == []
    assert said([training(step, clipped=1) for step in range(1, WINDOW)]) == []
    assert said([evaluation(90, num_examples=40, **{"rewards/accuracies": 0.5})]) == []


def test_chance_waits_for_half_of_the_training() -> None:
    rows = [training(step, **{"rewards/accuracies": 0.5}) for step in range(1, TOTAL + 1)]
    assert [sign.step for sign in said(rows)] == [TOTAL // 2]


def test_the_evidence_of_a_running_mean_begins_at_its_oldest_step() -> None:
    """20 rows from step 30 on are bad: the mean crosses 0.1 at the 7th, and is over 11..30+."""
    rows = [training(step) for step in range(1, 30)]
    rows += [training(step, displaced=1, displacement=0.3) for step in range(30, 60)]
    (found,) = said(rows)
    assert found.since == found.step - WINDOW


def test_evidence_of_an_evaluation_begins_at_the_one_before() -> None:
    (found,) = said([answers(10), answers(20), answers(30, kl=2)])
    assert (found.since, found.step) == (20, 30)
    (found,) = said([evaluation(10), evaluation(20, displaced=1, displacement=1)])
    assert (found.since, found.step) == (10, 20)


def test_what_a_run_does_not_log_is_no_sign() -> None:
    """SimPO has no reference, SFT no pairs: their rows lack what those would have."""
    rows = [{"step": s, "loss": 2.0, "grad_norm": 1.0, "num_examples": 16} for s in range(1, 90)]
    assert said(rows) == []


def test_replayed_rows_give_the_same_signs() -> None:
    rows = [*BAD["displacement"], *BAD["collapse"], *BAD["kl"]]
    assert said(rows) == said(rows)
