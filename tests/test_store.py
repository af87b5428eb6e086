"""Stage directories: finished or not there, reused or rebuilt, never half believed."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from notus.data.schema import COMPLETIONS, DROPPED, REFUSED
from notus.errors import DataError, IncompleteError, StageError, UsageError
from notus.manifest import MANIFEST
from notus.store import (
    StageResult,
    digest_path,
    read_feedback,
    read_manifest,
    read_table,
    run_stage,
    write_frame,
    write_table,
)

ID = "a" * 32


class Build:
    """A stage that writes one file and counts how often it ran."""

    def __init__(self, text: str = "hello") -> None:
        self.text = text
        self.calls = 0

    def __call__(self, directory: Path) -> Mapping[str, object]:
        self.calls += 1
        (directory / "sub").mkdir(exist_ok=True)
        (directory / "sub" / "a.txt").write_text(self.text)
        return {"calls": self.calls}


def stage(
    out: Path, build: Any, config: Mapping[str, Any] | None = None, **more: Any
) -> StageResult:
    arguments = {"stage": "test", "config": config or {}, "inputs": {}} | more
    return run_stage(out, build=build, **arguments)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def refused(rows: int) -> pl.DataFrame:
    return pl.DataFrame([("p", f"r{i}", "") for i in range(rows)], REFUSED.schema, orient="row")


def test_a_stage_leaves_its_directory_and_nothing_else(tmp_path: Path) -> None:
    result = stage(tmp_path / "deep" / "out", Build())
    assert not result.reused
    assert names(tmp_path / "deep") == ["out"]
    assert names(result.directory) == [MANIFEST, "sub"]
    assert result.manifest.facts == {"calls": 1}
    assert read_manifest(result.directory, "test") == result.manifest
    assert [output.path for output in result.manifest.outputs] == ["sub/a.txt"]


def test_the_same_stage_config_and_inputs_are_reused(tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    source.write_text("x")
    build = Build()
    arguments: dict[str, Any] = {"config": {"beta": (0.1,)}, "inputs": {"source": source}}
    first = stage(tmp_path / "out", build, **arguments)
    again = stage(tmp_path / "out", build, **arguments)
    assert (again.reused, build.calls) == (True, 1)
    assert again.manifest == first.manifest
    # The same bytes elsewhere are the same input.
    source = source.rename(tmp_path / "moved.txt")
    assert stage(tmp_path / "out", build, {"beta": [0.1]}, inputs={"source": source}).reused
    assert not stage(tmp_path / "out", build, {"beta": [0.2]}, inputs={"source": source}).reused
    source.write_text("y")
    assert not stage(tmp_path / "out", build, {"beta": [0.2]}, inputs={"source": source}).reused
    assert not stage(tmp_path / "out", build, {"beta": [0.2]}, inputs={"other": source}).reused
    assert build.calls == 4
    assert names(tmp_path) == ["moved.txt", "out"]


def test_a_failing_build_leaves_what_was_there(tmp_path: Path) -> None:
    def fails(directory: Path) -> Mapping[str, object]:
        (directory / "half.txt").write_text("half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        stage(tmp_path / "new", fails)
    assert names(tmp_path) == []
    first = stage(tmp_path / "out", Build())
    with pytest.raises(RuntimeError, match="no"):
        stage(tmp_path / "out", fails, {"other": 1})
    assert names(tmp_path) == ["out"]
    assert read_manifest(tmp_path / "out") == first.manifest


def test_a_resumable_stage_goes_on_with_the_same_key_only(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def stops(directory: Path) -> Mapping[str, object]:
        seen.append(names(directory))
        (directory / f"step-{len(seen)}").touch()
        # What write_frame leaves if it is killed.
        (directory / ".t.parquet.notus-tmp").touch()
        raise KeyboardInterrupt

    def ends(directory: Path) -> Mapping[str, object]:
        seen.append(names(directory))
        return {}

    for config in ({"a": 1}, {"a": 1}, {"a": 2}):
        with pytest.raises(KeyboardInterrupt):
            stage(tmp_path / "out", stops, config, resumable=True)
    result = stage(tmp_path / "out", ends, {"a": 2}, resumable=True)
    assert seen == [
        ["key.json"],
        ["key.json", "step-1"],
        ["key.json"],
        ["key.json", "step-3"],
    ]
    assert names(result.directory) == [MANIFEST, "step-3"]
    assert names(tmp_path) == ["out"]


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    def fills(directory: Path) -> Mapping[str, object]:
        with Path("/dev/full").open("w") as file:
            file.write("x" * 100_000)
        return {}

    with pytest.raises(StageError, match=r"disk is full: .*No space left[^$]*again") as caught:
        stage(tmp_path / "out", fills)
    assert isinstance(caught.value.__cause__, OSError)
    assert names(tmp_path) == []
    with pytest.raises(StageError, match="goes on where it stopped"):
        stage(tmp_path / "out", fills, resumable=True)


def test_other_errors_of_the_system_pass_through(tmp_path: Path) -> None:
    def denied(directory: Path) -> Mapping[str, object]:
        raise OSError(errno.EACCES, "denied")

    with pytest.raises(PermissionError, match="denied"):
        stage(tmp_path / "out", denied)


KILLED = """
import os, sys, time
from pathlib import Path
from notus.store import run_stage

def build(directory):
    sys.stdin.readline()
    (directory / "a.txt").write_text("A" * 100)
    print("half", flush=True)
    sys.stdin.readline()
    (directory / "b.txt").write_text("B" * 100)
    return {}

run_stage(Path(sys.argv[1]), stage="test", config={}, inputs={}, build=build,
          resumable=sys.argv[2] == "resumable")
"""


def start(out: Path, kind: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", KILLED, str(out), kind]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> None:
    process.communicate("\n\n", timeout=60)
    assert process.returncode == 0


def kill_half_way(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("kind", ["resumable", "fresh"])
def test_sigkill_in_the_middle_of_a_build(tmp_path: Path, kind: str) -> None:
    finish(start(tmp_path / "undisturbed", kind))
    kill_half_way(start(tmp_path / "out", kind))
    assert ".out.partial" in names(tmp_path)
    with pytest.raises(IncompleteError, match="no directory"):
        read_manifest(tmp_path / "out")
    with pytest.raises(IncompleteError, match=r"without manifest\.json"):
        read_manifest(tmp_path / ".out.partial")
    finish(start(tmp_path / "out", kind))
    assert names(tmp_path) == ["out", "undisturbed"]
    expected = read_manifest(tmp_path / "undisturbed").content_digest
    assert read_manifest(tmp_path / "out").content_digest == expected


def test_one_process_at_a_time(tmp_path: Path) -> None:
    process = start(tmp_path / "out", "fresh")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "half\n"
    message = rf"process {process.pid} is writing[^$]*one process at a time[^$]*out\n[^$]*wait"
    with pytest.raises(UsageError, match=message):
        stage(tmp_path / "out", Build())
    finish(process)
    assert names(tmp_path) == ["out"]
    with pytest.raises(UsageError, match="process"):
        # Also inside one process, and the failed try must not break the running one.
        stage(tmp_path / "mine", lambda _: {"inner": stage(tmp_path / "mine", Build()).reused})
    assert not stage(tmp_path / "mine", Build()).reused


KILLED_AT_STEP = """
import os, sys, itertools
from pathlib import Path
from notus.store import run_stage

root = Path(sys.argv[1])
STEPS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}

def build(directory):
    (directory / "a.txt").write_text("A")
    (directory / "sub").mkdir(exist_ok=True)
    (directory / "sub" / "b.txt").write_text("B")
    return {}

def stage(config):
    return run_stage(root / "out", stage="test", config=config, inputs={}, build=build,
                     resumable=sys.argv[2] == "resumable")

def child(work):
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def until(step):
    done = 0
    def hook(event, arguments):
        nonlocal done
        # Reading changes nothing, so a kill before it is the kill before the next step.
        reads = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in STEPS and not reads:
            if done == step:
                os._exit(9)
            done += 1
    sys.addaudithook(hook)
    stage({"new": True})

stage({"new": False})  # also fills the caches of versions and revision
for step in itertools.count():
    code = child(lambda: until(step))
    out = root / "out"
    # Old, new, or between the two renames nothing: never something else.
    if out.exists():
        assert sorted(os.listdir(out)) == ["a.txt", "manifest.json", "sub"], os.listdir(out)
    # What has its manifest is finished, wherever it stands: it is taken over, not built again.
    finished = (root / ".out.partial" / "manifest.json").exists() or '"new": true' in (
        (out / "manifest.json").read_text())
    assert child(lambda: os._exit(int(stage({"new": True}).reused))) == int(finished), step
    assert os.listdir(root) == ["out"], (step, os.listdir(root))
    assert stage({"new": True}).reused
    digest = stage({"new": False}).manifest.content_digest
    if code == 0:
        break
    assert code == 9
print(step, digest)
"""


@pytest.mark.parametrize("kind", ["resumable", "fresh"])
def test_killed_before_any_step_of_the_file_system(tmp_path: Path, kind: str) -> None:
    """The process is gone before step 0, 1, 2, ... of replacing a result, until none is left."""
    (tmp_path / "root").mkdir()
    command = [sys.executable, "-c", KILLED_AT_STEP, str(tmp_path / "root"), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    steps, digest = done.stdout.split()
    assert int(steps) >= 10, "the hook saw next to nothing"
    assert digest == read_manifest(tmp_path / "root" / "out").content_digest


def test_what_notus_did_not_write_is_never_replaced(tmp_path: Path) -> None:
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")
    message = r"without manifest\.json[^$]*an earlier result of stage 'test'[^$]*home[^$]*another"
    with pytest.raises(UsageError, match=message):
        stage(precious, Build())
    (precious / MANIFEST).write_text('{"name": "a web extension"}')
    with pytest.raises(UsageError, match="manifest that cannot be read"):
        stage(precious, Build())
    with pytest.raises(UsageError, match="no directory"):
        stage(precious / "thesis.txt", Build())
    assert (precious / "thesis.txt").read_text() == "years"
    stage(tmp_path / "out", Build(), stage="other")
    with pytest.raises(UsageError, match=r"stage 'other'[^$]*of stage 'test'"):
        stage(tmp_path / "out", Build())
    (tmp_path / "empty").mkdir()
    assert not stage(tmp_path / "empty", Build()).reused


def test_a_result_that_lost_a_file_is_not_believed_but_built_again(tmp_path: Path) -> None:
    out, build = tmp_path / "out", Build()
    stage(out, build)
    (out / "sub" / "a.txt").write_text("hell")
    with pytest.raises(IncompleteError, match=r"4 bytes\n.*the 5 bytes that[^$]*a\.txt[^$]*again"):
        read_manifest(out)
    (out / "sub" / "a.txt").unlink()
    with pytest.raises(IncompleteError, match=r"no file\n.*the 5 bytes"):
        read_manifest(out)
    assert not stage(out, build).reused
    assert build.calls == 2
    assert read_manifest(out).outputs[0].bytes == 5


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "a directory without manifest.json"),
        ("", "a manifest that cannot be read"),
        ('{"stage": "test"}', "a manifest that cannot be read"),
    ],
)
def test_a_directory_without_a_good_manifest_is_never_read(
    tmp_path: Path, content: str | None, found: str
) -> None:
    write_table(tmp_path, REFUSED, refused(1))
    if content is not None:
        (tmp_path / MANIFEST).write_text(content)
    for read in (read_manifest, read_feedback, lambda path: read_table(path, "refused")):
        with pytest.raises(IncompleteError) as caught:
            read(tmp_path)
        assert found in str(caught.value)
        assert str(tmp_path) in str(caught.value)


def test_another_stages_directory_is_refused(tmp_path: Path) -> None:
    stage(tmp_path / "out", Build())
    message = r"a result of stage 'test'\n  expected: of stage 'train'"
    with pytest.raises(IncompleteError, match=message):
        read_manifest(tmp_path / "out", "train")


def test_inputs_are_known_by_their_content(tmp_path: Path) -> None:
    inner = stage(tmp_path / "inner", Build())
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "weights").mkdir()
    (model / "weights" / "w.bin").write_bytes(b"\x00")
    inputs = {"stage": inner.directory, "model": model, "digest": "f" * 64}
    recorded = stage(tmp_path / "out", Build(), inputs=inputs).manifest.inputs
    assert recorded == {
        "digest": "f" * 64,
        "model": digest_path(model),
        "stage": inner.manifest.content_digest,
    }
    (model / "weights" / "w.bin").rename(model / "w.bin")
    assert digest_path(model) != recorded["model"]


def test_inputs_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    write_table(tmp_path / "half", REFUSED, refused(1))
    with pytest.raises(IncompleteError, match=r"without manifest\.json[^$]*half"):
        stage(tmp_path / "out", Build(), inputs={"feedback": tmp_path / "half"})
    with pytest.raises(DataError, match=r"nothing\n.*a file or a directory\n.*missing"):
        stage(tmp_path / "out", Build(), inputs={"source": tmp_path / "missing"})
    with pytest.raises(UsageError, match=r"the text 'runs/x'[^$]*64 hex digits[^$]*input 'model'"):
        stage(tmp_path / "out", Build(), inputs={"model": "runs/x"})
    assert names(tmp_path) == ["half"]


def test_tables_are_written_and_read(tmp_path: Path) -> None:
    frame = refused(5)

    def build(directory: Path) -> Mapping[str, object]:
        write_table(directory, REFUSED, frame.select("raw", "reason", "place"))
        return {}

    result = stage(tmp_path / "out", build)
    assert result.manifest.outputs[0].rows == 5
    assert read_table(tmp_path / "out", "refused").collect().equals(frame)
    message = r"no table 'prompts'; 'test' wrote refused\.parquet[^$]*with prompts\.parquet"
    with pytest.raises(IncompleteError, match=message):
        read_feedback(tmp_path / "out")


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    whole = refused(100_000)
    parts = pl.concat([whole[:333], whole[333:]], rechunk=False)
    assert parts.n_chunks() == 2
    digests = set()
    for i, frame in enumerate((whole, parts, whole.clone())):
        (tmp_path / str(i)).mkdir()
        write_table(tmp_path / str(i), REFUSED, frame)
        digests.add(digest_path(tmp_path / str(i) / "refused.parquet"))
    assert len(digests) == 1


def test_every_column_type_survives_the_disk(tmp_path: Path) -> None:
    from notus.data.schema import TABLES

    for table in TABLES.values():
        write_table(tmp_path, table, pl.DataFrame(schema=table.schema))
        found = pl.scan_parquet(tmp_path / f"{table.name}.parquet").collect_schema()
        assert found == table.schema


def test_wrong_columns_are_not_written(tmp_path: Path) -> None:
    frame = pl.DataFrame({"prompt_id": [ID], "strategy": ["s"]})
    with pytest.raises(DataError, match=r"reason: missing \(expected String\)[^$]*table dropped"):
        write_table(tmp_path, DROPPED, frame)
    with pytest.raises(DataError, match="table completions"):
        write_table(tmp_path, COMPLETIONS, frame)


def test_write_frame_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_frame(path, pl.DataFrame({"x": [1]}))
    with pytest.raises(pl.exceptions.PolarsError):
        write_frame(path, pl.DataFrame({"x": [object()]}))
    assert pl.read_parquet(path)["x"].to_list() == [1]
    write_frame(path, pl.DataFrame({"x": [2]}))
    assert pl.read_parquet(path)["x"].to_list() == [2]


def test_a_relative_out_and_a_changed_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def moves(directory: Path) -> Mapping[str, object]:
        os.chdir("/")
        return Build()(directory)

    result = stage(Path("out"), moves)
    assert result.directory == tmp_path / "out"
    assert json.loads((tmp_path / "out" / MANIFEST).read_text())["stage"] == "test"
