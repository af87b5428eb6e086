"""Rows of Nectar: a prompt with about seven answers, ranked from 1, the best, to the last.

The prompt is a marked dialogue that ends with an empty turn of the assistant. Of n answers, the one
on rank r gets (n - r) / (n - 1) on the aspect "preference"; a rank beyond n is off the scale, where
the audit shows it. The answers stand sorted by rank, so their positions say nothing and are not
kept. Source: the data set's card.
"""

from collections.abc import Mapping

from notus.data.formats.conversations import dialogue
from notus.data.formats.fields import Fields, number, others
from notus.data.parsed import Parsed, ParsedCompletion, ParsedRating, Refusal, refused_row
from notus.data.schema import PREFERENCE

NAME = "nectar"
SCALE = (0.0, 1.0)


def recognises(row: Mapping[str, object]) -> bool:
    """Tell whether a row is a prompt with ranked answers."""
    answers = row.get("answers")
    return (
        "prompt" in row
        and isinstance(answers, list)
        and any(isinstance(item, Mapping) and "rank" in item for item in answers)
    )


def parse(row: Mapping[str, object]) -> Parsed:
    """Read one prompt and its ranked answers."""
    fields = Fields(row)
    try:
        messages = dialogue(fields.take("prompt"), "prompt", "user")
        if not messages:
            raise ValueError("empty prompt")
        rater = fields.text("rater", default=NAME)
    except ValueError as error:
        return refused_row(str(error), row)
    answers = fields.take("answers")
    if not isinstance(answers, list):
        return refused_row(f"answers is not a list: {type(answers).__name__}", row)
    completions: list[ParsedCompletion] = []
    refusals: list[Refusal] = []
    for item in answers:
        try:
            completions.append(_completion(item, len(answers), rater, refusals))
        except ValueError as error:
            refusals.append(Refusal("completion", str(error), item))
    source = _source(fields)
    return Parsed(messages, source, fields.rest(), completions, refusals)


def _completion(item: object, n: int, rater: str, refusals: list[Refusal]) -> ParsedCompletion:
    if not isinstance(item, Mapping):
        raise ValueError(f"completion is not an object: {type(item).__name__}")
    fields = Fields(item)
    text, model = fields.text("answer"), fields.text("model")
    if not text:
        raise ValueError("empty completion")
    if not model:
        raise ValueError("completion without a model")
    rank = fields.take("rank")
    ratings = []
    try:
        ratings.append(ParsedRating(rater, PREFERENCE, _value(rank, n), *SCALE, None))
    except ValueError as error:
        reason = f"rating cannot be read: {error}"
        refusals.append(Refusal("rating", reason, {"model": model, "rank": rank}))
    return ParsedCompletion(model, text, others(item, fields.taken), ratings)


def _value(rank: object, n: int) -> float | None:
    if n < 2:
        raise ValueError("a rank among fewer than 2 answers")
    found = number(rank)
    return None if found is None else (n - found) / (n - 1)


def _source(fields: Fields) -> str:
    """Name the sources: a list of them is one name, and anything else stays in metadata."""
    source = fields.row.get("source")
    names = [source] if isinstance(source, str) else source
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return NAME
    fields.take("source")
    return "+".join(name for name in names if name.strip()) or NAME
