"""A reader made from a file that says which field is which, for rows that no other reader knows.

    prompt: question                 # a text, or a list of turns
    source: {const: our-annotators}  # a path into the row, or a constant
    completions:
      - text: answers[*].body        # [*]: one completion for each element
        model: answers[*].author
        ratings:
          - aspect: honesty
            value: answers[*].scores.honesty
            scale: [1, 5]
            rater: judge

A path with `[*]` gives each completion its own value, any other path gives all of them the same.
Fields that no path begins with go to the prompt's metadata.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from notus.data.formats.conversations import turns, with_system
from notus.data.formats.field_paths import EACH, Path, resolve
from notus.data.formats.fields import others, read_rating, shown
from notus.data.formats.readers import Reader
from notus.data.parsed import Parsed, ParsedCompletion, ParsedRating, Refusal, refused_row
from notus.errors import UsageError, explain


class Part(BaseModel):
    """A part of a mapping: an unknown key in it is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class Const(Part):
    """The same text for every row."""

    const: str = Field(pattern=r"\S")


class RatingMap(Part):
    """One thing that is said of a completion."""

    aspect: str = Field(pattern=r"\S")
    value: Path
    """Where the number is."""
    scale: tuple[float, float]
    """Its smallest and its largest value; what lies outside is kept, and the audit shows it."""
    values: dict[str, float] | None = None
    """Numbers for words, as in {good: 1, bad: 0}; true and false are words too."""
    rater: Path | Const | None = None
    """Who says so (null: the mapping's name)."""
    rationale: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _words(cls, raw: object) -> object:
        """YAML reads `yes`, `true` and `1` before a colon as other things than text."""
        values = raw.get("values") if isinstance(raw, Mapping) else None
        if not isinstance(raw, Mapping) or not isinstance(values, Mapping):
            return raw
        return {**raw, "values": {_word(key): value for key, value in values.items()}}

    @model_validator(mode="after")
    def _has_a_scale(self) -> Self:
        if self.scale[0] >= self.scale[1]:
            raise ValueError("the scale's first number must be below its second")
        return self


class CompletionMap(Part):
    """One completion, or with `[*]` in `text` one for each element of a list."""

    text: Path
    model: Path | Const | None = None
    """Who wrote it (null: named after the path of the text, and its place)."""
    position: bool = False
    """Keep the place in the list, where the order says nothing about the ratings."""
    ratings: tuple[RatingMap, ...] = ()
    metadata: dict[str, Path] = {}

    @property
    def paths(self) -> list[str]:
        """Every path of this part."""
        own = [self.text, self.model, *self.metadata.values()]
        said = [path for r in self.ratings for path in (r.value, r.rater, r.rationale)]
        return [path for path in (*own, *said) if isinstance(path, str)]

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if EACH not in self.text and any(EACH in path for path in self.paths):
            raise ValueError(f"a path with {EACH} beside a text without")
        return self


class FieldMap(Part):
    """A mapping file."""

    name: str = Field(default="mapped", pattern=r"\S")
    """The format's name; the source and the rater where nothing else names them."""
    prompt: Path
    system: Path | None = None
    source: Path | Const | None = None
    completions: tuple[CompletionMap, ...] = Field(min_length=1)
    metadata: dict[str, Path] | None = None
    """Name -> path (null: every field that no path begins with, under its own name)."""


def load_mapping(path: FilePath) -> FieldMap:
    """Read a mapping file; its name is the file's, unless it gives one.

    Raises:
        UsageError: no such file, no YAML, or keys or values that do not fit, all of them named.
    """
    try:
        raw = yaml.safe_load(path.read_bytes())
    except OSError as error:
        raise _unusable(f"no file that can be read: {error.strerror}", path) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise _unusable(f"text that is not YAML: {error}", path) from error
    if not isinstance(raw, Mapping):
        raise _unusable(f"{type(raw).__name__} at the top level", path)
    try:
        return FieldMap.model_validate({"name": path.stem, **{str(k): v for k, v in raw.items()}})
    except ValidationError as error:
        found = [
            f"{'.'.join(map(str, problem['loc'])) or 'the file'}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise _unusable("; ".join(dict.fromkeys(found)), path) from error


def reader_of(mapping: FieldMap) -> Reader:
    """Make a reader of a mapping."""

    def recognises(row: Mapping[str, object]) -> bool:
        try:
            return resolve(row, mapping.prompt) is not None
        except ValueError:
            return False

    fields = f"{mapping.prompt} and {', '.join(part.text for part in mapping.completions)}"
    return Reader(recognises, lambda row: parse(row, mapping), fields)


def parse(row: Mapping[str, object], mapping: FieldMap) -> Parsed:
    """Read one row as a mapping says."""
    refusals: list[Refusal] = []
    try:
        system = _text(row, mapping.system, "")
        messages = with_system(turns(resolve(row, mapping.prompt), mapping.prompt, "user"), system)
        if not messages:
            raise ValueError(f"empty prompt: {mapping.prompt}")
        source = _text(row, mapping.source, mapping.name)
        metadata = _metadata(row, mapping)
        completions = [
            completion
            for part in mapping.completions
            for completion in _completions(row, part, mapping.name, refusals)
        ]
    except ValueError as error:
        return refused_row(str(error), row)
    return Parsed(messages, source, metadata, completions, refusals)


def _completions(
    row: Mapping[str, object], part: CompletionMap, name: str, refusals: list[Refusal]
) -> list[ParsedCompletion]:
    """Read the completions of one part.

    Raises:
        ValueError: the row does not have the shape that the paths say.
    """
    texts = resolve(row, part.text)
    many = EACH in part.text
    listed = texts if isinstance(texts, list) and many else [] if many else [texts]
    columns = _Columns(row, len(listed))
    models = columns.of(part.model)
    extras = {key: columns.of(path) for key, path in part.metadata.items()}
    found = []
    for place, text in enumerate(listed):
        label = f"{part.text} {place + 1}" if many else part.text
        model = label if models[place] is None else models[place]
        ratings, problems = _ratings(columns, part.ratings, place, name)
        reason = "" if isinstance(text, str) and text.strip() else f"empty completion: {label}"
        if text is not None and not isinstance(text, str):
            reason = f"completion is not text: {label}"
        if not isinstance(model, str) or not model.strip():
            reason = reason or f"model is not text: {shown(model)}"
        if reason:
            raw = {"text": text, "model": model, "ratings": [r._asdict() for r in ratings]}
            refusals.append(Refusal("completion", reason, raw))
            continue
        refusals += problems
        metadata = others({key: values[place] for key, values in extras.items()}, ())
        if part.position:
            metadata["position"] = place
        found.append(ParsedCompletion(str(model), str(text), metadata, ratings))
    return found


class _Columns:
    """The values of paths, one for each completion of a part."""

    def __init__(self, row: Mapping[str, object], count: int) -> None:
        self.row = row
        self.count = count

    def of(self, path: str | Const | None) -> Sequence[object]:
        """Give one value a completion.

        Raises:
            ValueError: a list of another length.
        """
        if not isinstance(path, str):
            return [path.const if isinstance(path, Const) else None] * self.count
        found = resolve(self.row, path)
        if EACH not in path:
            return [found] * self.count
        if found is None:
            return [None] * self.count
        if not isinstance(found, list) or len(found) != self.count:
            count = len(found) if isinstance(found, list) else 1
            raise ValueError(f"{path} has {count} values for {self.count} completions")
        return found


def _ratings(
    columns: _Columns, parts: Sequence[RatingMap], place: int, name: str
) -> tuple[list[ParsedRating], list[Refusal]]:
    ratings: dict[tuple[str, str], ParsedRating] = {}
    problems: list[Refusal] = []
    for part in parts:
        value, rationale = columns.of(part.value)[place], columns.of(part.rationale)[place]
        rater = columns.of(part.rater)[place]
        if rater is not None and not isinstance(rater, str):
            problems.append(Refusal("rating", f"rater is not text: {shown(rater)}", rater))
            continue
        if part.values is not None and _word(value) in part.values:
            value = part.values[_word(value)]
        # A rating that is missing altogether says nothing; one that is N/A says so.
        if value is None and rationale is None:
            continue
        read = read_rating(rater or name, part.aspect, value, part.scale, rationale)
        if isinstance(read, Refusal):
            problems.append(read)
        elif ratings.setdefault((read.rater, read.aspect), read) is not read:
            problems.append(Refusal("rating", f"second rating of {part.aspect}", read._asdict()))
    return list(ratings.values()), problems


def _text(row: Mapping[str, object], path: str | Const | None, default: str) -> str:
    found = resolve(row, path) if isinstance(path, str) else path and path.const
    if not isinstance(found, str | None):
        raise ValueError(f"{path} is not text: {type(found).__name__}")
    return found if found and found.strip() else default


def _metadata(row: Mapping[str, object], mapping: FieldMap) -> dict[str, object]:
    if mapping.metadata is not None:
        return others({name: resolve(row, path) for name, path in mapping.metadata.items()}, ())
    paths = [mapping.prompt, mapping.system, mapping.source]
    paths += [path for part in mapping.completions for path in part.paths]
    heads = {path.partition(".")[0].partition("[")[0] for path in paths if isinstance(path, str)}
    return others(row, heads)


def _word(value: object) -> str:
    return str(value).strip().lower()


def _unusable(found: str, path: FilePath) -> UsageError:
    return UsageError(
        explain(
            found=found,
            expected="a YAML file with prompt, completions and, if wanted, name, system, source, "
            "metadata; a completion has text, model, ratings, position, metadata",
            where=str(path),
            remedy="write paths such as answers[*].text; "
            "`pydoc notus.data.formats.mapping` has an example",
        )
    )
