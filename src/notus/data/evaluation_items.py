"""Evaluation items that training prompts are compared with: benchmarks' files, or a user's own.

    files, folders, zips -> rows -> the field that holds the question -> (benchmark, item, text)

The text of an item is what the model is asked: the question with the passage it is about, never the
answer or the choices, because a leaked question is a leaked item. For DROP that is passage and
question as in Tulu 3's decontamination; a prompt that holds the passage alone therefore meets all
of its questions. Each turn of MT-Bench is an item of its own, as either may leak alone.

Nothing is lost silently: a row without words, one that repeats another of its benchmark and a file
that holds no items are rows of `refused`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import polars as pl

from notus.audit.tokens import folded_words
from notus.data.item_files import Contents, ItemFile, contents, list_files, rows
from notus.data.parsed import Refusal
from notus.data.schema import REFUSED, raw_text
from notus.errors import DataError, explain

ITEMS = pl.Schema({"benchmark": pl.String(), "item": pl.String(), "text": pl.String()})

FIELDS: tuple[tuple[str, ...], ...] = (
    ("turns",),
    ("passage", "question"),
    ("article", "question"),
    ("context", "question"),
    ("context_options", "continuation"),
    ("instruction", "input"),
    ("instruction",),
    ("question",),
    ("prompt",),
    ("problem",),
    ("ctx",),
    ("sentence",),
    ("query",),
    ("goal",),
    ("context",),
    ("passage",),
    ("input",),
    ("text",),
    ("messages",),
    ("conversations",),
)
"""Fields that make up an item's text, in lower case: the first set that a row has in full."""
USER_ROLES = ("user", "human")
_SHOWN_FIELDS = "question, prompt, instruction, turns, problem, ctx, sentence, context, text"


class EvaluationItems(NamedTuple):
    """Items by the order of their files, and what was left out."""

    items: pl.DataFrame
    """benchmark, item (file:line, unique within its benchmark), text; no text twice in one."""
    refused: pl.DataFrame
    """Table `REFUSED`."""


def read_items(paths: Sequence[Path]) -> EvaluationItems:
    """Read evaluation items.

    Args:
        paths: Files (.jsonl, .json, .csv, .tsv, .parquet or .txt with one item a line, each of
            these also .gz; .zip of such) or folders, then of all such files below. A benchmark is
            called by its folder or file (`item_files.list_files` says how). Of splits that lie side
            by side (x_dev, x_test) only the test split is read.

    Raises:
        DataError: no such path; a file that was named, or all files of a folder, hold no item.
    """
    found: list[tuple[str, str, str]] = []
    refused: list[tuple[str, str, str]] = []
    taken: set[str] = set()
    for path in dict.fromkeys(path.resolve() for path in paths):
        files, before, first_refused = list_files(path), len(found), len(refused)
        # Two files of one name are told apart by their folders.
        clash = taken & {file.benchmark for file in files}
        prefix = f"{path.parent.name}/" if clash else ""
        taken |= {prefix + file.benchmark for file in files}
        for benchmark, place, content in _named_contents(files, refused):
            rows, left = _read(place, content)
            found += [(prefix + benchmark, item, text) for item, text in rows]
            refused += left
        if len(found) == before:
            raise _nothing_found(path, refused[first_refused:])
    items, repeated = _distinct(pl.DataFrame(found, schema=ITEMS, orient="row"))
    left_out = pl.DataFrame(refused, schema=REFUSED.schema, orient="row")
    return EvaluationItems(items, pl.concat([left_out, repeated]))


def item_texts(row: Mapping[str, object]) -> list[str] | None:
    """Take the texts of a row's items: one, or one for each turn; None if no field is known.

    A dialogue's turns are those of the user. Names of fields count in any case.
    """
    fields = {str(name).lower(): value for name, value in row.items()}
    for names in FIELDS:
        parts = [_field_texts(fields.get(name)) for name in names]
        if not all(parts):
            continue
        if names == ("context_options", "continuation"):
            return [_blanked(*parts)]
        return parts[0] if len(parts) == 1 else ["\n".join(part[0] for part in parts)]
    return None


def _field_texts(value: object) -> list[str]:
    """Take the texts of one field: a string, strings, messages, or ARC's {"stem": ...}."""
    if isinstance(value, str):
        return [value] if value.strip() else []
    if isinstance(value, Mapping):
        return _field_texts(value.get("stem"))
    if not isinstance(value, Sequence):
        return []
    texts: list[str] = []
    for part in value:
        if isinstance(part, Mapping):
            role = part.get("role", part.get("from"))
            part = part.get("content", part.get("value")) if role in USER_ROLES else None
        texts += [part] if isinstance(part, str) and part.strip() else []
    return texts


def _blanked(options: Sequence[str], continuation: Sequence[str]) -> str:
    """Rebuild a Winogrande sentence with its blank from the two ways to fill it."""
    words = [option.split() for option in options]
    shared = 0
    while all(len(one) > shared and one[shared] == words[0][shared] for one in words):
        shared += 1
    return " ".join([*words[0][:shared], "_", *continuation])


def _named_contents(
    files: Sequence[ItemFile], refused: list[tuple[str, str, str]]
) -> Iterator[tuple[str, str, Contents]]:
    for file in files:
        for place, content in contents(file):
            if isinstance(content, Refusal):
                refused.append((place, content.reason, raw_text(content.raw)))
            else:
                yield file.benchmark, place, content


def _read(
    place: str, content: Contents
) -> tuple[list[tuple[str, str]], list[tuple[str, str, str]]]:
    """Read one file's items, and what of it was refused.

    A file of which no row has a known field is refused as one: it was no file of items.
    """
    items: list[tuple[str, str]] = []
    refused: list[tuple[str, str, str]] = []
    unknown: list[tuple[str, Mapping[str, object]]] = []
    for row in rows(content):
        where, value = f"{place}:{row.line}", row.value
        if isinstance(value, Refusal):
            refused.append((where, value.reason, raw_text(value.raw)))
            continue
        texts = [value] if isinstance(value, str) else item_texts(value)
        if texts is None:
            unknown.append((where, cast(Mapping[str, object], value)))
            continue
        several = len(texts) > 1
        items += [
            (f"{where}#{n}" if several else where, text) for n, text in enumerate(texts, start=1)
        ]
    if unknown and not items:
        names = ", ".join(map(str, unknown[0][1])) or "nothing"
        return [], [(place, f"no field of an item among {names}", ""), *refused]
    refused += [(where, "no field of an item", raw_text(value)) for where, value in unknown]
    return items, refused


def _distinct(items: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Separate the items without words, and those that repeat one of their benchmark."""
    marked = items.with_columns(key=folded_words(pl.col("text"))).with_columns(
        first=pl.col("item").first().over("benchmark", "key"),
        again=~pl.struct("benchmark", "key").is_first_distinct(),
    )
    reason = (
        pl.when(pl.col("key") == "")
        .then(pl.lit("no words"))
        .when("again")
        .then(pl.format("repeats {}", "first"))
    )
    marked = marked.with_columns(reason=reason)
    bad = marked.filter(pl.col("reason").is_not_null())
    refused = bad.select(place="item", reason="reason", raw="text")
    return marked.filter(pl.col("reason").is_null()).select(ITEMS.names()), refused


def _nothing_found(path: Path, refused: Iterable[tuple[str, str, str]]) -> DataError:
    reasons = [f"{place} ({reason})" for place, reason, _ in refused]
    return DataError(
        explain(
            found=f"no evaluation item; {'; '.join(reasons[:3]) or 'an empty file'}",
            expected=f"rows with one of the fields {_SHOWN_FIELDS}; or text, one item a line",
            where=str(path),
            remedy="name the file with the benchmark's questions, or rename their field",
        )
    )
