"""Subjects for tests of rules about single rows, in a few literal lines."""

import math
from collections.abc import Mapping, Sequence

import polars as pl

from notus.audit.verdict import Subject, Verdict
from notus.data.schema import (
    ASPECTS,
    COMPLETIONS,
    PREFERENCES,
    PROMPTS,
    RATINGS,
    Feedback,
    completion_id,
    prompt_id,
)

SCALES = {"overall": (1.0, 10.0), "preference": (0.0, 1.0)}
Answer = tuple[str, str, Mapping[str, float | None]]


def make_subject(
    prompts: Mapping[str, Sequence[Answer]],
    *,
    critiques: Mapping[str, str | None] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Subject:
    """Feedback from {prompt: [(model, text, {aspect: value})]}, all by one rater.

    Args:
        prompts: In the order of their source.
        critiques: Text of an answer -> what is said of its overall score.
        metadata: Text of an answer -> JSON.
    """
    rows: tuple[list[tuple[object, ...]], ...] = ([], [], [])
    for line, (text, answers) in enumerate(prompts.items(), start=1):
        messages = [{"role": "user", "content": text}]
        key = prompt_id(messages)  # type: ignore[arg-type]
        origin = {"sha256": "0" * 64, "line": line}
        rows[0].append((key, messages, "test", origin, "{}"))
        for model, answer, ratings in answers:
            name = completion_id(key, model, answer)
            rows[1].append((name, key, model, answer, origin, (metadata or {}).get(answer, "{}")))
            for aspect, value in ratings.items():
                said = (critiques or {}).get(answer) if aspect == "overall" else None
                scale = SCALES.get(aspect, (1.0, 5.0))
                rows[2].append((name, "tester", aspect, value, *scale, said))
    frames = [
        pl.LazyFrame(part, schema=table.schema, orient="row")
        for part, table in zip(rows, (PROMPTS, COMPLETIONS, RATINGS), strict=True)
    ]
    feedback = Feedback(prompts=frames[0], completions=frames[1], ratings=frames[2])
    return Subject(feedback=feedback, preferences=pl.DataFrame(schema=PREFERENCES.schema))


def shuffled(subject: Subject, seed: int) -> Subject:
    """The same feedback with its rows in another order."""

    def mixed(frame: pl.LazyFrame) -> pl.LazyFrame:
        return frame.collect().sample(fraction=1.0, shuffle=True, seed=seed).lazy()

    feedback = subject.feedback
    return Subject(
        feedback=Feedback(
            prompts=mixed(feedback.prompts),
            completions=mixed(feedback.completions),
            ratings=mixed(feedback.ratings),
        ),
        preferences=subject.preferences,
    )


def rated(overall: float | None, mean: float | None) -> dict[str, float | None]:
    """An overall score, and one rating for all four aspects."""
    return {"overall": overall, **dict.fromkeys(ASPECTS, mean)}


def named(subject: Subject, verdict: Verdict) -> list[dict[str, object]]:
    """Issues with the model's name in place of ids, for tests where models are unique."""
    models = subject.feedback.completions.select("completion_id", "model").collect()
    joined = verdict.issues.join(models, on="completion_id", how="left").sort("model", "evidence")
    return joined.drop("prompt_id", "completion_id", "rule").to_dicts()


def summary(verdict: Verdict) -> tuple[object, ...]:
    """All that a verdict says, to be compared; no number is NaN."""
    for finding in verdict.findings:
        assert all(math.isfinite(v) for v in finding[3:6] if v is not None)
    order = ["prompt_id", "completion_id"]
    return (
        verdict.issues.sort(order).rows(),
        verdict.findings,
        verdict.looked_at,
        verdict.skipped,
    )
