"""The preflight as users meet it: faults are found, clean set-ups pass, errors stop a run."""

import json
from pathlib import Path

import pytest
from planted_faults import FAULTS
from setups import make_setup
from small_runs import old_name_warns
from typer.testing import CliRunner

from notus import cli
from notus.errors import ModelError, RecipeError, TrainingError
from notus.recipe_file import load_recipe
from notus.training.callbacks import COMPLETE
from notus.training.preflight import CHECKS, require_good, source_of


@old_name_warns
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_an_error(name: str, tmp_path: Path) -> None:
    fault = FAULTS[name]
    setup = make_setup(tmp_path, fault.kind)
    fault.plant(setup)
    with setup.cleanup:
        if not fault.rule:
            with pytest.raises(ModelError):
                setup.check()
            return
        found = setup.check()
    assert fault.rule in {f.rule for f in found.errors}, "\n".join(found.lines())
    (first, *_) = [f for f in found.errors if f.rule == fault.rule]
    assert first.source
    assert first.remedy


@pytest.mark.parametrize("kind", ["chatml", "own end", "spaced", "no pad"])
def test_a_clean_setup_has_no_error(kind: str, tmp_path: Path) -> None:
    found = make_setup(tmp_path, kind).check()
    assert not found.errors, "\n".join(found.lines())
    assert set(found.seconds) == set(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_cites_where_its_fault_was_met(name: str) -> None:
    assert source_of(CHECKS[name])


def test_the_verb_prints_findings_and_exits_with_1(tmp_path: Path) -> None:
    setup = make_setup(tmp_path)
    arguments = ["preflight", str(setup.write()), "--out", str(tmp_path / "run")]
    good = CliRunner().invoke(cli.app, arguments)
    assert good.exit_code == 0, good.output
    FAULTS["template without end"].plant(setup)
    bad = CliRunner().invoke(cli.app, arguments)
    assert bad.exit_code == 1
    assert "error    answer_ending: the template ends an answer with" in bad.stdout
    assert "         do this:  write {{ eos_token }}" in bad.stdout
    assert "         seen in:  trl issue 1239" in bad.stdout
    told = CliRunner().invoke(cli.app, [*arguments, "--json"])
    assert told.exit_code == 1
    content = json.loads(told.stdout)
    assert content["errors"] == 1
    assert content["findings"][0]["rule"] == "answer_ending"


def test_an_error_stops_the_training_and_is_written_down(tmp_path: Path) -> None:
    setup = make_setup(tmp_path, max_steps=2, save_steps=1)
    FAULTS["template without end"].plant(setup)
    run = tmp_path / "run"
    arguments = ["train", str(setup.write()), "--out", str(run)]
    stopped = CliRunner().invoke(cli.app, arguments)
    assert isinstance(stopped.exception, TrainingError)
    assert "nothing was trained" in str(stopped.exception)
    assert "train.accept_findings=['answer_ending']" in str(stopped.exception)
    assert not (run / "training").exists()
    assert not (tmp_path / ".reference").exists()
    written = json.loads((run / ".training.partial" / "preflight.json").read_text("utf-8"))
    assert [f["rule"] for f in written["findings"] if f["level"] == "error"] == ["answer_ending"]

    accepted = [*arguments, "--set", "train.accept_findings=[answer_ending]"]
    done = CliRunner().invoke(cli.app, accepted)
    assert done.exit_code == 0, done.output
    assert "are accepted: answer_ending" in done.stderr
    written = json.loads((run / "training" / "preflight.json").read_text("utf-8"))
    assert (written["errors"], written["accepted"]) == (0, ["answer_ending"])
    again = CliRunner().invoke(cli.app, arguments)
    assert again.exit_code == 0, again.output
    assert "train: reused" in again.stderr


def test_a_run_is_not_continued_under_another_reference(tmp_path: Path) -> None:
    """What `precision: auto` does when a run is taken to another machine."""
    setup = make_setup(tmp_path)
    checked = setup.check()
    one, other = (setup.prepared(f"train.precision={name}") for name in ("float32", "bfloat16"))
    for prepared in (one, other):
        # Nothing was trained between the two: no checkpoint.
        require_good(checked, prepared, say=print)
    (setup.out / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    (setup.out / "checkpoints" / "checkpoint-1" / COMPLETE).touch()
    require_good(checked, other, say=print)
    with pytest.raises(TrainingError, match=f"begun with {other.store.key}"):
        require_good(checked, one, say=print)


def test_an_unknown_check_is_refused_before_any_stage(tmp_path: Path) -> None:
    setup = make_setup(tmp_path)
    with pytest.raises(RecipeError, match=r"(?s)check 'borders'.*did you mean 'border'"):
        setup.check("train.accept_findings=[borders]")
    assert not (tmp_path / "run").exists()
    assert load_recipe(setup.write()).train.accept_findings == []
