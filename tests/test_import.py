"""The light data half never imports torch or transformers: proved in a process of its own."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "peft", "datasets", "accelerate", "trl", "scipy", "sklearn")
DATA_HALF = (
    "notus",
    "notus.cli",
    "notus.pipeline",
    "notus.audit.rules",
    "notus.binarize",
    "notus.data.exports.writers",
    "notus.data.prompts",
    "notus.data.sources",
    "notus.feedback.families",
    "notus.feedback.rate",
    "notus.names",
    "notus.recipe_file",
    "notus.results",
    "notus.stages.audit",
    "notus.stages.binarize",
    "notus.stages.export",
    "notus.stages.feedback",
    "notus.stages.model",
    "notus.stats",
    "notus.store",
)
PROBE = """
import importlib, sys
for name in sys.argv[1].split(","):
    importlib.import_module(name)
print(",".join(name for name in sys.argv[2].split(",") if name in sys.modules))
"""


def heavy_after(*modules: str) -> list[str]:
    """Which of HEAVY a fresh process has imported after these modules."""
    command = [sys.executable, "-c", PROBE, ",".join(modules), ",".join(HEAVY)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return [name for name in done.stdout.strip().split(",") if name]


def test_the_data_half_is_light() -> None:
    assert heavy_after(*DATA_HALF) == []


@pytest.mark.parametrize("name", ["torch", "transformers"])
def test_the_probe_can_fail(name: str) -> None:
    assert name in heavy_after(name)


def test_the_verbs_of_the_data_half_stay_light(tmp_path) -> None:
    """Not only imported: run, from a file to preferences, with the probe at the end."""
    source = tmp_path / "rows.jsonl"
    source.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n', "utf-8")
    code = f"""
import sys
from pathlib import Path
from notus.data.sources import ingest
from notus.settings import AuditSection
from notus.stages.audit import audit
from notus.stages.binarize import binarize
root = Path({str(tmp_path)!r})
ingest(root / "rows.jsonl", root / "feedback")
audit(root / "feedback", root / "audit", AuditSection())
binarize(root / "feedback", root / "preferences", strategy="given")
assert not set({HEAVY!r}) & set(sys.modules), set({HEAVY!r}) & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "preferences" / "preferences.parquet").is_file()
