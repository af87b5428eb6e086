"""Rows with one chosen and one rejected answer, the plain form of most preference data sets.

`prompt`, `chosen` and `rejected` are texts or lists of messages; a list of messages for an answer
may begin with the prompt, and then `prompt` may be missing. A pair becomes two completions that one
rater has rated 1 and 0 on the aspect "preference". A pair of equal texts is kept, for the audit
`identical` and the specifications to see; only if one model gave both, ingest finds the second a
duplicate completion.

Columns that are known besides, each optional and on either side:

- score_chosen, there or in `metadata` (H4, UltraFeedback): aspect "overall", 1 to 10. H4 writes -1
  where the answer was not scored; it stays -1, outside of the scale, where the audit shows it.
- chosen-rating, chosen_rating, rating_chosen, chosen_avg_rating (Argilla): aspect "rating", 1 to 5,
  the mean of the aspects that were rated.
- chosen-model, chosen_model; without one the side is the model's name.
- messages (H4): the chosen conversation once more; it goes to metadata only if it differs.
"""

from collections.abc import Mapping

from notus.data.formats.conversations import Read, shared_history, turns, with_system
from notus.data.formats.fields import Fields, apart, others, read_rating
from notus.data.formats.ultrafeedback import ASPECT_SCALE, OVERALL_SCALE
from notus.data.parsed import Parsed, ParsedCompletion, ParsedRating, Refusal, refused_row
from notus.data.schema import OVERALL, PREFERENCE, Message

NAME = "pairs"
RATING = "rating"
PREFERENCE_SCALE = (0.0, 1.0)
SIDES = {"chosen": 1.0, "rejected": 0.0}
PROMPTS = ("prompt", "instruction", "question", "input")


def recognises(row: Mapping[str, object]) -> bool:
    """Tell whether a row looks like a pair."""
    return any(
        f"chosen{ending}" in row and f"rejected{ending}" in row for ending in ("", "_response")
    )


def parse(row: Mapping[str, object]) -> Parsed:
    """Read one pair of texts or lists of messages."""
    return read_pair(row, name=NAME, prompts=PROMPTS, read=turns)


def read_pair(
    row: Mapping[str, object], *, name: str, prompts: tuple[str, ...], read: Read
) -> Parsed:
    """Read one pair whose turns are written in some form.

    Args:
        row: The source row.
        name: The format's name, which is also the source and the rater where the row names none.
        prompts: Fields that may hold the prompt. Those after the first count only if the first is
            missing and the answers do not bring the conversation themselves.
        read: How the turns are written.
    """
    fields = Fields(row)
    try:
        messages, texts = _conversation(fields, prompts, read)
        source, rater = fields.text("source", default=name), fields.text("rater", default=name)
        models = {
            side: fields.text(f"{side}-model", f"{side}_model", default=side) for side in SIDES
        }
    except ValueError as error:
        return refused_row(str(error), row)
    inner = fields.take("metadata")
    nested = others(inner, ()) if isinstance(inner, Mapping) else {}
    refusals: list[Refusal] = []
    completions = []
    for side, value in SIDES.items():
        preference = ParsedRating(rater, PREFERENCE, value, *PREFERENCE_SCALE, None)
        scores, problems = apart(_scores(fields, nested, side, rater))
        refusals += problems
        ratings = [preference, *scores]
        completions.append(ParsedCompletion(models[side], texts[side], {}, ratings))
    if row.get("messages") == row.get("chosen"):
        fields.take("messages")
    metadata = fields.rest()
    if nested or (inner is not None and not isinstance(inner, Mapping)):
        metadata["metadata"] = nested or inner
    return Parsed(messages, source, metadata, completions, refusals)


def _conversation(
    fields: Fields, prompts: tuple[str, ...], read: Read
) -> tuple[list[Message], dict[str, str]]:
    prompt = read(fields.take(prompts[0]), prompts[0], "user")
    sides = {side: read(fields.take(side, f"{side}_response"), side, "assistant") for side in SIDES}
    if not prompt and all(len(found) <= 1 for found in sides.values()):
        for name in prompts[1:]:
            prompt = prompt or read(fields.take(name), name, "user")
    messages, texts = shared_history(prompt, sides)
    return with_system(messages, fields.text("system")), texts


def _scores(
    fields: Fields, nested: dict[str, object], side: str, rater: str
) -> list[ParsedRating | Refusal]:
    """Read what was said of one side alone; a score inside of `metadata` is taken from there."""
    score = fields.take(f"score_{side}")
    inner = nested.pop(f"score_{side}", None) if score is None else None
    rating = fields.take(f"{side}-rating", f"{side}_rating", f"rating_{side}", f"{side}_avg_rating")
    found: list[ParsedRating | Refusal] = []
    if (score := inner if score is None else score) is not None:
        found.append(read_rating(rater, OVERALL, score, OVERALL_SCALE))
    if rating is not None:
        found.append(read_rating(rater, RATING, rating, ASPECT_SCALE))
    return found
