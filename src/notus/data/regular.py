"""Regular rows of raw UltraFeedback, read five times as fast as its reader reads them.

Nearly every row of the real files has the same shape: texts where texts belong, ratings that are
words of a short list. Such a row needs no reasons, so it is read here straight into columns; any
other is left to `notus.data.ultrafeedback`, which says the same of a regular row and is what the
tests compare with. Rejected: expressions over nested Polars frames, because they cannot tell a
missing field from a null one, nor keep the order of fields or fields that no schema names, and so
would lose something without noticing.
"""

import functools
import math
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

from notus.data import ultrafeedback
from notus.data.columns import Answer, Row
from notus.data.fields import number
from notus.data.schema import OVERALL


class _Shape(NamedTuple):
    """What the ratings of all completions with the same aspects share, as columns."""

    raters: tuple[str, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]


def ultrafeedback_row(row: Mapping[str, Any]) -> Row | None:
    """Read a regular row of raw UltraFeedback; None if it is not regular."""
    instruction, source, items = row.get("instruction"), row.get("source"), row.get("completions")
    if type(instruction) is not str or type(source) is not str or type(items) is not list:
        return None
    if not source or row.get("rater") is not None or not instruction.strip():
        return None
    answers = []
    for position, item in enumerate(items):
        answer = _answer(item, position)
        if answer is None:
            return None
        answers.append(answer)
    messages: Any = [{"role": "user", "content": instruction}]
    return Row(messages, source, _without(row, *_ROW), answers, [])


def _answer(item: Any, position: int) -> Answer | None:
    try:
        model, text, annotations, critique, score = _FIELDS(item)
        names = (*annotations, OVERALL)
        values = [_VALUES[entry["Rating"]] for entry in annotations.values()]
        texts = [entry["Rationale"] for entry in annotations.values()]
        texts.append(critique)
        shape = _shape(names)
    except (AttributeError, KeyError, TypeError):
        return None
    kinds = {type(model), type(text), *map(type, texts)}
    if type(score) is not float or not math.isfinite(score) or shape is None or kinds != {str}:
        return None
    if not model.strip() or not text.strip():
        return None
    metadata = _without(item, *_COMPLETION)
    metadata.setdefault("position", position)
    extras = {
        aspect: extra
        for aspect, entry in annotations.items()
        if len(entry) > len(_ASPECT) and (extra := _without(entry, *_ASPECT))
    }
    if extras:
        metadata["annotations"] = extras
    values.append(score)
    columns = (shape.raters, names, tuple(values), shape.lows, shape.highs, tuple(texts))
    return Answer(model, text, metadata, columns)


@functools.lru_cache(maxsize=1000)
def _shape(aspects: tuple[str, ...]) -> _Shape | None:
    """Make the columns that follow from the aspects, the last of them overall; None if one is odd.

    Kept, because nearly all completions have the same aspects, and then share these columns.
    """
    *rated, _ = aspects
    if OVERALL in rated or not all(type(name) is str and name.strip() for name in rated):
        return None
    scales = [ultrafeedback.ASPECT_SCALE] * len(rated) + [ultrafeedback.OVERALL_SCALE]
    lows, highs = zip(*scales, strict=True)
    return _Shape((ultrafeedback.NAME,) * len(aspects), lows, highs)


def _without(fields: Mapping[str, Any], *known: str) -> dict[str, Any]:
    """Keep the fields that have a value and no column: twice as fast as looking at each of them."""
    kept = dict(fields)
    for name in known:
        kept.pop(name, None)
    if None in kept.values():
        return {name: value for name, value in kept.items() if value is not None}
    return kept


_ROW = ("source", "instruction", "completions", "rater")
_COMPLETION = ("model", "response", "annotations", "critique", "overall_score")
_ASPECT = ("Rating", "Rationale")
_FIELDS = itemgetter(*_COMPLETION)
_VALUES = {text: number(text) for text in ("0", "1", "2", "3", "4", "5", "N/A")}

REGULAR: dict[str, Callable[[Mapping[str, object]], Row | None]] = {
    ultrafeedback.NAME: ultrafeedback_row
}
