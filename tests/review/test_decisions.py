"""The file of decisions: append-only for all, safe for many writers, nothing lost to a kill."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from notus.data.schema import check
from notus.errors import DataError, UsageError
from notus.review.decisions import Decisions
from notus.review.rulings import Decision
from notus.review.tables import DECISIONS

A, B, C = ("a" * 32, "b" * 32, "c" * 32)

WRITER = """
import sys
from pathlib import Path
from notus.review.decisions import Decisions
from notus.review.rulings import Decision
path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with Decisions(path) as decisions:
    for i in range(count):
        item = f"{i:032x}"
        done = decisions.append(Decision(kind="prompt", item=item, action="drop", reviewer=name))
        print(done, flush=True)
"""


def drop(item: str = A, reviewer: str = "anna", **changes: object) -> Decision:
    return replace(Decision(kind="prompt", item=item, action="drop", reviewer=reviewer), **changes)


def writer(path: Path, name: str, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "decisions.sqlite"
    rating = {"aspect": "honesty", "value": 2}
    with Decisions(path) as decisions:
        assert decisions.append(drop(note="spam")) == 1
        more = [
            drop(B, action="choose", value=C),
            Decision(kind="completion", item=C, action="re-rate", reviewer="ben", value=rating),
        ]
        assert decisions.extend(more) == [2, 3]
        rows = decisions.rows()
    assert check(DECISIONS, rows).good.equals(rows)
    assert rows["id"].to_list() == [1, 2, 3]
    assert rows["note"].to_list() == ["spam", "", ""]
    assert rows["value"].to_list() == ["null", json.dumps(C), '{"aspect":"honesty","value":2.0}']
    assert rows["decided_at"].str.contains(r"^\d{4}-.*\.\d{6}\+00:00$").all()
    assert rows["decided_at"].is_sorted()
    # Nothing is left beside the file: it can be copied as it is.
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with Decisions(path, create=False) as again:
        assert again.rows().equals(rows)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE decisions SET note = 'x'",
        "DELETE FROM decisions",
        "INSERT OR REPLACE INTO decisions SELECT id, kind, item, 'keep', value, note, reviewer,"
        " decided_at, undoes FROM decisions",
        "REPLACE INTO decisions SELECT * FROM decisions WHERE id = 1",
    ],
)
def test_nobody_can_change_or_delete_a_row(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "decisions.sqlite"
    with Decisions(path) as decisions:
        decisions.extend([drop(A), drop(B)])
        before = decisions.rows()
    # Not notus but anything that can open the file.
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    connection.close()
    with Decisions(path) as decisions:
        assert decisions.rows().equals(before)
        assert decisions.append(drop(C)) == 3


def test_several_are_appended_together_or_not_at_all(tmp_path: Path) -> None:
    with Decisions(tmp_path / "decisions.sqlite") as decisions:
        with pytest.raises(UsageError, match="flip does not fit a prompt"):
            decisions.extend([drop(), drop(action="flip")])
        own = Decision(kind="prompt", item=A, action="undo", reviewer="ben", undoes=1)
        with pytest.raises(UsageError, match="an undo of decision 1 by ben"):
            decisions.extend([drop(), own])
        assert decisions.rows().is_empty()
        assert decisions.extend([drop(), replace(own, reviewer="anna")]) == [1, 2]


def test_undo_takes_back_ones_own_last_ruling_or_the_named_one(tmp_path: Path) -> None:
    with Decisions(tmp_path / "decisions.sqlite") as decisions:
        decisions.extend([drop(A), drop(B), drop(C, "ben")])
        assert decisions.undo("anna") == 2
        assert decisions.undo("anna", note="wrong row") == 1
        for reviewer, which in (("anna", None), ("anna", 1), ("ben", 1), ("ben", 4), ("eve", 9)):
            with pytest.raises(UsageError, match=f"of {reviewer} that could be taken back"):
                decisions.undo(reviewer, which)
        assert decisions.undo("ben", 3) == 3
        rows = decisions.rows()
    assert rows["undoes"].to_list() == [None, None, None, 2, 1, 3]
    assert rows["item"].to_list() == [A, B, C, B, A, C]


def test_four_processes_append_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    """They also race for making the file; each must see its own rows in its own order."""
    path, each = tmp_path / "decisions.sqlite", 200
    names = ("anna", "ben", "cleo", "dan")
    writers = [writer(path, name, each) for name in names]
    ids: list[int] = []
    for process in writers:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        ids += map(int, out.split())
    assert sorted(ids) == list(range(1, 4 * each + 1))
    with Decisions(path) as decisions:
        rows = decisions.rows()
    assert rows["id"].to_list() == sorted(ids)
    for name in names:
        mine = rows.filter(reviewer=name)
        assert mine["item"].to_list() == [f"{i:032x}" for i in range(each)]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


UNDOER = """
import sys
from pathlib import Path
from notus.review.decisions import Decisions
with Decisions(Path(sys.argv[1])) as decisions:
    print("ready", flush=True)
    sys.stdin.readline()
    print(*(decisions.undo("anna") for _ in range(100)))
"""


def test_two_windows_of_one_reviewer_never_take_the_same_ruling_back(tmp_path: Path) -> None:
    """What is read to find the last ruling must still hold when the undo is written."""
    path = tmp_path / "decisions.sqlite"
    with Decisions(path) as decisions:
        decisions.extend(drop(f"{i:032x}") for i in range(200))
    command = [sys.executable, "-c", UNDOER, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    windows = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for window in windows:
        assert window.stdout.readline() == "ready\n"
    for window in windows:
        window.stdin.write("\n")
        window.stdin.flush()
    undone = [int(i) for window in windows for i in window.communicate(timeout=120)[0].split()]
    assert sorted(undone) == list(range(1, 201))
    with Decisions(path) as decisions, pytest.raises(UsageError):
        decisions.undo("anna")


def test_a_killed_writer_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "decisions.sqlite"
    process = writer(path, "anna", 1_000_000)
    assert process.stdout is not None
    for _ in range(50):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    said = 50 + len(process.stdout.read().split("\n")) - 1
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    with Decisions(path) as decisions:
        ids = decisions.rows()["id"].to_list()
        # What was said to be committed is there; at most the last one was not said any more.
        assert ids == list(range(1, len(ids) + 1))
        assert said <= len(ids) <= said + 1
        assert decisions.append(drop()) == len(ids) + 1


def test_a_writer_waits_for_another_one(tmp_path: Path) -> None:
    path = tmp_path / "decisions.sqlite"
    with Decisions(path) as decisions:
        decisions.append(drop())
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        process = writer(path, "ben", 1)
        assert decisions.rows().height == 1, "a reader never waits"
        time.sleep(1)
        assert process.poll() is None
        holder.execute("COMMIT")
        holder.close()
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "2\n"), err


def test_other_files_are_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing.sqlite"
    with pytest.raises(DataError, match=r"no file 'missing\.sqlite'[^$]*notus review decide"):
        Decisions(missing, create=False)
    assert not missing.exists()
    text = tmp_path / "text.sqlite"
    text.write_text("not a database, but longer than the header of one " * 20)
    with pytest.raises(DataError, match="file is not a database"):
        Decisions(text)
    other = tmp_path / "other.sqlite"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE notes (id)")
    connection.close()
    with pytest.raises(DataError, match="a file of something else"):
        Decisions(other)
    newer = tmp_path / "newer.sqlite"
    Decisions(newer).close()
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version=2")
    connection.close()
    with pytest.raises(DataError, match="version 2 of the layout"):
        Decisions(newer)


def test_a_file_left_half_made_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "decisions.sqlite"
    for end in ("", "-wal", "-shm", "-journal"):
        (tmp_path / f".decisions.sqlite.partial{end}").write_bytes(b"\x37\x7f\x06\x82 half")
    (tmp_path / ".decisions.sqlite.lock").touch()
    with Decisions(path) as decisions:
        assert decisions.append(drop()) == 1
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
