"""The SQLite file that holds decisions: its table, its triggers, how it is made and opened."""

import fcntl
import sqlite3
from pathlib import Path

import sqlalchemy as sa

from notus.errors import DataError, explain

VERSION = 1
"""Of the file's layout; its PRAGMA user_version."""
PATIENCE = 60.0
"""Seconds that a writer waits for the others."""

_METADATA = sa.MetaData()
TABLE = sa.Table(
    "decisions",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("item", sa.Text, nullable=False, index=True),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("reviewer", sa.Text, nullable=False),
    sa.Column("decided_at", sa.Text, nullable=False),
    sa.Column("undoes", sa.Integer, sa.ForeignKey("decisions.id"), nullable=True),
    sqlite_autoincrement=True,
)
_APPEND_ONLY = "SELECT RAISE(ABORT, 'decisions are append-only: undo is a row too')"
_TRIGGERS = (
    f"CREATE TRIGGER no_update BEFORE UPDATE ON decisions BEGIN {_APPEND_ONLY}; END",
    f"CREATE TRIGGER no_delete BEFORE DELETE ON decisions BEGIN {_APPEND_ONLY}; END",
    # INSERT OR REPLACE deletes what it replaces, and no trigger of deletes sees that.
    "CREATE TRIGGER no_replace BEFORE INSERT ON decisions "
    f"WHEN EXISTS (SELECT 1 FROM decisions WHERE id = NEW.id) BEGIN {_APPEND_ONLY}; END",
)


def open_engine(path: Path, *, new: bool = False) -> sa.Engine:
    """Make the engine of a file; nothing is opened before it is used.

    A transaction is a plain BEGIN, or what the execution option `notus_begin` says.

    Args:
        path: The file.
        new: Switch the write-ahead log on; the file remembers it.
    """
    url = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(url, connect_args={"timeout": PATIENCE})

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # transactions begin where we say, not where sqlite3 does
        if new:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("notus_begin", "BEGIN"))

    return engine


def create_file(path: Path) -> None:
    """Make an empty file at once or not at all, whoever else is making it.

    It takes its name when it is complete and has its log: to switch the log on in a file that
    others have open can fail.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, partial = (path.with_name(f".{path.name}.{end}") for end in ("lock", "partial"))
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not path.exists():
            for left in path.parent.glob(f"{partial.name}*"):
                left.unlink()
            engine = open_engine(partial, new=True)
            with engine.begin() as connection:
                _METADATA.create_all(connection)
                for trigger in _TRIGGERS:
                    connection.exec_driver_sql(trigger)
                connection.exec_driver_sql(f"PRAGMA user_version={VERSION}")
            engine.dispose()
            partial.rename(path)
        # Whoever still waits for it sees the file; whoever makes another one does too.
        lock.unlink(missing_ok=True)


def require_usable(path: Path, engine: sa.Engine) -> None:
    """Raise DataError, and close the engine, unless a file holds decisions of this layout."""
    found = f"no file {path.name!r}"
    if path.is_file():
        try:
            with engine.connect() as connection:
                version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
                is_ours = sa.inspect(connection).has_table("decisions")
            if version == VERSION and is_ours:
                return
            found = f"version {version} of the layout" if is_ours else "a file of something else"
        except sa.exc.DatabaseError as error:
            found = f"a file that cannot be read: {error.orig}"
    engine.dispose()
    raise DataError(
        explain(
            found=found,
            expected=f"a file of decisions, version {VERSION}",
            where=str(path),
            remedy="give the file that `notus review decide` wrote; another version of notus may"
            " be needed",
        )
    )
