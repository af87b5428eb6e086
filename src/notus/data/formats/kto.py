"""Single answers with a yes or no, the form that KTO trains on.

The conversation is `messages`, `conversations`, or a `prompt` with a `completion`, and ends with
the answer; the verdict is `label` or `kto_tag`. It says of one answer alone whether it is desirable
and compares it with none, so it is the aspect "desirable" on 0..1 and never a preference. Nobody
says which model answered, so that the model is named after the format.
"""

from collections.abc import Mapping

from notus.data.formats.conversations import answer, turns, with_system
from notus.data.formats.fields import Fields, flag
from notus.data.parsed import Parsed, ParsedCompletion, ParsedRating, Refusal, refused_row
from notus.data.schema import Message

NAME = "kto"
DESIRABLE = "desirable"
SCALE = (0.0, 1.0)
LABELS = ("label", "kto_tag")
CONVERSATIONS = ("messages", "conversations")


def recognises(row: Mapping[str, object]) -> bool:
    """Tell whether a row is one answer with a label."""
    holds = any(name in row for name in CONVERSATIONS) or ("prompt" in row and "completion" in row)
    return holds and any(label in row for label in LABELS)


def parse(row: Mapping[str, object]) -> Parsed:
    """Read one answer; a label that is null is a rating without a value."""
    fields = Fields(row)
    try:
        messages, text = _conversation(fields)
        source, rater = fields.text("source", default=NAME), fields.text("rater", default=NAME)
        model = fields.text("model", default=NAME)
    except ValueError as error:
        return refused_row(str(error), row)
    label = fields.take(*LABELS)
    ratings: list[ParsedRating] = []
    refusals: list[Refusal] = []
    try:
        ratings.append(ParsedRating(rater, DESIRABLE, flag(label), *SCALE, None))
    except ValueError as error:
        refusals.append(Refusal("rating", f"rating cannot be read: {error}", {"label": label}))
    completion = ParsedCompletion(model, text, {}, ratings)
    return Parsed(messages, source, fields.rest(), [completion], refusals)


def _conversation(fields: Fields) -> tuple[list[Message], str]:
    system = fields.text("system")
    found = turns(fields.take(*CONVERSATIONS), "messages", "user")
    if not found:
        found = turns(fields.take("prompt"), "prompt", "user")
        found += turns(fields.take("completion"), "completion", "assistant")
    history, text = answer(found, "the conversation")
    if not history:
        raise ValueError("empty prompt")
    return with_system(history, system), text
