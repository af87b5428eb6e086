"""The stage export: feedback or its preferences, as a file or as a directory with a card."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from notus.data.exports.containers import DIRECTORY, require_container
from notus.data.exports.dataset_card import CONTAMINATION, AuditFacts, CardFacts, dataset_card
from notus.data.exports.writers import WRITERS, Export, Writer, Written
from notus.data.schema import FINDINGS
from notus.errors import DataError, UsageError, explain, explain_unknown
from notus.manifest import Manifest, versions
from notus.store import read_feedback, read_manifest, read_table, run_stage

STAGE = "export"


def export(
    feedback: Path,
    out: Path,
    *,
    to: str,
    preferences: Path | None = None,
    audit: Path | None = None,
    holdout: int = 0,
    seed: int = 42,
    license: str | None = None,
    language: tuple[str, ...] = (),
) -> dict[str, object]:
    """Write feedback or its preferences in another tool's form.

    Args:
        feedback: A finished Feedback directory.
        out: A file, if its name ends like one (.jsonl, .jsonl.gz, .json, .parquet), else a
            directory with a card, which `datasets.load_dataset` loads.
        to: A key of `WRITERS`.
        preferences: A finished directory of preferences that were made from this feedback.
        audit: A finished audit of this feedback, for the card.
        holdout: Prompts whose pairs go to the second split of a directory.
        seed: Of that draw.
        license: Of the data, for the card; nothing is guessed.
        language: Of the data, codes of ISO 639-1, for the card.

    Returns:
        Facts: schema, rows and, of a directory, its splits and whether it was there already.

    Raises:
        UsageError: no such form, or options that do not go together.
        DataError: preferences or an audit of other feedback, or rows that the form cannot say.
        IncompleteError: a directory is not finished.
    """
    writer, options = _writer(to), _options(audit, holdout, license, language)
    container = require_container(out, writer.containers, to)
    _require_fitting(writer, to, preferences, options, has_card=container == DIRECTORY)
    given = {"feedback": feedback, "preferences": preferences, "audit": audit}
    inputs = {name: path for name, path in given.items() if path is not None}
    manifests = _manifests(inputs)
    pairs = None if preferences is None else read_table(preferences, "preferences").collect()
    tables, split = read_feedback(feedback), {"holdout": holdout, "seed": seed}
    what = Export(feedback=tables, preferences=pairs, name=out.name, **split)
    if container != DIRECTORY:
        return _facts(to, writer.write(what, out))
    config = {"to": to, "name": out.name, **split, "license": license, "language": list(language)}

    def build(directory: Path) -> Mapping[str, object]:
        written = writer.write(what, directory)
        if written.columns:
            card = dataset_card(_card_facts(what, written, config, manifests, inputs))
            (directory / "README.md").write_text(card, encoding="utf-8")
        return _facts(to, written)

    result = run_stage(out, stage=STAGE, config=config, inputs=inputs, build=build)
    return {**result.manifest.facts, "reused": result.reused}


def _writer(to: str) -> Writer:
    if to not in WRITERS:
        notes = {name: writer.note for name, writer in WRITERS.items()}
        raise UsageError(explain_unknown("schema", to, WRITERS, where="--to", notes=notes))
    return WRITERS[to]


def _options(
    audit: Path | None, holdout: int, license: str | None, language: tuple[str, ...]
) -> list[str]:
    """Name the options that only a directory with a card has a place for."""
    given = {"audit": audit, "holdout": holdout, "license": license, "language": language}
    return [name for name, value in given.items() if value]


def _require_fitting(
    writer: Writer, to: str, preferences: Path | None, options: list[str], *, has_card: bool
) -> None:
    """Raise UsageError for options that do not go together: none is ignored silently."""
    problem = None
    if writer.pairs is True and preferences is None:
        problem = (
            f"no preferences for the schema {to!r}",
            "--preferences DIRECTORY",
            "binarize first",
        )
    elif writer.pairs is False and preferences is not None:
        problem = f"preferences for the schema {to!r}", "feedback alone", "leave them out"
    elif options and not (has_card and writer.pairs):
        problem = (
            f"{', '.join(options)} for something without a card",
            f"a directory of pairs: {', '.join(k for k, w in WRITERS.items() if w.pairs)}",
            "leave the options out, or give a directory as --out",
        )
    if problem is not None:
        found, expected, remedy = problem
        raise UsageError(explain(found=found, expected=expected, where="export", remedy=remedy))


def _manifests(inputs: Mapping[str, Path]) -> dict[str, Manifest]:
    """Read the manifests of the inputs, all of which must be of the same feedback."""
    found = {name: read_manifest(path) for name, path in inputs.items()}
    digest = found["feedback"].content_digest
    for name, manifest in found.items():
        if name != "feedback" and manifest.inputs.get("feedback") != digest:
            raise DataError(
                explain(
                    found=f"{name} of other feedback ({manifest.inputs.get('feedback', 'none')})",
                    expected=f"made from the feedback with the digest {digest}",
                    where=str(inputs[name]),
                    remedy=f"make the {name} again from {inputs['feedback']}",
                )
            )
    return found


def _facts(to: str, written: Written) -> dict[str, object]:
    splits = {"splits": dict(written.splits)} if written.splits else {}
    return {"schema": to, "rows": written.rows, **splits}


def _card_facts(
    what: Export,
    written: Written,
    config: Mapping[str, Any],
    manifests: Mapping[str, Manifest],
    inputs: Mapping[str, Path],
) -> CardFacts:
    feedback, preferences = manifests["feedback"], manifests["preferences"]
    tables = {name: _rows(feedback, name) for name in ("prompts", "completions", "ratings")}
    dropped = read_table(inputs["preferences"], "dropped")
    return CardFacts(
        name=what.name,
        schema=config["to"],
        splits=written.splits,
        columns=written.columns,
        feedback=feedback,
        sizes={name: rows for name, rows in tables.items() if rows is not None},
        refused=feedback.facts.get("refused"),
        preferences=preferences,
        num_preferences=_rows(preferences, "preferences") or 0,
        dropped=dict(dropped.group_by("reason").len().collect().iter_rows()),
        audit=_audit_facts(what, inputs["audit"], manifests["audit"])
        if "audit" in inputs
        else None,
        holdout=what.holdout,
        seed=what.seed,
        license=config["license"],
        languages=tuple(config["language"]),
        version=versions()["notus"],
    )


def _audit_facts(what: Export, directory: Path, manifest: Manifest) -> AuditFacts:
    summary = json.loads((directory / "summary.json").read_bytes())
    has_findings = _rows(manifest, "findings") is not None
    findings = read_table(directory, "findings").collect() if has_findings else None
    issues = read_table(directory, "issues").collect()
    overlapping = issues.filter(pl.col("rule") == CONTAMINATION)["prompt_id"]
    paired = pl.Series([]) if what.preferences is None else what.preferences["prompt_id"]
    return AuditFacts(
        issues=issues,
        findings=pl.DataFrame(schema=FINDINGS.schema) if findings is None else findings,
        skipped={row["rule"]: row["skipped"] for row in summary.get("rules", []) if row["skipped"]},
        rules=tuple(manifest.config.get("rules") or ()),
        against=tuple(
            name.partition(": ")[2] for name in manifest.inputs if name.startswith("against ")
        ),
        num_contaminated=len(set(overlapping) & set(paired)),
        digest=manifest.content_digest,
    )


def _rows(manifest: Manifest, table: str) -> int | None:
    """Rows of a table of a stage; None if it has no such table."""
    return next((o.rows for o in manifest.outputs if o.path == f"{table}.parquet"), None)
