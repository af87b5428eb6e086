"""The verbs of review on directories: decide, undo, exchange, apply, agree; rebuilt and killed."""

import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from notus.commands.review import review as app
from notus.data.schema import TABLES, check, preference_id
from notus.data.sources import ingest
from notus.errors import DataError, IncompleteError, UsageError
from notus.manifest import Manifest
from notus.review.decisions import Decisions
from notus.review.rulings import ACTIONS, current
from notus.stages.apply import apply
from notus.stages.binarize import binarize
from notus.stages.review import (
    agreement,
    decide,
    export_decisions,
    import_decisions,
    listed,
    undo,
)
from notus.store import read_manifest, read_table

ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")


def raw_row(prompt: str, ratings: Mapping[str, int]) -> dict[str, Any]:
    """A row of raw UltraFeedback: each model's answer is rated alike on all aspects."""
    answers = [
        {
            "model": model,
            "response": f"{model} on {prompt}",
            "critique": f"critique of {model}",
            "overall_score": 2 * rating,
            "annotations": {
                aspect: {"Rating": str(rating), "Rationale": f"{aspect}: {rating}"}
                for aspect in ASPECTS
            },
        }
        for model, rating in ratings.items()
    ]
    return {"source": "test", "instruction": prompt, "completions": answers}


def write_source(path: Path, prompts: int = 6) -> Path:
    rows = [raw_row(f"prompt {i}", {"a": 5, "b": 3, "c": 1}) for i in range(prompts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


class Place:
    """A source read and binarized, and a file of decisions."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.source = write_source(folder / "source.jsonl")
        self.feedback = ingest(self.source, folder / "feedback").directory
        made = binarize(self.feedback, folder / "preferences", strategy="argilla-v1")
        self.preferences = made.directory
        self.decisions = folder / "decisions.sqlite"

    def prompt(self, i: int) -> str:
        prompts = read_table(self.feedback, "prompts").collect()
        texts = prompts["messages"].list.last().struct.field("content")
        return str(prompts["prompt_id"].filter(texts == f"prompt {i}").item())

    def answer(self, i: int, model: str) -> str:
        rows = read_table(self.feedback, "completions").filter(
            prompt_id=self.prompt(i), model=model
        )
        return str(rows.collect()["completion_id"].item())

    def pair(self, i: int) -> dict[str, Any]:
        rows = read_table(self.preferences, "preferences").filter(prompt_id=self.prompt(i))
        return rows.collect().to_dicts()[0]

    def decide(self, item: str, action: str, name: str = "anna", **more: Any) -> dict[str, Any]:
        data = self.feedback
        if action == "flip" or item in (self.pair(i)["preference_id"] for i in range(6)):
            data = self.preferences
        return decide(self.decisions, data, item, action, reviewer=name, **more)

    def decide_much(self) -> None:
        """One ruling of each action, a contested one, one that was taken back."""
        self.decide(self.prompt(0), "drop", note="not a question")
        self.decide(self.prompt(1), "choose", value=self.answer(1, "c"))
        self.decide(self.answer(2, "a"), "re-rate", value="honesty=1", note="made up")
        self.decide(self.pair(2)["preference_id"], "flip")
        self.decide(self.pair(3)["preference_id"], "drop", note="both bad")
        self.decide(self.pair(4)["preference_id"], "keep")
        self.decide(self.answer(4, "b"), "drop")
        self.decide(self.answer(4, "b"), "keep", "ben")
        self.decide(self.prompt(5), "drop")
        undo(self.decisions, reviewer="anna")
        self.decide(self.prompt(5), "note", note="a fine one")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "work")


def frame(directory: Path, table: str) -> pl.DataFrame:
    return read_table(directory, table).collect()


def hashes(manifest: Manifest) -> dict[str, str]:
    return {output.path: output.sha256 for output in manifest.outputs}


def test_decide_finds_the_item_and_holds_the_value_against_the_data(place: Place) -> None:
    first = place.decide(place.prompt(0)[:8], "drop")
    assert first == {
        "id": 1,
        "kind": "prompt",
        "item": place.prompt(0),
        "action": "drop",
        "value": None,
    }
    chosen = place.answer(0, "b")
    assert place.decide(place.prompt(0), "choose", value=chosen[:10])["value"] == chosen
    rated = place.decide(place.answer(0, "a"), "re-rate", value="honesty = 2.5")
    assert rated["value"] == {"aspect": "honesty", "value": 2.5}
    absent = place.decide(place.answer(0, "a"), "re-rate", value="honesty=N/A")
    assert absent["value"] == {"aspect": "honesty", "value": None}
    assert place.decide(place.pair(1)["preference_id"], "flip")["kind"] == "preference"
    # A folder with both, like a run's, will do.
    both = decide(place.decisions, place.folder, chosen, "re-rate", reviewer="b", value="honesty=1")
    assert both["kind"] == "completion"
    assert len(listed(place.decisions, every=True)) == 6


def test_decide_refuses_what_does_not_fit(place: Place) -> None:
    prompt, answer, other = place.prompt(0), place.answer(0, "a"), place.answer(1, "a")
    for item, action, value, message in (
        (prompt, "delete", None, r"action 'delete'\n.*one of keep \(it stays"),
        (prompt, "undo", None, "action 'undo'"),
        (prompt, "flip", None, "flip does not fit a prompt, only a preference"),
        (answer, "choose", answer, "choose does not fit a completion"),
        (prompt, "choose", None, "value None is no completion_id"),
        (prompt, "choose", other, rf"begins the id of 0 answers\n.*one of .*{answer}"),
        (prompt, "choose", answer[:2], "begins the id of"),
        (prompt, "drop", "x", "a value .* that nothing uses"),
        (answer, "re-rate", "honsety=2", r"aspect 'honsety'[^$]*did you mean 'honesty'"),
        (answer, "re-rate", "honesty=9", r"'9' for honesty\n.*from 1 to 5, or N/A"),
        (answer, "re-rate", "honesty=nan", "'nan' for honesty"),
        (answer, "re-rate", "honesty", "'' for honesty"),
        (answer, "note", None, "a note without text"),
    ):
        with pytest.raises(UsageError, match=message):
            decide(place.decisions, place.feedback, item, action, reviewer="anna", value=value)
    with pytest.raises(DataError, match="nothing that begins with ffffff"):
        decide(place.decisions, place.feedback, "ffffff", "drop", reviewer="anna")
    assert not place.decisions.exists()


def test_apply_to_feedback(place: Place, tmp_path: Path) -> None:
    place.decide_much()
    result = apply(place.feedback, tmp_path / "applied", decisions=place.decisions)
    facts = result.manifest.facts
    assert facts["applied"] == {"choose": 1, "drop": 1, "re-rate": 1}
    assert facts["withheld"] == {"completion": 3, "prompt": 1}
    assert (facts["unmatched"], facts["contested"], facts["of_other_tables"]) == ({}, 1, 3)
    assert (facts["prompts"], facts["completions"]) == (5, 15)
    # 6 * 3 * 5 ratings, less 15 with their prompt and 1 overridden, and 4 by reviewers.
    assert (facts["ratings"], facts["overridden"], facts["added"]) == (78, 1, 4)
    for name in ("prompts", "completions", "ratings"):
        assert check(TABLES[name], frame(result.directory, name)).refused.is_empty()
    contested = frame(result.directory, "contested")
    assert contested["item"].unique().to_list() == [place.answer(4, "b")]
    # It is Feedback: the next stage reads it, and sees the rulings.
    made = binarize(result.directory, tmp_path / "given", strategy="given")
    (pair,) = frame(made.directory, "preferences").to_dicts()
    assert (pair["prompt_id"], pair["chosen_id"]) == (place.prompt(1), place.answer(1, "c"))
    again = binarize(result.directory, tmp_path / "argilla", strategy="argilla-v1")
    rows = frame(again.directory, "preferences")
    assert rows.height == 5
    margin = rows.filter(prompt_id=place.prompt(2))["margin"].item()
    # (5 + 1 + 5 + 5) / 4 = 4 instead of 5.
    assert margin == place.pair(2)["margin"] - 1 or margin in (1, 3)


def test_apply_to_preferences(place: Place, tmp_path: Path) -> None:
    place.decide_much()
    result = apply(place.preferences, tmp_path / "applied", decisions=place.decisions)
    facts = result.manifest.facts
    assert facts["applied"] == {"drop": 1, "flip": 1, "keep": 1}
    assert (facts["preferences"], facts["withheld"], facts["of_other_tables"]) == (5, 1, 3)
    rows = frame(result.directory, "preferences")
    before = place.pair(2)
    (after,) = rows.filter(prompt_id=before["prompt_id"]).to_dicts()
    assert after["chosen_id"] == before["rejected_id"]
    assert after["margin"] == -before["margin"]
    sides = (before["prompt_id"], before["rejected_id"], before["chosen_id"])
    assert after["preference_id"] == preference_id(*sides)
    dropped = frame(result.directory, "dropped")
    assert dropped.rows() == [(place.prompt(3), "argilla-v1", "decision 5 of anna: both bad")]
    assert json.loads((result.directory / "summary.json").read_text()) == facts
    twice = apply(result.directory, tmp_path / "twice", decisions=place.decisions)
    assert frame(twice.directory, "preferences").equals(rows)
    assert twice.manifest.facts["unmatched"] == {
        "no such preference here": 1,
        "the preference stands the other way round already": 1,
    }


def test_a_rebuilt_source_keeps_the_rulings_that_still_fit(place: Place, tmp_path: Path) -> None:
    place.decide_much()
    rows = [json.loads(line) for line in place.source.read_text("utf-8").splitlines()]
    rows[2]["completions"][0]["response"] = "another answer"
    source = tmp_path / "mended.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows[1:]), "utf-8")
    rebuilt = ingest(source, tmp_path / "rebuilt").directory
    result = apply(rebuilt, tmp_path / "applied", decisions=place.decisions)
    assert result.manifest.facts["applied"] == {"choose": 1}
    assert result.manifest.facts["unmatched"] == {
        "no such completion here": 1,
        "no such prompt here": 1,
    }
    unmatched = frame(result.directory, "unmatched")
    assert unmatched["item"].sort().to_list() == sorted([place.prompt(0), place.answer(2, "a")])


def test_the_rulings_are_the_input_not_the_bytes_of_their_file(
    place: Place, tmp_path: Path
) -> None:
    place.decide_much()
    out = tmp_path / "applied"
    first = apply(place.feedback, out, decisions=place.decisions)
    assert apply(place.feedback, out, decisions=place.decisions).reused
    # A note, and a ruling that is taken back, change the file but not what is in force.
    place.decide(place.prompt(3), "note", note="hm")
    place.decide(place.prompt(3), "drop")
    undo(place.decisions, reviewer="anna")
    assert apply(place.feedback, out, decisions=place.decisions).reused
    place.decide(place.prompt(3), "drop", note="after all")
    second = apply(place.feedback, out, decisions=place.decisions)
    assert not second.reused
    assert second.manifest.content_digest != first.manifest.content_digest


def test_the_same_inputs_give_the_same_hashes_elsewhere(place: Place, tmp_path: Path) -> None:
    place.decide_much()
    other = Place(tmp_path / "elsewhere")
    for one in (place, other):
        apply(one.feedback, one.folder / "applied", decisions=place.decisions)
        apply(one.preferences, one.folder / "pairs", decisions=place.decisions)
    for name in ("feedback", "preferences", "applied", "pairs"):
        one, two = (read_manifest(where.folder / name) for where in (place, other))
        assert hashes(one) == hashes(two)
        assert one.content_digest == two.content_digest


KILLED = """
import os, signal, sys
from pathlib import Path
from notus.stages import apply as stage
from notus.store import TableWriter
data, out, decisions, after = *map(Path, sys.argv[1:4]), int(sys.argv[4])
write, calls = TableWriter.write, iter(range(100))
def until(self, frame):
    # In the middle of a table, whose file is open and not complete.
    if next(calls) == after:
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, frame)
TableWriter.write = until
stage.apply(data, out, decisions=decisions)
"""


def test_killed_while_applying(place: Place, tmp_path: Path) -> None:
    place.decide_much()
    expected = apply(place.feedback, tmp_path / "undisturbed", decisions=place.decisions)
    out = tmp_path / "out"
    for after in range(7):
        command = [place.feedback, out, place.decisions, after]
        run = [sys.executable, "-c", KILLED, *map(str, command)]
        assert subprocess.run(run, check=False).returncode == -signal.SIGKILL
        with pytest.raises(IncompleteError):
            read_manifest(out)
    result = apply(place.feedback, out, decisions=place.decisions)
    assert hashes(result.manifest) == hashes(expected.manifest)
    assert {path.name for path in tmp_path.iterdir()} == {"out", "undisturbed", "work"}


def test_decisions_survive_an_exchange(place: Place, tmp_path: Path) -> None:
    place.decide_much()
    for name in ("out.jsonl", "out.jsonl.gz"):
        export_decisions(place.decisions, tmp_path / name)
    plain = (tmp_path / "out.jsonl").read_bytes()
    assert gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()) == plain
    other = tmp_path / "other.sqlite"
    decide(other, place.feedback, place.prompt(0), "keep", reviewer="cleo")
    decide(other, place.feedback, place.prompt(5), "drop", reviewer="cleo")
    counts = {"decisions": 11, "added": 11, "known": 0}
    assert import_decisions(other, tmp_path / "out.jsonl.gz") == counts
    again = {"decisions": 11, "added": 0, "known": 11}
    assert import_decisions(other, tmp_path / "out.jsonl") == again
    with Decisions(place.decisions) as one, Decisions(other) as two:
        ours, theirs = one.rows(), two.rows()
    assert theirs["id"].to_list() == list(range(1, 14))
    # The undo names the row that it takes back by its new id.
    assert theirs["undoes"].drop_nulls().to_list() == [ours["undoes"].drop_nulls().item() + 2]
    columns = ["item", "action", "reviewer", "value", "note", "decided_at"]
    kept = current(theirs).filter(pl.col("reviewer") != "cleo")
    assert kept.select(columns).equals(current(ours).select(columns))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not valid JSON"),
        ("[1]", "not an object"),
        ('{"id": 1}', "fields id"),
        ({"id": "1"}, "values of other types"),
        ({"undoes": True}, "values of other types"),
        ({"note": None}, "values of other types"),
        ({"action": "flip"}, "flip does not fit a prompt"),
        ({"decided_at": "yesterday"}, "is not UTC"),
    ],
)
def test_a_line_that_is_no_decision_imports_nothing(
    place: Place, tmp_path: Path, line: object, problem: str
) -> None:
    place.decide(place.prompt(0), "drop")
    place.decide(place.prompt(1), "drop")
    path = tmp_path / "x.jsonl"
    export_decisions(place.decisions, path)
    lines = path.read_text("utf-8").splitlines()
    lines[1] = line if isinstance(line, str) else json.dumps(json.loads(lines[1]) | dict(line))
    path.write_text("\n".join(lines), "utf-8")
    with pytest.raises(DataError, match=rf"{problem}[^$]*x\.jsonl:2[^$]*nothing was imported"):
        import_decisions(tmp_path / "other.sqlite", path)
    assert not (tmp_path / "other.sqlite").exists()


def test_an_import_that_takes_back_what_is_not_there(place: Place, tmp_path: Path) -> None:
    place.decide(place.prompt(0), "drop")
    undo(place.decisions, reviewer="anna")
    path = tmp_path / "x.jsonl"
    export_decisions(place.decisions, path)
    path.write_text(path.read_text("utf-8").splitlines()[1], "utf-8")
    with pytest.raises(UsageError, match="an undo of decision -1 by anna"):
        import_decisions(tmp_path / "other.sqlite", path)
    with Decisions(tmp_path / "other.sqlite") as other:
        assert other.rows().is_empty()


def test_reviewers_are_compared(place: Place) -> None:
    for i in range(5):
        place.decide(place.prompt(i), "choose", "anna", value=place.answer(i, "a"))
        chosen = place.answer(i, "a" if i else "b")
        place.decide(place.prompt(i), "choose", "ben", value=chosen)
        place.decide(place.answer(i, "a"), "re-rate", "anna", value=f"honesty={1 + i % 3}")
        place.decide(place.answer(i, "a"), "re-rate", "ben", value=f"honesty={2 + i % 3}")
    place.decide(place.pair(0)["preference_id"], "flip", "anna")
    blind = agreement(place.decisions)
    seen = agreement(place.decisions, feedback=place.feedback)
    assert (seen["rulings"], seen["reviewers"]) == (21, 2)
    subjects = {row["subject"]: row for row in seen["agreement"]}
    assert set(subjects) == {"rating honesty", "verdict on prompts"}
    choices, honesty = subjects["verdict on prompts"], subjects["rating honesty"]
    assert (choices["items"], choices["agree"]) == (5, 0.8)
    assert choices["alpha_low"] <= choices["alpha"] <= choices["alpha_high"]
    # Values 1 2 3 1 2 and 2 3 4 2 3: n D_o = 10, sum v = 23, sum v^2 = 61.
    assert honesty["alpha"] == pytest.approx(1 - 9 * 10 / (2 * (10 * 61 - 23**2)))
    assert honesty["agree"] == 0
    pairs = {row["subject"]: row for row in seen["pairs"]}
    assert pairs["verdict on prompts"]["reviewers"] == "anna, ben"
    assert pairs["verdict on prompts"]["kappa"] is not None
    assert pairs["rating honesty"]["kappa"] is None
    # Which of how many answers was chosen is not in the file of decisions.
    (row,) = (row for row in blind["pairs"] if row["subject"] == "verdict on prompts")
    assert (row["agree"], row["kappa"]) == (0.8, None)
    assert agreement(place.decisions, feedback=place.feedback) == seen


def test_other_directories_are_refused(place: Place, tmp_path: Path) -> None:
    place.decide(place.prompt(0), "drop")
    with pytest.raises(DataError, match=r"no file 'none\.sqlite'"):
        apply(place.feedback, tmp_path / "out", decisions=tmp_path / "none.sqlite")
    half = tmp_path / "half"
    half.mkdir()
    with pytest.raises(IncompleteError, match=r"without manifest\.json"):
        apply(half, tmp_path / "out", decisions=place.decisions)
    assert not (tmp_path / "out").exists()


def run(*arguments: object) -> Any:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_the_commands(place: Place, tmp_path: Path) -> None:
    """Each verb once, as people type it; data is on stdout and talk on stderr."""
    file = ["--decisions", place.decisions]
    by = ["--reviewer", "anna"]
    run("decide", place.feedback, place.prompt(0)[:8], "drop", *file, *by, "--note", "spam")
    done = run("decide", place.feedback, place.answer(1, "a"), "re-rate", *file, *by,
               "--value", "honesty=1", "--json")  # fmt: skip
    assert json.loads(done.stdout)["value"] == {"aspect": "honesty", "value": 1}
    shown = run("list", place.decisions).stdout
    assert "drop" in shown
    assert "spam" in shown
    assert json.loads(run("undo", place.decisions, *by, "--json").stdout) == {"undone": 2}
    assert len(json.loads(run("list", place.decisions, "--json").stdout)["decisions"]) == 1
    rows = json.loads(run("list", place.decisions, "--all", "--json").stdout)["decisions"]
    assert [row["action"] for row in rows] == ["drop", "re-rate", "undo"]
    run("export", place.decisions, "--out", tmp_path / "x.jsonl")
    done = run("import", tmp_path / "y.sqlite", tmp_path / "x.jsonl", "--json")
    assert json.loads(done.stdout)["added"] == 3
    run("decide", place.feedback, place.prompt(0), "keep", *file, "--reviewer", "ben")
    done = run("apply", place.feedback, "--out", tmp_path / "out", *file, "--json")
    assert json.loads(done.stdout)["contested"] == 1
    assert "warning: reviewers differ on 1" in done.stderr
    assert "contested.parquet" in done.stderr
    done = run("apply", place.preferences, "--out", tmp_path / "pairs", *file)
    assert "warning" not in done.stderr
    done = run("agreement", place.decisions, "--feedback", place.feedback)
    assert "verdict on prompts" in done.stdout
    assert run("agreement", place.decisions).exit_code == 0
    assert run("decide", "--help").exit_code == 0


def test_help_names_every_action() -> None:
    shown = run("decide", "--help").stdout
    for action in ACTIONS:
        assert action in shown or action == "undo"


def test_listing_is_empty_without_rulings(place: Place) -> None:
    Decisions(place.decisions).close()
    assert listed(place.decisions) == []
    empty: Sequence[object] = agreement(place.decisions)["agreement"]
    assert empty == []
