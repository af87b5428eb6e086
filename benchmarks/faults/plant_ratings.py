"""Faults of scores, ratings and critiques, in rows of UltraFeedback's form.

Sources: UltraFeedback issue 8 (1 read as 10, 0.75 as 7.5); the published sets' parsers
(N/A averaged as -1, unparsable read as 1); Wang et al. 2023, arXiv 2305.17926 (position bias);
Panickssery et al. 2024, arXiv 2404.13076 (judges favour themselves).
"""

from typing import Any

import numpy as np
from faults.plant import (
    Place,
    Planted,
    Row,
    completions_planted,
    draw_places,
    draw_rows,
    key_of_completion,
    places,
    whole_set_planted,
)

DEFAULT_SCORE = 5.0
"""What a parser gives that finds no score and will not say so."""
JUDGE = "gpt-4"
OTHER_JUDGES = ("judge-2", "judge-3", "judge-4")
JITTER = 0.2


def ten_flip(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Read scores of 1 as 10, the bug of UltraFeedback's parser."""
    spoiled = draw_places(rows, rng, share, where=lambda c: c["overall_score"] == 1)
    for place in spoiled:
        place.completion["overall_score"] = 10.0
    return completions_planted(rows, spoiled)


def decimal_flip(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Read scores of 0.75 as 7.5, the same bug on a fraction.

    A score of 0.5 read as 5 is not planted: it is an ordinary low score of an ordinary bad answer.
    """
    spoiled = draw_places(rows, rng, share, where=lambda c: c["overall_score"] == 1)
    for place in spoiled:
        place.completion["overall_score"] = 7.5
    return completions_planted(rows, spoiled)


def critique_swap(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Exchange the critiques of a row's best (8 or more) and worst (3 or less) answer."""

    def ends(row: Row) -> list[Row]:
        ordered = sorted(row["completions"], key=lambda c: c["overall_score"])
        return [ordered[0], ordered[-1]]

    def far_apart(row: Row) -> bool:
        worst, best = ends(row)
        return bool(worst["overall_score"] <= 3 and best["overall_score"] >= 8)

    spoiled: list[Place] = []
    for row in draw_rows(rows, rng, share, where=far_apart):
        worst, best = ends(row)
        worst["critique"], best["critique"] = best["critique"], worst["critique"]
        spoiled += [Place(row, worst), Place(row, best)]
    return completions_planted(rows, spoiled)


def pile_up(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Give a default score where the judge's answer was not parsed."""
    return _default_score(rows, rng, share, DEFAULT_SCORE)


def unparsable_as_one(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Read the judge's answer as 1 where it was not parsed."""
    return _default_score(rows, rng, share, 1.0)


def _default_score(
    rows: list[Row], rng: np.random.Generator, share: float, score: float
) -> Planted:
    for place in draw_places(rows, rng, share):
        place.completion["overall_score"] = score
    return whole_set_planted(rows)


def na_as_minus_one(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Write -1 for N/A."""
    spoiled = draw_places(rows, rng, share, where=lambda c: _honesty(c)["Rating"] == "N/A")
    for place in spoiled:
        _honesty(place.completion)["Rating"] = "-1"
    return completions_planted(rows, spoiled)


def _honesty(completion: Row) -> Any:
    return completion["annotations"]["honesty"]


def out_of_scale(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Give scores on another scale than the one that is declared."""
    spoiled = draw_places(rows, rng, share)
    for place in spoiled:
        if rng.random() < 0.5:
            place.completion["overall_score"] = float(rng.choice([-1, 0, 11, 85]))
        else:
            _any_aspect(place.completion, rng)["Rating"] = str(rng.choice(["0", "6", "10"]))
    return completions_planted(rows, spoiled)


def fractional_rating(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Give ratings between the steps of their scale."""
    spoiled = draw_places(rows, rng, share)
    for place in spoiled:
        if rng.random() < 0.5:
            place.completion["overall_score"] = float(rng.choice([3.3, 6.7, 7.2]))
        else:
            _any_aspect(place.completion, rng)["Rating"] = str(rng.choice(["2.5", "3.7", "4.9"]))
    return completions_planted(rows, spoiled)


def missing_aspect(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Leave out an aspect, or the overall score with its critique."""
    spoiled = draw_places(rows, rng, share)
    for place in spoiled:
        if rng.random() < 0.2:
            place.completion.update(overall_score=None, critique=None)
        else:
            annotations = place.completion["annotations"]
            del annotations[rng.choice(sorted(annotations))]
    return completions_planted(rows, spoiled)


def _any_aspect(completion: Row, rng: np.random.Generator) -> Any:
    annotations = completion["annotations"]
    return annotations[rng.choice(sorted(annotations))]


def scrambled_scores(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Mix up the overall scores within a row, so that they choose another answer than ratings."""
    for row in draw_rows(rows, rng, share):
        scores = [completion["overall_score"] for completion in row["completions"]]
        for completion, score in zip(row["completions"], rng.permutation(scores), strict=True):
            completion["overall_score"] = float(score)
    return whole_set_planted(rows)


def position_bias(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Rate the answer that is shown first a point higher (two overall), in a share of the rows."""
    for row in draw_rows(rows, rng, share):
        raise_ratings(row["completions"][0], 1)
    return whole_set_planted(rows)


def self_preference(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Let one of the models be the judge and rate its own answers a point higher (two overall).

    A second, unbiased judge rates the same rows, so that there is something to compare with.
    """
    other = [_rated_by("another-judge", row) for row in rows]
    for place in places(rows):
        place.row["rater"] = JUDGE
        if place.completion["model"] == JUDGE and rng.random() < share:
            raise_ratings(place.completion, 1)
    return whole_set_planted([*rows, *other])


def judge_disagreement(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Turn the ratings of the judge who makes the preferences round, against three other judges.

    The others differ from the first by a point here and there. Rows whose worst answer is beyond
    doubt are taken, as it becomes the best one.
    """
    others = [_rated_by(judge, row) for judge in OTHER_JUDGES for row in rows]
    for place in places(others):
        _jitter(place.completion, rng)
    spoiled = draw_rows(rows, rng, share, where=_has_a_clear_worst)
    for row in spoiled:
        _turn_round(row)
    groups = [
        frozenset(key_of_completion(Place(row, completion)) for completion in row["completions"])
        for row in spoiled
    ]
    return Planted([*rows, *others], groups)


def nothing(rows: list[Row], rng: np.random.Generator, share: float) -> Planted:
    """Draw the rejected answer by a generator that is seeded anew in each row, as h4-v1 did."""
    del rng, share
    return whole_set_planted(rows)


def raise_ratings(completion: Row, points: int) -> None:
    """Rate a completion higher by so many points of the aspects' scale, and twice that overall."""
    completion["overall_score"] = min(10.0, completion["overall_score"] + 2 * points)
    for annotation in completion["annotations"].values():
        if annotation["Rating"] != "N/A":
            annotation["Rating"] = str(min(5, int(annotation["Rating"]) + points))


def _rated_by(judge: str, row: Row) -> Row:
    """Copy a row for another judge, without the texts of the first."""
    completions = [
        completion
        | {
            "annotations": {
                k: {"Rating": v["Rating"]} for k, v in completion["annotations"].items()
            }
        }
        | {"critique": None}
        for completion in row["completions"]
    ]
    return row | {"rater": judge, "completions": completions}


def _has_a_clear_worst(row: Row) -> bool:
    """Tell whether one answer is rated below all others, by its aspects and overall."""
    worst, *others = sorted(row["completions"], key=lambda c: c["fine-grained_score"])
    return all(
        other["fine-grained_score"] >= worst["fine-grained_score"] + 0.5
        and other["overall_score"] > worst["overall_score"]
        for other in others
    )


def _jitter(completion: Row, rng: np.random.Generator) -> None:
    """Move a fifth of the ratings by a point, within their scale."""
    for annotation in completion["annotations"].values():
        if annotation["Rating"] != "N/A" and rng.random() < JITTER:
            moved = int(annotation["Rating"]) + int(rng.choice([-1, 1]))
            annotation["Rating"] = str(min(5, max(1, moved)))


def _turn_round(row: Row) -> None:
    """Reflect every rating on the middle of its scale."""
    for completion in row["completions"]:
        completion["overall_score"] = 11 - completion["overall_score"]
        for annotation in completion["annotations"].values():
            if annotation["Rating"] != "N/A":
                annotation["Rating"] = str(6 - int(annotation["Rating"]))
