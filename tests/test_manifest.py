"""What a manifest records, and what it must not."""

import getpass
import json
import os
import platform
import socket
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from notus import manifest as manifests
from notus.manifest import (
    DETERMINISM,
    Manifest,
    Timer,
    canonical_digest,
    file_digest,
    git_revision,
    hardware,
    jsonable,
    make_manifest,
    output_files,
    threads,
    versions,
)


def made(directory: Path, **changes: Any) -> Manifest:
    arguments: dict[str, Any] = {
        "stage": "test",
        "config": {"seed": 1, "train": {"seed": 2, "beta": 0.1}, "names": ("a", "b")},
        "inputs": {"b": "1" * 64, "a": "0" * 64},
        "facts": {"rows": 2},
        "determinism": "bytes",
        "timer": Timer(),
    }
    return make_manifest(directory, **arguments | changes)


def test_outputs_are_described(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    pl.DataFrame({"x": [1, 2, 3]}).write_parquet(tmp_path / "b" / "t.parquet")
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "key.json").write_text("{}")
    (tmp_path / "b" / "manifest.json").write_text("nested")
    outputs = made(tmp_path).outputs
    assert [output.path for output in outputs] == ["a.txt", "b/manifest.json", "b/t.parquet"]
    assert [output.rows for output in outputs] == [None, None, 3]
    assert [output.bytes for output in outputs][:2] == [5, 6]
    # printf hello | sha256sum
    hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    assert outputs[0].sha256 == hello == file_digest(tmp_path / "a.txt")


def test_config_inputs_and_seeds(tmp_path: Path) -> None:
    manifest = made(tmp_path)
    assert manifest.config["names"] == ["a", "b"]
    assert list(manifest.inputs) == ["a", "b"]
    assert manifest.seeds == {"seed": 1, "train.seed": 2}


def test_json_round_trip_with_finished_last(tmp_path: Path) -> None:
    manifest = made(tmp_path)
    text = manifest.model_dump_json()
    assert list(json.loads(text))[-1] == "finished"
    assert Manifest.model_validate_json(text) == manifest
    for cut in range(len(text)):
        with pytest.raises(ValidationError):
            Manifest.model_validate_json(text[:cut])


def test_unknown_keys_and_changes_are_refused(tmp_path: Path) -> None:
    manifest = made(tmp_path)
    fields = manifest.model_dump()
    with pytest.raises(ValidationError, match="extra"):
        Manifest.model_validate(fields | {"extra": 1})
    with pytest.raises(ValidationError, match="finished"):
        Manifest.model_validate(fields | {"finished": False})
    with pytest.raises(ValidationError, match="frozen"):
        manifest.stage = "other"


def test_content_digest_is_over_stage_and_outputs_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    first = made(tmp_path)
    expected = canonical_digest(["test", [["a.txt", first.outputs[0].sha256]]])
    assert first.content_digest == expected
    same = made(tmp_path, config={}, inputs={}, facts={}, determinism="none")
    assert same.content_digest == expected
    assert made(tmp_path, stage="other").content_digest != expected
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    assert made(tmp_path).content_digest != expected
    (tmp_path / "b.txt").rename(tmp_path / "a.txt")
    assert made(tmp_path).content_digest == expected
    (tmp_path / "a.txt").write_text("hellO")
    assert made(tmp_path).content_digest != expected


def test_no_paths_names_or_environment_are_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "very-secret-token")
    (tmp_path / "a.txt").write_text("hello")
    text = made(tmp_path).model_dump_json()
    for private in (
        "very-secret-token",
        str(tmp_path),
        str(Path.cwd()),
        str(Path.home()) + "/",
        str(Path(manifests.__file__).parent),
        os.environ["PATH"],
    ):
        assert private not in text
    values = json.dumps([value for key, value in json.loads(text).items() if key != "stage"])
    for name in (socket.gethostname(), platform.node(), getpass.getuser()):
        assert f'"{name}"' not in values


def test_versions_are_of_what_is_installed() -> None:
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["polars"] == pl.__version__
    assert "notus" in found
    assert "ruff" not in found


def test_hardware_and_threads() -> None:
    found = hardware()
    assert found["cores"] >= 1
    assert found["memory_gib"] > 0
    assert found["cpu"]
    assert threads()["polars"] == pl.thread_pool_size()
    json.dumps(found)


def test_an_accelerator_and_torch_threads_are_seen_without_importing_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Cuda:
        @staticmethod
        def is_available() -> bool:
            return True

        @staticmethod
        def get_device_name() -> str:
            return "a GPU"

    class Torch:
        cuda = Cuda

        @staticmethod
        def get_num_threads() -> int:
            return 7

    monkeypatch.setitem(manifests.sys.modules, "torch", Torch)
    assert hardware()["accelerator"] == "a GPU"
    assert threads()["torch"] == 7


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_git_revision_of_a_checkout(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("x = 1\n")
    assert git_revision.__wrapped__(module) is None
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "none")
    # A file that the repository does not track is somebody else's, for example in its .venv.
    assert git_revision.__wrapped__(module) is None
    git(tmp_path, "add", "module.py")
    git(tmp_path, "update-ref", "-d", "HEAD")
    assert git_revision.__wrapped__(module) is None
    git(tmp_path, "commit", "--quiet", "-m", "one")
    revision = git(tmp_path, "rev-parse", "HEAD")
    assert git_revision.__wrapped__(module) == revision
    (tmp_path / "untracked.txt").write_text("x")
    assert git_revision.__wrapped__(module) == revision
    module.write_text("x = 2\n")
    assert git_revision.__wrapped__(module) == revision + "+dirty"


def test_git_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_revision.__wrapped__(Path(manifests.__file__)) is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_json_cannot_say_is_an_error(bad: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        jsonable({"x": bad})


def test_output_files_are_sorted_by_relative_path(tmp_path: Path) -> None:
    for name in ("b/x", "a.txt", "a/y", "b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [path.relative_to(tmp_path).as_posix() for path in output_files(tmp_path)]
    assert names == sorted(["a.txt", "a/y", "b.txt", "b/x"])


def test_times_are_utc_seconds() -> None:
    timer = Timer()
    assert timer.started_at.endswith("+00:00")
    assert len(timer.started_at) == len("2025-01-01T00:00:00+00:00")
    assert timer.seconds() >= 0
    assert set(DETERMINISM) == {"bytes", "machine", "none"}
