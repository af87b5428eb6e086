"""Ranking of held-out preferences, compared with the padded layout and by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

import tiny
from notus.binarize import binarize
from notus.chat_template import Encoder
from notus.evaluation.preferences import LOGPS_SCHEMA, rank, score_preferences
from notus.scoring.score import padded_token_logps
from notus.specifications import SPECIFICATIONS

LENGTHS = {"max_length": 120, "max_prompt_length": 90}


def test_scores_are_those_of_the_padded_layout(make_feedback: Callable[..., Any]) -> None:
    model = tiny.make_model()
    answers = {
        f"Say {i}": [("a", f"the thing {i}", {"preference": 1.0}), ("b", "no", {"preference": 0.0})]
        for i in range(5)
    }
    feedback = make_feedback(answers)
    made = binarize(feedback, SPECIFICATIONS["given"]).preferences
    found = score_preferences(made, feedback, model, label="base", **LENGTHS)
    assert dict(found.schema) == dict(LOGPS_SCHEMA)
    assert found["model"].unique().to_list() == ["base"]
    encode = Encoder(model.tokenizer, **LENGTHS)
    texts = dict(feedback.completions.select("completion_id", "text").collect().iter_rows())
    messages = dict(feedback.prompts.select("prompt_id", "messages").collect().iter_rows())
    rows = {row["preference_id"]: row for row in found.iter_rows(named=True)}
    assert len(rows) == 5
    for edge in made.iter_rows(named=True):
        for side in ("chosen", "rejected"):
            one = encode(messages[edge["prompt_id"]], texts[edge[f"{side}_id"]])
            whole = np.array([*one.prompt_ids, *one.completion_ids])
            values, _ = padded_token_logps(model.model, [whole])
            expected = values[0, len(one.prompt_ids) - 1 :].double().sum().item()
            logp = rows[edge["preference_id"]][f"{side}_logp"]
            assert logp == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_ranks() -> None:
    rows = [
        ("base", "q0", "p0", -2.0, -1.0),
        ("base", "q1", "p1", -1.0, -2.0),
        ("base", "q2", "p2", -1.0, -1.0),
        ("tuned", "q2", "p2", -1.0, -1.0),  # nothing changed: a tie in both
        ("tuned", "q0", "p0", -2.0, -1.5),  # nearer, but the rejected one is still likelier
        ("tuned", "q1", "p1", -3.0, -3.5),  # still right, by less than before
    ]
    frame = pl.DataFrame(rows, schema=LOGPS_SCHEMA, orient="row")
    found = {(r["model"], r["preference_id"]): r for r in rank(frame).iter_rows(named=True)}
    assert [found["tuned", f"q{i}"]["logp_correct"] for i in range(3)] == [0.0, 1.0, 0.5]
    assert [found["tuned", f"q{i}"]["reward_correct"] for i in range(3)] == [1.0, 0.0, 0.5]
    assert [found["tuned", f"q{i}"]["reward_margin"] for i in range(3)] == [0.5, -0.5, 0.0]
    # The reference rewards nothing.
    assert {found["base", f"q{i}"]["reward_margin"] for i in range(3)} == {0.0}
