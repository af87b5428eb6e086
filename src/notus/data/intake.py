"""From parsed rows to the four tables: ids, origins, what is new, what is refused, and the counts.

Every source row is either refused or kept, and every kept row is in the tables or repeats what is
there (`notus.data.known`); the counts add up exactly.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
import polars as pl

from notus.data.columns import Answer, Row, as_row
from notus.data.files.streams import Decode, read_line
from notus.data.known import Known, Place
from notus.data.parsed import Parsed, Refusal
from notus.data.schema import (
    COMPLETIONS,
    PROMPTS,
    RATINGS,
    REFUSED,
    ROLES,
    Message,
    Table,
    completion_id,
    prompt_id,
    raw_text,
)
from notus.errors import DataError, explain

TABLES = (PROMPTS, COMPLETIONS, RATINGS, REFUSED)
"""What an intake fills, in the order of `Intake.take`."""

_METADATA = msgspec.json.Encoder(enc_hook=str, order="sorted")
_COUNTED = ("rows", "prompts", "completions", "ratings")


class Intake:
    """Turns source rows into table rows, and keeps count of everything that came in.

    Args:
        parse: A reader's.
        decode: Reads a JSON row, into a Row already if it can.
    """

    def __init__(
        self,
        parse: Callable[[Mapping[str, object]], Parsed],
        decode: Decode = read_line,
    ) -> None:
        self.decode = decode
        self._parse = parse
        self._known = Known()
        self._seen: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._repeated: Counter[str] = Counter()
        self._first_places: list[str] = []
        self._prompts: list[Any] = []
        self._completions: list[Any] = []
        self._ratings: list[Any] = []
        self._refusals: list[Any] = []

    def add(self, row: object, file: str, line: int) -> None:
        """Take one source row.

        Args:
            row: A JSON value, the Refusal of what is none, or a Row that was read already.
            file: Name of the source file.
            line: Number of the row, from 1.
        """
        self._seen["row"] += 1
        name = f"{file}:{line}"
        parsed = self._read(row)
        refusals = parsed.refusals
        if parsed.messages is None:
            self._refused["row"] += 1
        elif not self._keep(parsed, parsed.messages, name, line) and not refusals:
            self._repeated["rows"] += 1
        for refusal in refusals:
            self._refuse(name, refusal)

    @property
    def rows(self) -> int:
        """Source rows so far."""
        return self._seen["row"]

    def take(self, sha256: str) -> list[pl.DataFrame]:
        """Hand over the rows so far, a frame for each of `TABLES`.

        Args:
            sha256: Digest of the file that they are from.
        """
        gathered = (self._prompts, self._completions, self._ratings, self._refusals)
        tables: list[list[Any]] = [list(zip(*rows, strict=True)) for rows in gathered]
        # The ratings of a completion are columns already.
        tables[2] = [list(chain.from_iterable(parts)) for parts in tables[2]]
        frames = [
            _frame(table, columns, sha256) for table, columns in zip(TABLES, tables, strict=True)
        ]
        for rows in gathered:
            rows.clear()
        return frames

    def facts(self) -> dict[str, object]:
        """Counts for the manifest: rows = kept + refused_rows; repeated rows are among the kept."""
        rows, refused = self._seen["row"], self._refused["row"]
        return {
            "rows": rows,
            "kept": rows - refused,
            "refused_rows": refused,
            "repeated": {name: self._repeated[name] for name in _COUNTED},
            "refused": dict(self._reasons.most_common()),
        }

    def judge(self, max_refused: float, where: str) -> None:
        """Raise DataError if nothing is left, or more of any kind was refused than may be."""
        shares = {level: n / self._seen[level] for level, n in self._refused.items()}
        worst = max(shares.values(), default=0.0)
        if self._seen["row"] > self._refused["row"] and worst <= max_refused:
            return
        kinds = [f"{n} of {self._seen[level]} {level}s" for level, n in self._refused.items()]
        reasons = "; ".join(f"{reason}: {n}" for reason, n in self._reasons.most_common())
        nothing = self._seen["row"] == self._refused["row"]
        raise DataError(
            explain(
                found=f"{', '.join(kinds) or 'no rows'} refused ({reasons or 'empty source'})",
                expected="at least one good row"
                if nothing
                else f"at most {max_refused:.2%} of each refused",
                where=", ".join(self._first_places) or where,
                remedy="mend the source or name another --format"
                if nothing
                else f"mend the source, or accept the loss with --max-refused {_above(worst)}",
            )
        )

    def _read(self, row: object) -> Row:
        """Read a row; one that is refused says why."""
        if isinstance(row, Refusal):
            return _refused(row)
        if isinstance(row, Row):
            return row
        if not isinstance(row, Mapping):
            return _refused(Refusal("row", f"not an object: {type(row).__name__}", row))
        found = as_row(self._parse(row))
        if found.messages is not None:
            problem = _messages_problem(found.messages)
        else:
            problem = None if found.refusals else "no reason given"
        return found if problem is None else _refused(Refusal("row", problem, row))

    def _keep(self, row: Row, messages: list[Message], name: str, line: int) -> bool:
        """Add a row's prompt, completions and ratings; tell whether any of it is new."""
        prompt = prompt_id(messages)
        ids = [completion_id(prompt, answer.model, answer.text) for answer in row.answers]
        place = self._known.place(name, prompt, ids, [answer.ratings for answer in row.answers])
        if place.first:
            columns = (prompt, messages, row.source, line, metadata_text(row.metadata))
            self._prompts.append(columns)
        else:
            self._repeated["prompts"] += 1
        self._seen["completion"] += len(ids)
        news = [
            self._keep_answer(place, prompt, identifier, answer, line)
            for identifier, answer in zip(ids, row.answers, strict=True)
        ]
        return place.first or any(news)

    def _keep_answer(
        self, place: Place, prompt: str, identifier: str, answer: Answer, line: int
    ) -> bool:
        """Add a completion and its ratings; tell whether any of it is new."""
        model, text, metadata, said = answer
        first, ratings = self._known.merge(place, identifier, said)
        given = len(said[0]) if said else 0
        stored = len(ratings[0]) if ratings else 0
        self._seen["rating"] += given
        self._repeated["ratings"] += given - stored
        if first:
            columns = (identifier, prompt, model, text, line, metadata_text(metadata))
            self._completions.append(columns)
        else:
            self._repeated["completions"] += 1
        if stored:
            self._ratings.append(((identifier,) * stored, *ratings))
        return first or stored > 0

    def _refuse(self, place: str, refusal: Refusal) -> None:
        self._refusals.append((place, refusal.reason, raw_text(refusal.raw)))
        self._reasons[refusal.reason.split(":")[0]] += 1
        if refusal.level != "row":
            self._seen[refusal.level] += 1
            self._refused[refusal.level] += 1
        if len(self._first_places) < 3:
            self._first_places.append(f"{place} ({refusal.reason})")


def metadata_text(metadata: Mapping[str, object]) -> str:
    """Write metadata as JSON text with sorted keys: equal metadata, equal text.

    NaN becomes null, and what JSON has no type for becomes its text.
    """
    return _METADATA.encode(metadata).decode()


def _frame(table: Table, columns: Sequence[Any], sha256: str) -> pl.DataFrame:
    """Make a table's frame of its columns, if any; an origin comes as the line alone."""
    if not columns:
        return pl.DataFrame(schema=table.schema)
    given = dict(zip(table.schema, columns, strict=True))
    schema = dict(table.schema) | dict.fromkeys(given.keys() & {"origin"}, pl.Int64())
    if "messages" in given:
        given["messages"] = _nested(given["messages"])
    frame = pl.DataFrame(given, schema=schema)
    if "origin" not in given:
        return frame
    digest = pl.lit(sha256, pl.String).alias("sha256")
    return frame.with_columns(origin=pl.struct(digest, pl.col("origin").alias("line")))


def _nested(prompts: Sequence[Sequence[Message]]) -> pl.Series:
    """Nest messages by group: given as lists, each prompt's would be a frame of its own first."""
    turns = [(number, turn) for number, messages in enumerate(prompts) for turn in messages]
    frame = pl.DataFrame(
        {
            "prompt": [number for number, _ in turns],
            "role": [turn["role"] for _, turn in turns],
            "content": [turn["content"] for _, turn in turns],
        }
    )
    grouped = frame.group_by("prompt", maintain_order=True)
    return grouped.agg(messages=pl.struct("role", "content"))["messages"]


def _refused(refusal: Refusal) -> Row:
    return Row(None, "", {}, [], [refusal])


def _messages_problem(messages: Sequence[Message]) -> str | None:
    roles = [message["role"] for message in messages]
    unknown = [role for role in roles if role not in ROLES]
    if unknown:
        return f"unknown role: {unknown[0]!r}"
    if not roles:
        return "empty prompt"
    if roles[-1] != "user":
        return f"last message is not the user's: {roles[-1]!r}"
    return None if messages[-1]["content"].strip() else "empty prompt"


def _above(share: float) -> str:
    """Round a share up to three digits, so that it is accepted when it is given back."""
    return f"{min(1.0, share + 0.0005):.3f}"
