"""Rows with one chosen and one rejected answer, the plain form of most preference data sets.

`prompt`, `chosen` and `rejected` are texts or lists of messages; a list of messages for an answer
may begin with the prompt, and then `prompt` may be missing. A pair becomes two completions that one
rater has rated 1 and 0 on the aspect "preference".
"""

from collections.abc import Mapping

from notus.data.parsed import Parsed, ParsedCompletion, ParsedRating, Refusal
from notus.data.schema import OVERALL, PREFERENCE, Message
from notus.data.ultrafeedback import OVERALL_SCALE, number, others

NAME = "pairs"
PREFERENCE_SCALE = (0.0, 1.0)
SIDES = {"chosen": 1.0, "rejected": 0.0}

_ROW_FIELDS = (
    "source",
    "rater",
    "prompt",
    "metadata",
    *(f"{prefix}{side}" for side in SIDES for prefix in ("", "score_")),
    *(f"{side}-model" for side in SIDES),
)


def recognises(row: Mapping[str, object]) -> bool:
    """Tell whether a row looks like a pair."""
    return "chosen" in row and "rejected" in row


def parse(row: Mapping[str, object]) -> Parsed:
    """Read one pair; `score_chosen` and `score_rejected`, there or in `metadata`, are overall."""
    try:
        messages, texts = _conversation(row)
        source, rater = _name(row, "source", NAME), _name(row, "rater", NAME)
        models = {side: _name(row, f"{side}-model", side) for side in SIDES}
    except ValueError as error:
        return Parsed(None, "", {}, [], [Refusal("row", str(error), row)])
    inner = row.get("metadata")
    nested = others(inner, ()) if isinstance(inner, Mapping) else {}
    refusals: list[Refusal] = []
    completions = []
    for side, value in SIDES.items():
        ratings = [ParsedRating(rater, PREFERENCE, value, *PREFERENCE_SCALE, None)]
        name = f"score_{side}"
        score = nested.pop(name, None) if row.get(name) is None else row[name]
        try:
            if score is not None:
                ratings.append(ParsedRating(rater, OVERALL, number(score), *OVERALL_SCALE, None))
        except ValueError as error:
            refusals.append(Refusal("rating", f"rating cannot be read: {error}", {name: score}))
        completions.append(ParsedCompletion(models[side], texts[side], {}, ratings))
    metadata = others(row, _ROW_FIELDS)
    if nested or (inner is not None and not isinstance(inner, Mapping)):
        metadata["metadata"] = nested or inner
    return Parsed(messages, source, metadata, completions, refusals)


def _conversation(row: Mapping[str, object]) -> tuple[list[Message], dict[str, str]]:
    """Take the prompt and the two answers apart.

    Raises:
        ValueError: the reason why the row is refused.
    """
    prompt = _turns(row.get("prompt"), "prompt", "user")
    contexts: list[list[Message]] = []
    texts: dict[str, str] = {}
    for side in SIDES:
        turns = _turns(row.get(side), side, "assistant")
        if not turns or not turns[-1]["content"].strip():
            raise ValueError(f"empty completion: {side}")
        if turns[-1]["role"] != "assistant":
            raise ValueError(f"{side} does not end with the assistant: {turns[-1]['role']!r}")
        texts[side] = turns[-1]["content"]
        if len(turns) > 1:
            contexts.append(turns[:-1])
    messages = contexts[0] if contexts else prompt
    # The prompt's text may repeat only the last turn of the conversation that the answers carry.
    if contexts[1:] not in ([], [messages]) or messages[-len(prompt) :] != (prompt or messages):
        raise ValueError("prompt, chosen and rejected are of different conversations")
    if not messages:
        raise ValueError("empty prompt")
    if texts["chosen"] == texts["rejected"]:
        raise ValueError("identical pair")
    return messages, texts


def _turns(value: object, field: str, role: str) -> list[Message]:
    if value is None:
        return []
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if not isinstance(value, list):
        raise ValueError(f"{field} is neither text nor messages: {type(value).__name__}")
    turns: list[Message] = []
    for turn in value:
        if not isinstance(turn, Mapping):
            raise ValueError(f"{field} has a turn that is not an object: {type(turn).__name__}")
        speaker, content = turn.get("role"), turn.get("content")
        if not isinstance(speaker, str) or not isinstance(content, str):
            raise ValueError(f"{field} has a turn without role and content: {sorted(turn)}")
        turns.append({"role": speaker, "content": content})
    return turns


def _name(row: Mapping[str, object], field: str, default: str) -> str:
    value = row.get(field)
    if not isinstance(value, str | None):
        raise ValueError(f"{field} is not text: {type(value).__name__}")
    return value if value and value.strip() else default
