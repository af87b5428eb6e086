"""Feedback and preferences as records of an Argilla 2 server.

A record is one preference (prompt, chosen, rejected) or one prompt with all its completions. Its
questions are those that a ruling answers: `ruling` (keep, drop, and for a preference flip), `best`
(which completion; prompts only), `overall_FIELD` (1 to 10) and `note`. The id of the record and its
metadata say what the answers are about, so that they can be read back; see `argilla_responses`.

There is no ranking question, on purpose: the server keeps ranks beside the values, in the order of
the options, and the SDK's JSON drops the ranks, so that a ranking cannot be read from it. Sources:
argilla 2.8 `Record.to_dict`, `Settings.serialize` and `Dataset.from_disk`; argilla-server 2.8
`schemas.v1` for the limits of names, options and agents.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from notus.data.formats.ultrafeedback import OVERALL_SCALE
from notus.data.prompt_rows import PromptRow, prompt_rows
from notus.data.schema import OVERALL, Feedback, Message

PAIR = "preference"
PROMPT = "prompt"
RULINGS = {PAIR: ("keep", "flip", "drop"), PROMPT: ("keep", "drop")}
"""What a record is about -> the labels of its question `ruling`."""
SIDES = ("chosen", "rejected")
GUIDELINES = (
    "`ruling`: keep the item as it is, drop it from the data set, or flip chosen and rejected. "
    "`best`: the answer that should be chosen. `overall_...`: your own rating of an answer. "
    "Answer what you have an opinion on; a note may say why."
)
AGENT_LIMIT = 200
OVERALL_VALUES = range(int(OVERALL_SCALE[0]), int(OVERALL_SCALE[1]) + 1)

Record = dict[str, Any]


def overall_ratings(ratings: pl.LazyFrame) -> pl.LazyFrame:
    """Select the overall ratings that a rating question can show: (completion_id, score).

    These are whole numbers on 1..10 of completions that one rater has rated.
    """
    low, high = OVERALL_SCALE
    value = pl.col("value")
    rated = ratings.filter(
        (pl.col("aspect") == OVERALL)
        & value.is_not_null()
        & (pl.col("scale_min") == low)
        & (pl.col("scale_max") == high)
    )
    one = rated.group_by("completion_id").agg(score=value.first(), n=pl.len())
    whole = (pl.col("score") == pl.col("score").round()) & pl.col("score").is_between(low, high)
    return one.filter((pl.col("n") == 1) & whole).select("completion_id", "score")


def rater_name(ratings: pl.LazyFrame) -> str | None:
    """Name the one who gave all the overall ratings, in characters that an agent's name may have.

    None if there are several: then a suggestion names none.
    """
    raters = ratings.filter(pl.col("aspect") == OVERALL).select("rater").unique().collect()
    if raters.height != 1:
        return None
    name = re.sub(r"[^a-zA-Z0-9\-_:./\s]", "-", raters.item())[:AGENT_LIMIT]
    return name if re.search("[a-zA-Z0-9]", name) else None


def pair_records(batches: Iterable[pl.DataFrame], agent: str | None) -> Iterator[Record]:
    """Write one record a preference.

    Args:
        batches: Rows of `pair_batches`, with the scores of `overall_ratings`.
        agent: Who gave the scores.
    """
    for batch in batches:
        for row in batch.iter_rows(named=True):
            answers = {side: (row[f"{side}_id"], row[side]) for side in SIDES}
            about = {
                "kind": PAIR,
                "prompt_id": row["prompt_id"],
                "source": row["source"],
                "strategy": row["strategy"],
                "margin": row["margin"],
                **{f"{side}_model": row[f"{side}_model"] for side in SIDES},
            }
            scores = {side: row[f"{side}_score"] for side in SIDES}
            fields = {PROMPT: conversation_text(row["messages"])}
            yield _record(row["preference_id"], fields, answers, about, scores, agent)


def prompt_records(
    feedback: Feedback, scores: Mapping[str, float], agent: str | None
) -> Iterator[Record]:
    """Write one record a prompt, with its completions in their order.

    Args:
        feedback: The three tables.
        scores: completion_id -> score, of `overall_ratings`.
        agent: Who gave the scores.
    """
    for row in prompt_rows(feedback):
        yield _prompt_record(row, scores, agent)


def most_completions(feedback: Feedback) -> int:
    """Count the completions of the prompt that has the most."""
    counts = feedback.completions.group_by("prompt_id").len().select(pl.col("len").max())
    return int(counts.collect(engine="streaming").item() or 0)


def answer_fields(num_completions: int) -> list[str]:
    """Name the fields of a prompt's completions; a question of labels needs at least two."""
    return [f"completion_{i}" for i in range(1, max(2, num_completions) + 1)]


def conversation_text(messages: Sequence[Message]) -> str:
    """Show a conversation as text: the one turn as it is, several under the names of their roles.

    A chat field would refuse turns of over 20,000 characters, and empty ones.
    """
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"[{turn['role']}]\n{turn['content']}" for turn in messages)


def settings(kind: str, answers: Sequence[str]) -> dict[str, Any]:
    """Describe the fields, questions and metadata of a data set, as `Settings.to_json` does.

    Args:
        kind: A key of `RULINGS`.
        answers: Names of the fields that hold completions.
    """
    ratings = [
        _question(
            f"{OVERALL}_{name}", "rating", options=[{"value": value} for value in OVERALL_VALUES]
        )
        for name in answers
    ]
    best = [] if kind == PAIR else [_labels("best", answers)]
    ruling = _labels("ruling", RULINGS[kind]) | {"required": True}
    note = _question("note", "text", use_markdown=False)
    kinds = {"source": "terms", "strategy": "terms", "margin": "float"}
    return {
        "guidelines": GUIDELINES,
        "allow_extra_metadata": True,
        "distribution": {"strategy": "overlap", "min_submitted": 1},
        "fields": [
            {
                "name": name,
                "title": name,
                "required": name == PROMPT,
                "settings": {"type": "text", "use_markdown": False},
            }
            for name in (PROMPT, *answers)
        ],
        "questions": [ruling, *best, *ratings, note],
        "metadata": [
            {"name": name, "title": name, "settings": {"type": kind}}
            for name, kind in kinds.items()
        ],
        "vectors": [],
    }


def json_array(records: Iterable[Record]) -> Iterator[bytes]:
    """Render records as one JSON array, a line a record."""
    before = "[\n"
    for record in records:
        yield (before + json.dumps(record, ensure_ascii=False)).encode()
        before = ",\n"
    yield b"[]\n" if before == "[\n" else b"\n]\n"


def _prompt_record(row: PromptRow, scores: Mapping[str, float], agent: str | None) -> Record:
    texts = [(item["completion_id"], item["text"]) for item in row.completions]
    answers = dict(zip(answer_fields(len(texts)), texts, strict=False))
    own = {name: scores.get(identifier) for name, (identifier, _) in answers.items()}
    fields = {PROMPT: conversation_text(row.prompt["messages"])}
    about = {"kind": PROMPT, "source": row.prompt["source"]}
    record = _record(row.prompt["prompt_id"], fields, answers, about, own, agent)
    known = [score for score in own.values() if score is not None]
    best = [name for name, score in own.items() if known and score == max(known)]
    # Neither a tie nor an answer without a rating: nobody has said which one is the best.
    if len(best) == 1 and len(known) == len(own):
        record["suggestions"]["best"] = {"value": best[0], "score": None, "agent": agent}
    return record


def _record(
    identifier: str,
    fields: Mapping[str, str],
    answers: Mapping[str, tuple[str, str]],
    about: Mapping[str, object],
    scores: Mapping[str, float | None],
    agent: str | None,
) -> Record:
    ids = {f"{name}_id": completion for name, (completion, _) in answers.items()}
    return {
        "id": identifier,
        "fields": {**fields, **{name: text for name, (_, text) in answers.items()}},
        "metadata": {key: value for key, value in {**about, **ids}.items() if value is not None},
        "suggestions": {
            f"{OVERALL}_{name}": {"value": int(score), "score": None, "agent": agent}
            for name, score in scores.items()
            if score is not None
        },
        "responses": {},
        "vectors": {},
    }


def _labels(name: str, labels: Sequence[str]) -> dict[str, Any]:
    options = [{"value": label, "text": label} for label in labels]
    # How many are shown at first: at least three, or the server refuses; null shows all.
    shown = len(labels) if len(labels) > 2 else None
    return _question(name, "label_selection", options=options, visible_options=shown)


def _question(name: str, kind: str, **options: object) -> dict[str, Any]:
    return {"name": name, "title": name, "required": False, "settings": {"type": kind, **options}}
