"""The benchmark of kills at one point: in the middle of writing a checkpoint's weights.

The process that is killed is a real one; the run beside it and the run that goes on are in this
one, which saves their imports.
"""

import shutil
from pathlib import Path

import kill_resume
import pytest
from small_runs import write_inputs

from notus.training import fit

KIND = "all weights"


@pytest.mark.skipif(shutil.which("cc") is None, reason="NO C COMPILER: nothing can be killed")
def test_killed_half_way_it_ends_as_if_nobody_had_killed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "remove_checkpoints", None)  # `train` sets its own; undone at the end
    write_inputs(tmp_path)
    kill_resume.train(tmp_path, "whole", KIND)
    library = kill_resume.build_killer(tmp_path)
    kill_resume.run(tmp_path, "killed", KIND, library, kill_at=100)
    partial = tmp_path / ".killed.partial"
    assert partial.is_dir(), "not killed before its end: choose another place"
    kill_resume.train(tmp_path, "killed", KIND)
    assert kill_resume.differences(tmp_path, "killed", "whole") == []


def test_a_difference_is_found(tmp_path: Path) -> None:
    for name, text in (("one", '{"loss": 1, "eval_runtime": 2}\n'), ("two", '{"loss": 2}\n')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text(text)
        (tmp_path / name / "model.safetensors").write_bytes(name.encode())
        (tmp_path / name / "split.parquet").write_bytes(b"same")
    found = kill_resume.differences(tmp_path, "one", "two")
    assert found == ["metrics.jsonl", "model.safetensors"]
    (tmp_path / "two" / "metrics.jsonl").write_text('{"loss": 1, "eval_runtime": 3}\n')
    assert kill_resume.differences(tmp_path, "one", "two") == ["model.safetensors"]
