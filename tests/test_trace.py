"""Lineage: from a preference to the bytes it came from, on a literal and the bundled file."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from notus.commands.trace import plain, tree_lines, tree_of
from notus.commands.trace import trace as command
from notus.data.sources import ingest
from notus.errors import DataError, IncompleteError, UsageError
from notus.lineage import trace
from notus.manifest import file_digest
from notus.review.decisions import Decisions
from notus.review.rulings import Decision
from notus.settings import AuditSection
from notus.shelf import Shelf
from notus.stages.apply import apply
from notus.stages.audit import audit
from notus.stages.binarize import binarize
from notus.store import read_manifest, read_table

DEMO = Path(__file__).resolve().parent.parent / "data" / "demo" / "feedback.jsonl.gz"
HOSTILE = "\x1b[2Jcleared\x07 \u202ebidi\u2069 \x9b31m line\nbreak"


class Run(NamedTuple):
    folder: Path
    source: Path
    digest: str

    def preference(self, strategy: str = "argilla-v1") -> dict[str, Any]:
        rows = read_table(self.folder / strategy, "preferences").sort("preference_id").collect()
        return rows.to_dicts()[0]


def row(prompt: str, scores: tuple[int, ...]) -> dict[str, Any]:
    answers = [
        {
            "model": f"model-{i}",
            "response": f"{HOSTILE} {i} to {prompt}",
            "critique": f"{HOSTILE} good",
            "overall_score": 10 if score == 1 else score,
            "annotations": {
                "honesty": {"Rating": str(score), "Rationale": f"because {score}"},
                "helpfulness": {"Rating": "N/A", "Rationale": None},
            },
        }
        for i, score in enumerate(scores)
    ]
    return {"source": "src", "instruction": prompt, "completions": answers}


def build(folder: Path, source: Path, strategies: tuple[str, ...] = ("argilla-v1", "h4-v2")) -> Run:
    feedback = ingest(source, folder / "feedback").directory
    audit(feedback, folder / "audit", AuditSection(rules=["score_conflict", "arity"]))
    for strategy in strategies:
        binarize(feedback, folder / strategy, strategy=strategy)
    return Run(folder, source, file_digest(source))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("literal")
    lines = [json.dumps(row(f"prompt {i}", (5, 1, 3))) for i in range(4)]
    source = folder / "raw" / "literal.jsonl.gz"
    source.parent.mkdir()
    # The second line is empty, so that lines and rows are not numbered alike.
    source.write_bytes(gzip.compress("\n".join([lines[0], "", *lines[1:]]).encode()))
    return build(folder / "run", source)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return build(tmp_path_factory.mktemp("demo"), DEMO)


def raw_lines(run: Run) -> list[str]:
    return gzip.decompress(run.source.read_bytes()).decode().split("\n")


def shown(found: dict[str, Any]) -> str:
    return "\n".join(tree_lines(tree_of(found)))


@pytest.mark.parametrize("name", ["made", "demo"])
def test_a_preference_is_followed_to_its_bytes(name: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(name)
    preference = run.preference()
    found = trace(preference["preference_id"], [run.folder], source=run.source)
    assert (found["kind"], found["warnings"]) == ("preference", [])
    (one,) = found["preferences"]
    assert {key: one[key] for key in preference} == preference
    spec = read_manifest(run.folder / "argilla-v1").config["specification"]
    assert one["specification"]["name"] == "argilla-v1"
    assert one["specification"]["config"] == spec
    feedback = read_manifest(run.folder / "feedback")
    assert one["made_from"] == {
        "digest": feedback.content_digest,
        "directory": str(run.folder / "feedback"),
    }
    # The raw line that is quoted holds the texts that were read from it.
    for side in found["completions"]:
        assert side["completion_id"] == preference[f"{side['side']}_id"]
        origin = side["origin"]
        assert (origin["sha256"], origin["file"]) == (run.digest, run.source.name)
        assert origin["raw"]["verified"]
        assert origin["raw"]["text"] == raw_lines(run)[origin["line"] - 1]
        raw = json.loads(origin["raw"]["text"])
        (answer,) = (a for a in raw["completions"] if a["response"] == side["text"])
        assert answer["model"] == side["model"]
        assert raw["instruction"] == found["prompt"]["messages"][-1]["content"]
        (overall,) = (r for r in side["ratings"] if r["aspect"] == "overall")
        assert overall["value"] == float(answer["overall_score"])
        assert overall["rationale"] == answer["critique"]
    json.dumps(found)


def test_issues_are_found_on_their_item(made: Run) -> None:
    preference = made.preference()
    found = trace(preference["prompt_id"], [made.folder])
    issues = {
        side["model"]: [issue["rule"] for issue in side["issues"]] for side in found["completions"]
    }
    assert issues == {"model-0": [], "model-1": ["score_conflict"], "model-2": []}
    (flagged,) = (side for side in found["completions"] if side["issues"])
    assert flagged["issues"][0]["of_this_feedback"]
    assert {p["strategy"] for p in found["preferences"]} == {"argilla-v1", "h4-v2"}
    text = shown(found)
    assert "score_conflict" in text
    # The raw row was not asked for.
    assert "raw" not in found["prompt"]["origin"]


def test_a_completion_and_its_prompt_by_their_first_digits(made: Run) -> None:
    preference = made.preference()
    for kind, item in (
        ("completion", preference["chosen_id"]),
        ("prompt", preference["prompt_id"]),
    ):
        found = trace(item[:8].upper(), [made.folder])
        assert (found["kind"], found["id"]) == (kind, item)
    completion = trace(preference["chosen_id"], [made.folder])
    assert [side["completion_id"] for side in completion["completions"]] == [
        preference["chosen_id"]
    ]
    assert completion["prompt"]["prompt_id"] == preference["prompt_id"]
    assert len(trace(preference["prompt_id"], [made.folder])["completions"]) == 3


def test_ids_that_name_nothing_or_too_much(demo: Run) -> None:
    with pytest.raises(UsageError, match="6 to 32 hex digits"):
        trace("abc", [demo.folder])
    with pytest.raises(UsageError, match="6 to 32 hex digits"):
        trace("../../etc/passwd", [demo.folder])
    with pytest.raises(DataError, match="nothing that begins with ffffffff"):
        trace("f" * 32, [demo.folder])
    shelf = Shelf([demo.folder])
    ids = read_table(demo.folder / "feedback", "completions").select("completion_id").collect()
    assert shelf.find(ids["completion_id"][0]) == ("completion", ids["completion_id"][0])


def test_an_ambiguous_prefix_is_told_apart(made: Run, tmp_path: Path) -> None:
    """Two ids with a common beginning do not occur by chance, so one is written into a copy."""
    shutil.copytree(made.folder / "argilla-v1", tmp_path / "copy")
    known = made.preference()["prompt_id"]
    frame = pl.read_parquet(tmp_path / "copy" / "preferences.parquet")
    twin = known[:10] + "0" * 22
    frame.with_columns(preference_id=pl.lit(twin)).head(1).write_parquet(
        tmp_path / "copy" / "preferences.parquet"
    )
    manifest = tmp_path / "copy" / "manifest.json"
    size = (tmp_path / "copy" / "preferences.parquet").stat().st_size
    content = json.loads(manifest.read_text())
    for output in content["outputs"]:
        if output["path"] == "preferences.parquet":
            output["bytes"] = size
    manifest.write_text(json.dumps(content))
    directories = [made.folder / "feedback", tmp_path / "copy"]
    with pytest.raises(
        DataError, match=rf"2 items that begin[^$]*preference {twin}[^$]*more digits"
    ):
        trace(known[:8], directories)
    assert trace(known[:12], directories)["kind"] == "prompt"


def test_another_feedback_than_the_preferences_were_made_from(made: Run, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    lines = [json.dumps(row(f"prompt {i}", (5, 1, 2))) for i in range(4)]
    other.write_text("\n".join(lines))
    ingest(other, tmp_path / "feedback")
    item = made.preference()["preference_id"]
    found = trace(item, [made.folder / "argilla-v1", tmp_path / "feedback"])
    (warning,) = found["warnings"]
    digest = read_manifest(made.folder / "feedback").content_digest
    assert f"made from Feedback {digest[:12]}, which is not among the directories given" in warning
    assert str(tmp_path / "feedback") in warning
    # Where the right one is there too, it is taken, in whatever order they are named.
    for folders in ([tmp_path / "feedback", made.folder], [made.folder, tmp_path / "feedback"]):
        right = trace(item, folders)
        assert right["warnings"] == []
        assert right["feedback"]["directory"] == str(made.folder / "feedback")
    # Issues of an audit of other feedback are marked.
    elsewhere = trace(
        item, [made.folder / "argilla-v1", made.folder / "audit", tmp_path / "feedback"]
    )
    marks = [i["of_this_feedback"] for side in elsewhere["completions"] for i in side["issues"]]
    assert marks
    assert not any(marks)
    assert "(audit of other Feedback)" in shown(elsewhere)


def test_a_preference_without_any_feedback_is_no_lineage(made: Run) -> None:
    item = made.preference()["preference_id"]
    with pytest.raises(DataError, match="no Feedback with its text"):
        trace(item, [made.folder / "argilla-v1"])
    with pytest.raises(IncompleteError, match=r"no manifest\.json in it or below"):
        trace(item, [made.source.parent])
    with pytest.raises(IncompleteError, match="no directory"):
        trace(item, [made.folder / "none"])


def test_a_source_that_was_changed_is_not_quoted(made: Run, tmp_path: Path) -> None:
    changed = tmp_path / made.source.name
    changed.write_bytes(gzip.compress(b'{"instruction": "another"}\n'))
    found = trace(made.preference()["preference_id"], [made.folder], source=changed)
    raw = found["prompt"]["origin"]["raw"]
    assert (raw["verified"], raw["text"]) == (False, None)
    assert f"{changed.name} has {file_digest(changed)} now" in raw["problem"]
    assert "raw row not shown" in shown(found)
    renamed = changed.rename(tmp_path / "b.jsonl.gz")
    raw = trace(made.preference()["prompt_id"], [made.folder], source=renamed)["prompt"]["origin"]
    assert raw["raw"]["problem"].endswith("has this sha256")
    # A copy under another name is the same bytes.
    copy = tmp_path / "copy.jsonl.gz"
    copy.write_bytes(made.source.read_bytes())
    verified = trace(made.preference()["prompt_id"], [made.folder], source=tmp_path)
    assert verified["prompt"]["origin"]["raw"]["path"] == str(copy)


def test_decisions_and_what_they_led_to(made: Run, tmp_path: Path) -> None:
    preference = made.preference()
    path = tmp_path / "decisions.sqlite"
    by: dict[str, Any] = {"reviewer": "anna"}
    value = {"aspect": "honesty", "value": 2}
    completion, prompt = preference["chosen_id"], preference["prompt_id"]
    with Decisions(path) as decisions:
        decisions.extend(
            [
                Decision(kind="preference", item=preference["preference_id"], action="flip", **by),
                Decision(kind="completion", item=completion, action="re-rate", value=value, **by),
                Decision(kind="prompt", item=prompt, action="drop", note=HOSTILE, **by),
            ]
        )
        decisions.undo("anna")
    pairs = apply(made.folder / "argilla-v1", tmp_path / "pairs", decisions=path).directory
    rated = apply(made.folder / "feedback", tmp_path / "rated", decisions=path).directory
    found = trace(preference["preference_id"], [made.folder], decisions=path)
    assert [d["action"] for d in found["preferences"][0]["decisions"]] == ["flip"]
    (drop,) = found["prompt"]["decisions"]
    assert (drop["action"], drop["undone"], drop["note"]) == ("drop", True, HOSTILE)
    assert "(taken back)" in shown(found)
    chosen = found["completions"][0]
    assert [d["value"] for d in chosen["decisions"]] == [{"aspect": "honesty", "value": 2.0}]
    # The flipped pair has an id of its own; the ruling that made it is found all the same, and the
    # specification and the feedback behind the directory that was applied to.
    (after,) = read_table(pairs, "preferences").filter(prompt_id=prompt).collect().to_dicts()
    flipped = trace(after["preference_id"], [made.folder, pairs], decisions=path)
    # The other strategy happens to have made the same pair.
    (one,) = (p for p in flipped["preferences"] if p["directory"] == str(pairs))
    assert [d["item"] for d in one["decisions"]] == [preference["preference_id"]]
    assert one["specification"]["name"] == "argilla-v1"
    assert one["made_from"]["directory"] == str(made.folder / "feedback")
    assert flipped["warnings"] == []
    alone = trace(after["preference_id"], [made.folder / "feedback", pairs])
    assert "come from a directory that is not given" in alone["warnings"][0]
    # A completion is shown as it is in the last feedback that holds it.
    last = trace(completion, [made.folder, rated], decisions=path)
    assert last["feedback"]["directory"] == str(rated)
    (side,) = last["completions"]
    assert {"reviewer:anna"} == {r["rater"] for r in side["ratings"] if r["aspect"] == "honesty"}
    assert [r["value"] for r in side["overridden"]] == [5.0]
    assert "overridden" in shown(last)


def test_what_was_withheld_says_why(made: Run, tmp_path: Path) -> None:
    prompt = made.preference()["prompt_id"]
    path = tmp_path / "decisions.sqlite"
    with Decisions(path) as decisions:
        decisions.append(
            Decision(kind="prompt", item=prompt, action="drop", reviewer="anna", note="spam")
        )
    rated = apply(made.folder / "feedback", tmp_path / "rated", decisions=path).directory
    found = trace(prompt, [made.folder, rated])
    assert found["feedback"]["directory"] == str(made.folder / "feedback")
    assert {row["reason"] for row in found["withheld"] if row["kind"] == "prompt"} == {
        "decision 1 of anna: spam"
    }
    assert "spam" in shown(found)


def test_a_dropped_prompt_says_why(tmp_path: Path) -> None:
    source = tmp_path / "s.jsonl"
    rows = [row("tied", (3, 3)), row("not tied", (5, 2))]
    source.write_text("\n".join(map(json.dumps, rows)))
    run = build(tmp_path / "run", source, strategies=("argilla-v1",))
    dropped = read_table(run.folder / "argilla-v1", "dropped").collect()
    found = trace(dropped["prompt_id"].item(), [run.folder])
    assert [row["reason"] for row in found["dropped"]] == [dropped["reason"].item()]
    assert dropped["reason"].item() in shown(found)


def test_a_strangers_text_does_not_reach_the_terminal(made: Run) -> None:
    found = trace(made.preference()["preference_id"], [made.folder], source=made.source)
    text = shown(found)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "cleared" in text
    assert plain("a\x1b[31m\n\tb\u202e\u2028c\u3000d") == "a [31m b c d"
    assert plain("x" * 100, 10) == "xxxxxxx..."


def test_the_tree_is_aligned(made: Run) -> None:
    found = trace(made.preference()["preference_id"], [made.folder], source=made.source)
    lines = shown(found).splitlines()
    assert lines[0] == f"preference {found['id']}"
    heads = [line for line in lines if line.startswith(("|-- ", "`-- "))]
    assert [line[4:].split()[0] for line in heads] == [
        "preference",
        "feedback",
        "prompt",
        "chosen",
        "rejected",
    ]
    # The texts of siblings stand under each other.
    assert {
        len(line) - len(line[4:].lstrip("abcdefghijklmnopqrstuvwxyz").lstrip()) for line in heads
    } == {4 + len("preference") + 2}


def test_the_command(made: Run) -> None:
    app = typer.Typer()
    app.command()(command)
    item = made.preference()["preference_id"]
    arguments = [item[:10], str(made.folder), "--source", str(made.source)]
    whole = CliRunner().invoke(app, [*arguments, "--json"])
    assert json.loads(whole.stdout) == trace(item, [made.folder], source=made.source)
    drawn = CliRunner().invoke(app, arguments)
    assert drawn.stdout == shown(json.loads(whole.stdout)) + "\n"


def test_rebuilding_elsewhere_gives_the_same_lineage(made: Run, tmp_path: Path) -> None:
    """Only the folders differ: digests, ids and rows are functions of the source's bytes."""
    again = build(tmp_path / "again", made.source)
    strip: Callable[[Any], str] = lambda found: json.dumps(found).replace(  # noqa: E731
        str(again.folder), str(made.folder)
    )
    item = made.preference()["preference_id"]
    one, two = (trace(item, [run.folder], source=run.source) for run in (made, again))
    assert strip(one) == strip(two)
    for stage in ("feedback", "audit", "argilla-v1", "h4-v2"):
        tables = [
            {o.path: o.sha256 for o in read_manifest(run.folder / stage).outputs}
            for run in (made, again)
        ]
        assert tables[0] == tables[1]
