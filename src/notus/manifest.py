"""The manifest of a stage directory: what was made, from what, by which code, where and when.

It is the last file a stage writes. It names no path of the machine beyond those that the user's own
configuration holds, no host and no user, and nothing of the environment's variables.
"""

import datetime
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict

MANIFEST = "manifest.json"
KEY = "key.json"
"""What an unfinished directory is being made from; it goes when the directory is finished."""
CHUNK = 1 << 20

DETERMINISM: dict[str, str] = {
    "bytes": "the same inputs, config and versions give the same bytes on any machine",
    "machine": "the same bytes on the same hardware with the same number of threads",
    "none": "not reproducible, for example answers of a remote server",
}


class Output(BaseModel):
    """One file of a stage directory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    """Relative to the stage directory, with forward slashes."""
    sha256: str
    bytes: int
    rows: int | None = None
    """Rows of a Parquet file; None for other files."""


class Manifest(BaseModel):
    """Everything that is recorded about one finished stage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    config: dict[str, Any]
    inputs: dict[str, str]
    """Input name -> digest of its content."""
    outputs: tuple[Output, ...]
    """Every file of the directory but the manifest, sorted by path."""
    facts: dict[str, Any]
    """What the stage itself reports: counts, formats, scores."""
    versions: dict[str, str]
    git_revision: str | None
    """Commit of the notus checkout, with "+dirty" if files differ from it; None if installed."""
    hardware: dict[str, Any]
    threads: dict[str, int]
    seeds: dict[str, int]
    """Every config value whose key is "seed", by its dotted key."""
    determinism: Literal["bytes", "machine", "none"]
    """A key of `DETERMINISM`."""
    started_at: str
    """UTC, ISO 8601, to the second."""
    wall_seconds: float
    finished: Literal[True] = True
    """The last key of the file."""

    @functools.cached_property
    def content_digest(self) -> str:
        """SHA-256 over the stage's name and its outputs' paths and hashes.

        Times, machines and versions do not enter, so a stage that is run again and writes the same
        bytes leaves everything that was built on it valid.
        """
        return canonical_digest([self.stage, [[file.path, file.sha256] for file in self.outputs]])


@dataclass(frozen=True)
class Timer:
    """When a stage began; the only clock of the data half."""

    started_at: str = field(default_factory=lambda: now("seconds"))
    began: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        """Wall time since the start, in seconds, to the millisecond."""
        return round(time.monotonic() - self.began, 3)


def now(precision: str = "microseconds") -> str:
    """Read the clock: UTC, ISO 8601, to the microsecond or to another precision of `isoformat`."""
    moment = datetime.datetime.now(datetime.UTC)  # noqa: TID251 - this is manifest.py
    return moment.isoformat(timespec=precision)


def make_manifest(
    directory: Path,
    *,
    stage: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    facts: Mapping[str, Any],
    determinism: Literal["bytes", "machine", "none"],
    timer: Timer,
) -> Manifest:
    """Describe a finished directory and the machine that filled it.

    Args:
        directory: Holds the outputs; all its files are hashed, a manifest excepted.
        stage: The stage's name.
        config: Values that JSON can hold.
        inputs: Input name -> content digest.
        facts: Values that JSON can hold.
        determinism: A key of `DETERMINISM`.
        timer: Made when the stage began.
    """
    return Manifest(
        stage=stage,
        config=jsonable(config),
        inputs=dict(sorted(inputs.items())),
        outputs=tuple(_describe(directory, path) for path in output_files(directory)),
        facts=jsonable(facts),
        versions=versions(),
        git_revision=git_revision(),
        hardware=hardware(),
        threads=threads(),
        seeds=_seeds(config),
        determinism=determinism,
        started_at=timer.started_at,
        wall_seconds=timer.seconds(),
    )


def output_files(directory: Path) -> list[Path]:
    """List every file below a directory but its own manifest and key, sorted by relative path."""
    own = (directory / MANIFEST, directory / KEY)
    files = [path for path in directory.rglob("*") if path.is_file() and path not in own]
    return sorted(files, key=lambda path: path.relative_to(directory).as_posix())


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def canonical_digest(value: object) -> str:
    """SHA-256 of a JSON value in its canonical form (sorted keys, no spaces, ASCII)."""
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def jsonable(value: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a mapping into the form that it has after a trip through JSON (tuples become lists).

    Raises:
        TypeError: a value that JSON cannot hold.
        ValueError: NaN or an infinity.
    """
    return dict(json.loads(json.dumps(value, allow_nan=False)))


@functools.cache
def versions() -> dict[str, str]:
    """Python and every installed distribution that notus requires, development tools aside."""
    found = {"python": platform.python_version()}
    try:
        requirements = importlib.metadata.requires("notus") or []
    except importlib.metadata.PackageNotFoundError:
        return found
    names = [re.match(r"[\w.-]+", line) for line in requirements if 'extra == "dev"' not in line]
    for name in sorted({match.group().lower() for match in names if match} | {"notus"}):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def git_revision(module: Path = Path(__file__)) -> str | None:
    """Commit of the checkout that tracks a module, with "+dirty" if tracked files were changed.

    The module must be tracked: a notus that is installed somewhere inside another project's
    checkout must not be given that project's commit.
    """
    if _git(module.parent, "ls-files", "--error-unmatch", module.name) is None:
        return None
    revision = _git(module.parent, "rev-parse", "HEAD")
    if not revision:
        return None
    changed = _git(module.parent, "status", "--porcelain", "--untracked-files=no")
    return revision + ("+dirty" if changed else "")


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and kind of machine; the accelerator where torch is in use."""
    found: dict[str, Any] = {
        "cpu": _cpu_name(),
        "cores": os.cpu_count() or 1,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "machine": platform.machine(),
        "system": platform.system(),
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found["accelerator"] = torch.cuda.get_device_name()
    return found


def threads() -> dict[str, int]:
    """Threads of Polars, and of torch where something has imported it (this never does)."""
    found = {"polars": pl.thread_pool_size()}
    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch"] = torch.get_num_threads()
    return found


def _describe(directory: Path, path: Path) -> Output:
    rows = None
    if path.suffix == ".parquet":
        rows = pl.scan_parquet(path).select(pl.len()).collect().item()
    return Output(
        path=path.relative_to(directory).as_posix(),
        sha256=file_digest(path),
        bytes=path.stat().st_size,
        rows=rows,
    )


def _seeds(config: Mapping[str, Any], prefix: str = "") -> dict[str, int]:
    found: dict[str, int] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= _seeds(value, f"{prefix}{key}.")
        elif key == "seed" and isinstance(value, int):
            found[prefix + key] = value
    return found


def _git(directory: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(directory), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        match = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
        if match:
            return match.group(1).strip()
    return platform.processor() or platform.machine()
