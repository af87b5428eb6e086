"""Directories and files that appear at once or not at all, whatever kills the process.

For a directory NAME there may stand beside it, while it is being made: `.NAME.lock` (held by one
process), `.NAME.partial` (believed once it has a manifest) and `.NAME.old` (what NAME was, between
two renames). `recover` puts right what a killed process left of these.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from notus.errors import StageError, UsageError, explain
from notus.manifest import KEY, MANIFEST, canonical_digest

TEMPORARY = ".notus-tmp"


def partial_of(out: Path) -> Path:
    """Where a directory is made before it takes its name."""
    return out.with_name(f".{out.name}.partial")


@contextlib.contextmanager
def lock(out: Path) -> Iterator[None]:
    """Hold a directory's lock file; a killed holder holds it no longer.

    Raises:
        UsageError: another process, or another thread of this one, is making the directory.
    """
    path = out.with_name(f".{out.name}.lock")
    descriptor = _acquire(path, out)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        # Removed while it is still held: whoever opened it meanwhile sees that it is gone.
        path.unlink(missing_ok=True)
        os.close(descriptor)


def recover(out: Path) -> None:
    """Finish or undo the renames in which a process was killed; call with the lock held."""
    old = _old_of(out)
    if (partial_of(out) / MANIFEST).is_file():
        publish(out)
    elif old.exists() and not out.exists():
        old.rename(out)
    if old.exists():
        shutil.rmtree(old)


def prepare(partial: Path, key: Mapping[str, Any], *, resumable: bool) -> None:
    """Empty the partial directory, or keep it if a build from the same key may go on in it."""
    digest = canonical_digest(key)
    file = partial / KEY
    if resumable and file.is_file() and json.loads(file.read_bytes())["digest"] == digest:
        remove_temporaries(partial)
        return
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir()
    write_atomically(file, lambda path: path.write_text(json.dumps({**key, "digest": digest})))


def fill(
    partial: Path, build: Callable[[Path], Mapping[str, object]], *, resumable: bool
) -> Mapping[str, object]:
    """Let a stage fill its partial directory; what it returns goes back to the caller.

    Raises:
        StageError: the disk is full. Any other exception passes through as it is.
    """
    try:
        return build(partial)
    except BaseException as error:
        if not resumable:
            shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StageError(
                explain(
                    found=f"the disk is full: {error}",
                    expected="room for the stage's files",
                    where=str(partial.parent),
                    remedy="free some space and run the same command again"
                    + ("; it goes on where it stopped" if resumable else ""),
                )
            ) from error
        raise


def publish(out: Path) -> None:
    """Give a finished partial directory its name; what had the name before is removed."""
    partial, old = partial_of(out), _old_of(out)
    (partial / KEY).unlink(missing_ok=True)
    if out.exists():
        if old.exists():
            shutil.rmtree(old)
        out.rename(old)
    partial.rename(out)
    _sync(out.parent)
    if old.exists():
        shutil.rmtree(old)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place, bring it to the disk, and rename it into place."""
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    write(temporary)
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def remove_temporaries(directory: Path) -> None:
    """Remove what a process left that was killed inside `write_atomically`."""
    for path in directory.rglob(f".*{TEMPORARY}"):
        path.unlink()


def sync_tree(directory: Path) -> None:
    """Bring every file and folder below a directory, and itself, to the disk."""
    for path in directory.rglob("*"):
        _sync(path)
    _sync(directory)


def _old_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.old")


def _acquire(path: Path, out: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 20).decode(errors="replace") or "unknown"
            os.close(descriptor)
            raise UsageError(
                explain(
                    found=f"process {holder} is writing this directory",
                    expected="one process at a time",
                    where=str(out),
                    remedy="wait until it has ended, or give another output directory",
                )
            ) from error
        try:
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        # Its holder removed it between our open and our lock: take the new file instead.
        os.close(descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
