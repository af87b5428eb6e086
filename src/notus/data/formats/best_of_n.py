"""Rows with many answers of one model, each scored by a reward model.

The answers are a list (`responses`, `all_generated_responses` ...), the scores another list of the
same length whose column begins with `rewards`, `scores` or `all_rm_scores`: numbers, or objects
with `score`. A score is the aspect "reward" of the rater named like the column. Reward models have
no scale, but a rating must have one: 0..1 for ArmoRM and PairRM, which keep to it, and -100..100
for any other, which is nominal, wide enough for the logits of the models in use. Where the row also
names its chosen and rejected answer (SimPO), those two are rated 1 and 0 on "preference".

Equal answers of one model are common at low temperature, so each is named after its place.
Source: the rows of magpie's best-of-5 sample and the columns of SimPO's on-policy sets.
"""

from collections.abc import Mapping

from notus.data.formats.conversations import answer, turns, with_system
from notus.data.formats.fields import Fields, read_rating
from notus.data.parsed import Parsed, ParsedCompletion, ParsedRating, Refusal, refused_row
from notus.data.schema import PREFERENCE, Message

NAME = "best_of_n"
REWARD = "reward"
PROMPTS = ("prompt", "instruction", "messages")
ANSWERS = ("responses", "all_generated_responses", "generated_responses", "generations")
SCORES = ("rewards", "scores", "all_rm_scores", "all_scores")
BOUNDED = ("armo", "pairrm")
BOUNDED_SCALE = (0.0, 1.0)
NOMINAL_SCALE = (-100.0, 100.0)
PREFERENCE_SCALE = (0.0, 1.0)
SIDES = {"chosen": 1.0, "rejected": 0.0}


def recognises(row: Mapping[str, object]) -> bool:
    """Tell whether a row has a list of answers and a list of scores."""
    return any(isinstance(row.get(name), list) for name in ANSWERS) and bool(_columns(row))


def parse(row: Mapping[str, object]) -> Parsed:
    """Read one prompt, its answers and their scores."""
    fields = Fields(row)
    try:
        messages = _prompt(fields)
        source = fields.text("source", default=NAME)
        answers = fields.take(*ANSWERS)
        if not isinstance(answers, list):
            raise ValueError(f"no list of answers: {type(answers).__name__}")
    except ValueError as error:
        return refused_row(str(error), row)
    refusals: list[Refusal] = []
    found = _rewards(fields, len(answers), refusals)
    completions: dict[int, ParsedCompletion] = {}
    for place, item in enumerate(answers):
        try:
            history, text = answer(turns(item, "answer", "assistant"), "answer")
            if history not in ([], messages):
                raise ValueError("answer to another conversation")
        except ValueError as error:
            raw = {"answer": item, "ratings": [rating._asdict() for rating in found[place]]}
            refusals.append(Refusal("completion", str(error), raw))
            continue
        metadata: dict[str, object] = {"position": place}
        name = f"answer {place + 1}"
        completions[place] = ParsedCompletion(name, text, metadata, found[place])
    _rate_sides(fields, messages, completions)
    return Parsed(messages, source, fields.rest(), [*completions.values()], refusals)


def _prompt(fields: Fields) -> list[Message]:
    messages = turns(fields.take(*PROMPTS), "prompt", "user")
    if not messages:
        raise ValueError("empty prompt")
    return with_system(messages, fields.text("system"))


def _columns(row: Mapping[str, object]) -> list[str]:
    return [
        name for name, value in row.items() if name.startswith(SCORES) and isinstance(value, list)
    ]


def _rewards(fields: Fields, answers: int, refusals: list[Refusal]) -> list[list[ParsedRating]]:
    """Read what each answer got from every column.

    Scores say which answer they belong to only by their place, so a list of another length is
    refused as a whole.
    """
    found: list[list[ParsedRating]] = [[] for _ in range(answers)]
    for column in _columns(fields.row):
        scores = fields.take(column)
        if not isinstance(scores, list) or len(scores) != answers:
            count = len(scores) if isinstance(scores, list) else "no"
            reason = f"scores do not fit the answers: {count} of {column} for {answers}"
            refusals.append(Refusal("rating", reason, scores))
            continue
        scale = BOUNDED_SCALE if any(word in column for word in BOUNDED) else NOMINAL_SCALE
        for ratings, score in zip(found, scores, strict=True):
            value = score.get("score") if isinstance(score, Mapping) else score
            rating = read_rating(column, REWARD, value, scale)
            if isinstance(rating, Refusal):
                refusals.append(rating)
            else:
                ratings.append(rating)
    return found


def _rate_sides(
    fields: Fields, messages: list[Message], completions: Mapping[int, ParsedCompletion]
) -> None:
    """Rate the chosen and the rejected answer, where the row repeats them."""
    free = list(completions.values())
    for side, value in SIDES.items():
        try:
            history, text = answer(turns(fields.row.get(side), side, "assistant"), side)
        except ValueError:
            continue
        same = [found for found in free if found.text == text and history in ([], messages)]
        if same:
            rating = ParsedRating(NAME, PREFERENCE, value, *PREFERENCE_SCALE, None)
            same[0].ratings.append(rating)
            free = [found for found in free if found is not same[0]]
            fields.take(side)
