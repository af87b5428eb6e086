"""One trajectory in every layout: losses, gradient norms, held-out numbers and last weights.

The reference is one pinned curve (curves/dpo.json, recorded by `python layouts.py --record`). In
float64 what is left is the order of sums, and the step's loss, which transformers keeps in float32.
The layouts of several processes run in two real ones, started by torchrun.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import layouts
import pytest
import torch
from layouts import CURVE, Curve, largest_difference
from small_runs import old_name_warns

TOLERANCE = 1e-7
ALONE = ("packed", "one pair a micro-batch", "some", "padded", "recomputed")
RESUMED = ("ddp, resumed", "fsdp, resumed", "fsdp, resumed from ddp")
TWO = ("ddp", "fsdp", "fsdp, recomputed", *RESUMED, "lora, ddp", "lora, fsdp")


def curve_of(folder: Path, layout: str) -> Curve:
    curve: Curve = json.loads((folder / f"{layout}.json").read_text())
    return curve


def weights_of(folder: Path, layout: str) -> dict[str, Any]:
    weights: dict[str, Any] = torch.load(folder / f"{layout}.pt")
    return weights


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every layout of two processes, by torchrun."""
    folder = tmp_path_factory.mktemp("two")
    here = Path(layouts.__file__)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", str(here), str(folder), *TWO]
    path = os.pathsep.join([str(here.parent), str(here.parents[1]), *sys.path])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@old_name_warns
@pytest.mark.parametrize("layout", ALONE)
def test_one_process_has_the_pinned_curve_in_every_layout(layout: str) -> None:
    curve, _ = layouts.train(layout)
    pinned = json.loads(CURVE.read_text())
    assert len(curve) == layouts.STEPS + 1
    difference = largest_difference(curve, pinned)
    assert difference <= TOLERANCE, f"{layout}: {difference:.3g}"
    assert curve[-2]["loss"] < 0.5, "nothing was learnt: any layout would have this curve"


@pytest.mark.parametrize("layout", [name for name in TWO if "lora" not in name])
def test_two_processes_have_the_pinned_curve(two_processes: Path, layout: str) -> None:
    pinned = json.loads(CURVE.read_text())
    difference = largest_difference(curve_of(two_processes, layout), pinned)
    assert difference <= TOLERANCE, f"{layout}: {difference:.3g}"


@old_name_warns
def test_two_processes_end_at_the_same_weights(two_processes: Path) -> None:
    """Adapters, too; a sharded model's state is gathered whole."""
    for kind, alone in (("", "packed"), ("lora, ", "lora")):
        curve, expected = layouts.train(alone)
        for way in ("ddp", "fsdp"):
            difference = largest_difference(curve_of(two_processes, kind + way), curve)
            assert difference <= TOLERANCE, f"{kind}{way}: {difference:.3g}"
            found = weights_of(two_processes, kind + way)
            assert found.keys() == expected.keys()
            for name, tensor in expected.items():
                torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-8)
