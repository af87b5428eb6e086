"""The contenders of the speed comparison do the same work: they give the same answers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from data_speed import CONTENDERS, make_source
from speed import answers
from speed.answers import digest
from speed.report import Run, as_json, plot, render

from notus.audit import scores
from notus.data.schema import ASPECTS

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "data_speed.py"
ROWS = 300


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    source = make_source(tmp_path_factory.mktemp("speed") / "rows.jsonl", ROWS)
    found = []
    for name in CONTENDERS:
        command = [sys.executable, SCRIPT, "--child", name, str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found.append(Run(name, **json.loads(done.stdout.splitlines()[-1])))
    return found


def test_the_contenders_know_the_rules_of_notus() -> None:
    assert answers.CONFLICT == scores.CONFLICT
    assert answers.CONFLICT_MEDIANS == scores.CONFLICT_MEDIANS
    assert answers.ASPECTS == ASPECTS


def test_all_contenders_give_the_same_answers(runs: list[Run]) -> None:
    first = runs[0].answer
    assert first["prompts"] == ROWS
    assert first["completions"] == 4 * ROWS - 1
    assert int(first["argilla-v1"].split()[0]) > 0.9 * ROWS
    assert int(first["scale"].split()[0]) > 0
    for run in runs[1:]:
        assert run.answer == first, run.name


def test_every_contender_is_timed_and_weighed(runs: list[Run], tmp_path: Path) -> None:
    for run in runs:
        assert run.after_read == pytest.approx(
            sum(run.seconds[stage] for stage in ("ingest", "binarize", "audit"))
        )
        assert run.wall >= run.after_read
        assert run.peak_gib > 0.05
    twice = runs[0]._replace(answer=runs[0].answer | {"completions": 8 * ROWS})
    page = render(runs, [runs[0], twice], "data_speed.py", "data_speed")
    assert all(f"| {name} " in page for name in CONTENDERS)
    assert json.dumps(as_json(runs, []))
    plot([runs[0], twice], tmp_path / "growth.svg")
    assert "<svg" in (tmp_path / "growth.svg").read_text("utf-8")


def test_a_digest_does_not_depend_on_order() -> None:
    assert digest(["b", "a"]) == digest(["a", "b"])
    assert digest(["a"]) != digest(["b"])
    assert digest([]).startswith("0 ")
