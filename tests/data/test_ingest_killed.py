"""Ingest in a process of its own, killed at any moment: the next run is as if nothing happened."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from notus.data.sources import ingest
from notus.store import read_manifest

CHILD = """
import sys
from pathlib import Path
from notus.data.sources import ingest
print("ready", flush=True)
ingest(Path(sys.argv[1]), Path(sys.argv[2]))
"""
ROWS = 6_000
KILLS = 4


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of which every third prompt occurs twice, a few of them bad: half a second of work."""
    path = tmp_path_factory.mktemp("killed") / "pairs.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(ROWS):
            row = {"prompt": f"{number % (ROWS * 3 // 4)}?", "chosen": "a" * 200, "rejected": "b"}
            file.write(json.dumps(row if number % 1000 else {"prompt": "?"}) + "\n")
    return path


def started(source: Path, out: Path) -> subprocess.Popen[str]:
    """Start a child and wait until it has imported everything."""
    command = [sys.executable, "-c", CHILD, str(source), str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_killed_ingest_leaves_nothing_but_its_next_result(source: Path, tmp_path: Path) -> None:
    with started(source, tmp_path / "whole") as process:
        # Only now, so that the moments below lie in the work and not in the imports before it.
        began = time.monotonic()
        assert process.wait() == 0
    seconds = time.monotonic() - began
    expected = read_manifest(tmp_path / "whole", "ingest")
    assert expected.facts["repeated"]["prompts"] > 1000
    interrupted = 0
    for number, share in enumerate(np.random.default_rng(7).uniform(0, 0.9, KILLS)):
        out = tmp_path / f"run{number}" / "out"
        out.parent.mkdir()
        with started(source, out) as process:
            time.sleep(seconds * share)
            process.send_signal(signal.SIGKILL)
            process.wait()
        interrupted += (out.parent / ".out.partial").exists()
        result = ingest(source, out)
        assert result.manifest.outputs == expected.outputs
        assert result.manifest.facts == expected.facts
        assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert interrupted
