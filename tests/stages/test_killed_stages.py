"""Audit and binarize in processes of their own, killed at any moment, and run again."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from notus.data.sources import ingest
from notus.store import read_manifest

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"
CHILD = """
import sys
from pathlib import Path
from notus.settings import AuditSection
from notus.stages.audit import audit
from notus.stages.binarize import binarize
import notus.audit_page
verb, feedback, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
print("ready", flush=True)
if verb == "audit":
    audit(feedback, out, AuditSection(against=[Path(sys.argv[4])]))
else:
    binarize(feedback, out, strategy="argilla-v1", compare="h4-v1")
"""


@pytest.fixture(scope="module")
def feedback(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("killed") / "feedback"
    return ingest(DEMO / "feedback.jsonl.gz", out).directory


def started(verb: str, feedback: Path, out: Path) -> subprocess.Popen[str]:
    """Start a child and wait until it has imported everything."""
    against = str(DEMO / "test_prompts.jsonl")
    command = [sys.executable, "-c", CHILD, verb, str(feedback), str(out), against]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("verb", ["audit", "binarize"])
def test_a_killed_stage_leaves_nothing_but_its_next_result(
    verb: str, feedback: Path, tmp_path: Path
) -> None:
    with started(verb, feedback, tmp_path / "whole") as process:
        began = time.monotonic()
        assert process.wait() == 0
    seconds = time.monotonic() - began
    expected = read_manifest(tmp_path / "whole", verb)
    interrupted = 0
    for number, share in enumerate((0.2, 0.5, 0.8)):
        out = tmp_path / f"run{number}" / "out"
        out.parent.mkdir()
        with started(verb, feedback, out) as process:
            time.sleep(seconds * share)
            process.send_signal(signal.SIGKILL)
            process.wait()
        interrupted += (out.parent / ".out.partial").exists()
        with started(verb, feedback, out) as process:
            assert process.wait() == 0
        assert read_manifest(out, verb).outputs == expected.outputs
        assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert interrupted
