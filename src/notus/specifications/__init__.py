"""The named specifications, one YAML file each, and the reader of a user's own.

What stands in a file is all there is to a strategy: `notus binarize --strategy FILE.yaml` takes one
like these.
"""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from notus.errors import RecipeError, UsageError, explain, explain_unknown
from notus.specification import Specification


def specification(name: str) -> Specification:
    """Find a specification by its name, or read it from a YAML file.

    Args:
        name: A key of `SPECIFICATIONS`, or the path of a file that ends in .yaml or .yml.

    Raises:
        UsageError: No such name or file.
        RecipeError: The file is no specification; all that does not fit is in the message.
    """
    if name in SPECIFICATIONS:
        return SPECIFICATIONS[name]
    if name.endswith((".yaml", ".yml")):
        return read_specification(Path(name))
    where = "--strategy, or binarize.strategy of a recipe"
    notes = {spec.name: spec.note for spec in SPECIFICATIONS.values()}
    raise UsageError(
        explain_unknown("strategy", name, SPECIFICATIONS, where=where, notes=notes)
        + "; a file that ends in .yaml is read as one of your own"
    )


def read_specification(path: Path) -> Specification:
    """Read a specification of the user's.

    Raises:
        UsageError: No such file, or it takes the name of a published strategy for another one.
        RecipeError: The file is no specification; all that does not fit is in the message.
    """
    if not path.is_file():
        raise UsageError(
            explain(
                found="no file",
                expected="a YAML file of a specification",
                where=str(path),
                remedy="check the path; docs/binarize.md shows how one is written",
            )
        )
    spec = _parse(path.read_text(encoding="utf-8"), str(path))
    if SPECIFICATIONS.get(spec.name, spec) != spec:
        raise UsageError(
            explain(
                found=f"another specification named {spec.name!r}",
                expected="a name that no published strategy has",
                where=str(path),
                remedy="rename it, so that tables do not say one thing and mean another",
            )
        )
    return spec


def _parse(text: str, where: str) -> Specification:
    expected = f"a mapping with the keys {', '.join(Specification.model_fields)}"
    try:
        raw: Any = yaml.safe_load(text)
        if isinstance(raw, Mapping):
            return Specification.model_validate(raw)
        found = f"{type(raw).__name__} at the top level"
    except yaml.YAMLError as error:
        found = f"text that is not YAML: {error}"
    except ValidationError as error:
        found = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'specification'}: {problem['msg']}"
            for problem in error.errors()
        )
    raise RecipeError(
        explain(found=found, expected=expected, where=where, remedy="mend what the message names")
    )


def _published() -> dict[str, Specification]:
    files = sorted(
        (file for file in resources.files(__name__).iterdir() if file.name.endswith(".yaml")),
        key=lambda file: file.name,
    )
    specs = [_parse(file.read_text(encoding="utf-8"), file.name) for file in files]
    return {spec.name: spec for spec in specs}


SPECIFICATIONS: dict[str, Specification] = _published()
