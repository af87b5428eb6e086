"""Rows in the raw schema of openbmb/UltraFeedback, both releases.

A completion is known by the name of its model, never by its position: `completions` are not in the
order of `models`, and rows have zero to four of them. A rating is a string, "1" to "5" or "N/A";
the first release wraps every aspect in a one-element list. Whatever has no column of its own goes
to `metadata`, and so does the completion's position in the row, counted from 0: raters saw the
answers in this order, and no label decides it. Source: the data set's statistics and rows, and its
README's "Dataset Format".
"""

from collections.abc import Mapping

from notus.data.formats.fields import number, others
from notus.data.parsed import Parsed, ParsedCompletion, ParsedRating, Refusal, refused_row
from notus.data.schema import OVERALL

NAME = "ultrafeedback"
ASPECT_SCALE = (1.0, 5.0)
OVERALL_SCALE = (1.0, 10.0)

_ROW_FIELDS = ("source", "instruction", "completions", "rater")
_COMPLETION_FIELDS = ("model", "response", "critique", "overall_score", "annotations")
_ASPECT_FIELDS = ("Rating", "Rationale")


def recognises(row: Mapping[str, object]) -> bool:
    """Tell whether a row looks like raw UltraFeedback."""
    return "instruction" in row and "completions" in row


def parse(row: Mapping[str, object]) -> Parsed:
    """Read one row: a prompt, its completions, and a rating for each aspect and overall.

    The rater is "ultrafeedback" unless the row has a field `rater`.
    """
    problem = _row_problem(row)
    if problem:
        return refused_row(problem, row)
    rater, source = str(row.get("rater") or "").strip() or NAME, row.get("source")
    completions: list[ParsedCompletion] = []
    refusals: list[Refusal] = []
    items = row.get("completions")
    for position, item in enumerate(items if isinstance(items, list) else []):
        problem = _completion_problem(item)
        if problem:
            refusals.append(Refusal("completion", problem, item))
        else:
            completions.append(_completion(item, position, rater, refusals))
    return Parsed(
        messages=[{"role": "user", "content": str(row["instruction"])}],
        source=str(source or NAME),
        metadata=others(row, _ROW_FIELDS),
        completions=completions,
        refusals=refusals,
    )


def _row_problem(row: Mapping[str, object]) -> str | None:
    for name in ("instruction", "source", "rater"):
        if not isinstance(row.get(name), str | None):
            return f"{name} is not text: {type(row[name]).__name__}"
    if not isinstance(row.get("completions"), list | None):
        return f"completions is not a list: {type(row['completions']).__name__}"
    return None if str(row.get("instruction") or "").strip() else "empty prompt"


def _completion_problem(item: object) -> str | None:
    if not isinstance(item, Mapping):
        return f"completion is not an object: {type(item).__name__}"
    for name in ("model", "response"):
        if not isinstance(item.get(name), str | None):
            return f"{name} is not text: {type(item[name]).__name__}"
    if not str(item.get("model") or "").strip():
        return "completion without a model"
    return None if str(item.get("response") or "").strip() else "empty completion"


def _completion(
    item: Mapping[str, object], position: int, rater: str, refusals: list[Refusal]
) -> ParsedCompletion:
    metadata = others(item, _COMPLETION_FIELDS)
    metadata.setdefault("position", position)
    ratings: list[ParsedRating] = []
    annotations = item.get("annotations")
    aspects = dict(annotations) if isinstance(annotations, Mapping) else {}
    if annotations is not None and not isinstance(annotations, Mapping):
        reason = f"annotations is not an object: {type(annotations).__name__}"
        refusals.append(Refusal("rating", reason, {"model": item["model"], **metadata}))
    extras: dict[str, object] = {}
    for aspect, annotation in aspects.items():
        entry = _unwrap(annotation)
        rating = _aspect_rating(rater, aspect, entry)
        if isinstance(rating, str):
            raw = {"model": item["model"], "aspect": aspect, "annotation": annotation}
            refusals.append(Refusal("rating", rating, raw))
        elif rating is not None:
            ratings.append(rating)
        if isinstance(entry, Mapping) and (extra := others(entry, _ASPECT_FIELDS)):
            extras[aspect] = extra
    if extras:
        metadata["annotations"] = extras
    overall = _overall_rating(rater, item)
    if isinstance(overall, str):
        raw = {name: item.get(name) for name in ("model", "overall_score", "critique")}
        refusals.append(Refusal("rating", overall, raw))
    elif overall is not None:
        ratings.append(overall)
    return ParsedCompletion(str(item["model"]), str(item["response"]), metadata, ratings)


def _unwrap(annotation: object) -> object:
    """Take the only element of a list: the first release wraps every aspect so."""
    if isinstance(annotation, list) and len(annotation) <= 1:
        return annotation[0] if annotation else None
    return annotation


def _aspect_rating(rater: str, aspect: str, entry: object) -> ParsedRating | str | None:
    """Read one aspect: a rating, the reason why it cannot be read, or None if nothing is there."""
    if entry is None:
        return None
    if not isinstance(entry, Mapping):
        return f"annotation is not an object: {type(entry).__name__}"
    if aspect == OVERALL or not aspect.strip():
        return f"unusable aspect name: {aspect!r}"
    rating, rationale = entry.get("Rating"), entry.get("Rationale")
    if rating is None and rationale is None:
        return None
    return _rating(rater, aspect, rating, rationale, ASPECT_SCALE)


def _overall_rating(rater: str, item: Mapping[str, object]) -> ParsedRating | str | None:
    score, critique = item.get("overall_score"), item.get("critique")
    if score is None and critique is None:
        return None
    return _rating(rater, OVERALL, score, critique, OVERALL_SCALE)


def _rating(
    rater: str, aspect: str, score: object, rationale: object, scale: tuple[float, float]
) -> ParsedRating | str:
    if not isinstance(rationale, str | None):
        return f"rationale is not text: {type(rationale).__name__}"
    try:
        return ParsedRating(rater, aspect, number(score), *scale, rationale)
    except ValueError as error:
        return f"rating cannot be read: {error}"
