"""The rating stage's rows; what the ratings say is test_rubrics'."""

import json
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from notus.data.schema import COMPLETIONS, PROMPTS, RATINGS, Feedback, check
from notus.data.schema import completion_id as complete
from notus.data.schema import prompt_id as ask
from notus.errors import DataError, UsageError
from notus.feedback.rate import RATERS, rate_completions
from notus.feedback.rubrics import rate

ASKED = "Name a colour in one sentence."
METADATA = {
    "constraints": [{"check": "num_sentences", "params": {"count": 1}}],
    "keywords": ["blue"],
}
Make = Callable[..., Feedback]


@pytest.fixture
def make() -> Make:
    """Feedback of one prompt with these answers (text, finished)."""

    def build(*answers: tuple[str, bool], metadata: dict[str, Any] = METADATA) -> Feedback:
        messages = [{"role": "user", "content": ASKED}]
        prompt = ask(messages)
        origin = {"sha256": "0" * 64, "line": 1}
        rows = [
            (
                complete(prompt, "m", text),
                prompt,
                "m",
                text,
                None,
                json.dumps({"finished": finished}),
            )
            for text, finished in answers
        ]
        return Feedback(
            prompts=pl.LazyFrame(
                [(prompt, messages, "s", origin, json.dumps(metadata))],
                schema=PROMPTS.schema,
                orient="row",
            ),
            completions=pl.LazyFrame(rows, schema=COMPLETIONS.schema, orient="row"),
            ratings=pl.LazyFrame(schema=RATINGS.schema),
        )

    return build


def test_four_aspects_and_an_overall_score_a_completion(make: Make) -> None:
    answers = [("Blue is a colour.", True), ("Blue is a", False)]
    found = rate_completions(make(*answers), "verifiable")
    assert check(RATINGS, found).refused.is_empty()
    assert found.group_by("completion_id").len()["len"].to_list() == [5, 5]
    prompt = ask([{"role": "user", "content": ASKED}])
    for text, finished in answers:
        expected = rate(text, {"instruction": ASKED, **METADATA}, finished=finished)
        rows = found.filter(pl.col("completion_id") == complete(prompt, "m", text))
        values = dict(rows.select("aspect", "value").iter_rows())
        assert values.pop("overall") == expected.overall
        assert values == {aspect: value for aspect, (value, _) in expected.ratings.items()}
        (critique,) = rows.filter(pl.col("aspect") == "overall")["rationale"]
        assert critique == expected.critique
    scales = set(found.select("aspect", "scale_min", "scale_max").unique().iter_rows())
    assert ("overall", 1.0, 10.0) in scales
    assert ("honesty", 1.0, 5.0) in scales
    # Nobody can say from this prompt whether an answer is honest: N/A, and never a number.
    assert found.filter(aspect="honesty")["value"].is_null().all()


def test_the_question_said_again_is_no_answer(make: Make) -> None:
    """Known by the prompt's messages: a reader of other schemas keeps no second copy."""
    found = rate_completions(make((ASKED, True)), "verifiable")
    values = dict(found.select("aspect", "value").iter_rows())
    assert (values["instruction_following"], values["helpfulness"]) == (5.0, 1.0)
    assert values["overall"] <= 2.0


def test_what_cannot_be_rated_is_said(make: Make) -> None:
    with pytest.raises(UsageError, match=r"rater 'me'[^$]*verifiable"):
        rate_completions(make(("Blue.", True)), "me")
    with pytest.raises(DataError, match="has no constraints"):
        rate_completions(make(("Blue.", True), metadata={"keywords": []}), "verifiable")
    assert set(RATERS) == {"verifiable"}
