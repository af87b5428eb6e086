"""The file of decisions: an SQLite table that only ever grows.

Many processes may append at once. A writer takes the write lock before it reads what it depends on
(BEGIN IMMEDIATE) and waits up to `PATIENCE` seconds for it, so writers queue and none fails. With
the write-ahead log, what was committed survives the death of every process; with synchronous=NORMAL
only the loss of power can take the last commits, and it never damages the file. That costs one
append about 0.3 ms instead of a flush of the disk. Triggers forbid UPDATE and DELETE to everybody,
not only to notus. SQLite's log needs a local disk: not a network file system.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import polars as pl
import sqlalchemy as sa

from notus.errors import StageError, UsageError, explain
from notus.manifest import now
from notus.review.layout import PATIENCE, TABLE, create_file, open_engine, require_usable
from notus.review.rulings import UNDO, Decision, frame_of, require_valid, value_text


class Decisions:
    """An open file of decisions.

    Args:
        path: The file; made if it is missing and `create` is true.
        create: False for verbs that only read.

    Raises:
        DataError: No such file, or a file of something else.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        if create and not path.exists():
            create_file(path)
        self._engine = open_engine(path)
        require_usable(path, self._engine)

    def append(self, decision: Decision) -> int:
        """Append one decision; it is committed when this returns its id."""
        return self.extend([decision])[0]

    def extend(self, decisions: Iterable[Decision]) -> list[int]:
        """Append several decisions, all or none, in one transaction; return their ids.

        Raises:
            UsageError: One of them cannot be believed, or takes back what it must not.
        """
        ready = list(decisions)
        for decision in ready:
            require_valid(decision)
        with self._writing() as connection:
            return [_insert(connection, decision) for decision in ready]

    def undo(self, reviewer: str, decision: int | None = None, *, note: str = "") -> int:
        """Take back one's own decision, the last one that is not taken back unless it is named.

        Returns:
            The id of the decision that was taken back.

        Raises:
            UsageError: There is nothing to be taken back.
        """
        with self._writing() as connection:
            found = connection.execute(_undoable(reviewer, decision)).first()
            if found is None:
                raise _nothing_to_undo(reviewer, decision, self.path)
            identifier, kind, item = found
            row = Decision(
                kind=kind, item=item, action=UNDO, reviewer=reviewer, note=note, undoes=identifier
            )
            require_valid(row)
            _insert(connection, row)
        return int(identifier)

    def merge(self, rows: Iterable[tuple[int, Decision]]) -> int:
        """Append those rows of another file that are not here yet, in their order.

        Args:
            rows: The other file's ids and decisions, each with its time, undone rows before undos.

        Returns:
            How many were appended; merging the same rows again appends none.

        Raises:
            UsageError: A decision cannot be believed, or an undo names no row before it.
        """
        appended = 0
        here: dict[int, int] = {}
        with self._writing() as connection:
            known = {tuple(row[1:]): int(row[0]) for row in connection.execute(_rows())}
            for theirs, decision in rows:
                moved = _moved(decision, here)
                require_valid(moved)
                key = tuple(_values(moved).values())
                if key not in known:
                    known[key] = _insert(connection, moved)
                    appended += 1
                here[theirs] = known[key]
        return appended

    def rows(self) -> pl.DataFrame:
        """Read every row, in the order of ids, as table `DECISIONS`."""
        with self._engine.connect() as connection:
            return frame_of(tuple(row) for row in connection.execute(_rows()))

    def close(self) -> None:
        """Close the file; the last one to do so folds the log into it."""
        self._engine.dispose()

    def __enter__(self) -> "Decisions":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        writer = self._engine.execution_options(notus_begin="BEGIN IMMEDIATE")
        try:
            with writer.begin() as connection:
                yield connection
        except sa.exc.OperationalError as error:
            raise StageError(
                explain(
                    found=f"nothing could be written: {error.orig}",
                    expected=f"a file that is free for writing within {PATIENCE:g} seconds",
                    where=str(self.path),
                    remedy="see who holds it, whether it may be written and the disk has room",
                )
            ) from error


def _rows() -> sa.Select[Any]:
    return sa.select(TABLE).order_by(TABLE.c.id)


def _undoable(reviewer: str, decision: int | None) -> sa.Select[Any]:
    undo = TABLE.alias()
    query = sa.select(TABLE.c.id, TABLE.c.kind, TABLE.c.item).where(
        TABLE.c.reviewer == reviewer,
        TABLE.c.action != UNDO,
        ~sa.exists().where(undo.c.undoes == TABLE.c.id),
    )
    if decision is not None:
        query = query.where(TABLE.c.id == decision)
    return query.order_by(TABLE.c.id.desc()).limit(1)


def _insert(connection: sa.Connection, decision: Decision) -> int:
    if decision.undoes is not None:
        _require_own(connection, decision)
    result = connection.execute(sa.insert(TABLE).values(_values(decision)))
    return int(result.lastrowid)


def _require_own(connection: sa.Connection, undo: Decision) -> None:
    """Raise UsageError unless an undo names a ruling of the same reviewer on the same item."""
    target = connection.execute(sa.select(TABLE).where(TABLE.c.id == undo.undoes)).first()
    ours = (undo.kind, undo.item, undo.reviewer)
    if target is None or target.action == UNDO or ours != _owner(target):
        raise UsageError(
            explain(
                found=f"an undo of decision {undo.undoes} by {undo.reviewer}",
                expected="a decision of the same reviewer on the same item, and no undo",
                where=f"{undo.kind} {undo.item}",
                remedy="decide again instead: each reviewer's latest ruling counts",
            )
        )


def _owner(row: sa.Row[Any]) -> tuple[str, str, str]:
    return row.kind, row.item, row.reviewer


def _values(decision: Decision) -> dict[str, Any]:
    """Columns of a decision but its id, in the table's order."""
    return {
        "kind": decision.kind,
        "item": decision.item,
        "action": decision.action,
        "value": value_text(decision.value),
        "note": decision.note,
        "reviewer": decision.reviewer,
        "decided_at": decision.decided_at or now(),
        "undoes": decision.undoes,
    }


def _moved(decision: Decision, here: Mapping[int, int]) -> Decision:
    """Let a decision of another file name the row that it takes back by its id in this one."""
    if decision.undoes is None:
        return decision
    return replace(decision, undoes=here.get(decision.undoes, -1))


def _nothing_to_undo(reviewer: str, decision: int | None, path: Path) -> UsageError:
    what = "no decision" if decision is None else f"no decision {decision}"
    return UsageError(
        explain(
            found=f"{what} of {reviewer} that could be taken back",
            expected="a decision of the same reviewer that is not taken back already",
            where=str(path),
            remedy=f"see `notus review list {path} --all`",
        )
    )
