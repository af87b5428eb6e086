"""Two strategies on one feedback: by hand."""

from collections.abc import Callable, Mapping, Sequence

import pytest

from notus.binarize import binarize
from notus.comparison import FLIPPED, REPLACED, REVERSED, compare
from notus.data.schema import Feedback
from notus.specification import Specification

Values = Mapping[str, float | None]
Make = Callable[[Mapping[str, Sequence[tuple[str, str, Values]]]], Feedback]


def by(aspect: str, rejected: str = "lowest") -> Specification:
    return Specification.model_validate(
        {
            "name": f"{aspect}-{rejected}",
            "note": "for a test",
            "score": {"weights": {aspect: 1}},
            "rejected": rejected,
            "ties": "drop",
        }
    )


def answers(
    *values: tuple[float | None, float | None],
) -> list[tuple[str, str, dict[str, float | None]]]:
    return [
        (model, model, {"honesty": honesty, "helpfulness": helpfulness})
        for model, (honesty, helpfulness) in zip("abc", values, strict=False)
    ]


def test_every_kind_of_difference(make_feedback: Make) -> None:
    feedback = make_feedback(
        {
            "same": answers((3, 3), (2, 2), (1, 1)),
            "reversed": answers((3, 1), (2, 2), (1, 3)),
            "another chosen": answers((3, 2), (2, 3), (1, 1)),
            "another rejected": answers((3, 3), (2, 1), (1, 2)),
            "only honesty": answers((3, 2), (2, 2), (1, 2)),
            "only helpfulness": answers((2, 3), (2, 2), (2, 1)),
            "neither": answers((2, 2), (2, 2)),
        }
    )
    made = [binarize(feedback, by(aspect)) for aspect in ("honesty", "helpfulness")]
    found = compare(feedback, *made)
    names = dict(feedback.prompts.select("prompt_id", "messages").collect().iter_rows())
    kinds = {names[row["prompt_id"]][0]["content"]: row for row in found.rows.to_dicts()}
    assert {name: row["kind"] for name, row in kinds.items()} == {
        "reversed": REVERSED,
        "another chosen": FLIPPED,
        "another rejected": REPLACED,
        "only honesty": "only honesty-lowest",
        "only helpfulness": "only helpfulness-lowest",
    }
    assert kinds["only honesty"]["chosen_b"] is None
    assert kinds["only honesty"]["margin_a"] == 2
    assert kinds["reversed"]["chosen_a"] == kinds["reversed"]["rejected_b"]
    facts = found.facts
    assert (facts["n_both"], facts["n_flipped"], facts["only_a"], facts["only_b"]) == (4, 2, 1, 1)
    assert facts["share"] == 0.5
    # Chance agrees on a third, as each prompt has three completions: (1/2 - 1/3) / (2/3).
    assert facts["kappa"] == pytest.approx(0.25)
    assert facts["flipped_by_source"] == {"test": 2}


def test_a_strategy_agrees_with_itself(make_feedback: Make) -> None:
    feedback = make_feedback({"?": answers((3, 1), (2, 2), (1, 3))})
    made = binarize(feedback, by("honesty"))
    found = compare(feedback, made, made)
    assert found.rows.is_empty()
    assert (found.facts["share"], found.facts["kappa"]) == (0.0, 1.0)


def test_several_pairs_of_a_prompt_are_compared_as_sets(make_feedback: Make) -> None:
    feedback = make_feedback({"?": answers((3, 3), (2, 1), (1, 2))})
    every = binarize(feedback, by("honesty", "all_lower"))
    same = binarize(feedback, by("helpfulness", "all_lower"))
    assert compare(feedback, every, same).rows.is_empty()
    (row,) = compare(feedback, every, binarize(feedback, by("honesty"))).rows.to_dicts()
    assert row["kind"] == REPLACED


def test_nothing_in_common(make_feedback: Make) -> None:
    feedback = make_feedback(
        {"?": answers((3, None), (2, None)), "!": answers((None, 1), (None, 2))}
    )
    first, second = (binarize(feedback, by(aspect)) for aspect in ("honesty", "helpfulness"))
    facts = compare(feedback, first, second).facts
    assert (facts["n_both"], facts["share"], facts["low"], facts["kappa"]) == (0, 0.0, None, None)
    assert (facts["only_a"], facts["only_b"]) == (1, 1)
