"""Subjects with preferences, written down in a few lines, for the tests of rules about pairs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from notus.audit.verdict import Subject, Verdict
from notus.data.schema import (
    COMPLETIONS,
    ISSUES,
    PREFERENCES,
    PROMPTS,
    RATINGS,
    Feedback,
    check,
    completion_id,
    preference_id,
    prompt_id,
)

SCALES = {"overall": (1.0, 10.0), "preference": (0.0, 1.0), "reward": (0.0, 1.0)}

Said = Mapping[str, float | None]
"""Aspect, or "rater: aspect", -> value."""


def make_subject(
    prompts: Mapping[str, Sequence[tuple[str, str, Said]]],
    pairs: Iterable[tuple[str, int, int]],
    *,
    strategy: str = "given",
    margin: float = 1.0,
    metadata: Mapping[str, Sequence[str]] | None = None,
    **more: Any,
) -> Subject:
    """Build a subject.

    Args:
        prompts: Prompt -> (model, text, what is said) of each completion.
        pairs: (prompt, place of the chosen, place of the rejected).
        strategy: Of the preferences.
        margin: Of each.
        metadata: Prompt -> the metadata of each completion.
        more: Other fields of the subject.
    """
    rows: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    ids: dict[str, list[str]] = {}
    for line, (text, answers) in enumerate(prompts.items(), start=1):
        messages: Any = [{"role": "user", "content": text}]
        key = prompt_id(messages)
        origin = {"sha256": "0" * 64, "line": line}
        rows[0].append((key, messages, "test", origin, "{}"))
        ids[text] = [key]
        for place, (model, answer, said) in enumerate(answers):
            one = completion_id(key, model, answer)
            ids[text].append(one)
            extra = metadata[text][place] if metadata else "{}"
            rows[1].append((one, key, model, answer, origin, extra))
            for name, value in said.items():
                rater, _, aspect = name.rpartition(": ")
                scale = SCALES.get(aspect, (1.0, 5.0))
                rows[2].append((one, rater or "tester", aspect, value, *scale, None))
    frames = [
        pl.LazyFrame(part, schema=table.schema, orient="row")
        for part, table in zip(rows, (PROMPTS, COMPLETIONS, RATINGS), strict=True)
    ]
    listed = []
    for text, chosen, rejected in pairs:
        key, *answers_of = ids[text]
        sides = answers_of[chosen], answers_of[rejected]
        listed.append((preference_id(key, *sides), key, *sides, margin, strategy))
    preferences = pl.DataFrame(listed, schema=PREFERENCES.schema, orient="row")
    feedback = Feedback(prompts=frames[0], completions=frames[1], ratings=frames[2])
    return Subject(feedback=feedback, preferences=preferences, **more)


def flagged(subject: Subject, verdict: Verdict) -> dict[str, tuple[str, str]]:
    """Issues as {prompt's text: (severity, evidence)}, after a check of the table's contract."""
    assert not check(ISSUES, verdict.issues).refused.height
    assert verdict.skipped is None
    last = pl.col("messages").list.last().struct.field("content")
    texts = subject.feedback.prompts.select("prompt_id", text=last).collect()
    joined = verdict.issues.join(texts, on="prompt_id")
    assert joined.height == verdict.issues.height <= verdict.looked_at
    return {row["text"]: (row["severity"], row["evidence"]) for row in joined.to_dicts()}


def world(rows: int, *, seed: int, sides: int = 4) -> dict[str, list[tuple[str, str, Said]]]:
    """Prompts with completions by models of unlike strength, in random order, scored with noise."""
    rng = np.random.default_rng(seed)
    models = [f"model-{i}" for i in range(6)]
    prompts: dict[str, list[tuple[str, str, Said]]] = {}
    for row in range(rows):
        answers: list[tuple[str, str, Said]] = []
        for number in rng.permutation(len(models))[:sides]:
            quality = number / 5 + rng.normal()
            words = " ".join(f"w{i}" for i in range(int(rng.integers(2, 40))))
            overall = float(np.clip(np.round(2 * (5.5 + 1.5 * quality)) / 2, 1, 10))
            honesty = float(np.clip(np.round(3 + quality + 0.4 * rng.normal()), 1, 5))
            said = {"overall": overall, "honesty": honesty}
            answers.append((models[number], f"{number} {words}", said))
        prompts[f"{row}?"] = answers
    return prompts


def best_and_other(
    prompts: Mapping[str, Sequence[tuple[str, str, Said]]], *, seed: int
) -> list[tuple[str, int, int]]:
    """Choose the best overall score, ties at random, and reject a random other one."""
    rng = np.random.default_rng(seed)
    pairs = []
    for text, answers in prompts.items():
        scores = np.array([said["overall"] for _, _, said in answers]) + 1e-3 * rng.random(
            len(answers)
        )
        chosen = int(scores.argmax())
        others = [place for place in range(len(answers)) if place != chosen]
        pairs.append((text, chosen, int(rng.choice(others))))
    return pairs
