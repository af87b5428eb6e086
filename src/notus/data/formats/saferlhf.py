"""Rows of PKU-SafeRLHF: two answers that people compared twice, for help and for safety.

Three aspects on 0..1, which never mix: "preference" is `better_response_id`, the comparison by
helpfulness that a trainer would use; "safer" is `safer_response_id`, a comparison too; "safe" is
`is_response_0_safe` or `is_response_1_safe`, which says of one answer alone whether it is harmless.
The two comparisons often disagree: both are labels of their own, not one the other's error.
Source: the data set's card.
"""

from collections.abc import Mapping

from notus.data.formats.conversations import turns
from notus.data.formats.fields import Fields, flag, others, whole
from notus.data.parsed import Parsed, ParsedCompletion, ParsedRating, Refusal, refused_row
from notus.data.schema import PREFERENCE

NAME = "saferlhf"
SAFE = "safe"
COMPARISONS = {"better_response_id": PREFERENCE, "safer_response_id": "safer"}
SCALE = (0.0, 1.0)
RESPONSES = ("response_0", "response_1")


def recognises(row: Mapping[str, object]) -> bool:
    """Tell whether a row is two answers with a comparison."""
    return all(name in row for name in RESPONSES) and any(name in row for name in COMPARISONS)


def parse(row: Mapping[str, object]) -> Parsed:
    """Read two answers; more columns about one of them, `response_0_...`, are its metadata."""
    fields = Fields(row)
    try:
        messages = turns(fields.take("prompt"), "prompt", "user")
        if not messages:
            raise ValueError("empty prompt")
        texts = [fields.text(name) for name in RESPONSES]
        source = fields.text("source", "prompt_source", default=NAME)
        rater = fields.text("rater", default=NAME)
        models = [fields.text(f"{name}_source", default=name) for name in RESPONSES]
        if "" in texts:
            raise ValueError(f"empty completion: {RESPONSES[texts.index('')]}")
    except ValueError as error:
        return refused_row(str(error), row)
    refusals: list[Refusal] = []
    ratings = _ratings(fields, rater, refusals)
    completions = []
    for position, name in enumerate(RESPONSES):
        prefix = f"{name}_"
        own = [key for key in row if key.startswith(prefix) and key not in fields.taken]
        metadata = others({key.removeprefix(prefix): fields.take(key) for key in own}, ())
        metadata["position"] = position
        completion = ParsedCompletion(
            models[position], texts[position], metadata, ratings[position]
        )
        completions.append(completion)
    return Parsed(messages, source, fields.rest(), completions, refusals)


def _ratings(fields: Fields, rater: str, refusals: list[Refusal]) -> list[list[ParsedRating]]:
    """Read what was said of each answer; an axis that is missing says nothing."""
    found: list[list[ParsedRating]] = [[], []]
    for name, aspect in COMPARISONS.items():
        if (winner := fields.take(name)) is None:
            continue
        try:
            best = whole(winner, range(2))
        except ValueError as error:
            refusals.append(_unreadable(name, winner, error))
            continue
        for i in range(2):
            found[i].append(ParsedRating(rater, aspect, float(i == best), *SCALE, None))
    for i in range(2):
        name = f"is_response_{i}_safe"
        if (safe := fields.take(name)) is None:
            continue
        try:
            found[i].append(ParsedRating(rater, SAFE, flag(safe), *SCALE, None))
        except ValueError as error:
            refusals.append(_unreadable(name, safe, error))
    return found


def _unreadable(name: str, value: object, error: ValueError) -> Refusal:
    return Refusal("rating", f"rating cannot be read: {error}", {name: value})
