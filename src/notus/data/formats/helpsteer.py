"""Rows of HelpSteer 1, 2 and 3: answers rated by people, and pairs of answers compared by people.

HelpSteer 1 and 2 have one answer a row with five ratings from 0 to 4; the other answers to a prompt
are in other rows. A prompt of several turns is one text with "<extra_id_1>User" and
"<extra_id_1>Assistant" between them. HelpSteer 3, and the preference file of HelpSteer 2, have two
answers and a strength from -3, the first is much better, to 3, the second is. A strength p becomes
the rating (3 + p) / 6 of the second answer and (3 - p) / 6 of the first on the aspect "preference",
so 0 is a tie at one half. Each person of `individual_preference` is a rater; the overall strength,
which is made of theirs, is the rater that has the format's name. No row says which models answered.
Source: the data sets' cards.
"""

import re
from collections.abc import Mapping

from notus.data.formats.conversations import turns
from notus.data.formats.fields import Fields, apart, number, others, read_rating
from notus.data.parsed import Parsed, ParsedCompletion, ParsedRating, Refusal, refused_row
from notus.data.schema import PREFERENCE, Message

RATED = "helpsteer2"
COMPARED = "helpsteer3"
ASPECTS = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
SCALE = (0.0, 4.0)
PREFERENCE_SCALE = (0.0, 1.0)
STRONGEST = 3.0
STRENGTHS = ("overall_preference", "preference_strength")
RESPONSES = (("response1", "response_1"), ("response2", "response_2"))
_OPINION = ("score", "reasoning", "feedback1", "feedback2")
_MARK = re.compile(r"\n?<extra_id_1>(User|Assistant)\n")


def recognises_rated(row: Mapping[str, object]) -> bool:
    """Tell whether a row is one answer with HelpSteer's ratings."""
    return "prompt" in row and "response" in row and any(aspect in row for aspect in ASPECTS)


def parse_rated(row: Mapping[str, object]) -> Parsed:
    """Read one answer and its ratings."""
    fields = Fields(row)
    try:
        messages = marked_turns(fields.text("prompt"))
        text = fields.text("response")
        if not text:
            raise ValueError("empty completion: response")
        source, rater = fields.text("source", default=RATED), fields.text("rater", default=RATED)
        model = fields.text("model", default=RATED)
    except ValueError as error:
        return refused_row(str(error), row)
    given = [(aspect, fields.take(aspect)) for aspect in ASPECTS if aspect in row]
    found = [read_rating(rater, aspect, value, SCALE) for aspect, value in given]
    ratings, refusals = apart(found)
    completion = ParsedCompletion(model, text, {}, ratings)
    return Parsed(messages, source, fields.rest(), [completion], refusals)


def recognises_compared(row: Mapping[str, object]) -> bool:
    """Tell whether a row is two answers with a strength."""
    return all(any(name in row for name in names) for names in (*RESPONSES, STRENGTHS))


def parse_compared(row: Mapping[str, object]) -> Parsed:
    """Read two answers and everyone's comparison of them."""
    fields = Fields(row)
    try:
        messages = turns(fields.take("context"), "context", "user")
        messages = messages or marked_turns(fields.text("prompt"))
        texts = [fields.text(*names) for names in RESPONSES]
        source = fields.text("source", default=COMPARED)
        rater = fields.text("rater", default=COMPARED)
    except ValueError as error:
        return refused_row(str(error), row)
    if missing := [names[0] for names, text in zip(RESPONSES, texts, strict=True) if not text]:
        return refused_row(f"empty completion: {missing[0]}", row)
    opinions = [(rater, fields.take(*STRENGTHS), fields.take("preference_statement"))]
    people, refusals = _people(fields.take("individual_preference"))
    opinions += [
        (f"{rater}/{number}", person.get("score"), person.get("reasoning"))
        for number, person in people.items()
    ]
    completions = []
    for position, (names, text) in enumerate(zip(RESPONSES, texts, strict=True)):
        ratings, problems = apart([_share(*opinion, second=bool(position)) for opinion in opinions])
        refusals += problems
        remarks = {
            f"{rater}/{n}": person.get(f"feedback{position + 1}") for n, person in people.items()
        }
        about: dict[str, object] = {"position": position}
        if feedback := others(remarks, ()):
            about["feedback"] = feedback
        completions.append(ParsedCompletion(names[0], text, about, ratings))
    more = {f"{rater}/{n}": others(person, _OPINION) for n, person in people.items()}
    metadata = fields.rest() | ({"people": more} if any(more.values()) else {})
    return Parsed(messages, source, metadata, completions, refusals)


def marked_turns(text: str) -> list[Message]:
    """Take a prompt of several marked turns apart; a text without marks is one turn."""
    first, *parts = _MARK.split(text)
    roles, contents = (part.lower() for part in parts[::2]), parts[1::2]
    marked: list[Message] = [
        {"role": role, "content": content} for role, content in zip(roles, contents, strict=True)
    ]
    # A text may begin with a mark; then there is nothing before it.
    return marked if marked and not first.strip() else [{"role": "user", "content": first}, *marked]


def _share(
    rater: str, strength: object, rationale: object, *, second: bool
) -> ParsedRating | Refusal:
    try:
        value = number(strength)
    except ValueError as error:
        return Refusal("rating", f"rating cannot be read: {error}", {rater: strength})
    if value is not None:
        value = (STRONGEST + (value if second else -value)) / (2 * STRONGEST)
    return read_rating(rater, PREFERENCE, value, PREFERENCE_SCALE, rationale)


def _people(value: object) -> tuple[dict[int, Mapping[str, object]], list[Refusal]]:
    """Number the people from 1; who cannot be read is refused and keeps the number."""
    people: dict[int, Mapping[str, object]] = {}
    refusals: list[Refusal] = []
    if not isinstance(value, list | None):
        reason = f"individual_preference is not a list: {type(value).__name__}"
        return people, [Refusal("rating", reason, value)]
    for place, person in enumerate(value or [], start=1):
        if isinstance(person, Mapping):
            people[place] = person
        else:
            reason = f"preference is not an object: {type(person).__name__}"
            refusals.append(Refusal("rating", reason, person))
    return people, refusals
