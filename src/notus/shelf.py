"""Finished stage directories side by side: which holds an id, and which was made from which.

A directory is known by the digest of its content, as its successors' manifests name it, so it can
have been moved or copied since.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from notus.errors import DataError, IncompleteError, UsageError, explain
from notus.manifest import MANIFEST, Manifest
from notus.store import read_manifest

PLACES = {
    "preference": ("preferences", "preference_id"),
    "completion": ("completions", "completion_id"),
    "prompt": ("prompts", "prompt_id"),
}
"""Kind of an item -> the table and the column where its id stands."""
SHORTEST = 6
"""Fewest hex digits that an id may be cut to."""


@dataclass(frozen=True, eq=False)
class Stage:
    """A finished stage directory."""

    directory: Path
    manifest: Manifest

    def table(self, name: str) -> pl.LazyFrame | None:
        """Scan a table; None if the stage wrote no such one."""
        file = f"{name}.parquet"
        if all(output.path != file for output in self.manifest.outputs):
            return None
        return pl.scan_parquet(self.directory / file)

    def rows(self, name: str, condition: pl.Expr) -> pl.DataFrame:
        """Read the rows of a table that fit; none if there is no such table."""
        table = self.table(name)
        return pl.DataFrame() if table is None else table.filter(condition).collect()

    def holds(self, kind: str, item: str) -> bool:
        """Tell whether an item is in the stage's tables."""
        name, column = PLACES[kind]
        return not self.rows(name, pl.col(column) == item).is_empty()


class Shelf:
    """Stage directories that stand on a shelf together.

    Args:
        paths: Stage directories, or folders that contain some, like a run's.

    Raises:
        IncompleteError: A path with nothing finished in it.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        found = {folder.resolve(): folder for path in paths for folder in _finished(path)}
        self.stages = [Stage(folder, read_manifest(folder)) for folder in found.values()]

    def find(self, text: str) -> tuple[str, str]:
        """Find what an id, or its first digits, is.

        Returns:
            A key of `PLACES`, and the whole id.

        Raises:
            UsageError: No id, or too short to be one.
            DataError: Nothing has it, or several items do.
        """
        prefix = text.strip().lower()
        if re.fullmatch(f"[0-9a-f]{{{SHORTEST},32}}", prefix) is None:
            raise UsageError(
                explain(
                    found=f"id {text!r}",
                    expected=f"{SHORTEST} to 32 hex digits of a preference, completion or prompt",
                    where="ID",
                    remedy="copy it from a table, or from what another verb printed",
                )
            )
        found = sorted({match for stage in self.stages for match in _matches(stage, prefix)})
        if len(found) == 1:
            return found[0]
        raise _not_one(prefix, found, self.stages)

    def with_digest(self, digest: str) -> Stage | None:
        """Find the stage whose content has a digest; None: it is not here."""
        return next((s for s in self.stages if s.manifest.content_digest == digest), None)

    def ancestors(self, stage: Stage) -> list[Stage]:
        """List the stages here that a stage was made from, the nearest first."""
        found, level = [], [stage]
        while level:
            digests = [digest for one in level for digest in one.manifest.inputs.values()]
            near = filter(None, map(self.with_digest, digests))
            level = list({id(s): s for s in near if s not in found}.values())
            found += level
        return found


def _finished(path: Path) -> Iterator[Path]:
    """Stage directories at or below a path; what is being made is hidden, and left out."""
    if (path / MANIFEST).is_file():
        yield path
        return
    manifests = sorted(path.rglob(MANIFEST))
    folders = [manifest.parent for manifest in manifests]
    inside = [f for f in folders if not any(p.startswith(".") for p in f.relative_to(path).parts)]
    if not inside:
        raise IncompleteError(
            explain(
                found="no directory" if not path.is_dir() else "no manifest.json in it or below",
                expected="a finished stage directory, or a run's directory",
                where=str(path),
                remedy="give another directory, or run the stage that makes this one again",
            )
        )
    yield from inside


def _matches(stage: Stage, prefix: str) -> Iterator[tuple[str, str]]:
    for kind, (name, column) in PLACES.items():
        table = stage.table(name)
        if table is not None:
            fits = table.select(column).filter(pl.col(column).str.starts_with(prefix))
            yield from ((kind, item) for item in fits.unique().collect()[column])


def _not_one(prefix: str, found: list[tuple[str, str]], stages: list[Stage]) -> DataError:
    if found:
        shown = ", ".join(f"{kind} {item}" for kind, item in found[:4])
        what = f"{len(found)} items that begin with {prefix}: {shown}"
        remedy = "give more digits"
    else:
        what = f"nothing that begins with {prefix}"
        remedy = "give the directories that hold it: Feedback, and preferences for a preference"
    where = ", ".join(str(stage.directory) for stage in stages[:4])
    return DataError(
        explain(
            found=what,
            expected="one preference, completion or prompt",
            where=where + (" ..." if len(stages) > 4 else ""),
            remedy=remedy,
        )
    )
