"""Regular lines of raw UltraFeedback, read more than twice as fast as its reader reads them.

Nearly every row of the real files has the same shape: texts where texts belong, ratings that are
words of a short list. Such a line needs no reasons, so it goes straight from bytes into columns by
a schema, which msgspec checks without converting anything; any other is left to
`formats.ultrafeedback`, which says the same of a regular line and is what the tests compare
with. Rejected: expressions over nested Polars frames, because they drop fields that no schema
names and turn a number into a text, and so would lose something without noticing.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from notus.data.columns import Answer, Row
from notus.data.files.streams import Decode, read_line
from notus.data.formats import ultrafeedback
from notus.data.formats.fields import number
from notus.data.schema import OVERALL

Number = int | float | str
Texts = list[str | None]


class _Aspect(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    rating: str = msgspec.field(name="Rating")
    rationale: str = msgspec.field(name="Rationale")
    type: str | Texts | None = msgspec.field(name="Type", default=None)
    about_rating: str | None = msgspec.field(name="Rationale For Rating", default=None)

    def rest(self) -> dict[str, object]:
        """What has no column."""
        named = (("Type", self.type), ("Rationale For Rating", self.about_rating))
        return {name: value for name, value in named if value is not None}


class _Completion(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    model: str
    response: str
    critique: str
    overall_score: float
    annotations: dict[str, _Aspect]
    principle: str | None = None
    custom_system_prompt: str | None = None
    fine_grained_score: Number | None = msgspec.field(name="fine-grained_score", default=None)

    def rest(self, position: int) -> dict[str, object]:
        """What has no column, and the place in the row."""
        rest: dict[str, object] = {"position": position}
        if self.principle is not None:
            rest["principle"] = self.principle
        if self.custom_system_prompt is not None:
            rest["custom_system_prompt"] = self.custom_system_prompt
        if self.fine_grained_score is not None:
            rest["fine-grained_score"] = self.fine_grained_score
        extras = {aspect: more for aspect, it in self.annotations.items() if (more := it.rest())}
        if extras:
            rest["annotations"] = extras
        return rest


class _Row(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    source: str
    instruction: str
    completions: list[_Completion]
    models: Texts | None = None
    correct_answers: Texts | None = None
    incorrect_answers: Texts | None = None

    def rest(self) -> dict[str, object]:
        """What has no column."""
        names = ("models", "correct_answers", "incorrect_answers")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class _Shape(NamedTuple):
    """What the ratings of all completions with the same aspects share, as columns."""

    raters: tuple[str, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]


def ultrafeedback_line(line: bytes) -> Row | None:
    """Read a regular line of raw UltraFeedback; None if it is not regular."""
    try:
        row = _DECODER.decode(line)
        answers = [_answer(item, position) for position, item in enumerate(row.completions)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, _IrregularError):
        return None
    if not row.source or not row.instruction.strip():
        return None
    return Row([{"role": "user", "content": row.instruction}], row.source, row.rest(), answers, [])


def decoder(format: str) -> Decode:
    """Choose what reads a JSON row of a format: as a Row if it is regular, else as `read_line`."""
    quick = _REGULAR.get(format)
    return read_line if quick is None else lambda line: quick(line) or read_line(line)


class _IrregularError(Exception):
    """A completion of the right types that needs the reader all the same."""


def _answer(item: _Completion, position: int) -> Answer:
    aspects = item.annotations.values()
    names = (*item.annotations, OVERALL)
    shape = _shape(names)
    try:
        values = (*[_VALUES[aspect.rating] for aspect in aspects], item.overall_score)
    except KeyError as error:
        raise _IrregularError from error
    if shape is None or not item.model.strip() or not item.response.strip():
        raise _IrregularError
    texts = (*[aspect.rationale for aspect in aspects], item.critique)
    columns = (shape.raters, names, values, shape.lows, shape.highs, texts)
    return Answer(item.model, item.response, item.rest(position), columns)


@functools.lru_cache(maxsize=1000)
def _shape(aspects: tuple[str, ...]) -> _Shape | None:
    """Make the columns that follow from the aspects, the last of them overall; None if one is odd.

    Kept, because nearly all completions have the same aspects, and then share these columns.
    """
    *rated, _ = aspects
    if OVERALL in rated or not all(name.strip() for name in rated):
        return None
    scales = [ultrafeedback.ASPECT_SCALE] * len(rated) + [ultrafeedback.OVERALL_SCALE]
    lows, highs = zip(*scales, strict=True)
    return _Shape((ultrafeedback.NAME,) * len(aspects), lows, highs)


_DECODER = msgspec.json.Decoder(_Row)
_VALUES = {text: number(text) for text in ("0", "1", "2", "3", "4", "5", "N/A")}

_REGULAR: dict[str, Callable[[bytes], Row | None]] = {ultrafeedback.NAME: ultrafeedback_line}
