"""import-linter checks the floors it is told about; this checks that it is told about every module.

A module that stands in no layer could import anything without `make lint` noticing.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"


def layered() -> set[str]:
    """Every module that the first contract of pyproject.toml puts on a floor."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contract = tomllib.load(file)["tool"]["importlinter"]["contracts"][0]
    assert contract["name"].startswith("Floors")
    return {name for layer in contract["layers"] for name in re.findall(r"[\w.]+", layer)}


def on_a_floor(module: str, floors: set[str]) -> bool:
    parts = module.split(".")
    return any(".".join(parts[:end]) in floors for end in range(2, len(parts) + 1))


def test_every_module_stands_on_a_floor() -> None:
    modules = [
        ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for path in (SOURCE / "notus").rglob("*.py")
        if path.name != "__init__.py"
    ]
    floors = layered()
    assert modules
    missing = [module for module in sorted(modules) if not on_a_floor(module, floors)]
    assert not missing, f"add to [tool.importlinter] in pyproject.toml: {missing}"


def test_a_module_without_a_floor_is_seen() -> None:
    floors = {"notus.audit", "notus.data.schema"}
    assert on_a_floor("notus.audit.rules", floors)
    assert on_a_floor("notus.data.schema", floors)
    assert not on_a_floor("notus.data.sources", floors)
    assert not on_a_floor("notus.auditing", floors)
