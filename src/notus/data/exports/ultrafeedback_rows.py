"""Feedback as rows in the raw UltraFeedback schema: the inverse of its reader."""

import json
from collections.abc import Iterator
from typing import Any

from notus.data.formats.ultrafeedback import ASPECT_SCALE, NAME, OVERALL_SCALE
from notus.data.prompt_rows import prompt_rows
from notus.data.schema import OVERALL, Feedback
from notus.errors import DataError, explain


def to_ultrafeedback(feedback: Feedback) -> Iterator[dict[str, Any]]:
    """Write rows in the raw UltraFeedback schema: the inverse of its reader.

    What the reader put into metadata goes back to its field, N/A back to "N/A", and a rating to its
    shortest decimal text. Batches of prompts are in memory, never the whole.

    Args:
        feedback: The three tables; prompts and completions keep their order.

    Yields:
        One row a prompt.

    Raises:
        DataError: something that the schema cannot say: a conversation of several messages, two
            raters in one row, or a scale other than UltraFeedback's.
    """
    for prompt, completions, opinions in prompt_rows(feedback):
        yield _row(prompt, completions, opinions)


def _row(
    prompt: dict[str, Any],
    completions: list[dict[str, Any]],
    opinions: dict[str, list[dict[str, Any]]],
) -> dict[str, Any]:
    where = f"prompt {prompt['prompt_id']}"
    messages = prompt["messages"]
    if len(messages) != 1:
        roles = ", ".join(message["role"] for message in messages)
        raise _unsayable(f"a conversation ({roles})", "one message of the user", where)
    raters = {
        rating["rater"]
        for completion in completions
        for rating in opinions.get(completion["completion_id"], [])
    }
    if len(raters) > 1:
        raise _unsayable(f"raters {', '.join(sorted(raters))}", "one rater", where)
    row: dict[str, Any] = json.loads(prompt["metadata"])
    row |= {"source": prompt["source"], "instruction": messages[0]["content"]}
    if raters - {NAME}:
        row["rater"] = raters.pop()
    row["completions"] = [
        _completion(item, place, opinions.get(item["completion_id"], []))
        for place, item in enumerate(completions)
    ]
    return row


def _completion(
    completion: dict[str, Any], place: int, ratings: list[dict[str, Any]]
) -> dict[str, Any]:
    metadata = json.loads(completion["metadata"])
    if metadata.get("position") == place:
        # The list says it; it does not where a completion before this one was refused.
        del metadata["position"]
    extras = metadata.pop("annotations", {})
    row: dict[str, Any] = {"model": completion["model"], **metadata}
    row["response"] = completion["text"]
    annotations: dict[str, Any] = {}
    for rating in ratings:
        overall = rating["aspect"] == OVERALL
        scale = (rating["scale_min"], rating["scale_max"])
        if scale != (OVERALL_SCALE if overall else ASPECT_SCALE):
            found = f"aspect {rating['aspect']!r} on a scale {scale[0]:g}..{scale[1]:g}"
            where = f"completion {completion['completion_id']}"
            raise _unsayable(found, "aspects on 1..5 and overall on 1..10", where)
        value, rationale = rating["value"], rating["rationale"]
        if overall:
            row |= {"overall_score": "N/A" if value is None else value}
            row |= {} if rationale is None else {"critique": rationale}
        else:
            entry = {"Rating": "N/A" if value is None else _text(value)}
            entry |= {} if rationale is None else {"Rationale": rationale}
            annotations[rating["aspect"]] = entry
    for aspect, extra in extras.items():
        annotations[aspect] = annotations.get(aspect, {}) | extra
    return row | ({"annotations": annotations} if annotations else {})


def _text(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _unsayable(found: str, expected: str, where: str) -> DataError:
    return DataError(
        explain(
            found=found,
            expected=f"{expected}: the raw UltraFeedback schema has no place for more",
            where=where,
            remedy="filter the feedback first, or work on its own tables",
        )
    )
