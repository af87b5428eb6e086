"""Where a preference, completion or prompt comes from and what was said of it, as plain values.

    preference -> specification, margin -> the feedback it was made from
               -> prompt, completions -> ratings, issues, decisions -> raw rows: file, line, sha256

Directories are followed by the digests in their manifests, never by their names: if the feedback
at hand is not the one that the preferences were made from, that is said. Nothing is cut here.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from notus.data.origins import Origins, raw_row
from notus.data.schema import preference_id
from notus.errors import DataError, explain
from notus.manifest import canonical_digest
from notus.review.decisions import Decisions
from notus.review.rulings import UNDO
from notus.shelf import Shelf, Stage

Fact = dict[str, Any]

_USE = {"preference": "preference_id", "prompt": "prompt_id"}


def trace(
    text: str,
    directories: Sequence[Path],
    *,
    source: Path | None = None,
    decisions: Path | None = None,
) -> Fact:
    """Follow an item to everything that is known of it.

    Args:
        text: Its id, or the first 6 or more digits of it.
        directories: Stage directories, or folders that contain some.
        source: File or folder that was ingested, to quote the raw rows from.
        decisions: File of decisions.

    Returns:
        JSON values: kind, id, warnings, preferences, dropped, withheld, feedback, prompt and
        completions; these two with ratings, issues, decisions and origin.

    Raises:
        DataError: Nothing or several items have such an id; no feedback holds the item's text.
    """
    shelf = Shelf(directories)
    kind, item = shelf.find(text)
    preferences = _preferences(shelf, kind, item)
    home, warnings = _home(shelf, kind, item, preferences)
    completions = _completions(home, kind, item, preferences)
    prompt = completions[0]["prompt_id"] if completions else item
    found: Fact = {
        "kind": kind,
        "id": item,
        "warnings": warnings,
        "preferences": preferences,
        "dropped": _rows_of(shelf, "dropped", pl.col("prompt_id") == prompt),
        "withheld": _rows_of(shelf, "withheld", pl.col("prompt_id") == prompt),
        "feedback": _name(home),
        "prompt": home.rows("prompts", pl.col("prompt_id") == prompt).to_dicts()[0],
        "completions": completions,
    }
    _add_judgements(found, shelf, home)
    if decisions is not None:
        _add_decisions(found, decisions)
    _add_origins(found, shelf, None if source is None else Origins(source))
    return found


def _preferences(shelf: Shelf, kind: str, item: str) -> list[Fact]:
    """Every preference that is the item, or that the item is part of."""
    if kind == "completion":
        condition = (pl.col("chosen_id") == item) | (pl.col("rejected_id") == item)
    else:
        condition = pl.col(_USE[kind]) == item
    found = []
    for stage in shelf.stages:
        for row in stage.rows("preferences", condition).to_dicts():
            spec, origin = _specification(shelf, stage)
            found.append(row | _name(stage) | {"specification": spec, "made_from": origin})
    return found


def _specification(shelf: Shelf, stage: Stage) -> tuple[Fact | None, Fact]:
    """The specification that a stage's preferences follow, and the feedback it was applied to."""
    chain = [stage, *shelf.ancestors(stage)]
    maker = next((one for one in chain if "specification" in one.manifest.config), chain[-1])
    spec = maker.manifest.config.get("specification")
    digest = maker.manifest.inputs.get("feedback")
    home = None if digest is None else shelf.with_digest(digest)
    made_from = {"digest": digest, "directory": None if home is None else str(home.directory)}
    if spec is None:
        return None, made_from
    name = spec.get("name") if isinstance(spec, dict) else spec
    return {"name": name, "sha256": canonical_digest(spec), "config": spec}, made_from


def _home(shelf: Shelf, kind: str, item: str, preferences: list[Fact]) -> tuple[Stage, list[str]]:
    """Choose the feedback in which the item is shown; say so if it is not the item's own.

    It is the one that the preference was made from, else the last one that still holds the item.
    """
    place = ("prompt", preferences[0]["prompt_id"]) if kind == "preference" else (kind, item)
    holders = [s for s in shelf.stages if s.table("ratings") is not None and s.holds(*place)]
    if not holders:
        raise DataError(
            explain(
                found=f"{kind} {item}, and no Feedback with its text",
                expected="the Feedback directory that it was made from",
                where=", ".join(str(stage.directory) for stage in shelf.stages),
                remedy="name that directory too",
            )
        )
    made_from = [preference["made_from"]["digest"] for preference in preferences]
    behind = [one for holder in holders for one in shelf.ancestors(holder)]
    last = [stage for stage in holders if stage not in behind]
    own = [s for s in holders if kind == "preference" and s.manifest.content_digest in made_from]
    home = (own or last)[0]
    others = [p for p in preferences if p["made_from"]["digest"] != home.manifest.content_digest]
    return home, [_warning(preference, home) for preference in others]


def _warning(preference: Fact, home: Stage) -> str:
    digest, directory = (preference["made_from"][name] for name in ("digest", "directory"))
    shown = f"texts and ratings here are those of {home.directory}"
    if digest is None:
        return (
            f"the preferences in {preference['directory']} come from a directory that is not"
            f" given, so their Feedback is not known; {shown}"
        )
    where = f"which is {directory}" if directory else "which is not among the directories given"
    return (
        f"the preferences in {preference['directory']} were made from Feedback {digest[:12]},"
        f" {where}; {shown} ({home.manifest.content_digest[:12]})"
    )


def _completions(home: Stage, kind: str, item: str, preferences: list[Fact]) -> list[Fact]:
    """Chosen and rejected of a preference, a completion itself, or all of a prompt."""
    if kind == "prompt":
        return home.rows("completions", pl.col("prompt_id") == item).to_dicts()
    sides = {"completion": item}
    if kind == "preference":
        sides = {side: preferences[0][f"{side}_id"] for side in ("chosen", "rejected")}
    found = []
    for side, identifier in sides.items():
        rows = home.rows("completions", pl.col("completion_id") == identifier).to_dicts()
        found += [{"side": side, **row} for row in rows]
    return found


def _add_judgements(found: Fact, shelf: Shelf, home: Stage) -> None:
    """Add ratings, those that a reviewer's stands in for, and issues."""
    prompt = found["prompt"]
    issues = _rows_of(shelf, "issues", pl.col("prompt_id") == prompt["prompt_id"])
    audited = {str(s.directory): s.manifest.inputs.get("feedback") for s in shelf.stages}
    for issue in issues:
        issue["of_this_feedback"] = audited[issue["directory"]] == home.manifest.content_digest
    prompt["issues"] = [issue for issue in issues if issue["completion_id"] is None]
    for completion in found["completions"]:
        of_it = pl.col("completion_id") == completion["completion_id"]
        completion["ratings"] = home.rows("ratings", of_it).to_dicts()
        completion["overridden"] = home.rows("overridden", of_it).to_dicts()
        completion["issues"] = [
            issue for issue in issues if issue["completion_id"] == completion["completion_id"]
        ]


def _add_decisions(found: Fact, path: Path) -> None:
    """Add each row of the decisions to its item; `undone` tells whether it was taken back."""
    with Decisions(path, create=False) as decisions:
        rows = decisions.rows()
    undone = set(rows["undoes"].drop_nulls())
    rows = rows.with_columns(undone=pl.col("id").is_in(sorted(undone)))

    def about(*items: str) -> list[Fact]:
        mine = rows.filter(pl.col("item").is_in(items) & (pl.col("action") != UNDO)).to_dicts()
        return [row | {"value": json.loads(row["value"])} for row in mine]

    for preference in found["preferences"]:
        sides = (preference["rejected_id"], preference["chosen_id"])
        # A flipped preference has a new id; the ruling that flipped it names the old one.
        before = preference_id(preference["prompt_id"], *sides)
        preference["decisions"] = about(preference["preference_id"], before)
    found["prompt"]["decisions"] = about(found["prompt"]["prompt_id"])
    for completion in found["completions"]:
        completion["decisions"] = about(completion["completion_id"])


def _add_origins(found: Fact, shelf: Shelf, origins: Origins | None) -> None:
    """Add to each origin the file's name when it was read and, from the source, the raw row."""
    names = {
        digest: (name, str(stage.directory))
        for stage in shelf.stages
        if stage.manifest.stage == "ingest"
        for name, digest in stage.manifest.inputs.items()
    }
    for item in (found["prompt"], *found["completions"]):
        origin = item.get("origin")
        if origin is None or origin["sha256"] is None:
            item["origin"] = None
            continue
        name, directory = names.get(origin["sha256"], (None, None))
        origin |= {"file": name, "directory": directory}
        if origins is not None:
            origin["raw"] = _raw(origins, origin)


def _raw(origins: Origins, origin: Fact) -> Fact:
    path = origins.find(origin["sha256"])
    if path is not None:
        return {"path": str(path), "verified": True, "text": raw_row(path, origin["line"])}
    now = None if origin["file"] is None else origins.digest_of(origin["file"])
    problem = f"no file of {origins.source} has this sha256"
    if now is not None:
        problem += f": {origin['file']} has {now} now, it was changed since"
    return {"path": None, "verified": False, "text": None, "problem": problem}


def _rows_of(shelf: Shelf, table: str, condition: pl.Expr) -> list[Fact]:
    return [
        row | {"directory": str(stage.directory)}
        for stage in shelf.stages
        for row in stage.rows(table, condition).to_dicts()
    ]


def _name(stage: Stage) -> Fact:
    return {
        "directory": str(stage.directory),
        "stage": stage.manifest.stage,
        "digest": stage.manifest.content_digest,
    }
