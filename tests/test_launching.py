"""`--launch`: real processes by torchrun, and what is said when one of them goes.

The numbers of several processes are compared in training/test_layouts.py.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from notus import cli
from notus.errors import UsageError
from notus.launching import LaunchedFailure, is_launched
from notus.processes import Place, is_alone, place, report
from tiny import save_model

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
MESSAGE = re.compile(r"error: .+\n  expected: .+\n  where:    .+\n  do this:  .+\n\Z")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of 400 short steps on a tiny model: long enough to be ended in its middle."""
    folder = tmp_path_factory.mktemp("launch")
    rows = [
        {"prompt": f"Count to {i}.", "chosen": f"the {i} " * (1 + i % 3), "rejected": f"no {i % 7}"}
        for i in range(60)
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    train = {"pairs_per_step": 4, "max_tokens": 96, "precision": "float32", "report_to": []}
    content = {
        "name": "small",
        "model": {"base": str(save_model(folder / "tiny"))},
        "data": {"source": "pairs.jsonl", "format": "pairs", "max_length": 64}
        | {"max_prompt_length": 48, "holdout": 0.2},
        "binarize": {"strategy": "given"},
        "train": train | {"max_steps": 400, "save_steps": 5, "learning_rate": 1e-4, "timeout": 60},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    return folder / "recipe.yaml"


def command(recipe: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "notus.cli", "train", str(recipe), *arguments]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}


def ranks(parent: int) -> dict[int, int]:
    """Rank -> process id of the processes that a launcher has started."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "status").read_text()
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"\nPPid:\t{parent}\n" in status:
            found |= {int(v[5:]): int(folder.name) for v in variables if v.startswith(b"RANK=")}
    return found


def wait_for(what: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


@pytest.fixture
def launched(recipe: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Two processes that have written a checkpoint."""
    arguments = command(recipe, "--out", str(tmp_path / "run"), "--launch", "2")
    process = subprocess.Popen(
        arguments, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    partial = tmp_path / "run" / ".training.partial"
    wait_for(lambda: process.poll() is not None or any(partial.glob("checkpoints/*/complete")))
    yield process, partial
    process.kill()


def test_a_process_that_is_killed_ends_all_with_one_message(
    launched: tuple[subprocess.Popen[str], Path],
) -> None:
    process, partial = launched
    pids = ranks(process.pid)
    assert sorted(pids) == [0, 1]
    os.kill(pids[1], signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    message = err[err.index("error:") :]
    assert MESSAGE.fullmatch(message), err
    assert "process 1 of 2 ended by SIGKILL" in message
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids.values()))
    lines = (partial / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == list(range(1, len(steps) + 1)), "one process writes, each step once"


def test_ctrl_c_ends_all(launched: tuple[subprocess.Popen[str], Path]) -> None:
    process, _ = launched
    pids = ranks(process.pid)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.count("interrupted; finished stages are kept") == 1
    assert "Traceback" not in err
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids.values()))


def test_bad_input_is_one_message_and_exit_code_2(recipe: Path, tmp_path: Path) -> None:
    """It is found by a process; the launcher gives its message and its code on."""
    arguments = ["--out", str(tmp_path / "run"), "--launch", "2", "--set", "data.format=nectar"]
    done = subprocess.run(
        command(recipe, *arguments), env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert MESSAGE.fullmatch(done.stderr[done.stderr.index("error:") :]), done.stderr
    assert done.stderr.count("error:") == 1


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
        monkeypatch.delenv(name, raising=False)


def test_places_are_read_as_torchrun_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    alone(monkeypatch)
    assert place() == Place()
    assert is_alone()
    assert not is_launched(2)
    for name, value in zip(NAMES, ("3", "8", "1", "127.0.0.1", "29500"), strict=True):
        monkeypatch.setenv(name, value)
    assert place() == Place(rank=3, size=8, local_rank=1)
    assert not place().is_first
    assert not is_alone()
    assert is_launched(8)
    with pytest.raises(UsageError, match="--launch 2 in one of 8 processes"):
        is_launched(2)


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2 without RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT"),
        # What `accelerate launch --cpu --num_processes 2` sets in the one process that it starts.
        ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}, "without RANK, WORLD_SIZE"),
        ({"SLURM_STEP_NUM_TASKS": "8"}, "srun started them"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "mpirun started them"),
    ],
)
def test_a_launch_that_would_train_alone_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    recipe: Path,
    variables: dict[str, str],
    found: str,
) -> None:
    alone(monkeypatch)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["notus", "train", str(recipe)])
    monkeypatch.setattr("notus.cli.leave", lambda code: None)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert found in capsys.readouterr().err


def test_accelerate_really_starts_one_process(recipe: Path, tmp_path: Path) -> None:
    """The trap that the error above is for."""
    arguments = [sys.executable, "-m", "accelerate.commands.launch", "--cpu"]
    arguments += ["--num_processes", "2", "-m", "notus.cli", "train", str(recipe)]
    arguments += ["--out", str(tmp_path / "run")]
    done = subprocess.run(arguments, env=environment(), capture_output=True, text=True)
    assert "MASTER_PORT=29500 without RANK, WORLD_SIZE" in done.stderr
    assert not (tmp_path / "run").exists()


def test_failures_are_left_for_the_launcher(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    monkeypatch.delenv("NOTUS_LAUNCHED", raising=False)
    assert not report("text", 2), "torchrun itself prints what the process has printed"
    monkeypatch.setenv("NOTUS_LAUNCHED", "1")
    assert report("text", 2)
    content: dict[str, Any] = json.loads((tmp_path / "error.json").read_text())["message"]
    assert (content["message"], content["extraInfo"]["code"]) == ("text", 2)
    assert LaunchedFailure.code == 1
