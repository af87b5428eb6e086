"""What is beside a directory after a kill, put right. The kills themselves are in test_store.py."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from notus.directories import lock, partial_of, recover, remove_temporaries, write_atomically
from notus.errors import UsageError
from notus.store import run_stage


def finished(path: Path, text: str) -> Path:
    def build(directory: Path) -> Mapping[str, object]:
        (directory / "a.txt").write_text(text)
        return {}

    run_stage(path, stage="test", config={"text": text}, inputs={}, build=build)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_finished_partial_takes_the_name_whatever_stands_beside_it(tmp_path: Path) -> None:
    for i, (has_out, has_old) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        folder = tmp_path / str(i)
        folder.mkdir()
        out = folder / "out"
        if has_old:
            finished(folder / "x", "old").rename(folder / ".out.old")
        finished(folder / "y", "new").rename(partial_of(out))
        if has_out:
            finished(folder / "z", "out").rename(out)
        recover(out)
        assert names(folder) == ["out"]
        assert (out / "a.txt").read_text() == "new"


def test_an_old_result_without_a_successor_comes_back(tmp_path: Path) -> None:
    """For example if somebody removed the hidden partial directory to save room."""
    finished(tmp_path / "x", "old").rename(tmp_path / ".out.old")
    partial_of(tmp_path / "out").mkdir()
    recover(tmp_path / "out")
    assert names(tmp_path) == [".out.partial", "out"]
    assert (tmp_path / "out" / "a.txt").read_text() == "old"


def test_an_old_result_with_a_successor_goes(tmp_path: Path) -> None:
    finished(tmp_path / "out", "out")
    finished(tmp_path / "x", "old").rename(tmp_path / ".out.old")
    recover(tmp_path / "out")
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a.txt").read_text() == "out"


def test_a_lock_left_by_a_dead_process_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / ".out.lock").write_text("12345")
    with lock(tmp_path / "out"):
        assert names(tmp_path) == [".out.lock"]
    assert names(tmp_path) == []


def test_a_lock_is_free_after_an_error_and_for_others(tmp_path: Path) -> None:
    def holds_and_fails() -> None:
        with lock(tmp_path / "out"), lock(tmp_path / "other"):
            with pytest.raises(UsageError), lock(tmp_path / "out"):
                pytest.fail("two holders")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        holds_and_fails()
    with lock(tmp_path / "out"):
        assert names(tmp_path) == [".out.lock"]


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    def fails(path: Path) -> None:
        path.write_text("half")
        raise OSError

    path = tmp_path / "a.txt"
    write_atomically(path, lambda target: target.write_text("whole"))
    with pytest.raises(OSError):
        write_atomically(path, fails)
    assert path.read_text() == "whole"
    remove_temporaries(tmp_path)
    assert names(tmp_path) == ["a.txt"]
