"""A directory of exported pairs: what `datasets` loads, what the card says, what is refused."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from datasets import disable_progress_bars, load_dataset
from exported import save_feedback, save_preferences

from notus.data.exports.dataset_card import size_category
from notus.data.exports.pair_schemas import PAIR_SCHEMAS
from notus.data.exports.writers import WRITERS
from notus.data.schema import FINDINGS, ISSUES, Feedback
from notus.errors import DataError, IncompleteError, UsageError
from notus.stages.export import export
from notus.stages.files import write_json
from notus.store import read_feedback, read_manifest, run_stage, write_table

Make = Callable[[Mapping[str, Any]], Feedback]
COMPARED = {"with": "h4-v2", "n_both": 8, "n_flipped": 3, "low": 0.1, "high": 0.7, "kappa": 0.25}


@pytest.fixture
def feedback(make_feedback: Make, tmp_path: Path) -> Path:
    said = {
        f"Question {i}?": [("m", f"yes {i}", {"honesty": 4.0}), ("n", f"no {i}", {"honesty": 2.0})]
        for i in range(6)
    }
    return save_feedback(tmp_path / "feedback", make_feedback(said))


@pytest.fixture
def preferences(feedback: Path, tmp_path: Path) -> Path:
    lost = read_feedback(feedback).prompts.collect()["prompt_id"][5]
    return save_preferences(
        tmp_path / "preferences",
        feedback,
        [(i, 2 * i, 2 * i + 1) for i in range(5)],
        facts={"compare": COMPARED},
        dropped={lost: "equal ratings (tie)"},
    )


def save_audit(
    folder: Path,
    feedback: Path,
    *,
    issues: list[tuple[Any, ...]] = [],  # noqa: B006 - never changed
    findings: list[tuple[Any, ...]] = [],  # noqa: B006
    skipped: Mapping[str, str] | None = None,
    rules: tuple[str, ...] = ("tie", "contamination"),
    against: tuple[str, ...] = (),
) -> Path:
    """Write what an audit has found."""

    def build(directory: Path) -> dict[str, object]:
        write_table(directory, ISSUES, pl.DataFrame(issues, schema=ISSUES.schema, orient="row"))
        found = pl.DataFrame(findings, schema=FINDINGS.schema, orient="row")
        write_table(directory, FINDINGS, found)
        rules = [{"rule": rule, "skipped": why} for rule, why in (skipped or {}).items()]
        write_json(directory / "summary.json", {"rules": rules})
        return {}

    inputs: dict[str, Path | str] = {"feedback": feedback}
    inputs |= {f"against {i}: {name}": "0" * 64 for i, name in enumerate(against)}
    run_stage(folder, stage="audit", config={"rules": rules}, inputs=inputs, build=build)
    return folder


def card_of(out: Path) -> tuple[dict[str, Any], str]:
    _, header, text = (out / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(header), text


def load(source: Path, cache: Path) -> Any:
    disable_progress_bars()
    return load_dataset(str(source), cache_dir=str(cache))


@pytest.mark.parametrize("to", sorted(PAIR_SCHEMAS))
def test_datasets_loads_the_directory_with_its_splits(
    feedback: Path, preferences: Path, tmp_path: Path, to: str
) -> None:
    facts = export(feedback, tmp_path / "out", to=to, preferences=preferences, holdout=2)
    train, test = PAIR_SCHEMAS[to].splits
    assert facts == {"schema": to, "rows": 5, "splits": {train: 3, test: 2}, "reused": False}
    loaded = load(tmp_path / "out", tmp_path / "cache")
    assert {name: split.num_rows for name, split in loaded.items()} == {train: 3, test: 2}
    assert loaded[train].column_names == list(PAIR_SCHEMAS[to].meaning)
    export(feedback, tmp_path / "all.jsonl", to=to, preferences=preferences)
    lines = (tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for split in loaded.values() for row in split]
    assert sorted(map(str, rows)) == sorted(str(json.loads(line)) for line in lines)


def test_without_a_holdout_there_is_one_split(
    feedback: Path, preferences: Path, tmp_path: Path
) -> None:
    export(feedback, tmp_path / "out", to="h4", preferences=preferences)
    assert list(load(tmp_path / "out", tmp_path / "cache")) == ["train_prefs"]
    header, text = card_of(tmp_path / "out")
    assert header["configs"][0]["data_files"] == [
        {"split": "train_prefs", "path": "data/train_prefs-*"}
    ]
    assert "seed" not in text


def test_a_rerun_is_reused_and_equal_runs_have_equal_bytes(
    feedback: Path, preferences: Path, tmp_path: Path
) -> None:
    def run(folder: str, **options: Any) -> tuple[object, dict[str, str]]:
        out = tmp_path / folder / "out"
        facts = export(feedback, out, to="trl", preferences=preferences, **options)
        outputs = read_manifest(out, "export").outputs
        return facts["reused"], {output.path: output.sha256 for output in outputs}

    first, files = run("a")
    assert first is False
    assert set(files) == {"README.md", "data/train-00000-of-00001.parquet"}
    assert run("a") == (True, files)
    assert run("b") == (False, files)
    held = [run("a", holdout=2, seed=seed)[1] for seed in (1, 1, 2)]
    assert held[0] == held[1] != held[2]


def test_the_card_says_what_the_tables_say(
    feedback: Path, preferences: Path, tmp_path: Path
) -> None:
    export(
        feedback,
        tmp_path / "my pairs",
        to="argilla",
        preferences=preferences,
        holdout=1,
        seed=7,
        license="mit",
        language=("en", "de"),
    )
    header, text = card_of(tmp_path / "my pairs")
    assert header["pretty_name"] == "my pairs"
    assert (header["license"], header["language"]) == ("mit", ["en", "de"])
    assert header["size_categories"] == ["n<1K"]
    for line in (
        "4 in `train`, 1 in `test`",
        "pairs of 1 prompts that were drawn with seed 7",
        "| prompts | 6 |",
        "| completions | 12 |",
        "| preferences | 5 |",
        "Refused on reading: 2.",
        "| identical pair | 2 |",
        "Dropped by the rule: 1.",
        "| equal ratings (tie) | 1 |",
        "The best one.",
        "name: best",
        "Against the rule `h4-v2`, the chosen answer differs for 3 of the 8 prompts (37.5 %)",
        "The 95 % interval of this share is 10.0 to 70.0 %. Cohen's kappa is 0.250.",
        "Not checked for contamination: no audit was given.",
        "score of the chosen answer: mean of the ratings of honesty, on 1..5 |",
        "notus ingest SOURCE --out feedback --format pairs",
        "notus binarize feedback --out preferences --strategy best --set compare=h4-v2",
        "--preferences preferences --out 'my pairs' --set holdout=1 --set seed=7 "
        "--set license=mit --set 'language=[en, de]'",
        f"`{read_manifest(preferences).content_digest}`",
    ):
        assert line in text, line


def test_what_is_not_known_is_said(feedback: Path, tmp_path: Path) -> None:
    bare = save_preferences(tmp_path / "bare", feedback, [(0, 0, 1)], config={"rule": "coin"})
    export(feedback, tmp_path / "out", to="trl", preferences=bare)
    header, text = card_of(tmp_path / "out")
    assert not {"license", "language"} & set(header)
    for line in (
        "No license was stated",
        "by the rule `unnamed`",
        "rule: coin",
        "Dropped by the rule: none.",
        "The rule was not compared with another one.",
        "No audit was given.",
    ):
        assert line in text, line


def test_an_audit_stands_in_the_card(feedback: Path, preferences: Path, tmp_path: Path) -> None:
    ids = read_feedback(feedback).prompts.collect()["prompt_id"]
    issues = [("contamination", ids[i], None, "error", 0.9, "covered") for i in (0, 1, 5)]
    issues += [
        ("tie", ids[2], None, "warning", 1.0, "equal"),
        ("tie", ids[3], None, "info", 1.0, "e"),
    ]
    findings = [
        ("contamination", "error", "gsm8k", 0.03, None, None, 1319, "3 of 1,319 items | found"),
        ("length", "warning", "longer chosen", 0.7, 0.6, 0.8, 5, "longer answers win"),
        ("tie", "info", "all", 0.1, None, None, 6, "few"),
    ]
    audit = save_audit(
        tmp_path / "audit",
        feedback,
        issues=issues,
        findings=findings,
        skipped={"collapse": "no tokenizer was named"},
        against=("gsm8k.jsonl",),
    )
    export(feedback, tmp_path / "out", to="trl", preferences=preferences, audit=audit)
    text = card_of(tmp_path / "out")[1]
    for line in (
        "3 of the feedback's prompts overlap with an evaluation item; 2 of them have pairs in this",
        "Compared with: gsm8k.jsonl.",
        "Rules that ran: tie, contamination.",
        r"| gsm8k | error | 3 of 1,319 items \| found |",
        "| `contamination` | error | 3 |",
        "| `tie` | info | 1 |\n| `tie` | warning | 1 |",
        "| `length` | warning | longer answers win |",
        "| `collapse` | no tokenizer was named |",
        f"| export | `audit` | `{read_manifest(audit).content_digest}` |",
    ):
        assert line in text, line
    assert "| `tie` | info | few |" not in text


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"skipped": {"contamination": "no items were given"}},
            "Not checked for contamination: no items were given.",
        ),
        (
            {"rules": ("tie",)},
            "Not checked for contamination: the audit that was given has no such",
        ),
        ({}, "0 of the feedback's prompts overlap with an evaluation item; 0 of them have pairs"),
    ],
)
def test_contamination_in_words(
    feedback: Path, preferences: Path, tmp_path: Path, options: dict[str, Any], line: str
) -> None:
    audit = save_audit(tmp_path / "audit", feedback, **options)
    export(feedback, tmp_path / "out", to="trl", preferences=preferences, audit=audit)
    assert line in card_of(tmp_path / "out")[1]


def test_foreign_text_means_nothing_in_the_card(feedback: Path, tmp_path: Path) -> None:
    evil = "x`|</td>\n# Owned\n```\n---\n"
    prompt = read_feedback(feedback).prompts.collect()["prompt_id"][4]
    preferences = save_preferences(
        tmp_path / "preferences",
        feedback,
        [(0, 0, 1)],
        config={"specification": {"name": evil, "note": evil, "more": {evil: evil}}},
        facts={"compare": {"with": evil, "n_both": 0, "n_flipped": 0}},
        dropped={prompt: evil},
    )
    audit = save_audit(
        tmp_path / "audit",
        feedback,
        findings=[("contamination", "error", evil, None, None, None, 0, evil)],
        skipped={evil: evil},
        against=(evil.replace("/", ""),),
    )
    out = tmp_path / "x`|# Owned"
    export(feedback, out, to="trl", preferences=preferences, audit=audit)
    loaded = load(out, tmp_path / "cache")
    assert loaded["train"].num_rows == 1
    text = card_of(out)[1]
    # Outside of the fenced specification and commands no line is a heading or a fence of its own.
    outside, fence = [], ""
    for line in text.splitlines():
        ticks = line[: len(line) - len(line.lstrip("`"))]
        if not fence and len(ticks) >= 3:
            fence = ticks
        elif fence:
            fence = "" if line == fence else fence
        else:
            outside.append(line)
    assert not fence
    headings = [line for line in outside if line.startswith("#")]
    assert [line for line in headings if "Owned" in line] == ["# x\\`\\|\\# Owned"]
    for row in (line for line in outside if line.startswith("|")):
        without_code = re.sub(r"(?<!\\)`[^`]*`", "", row)
        assert not re.search(r"(?<!\\)[<`]", without_code), row


@pytest.mark.parametrize(
    ("rows", "category"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1_000, "1K<n<10K"),
        (60_917, "10K<n<100K"),
        (1_000_000, "1M<n<10M"),
        (10**9, "n>100M"),
    ],
)
def test_size_categories(rows: int, category: str) -> None:
    assert size_category(rows) == category


def test_preferences_and_audits_of_other_feedback_are_refused(
    feedback: Path, preferences: Path, make_feedback: Make, tmp_path: Path
) -> None:
    other = save_feedback(
        tmp_path / "other", make_feedback({"B?": [("m", "a", {}), ("n", "b", {})]})
    )
    audit = save_audit(tmp_path / "audit", other)
    with pytest.raises(DataError, match=r"^preferences of other feedback \([0-9a-f]{64}\)\n"):
        export(other, tmp_path / "out", to="trl", preferences=preferences)
    with pytest.raises(DataError, match=r"^audit of other feedback \("):
        export(feedback, tmp_path / "out", to="trl", preferences=preferences, audit=audit)
    with pytest.raises(IncompleteError):
        export(feedback, tmp_path / "out", to="trl", preferences=tmp_path / "nothing")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("out", "options", "message"),
    [
        ("o", {"to": "tlr"}, r"^schema 'tlr'\n.*conversational pairs(.|\n)*did you mean 'trl'"),
        ("o", {"to": "trl", "preferences": None}, r"^no preferences for the schema 'trl'\n"),
        ("o.jsonl", {"to": "ultrafeedback"}, r"^preferences for the schema 'ultrafeedback'\n"),
        ("o", {"to": "ultrafeedback"}, r"^'o' for the schema 'ultrafeedback'\n.*ends in \.jsonl "),
        ("o.csv", {"to": "trl"}, r"^'o\.csv' for the schema 'trl'\n"),
        ("o.json", {"to": "h4"}, r"^'o\.json' for the schema 'h4'\n"),
        ("there.jsonl", {"to": "h4"}, r"^'there\.jsonl', which is a directory, for the schema"),
        ("o.jsonl", {"to": "trl", "holdout": 2}, r"^holdout for something without a card\n"),
        ("o.jsonl", {"to": "h4", "license": "mit"}, r"^license for something without a card\n"),
        ("o", {"to": "argilla-records", "holdout": 1}, r"^holdout for something without a card"),
        ("o", {"to": "trl", "holdout": 5}, r"^5 prompts to hold out of 5\n"),
    ],
)
def test_what_does_not_go_together_is_refused(
    feedback: Path,
    preferences: Path,
    tmp_path: Path,
    out: str,
    options: dict[str, Any],
    message: str,
) -> None:
    (tmp_path / "there.jsonl").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match=message):
        export(feedback, tmp_path / out, **({"preferences": preferences} | options))
    assert sorted(tmp_path.iterdir()) == before


def test_a_directory_of_something_else_is_not_replaced(
    feedback: Path, preferences: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years")
    with pytest.raises(UsageError, match="without manifest"):
        export(feedback, tmp_path / "mine", to="trl", preferences=preferences)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years"


def test_every_writer_has_a_note_and_a_container() -> None:
    assert set(PAIR_SCHEMAS) < set(WRITERS)
    assert all(writer.note and writer.containers for writer in WRITERS.values())
