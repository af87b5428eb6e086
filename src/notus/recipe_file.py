"""Read recipes: YAML, `--set a.b=c` overrides, and one message for all that does not fit.

Unknown keys are errors with the nearest known key suggested.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from notus.data.files.hub import is_hub_id
from notus.errors import RecipeError, explain
from notus.recipe import Recipe
from notus.section import Section

S = TypeVar("S", bound=Section)


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, apply `a.b=c` overrides, and resolve its paths.

    Raises:
        RecipeError: The file is missing or no YAML mapping, or a key or value does not fit; all
            problems are in one message, with the nearest key for an unknown one.
    """
    if not path.is_file():
        raise RecipeError(
            explain(
                found=f"no recipe file {path.name!r}",
                expected="a YAML file with the sections model, data, binarize, train, evaluate",
                where=str(path.parent),
                remedy="check the path; recipes/demo.yaml is a commented example",
            )
        )
    raw = _read_yaml(path.read_bytes(), expected="a YAML mapping", where=str(path))
    recipe = parse(Recipe, raw, overrides, where=str(path))
    return resolve_paths(recipe, path.parent)


def resolve_paths(recipe: Recipe, folder: Path) -> Recipe:
    """Make the recipe's paths absolute, relative ones meaning "beside the recipe"."""

    def absolute(value: Path | None) -> Path | None:
        return None if value is None else (folder / value.expanduser()).resolve()

    def source(value: Path | None) -> Path | None:
        path = absolute(value)
        on_hub = path is not None and not path.exists() and is_hub_id(str(value))
        return value if on_hub else path

    paths = {name: absolute(getattr(recipe.data, name)) for name in ("map", "planted")}
    paths |= {name: source(getattr(recipe.data, name)) for name in ("source", "heldout")}
    data = recipe.data.model_copy(update=paths)
    evaluate = recipe.evaluate.model_copy(update={"prompts": absolute(recipe.evaluate.prompts)})
    against = [absolute(path) for path in recipe.binarize.against]
    binarize = recipe.binarize.model_copy(update={"against": against})
    template = absolute(recipe.model.chat_template)
    model = recipe.model.model_copy(update={"chat_template": template})
    train = recipe.train.model_copy(update={"deepspeed": absolute(recipe.train.deepspeed)})
    sections = {"model": model, "data": data, "binarize": binarize, "evaluate": evaluate}
    sections["train"] = train
    return recipe.model_copy(update=sections)


def parse(section: type[S], raw: object, overrides: Sequence[str], *, where: str) -> S:
    """Validate a mapping as a section, after applying `a.b=c` overrides.

    Raises:
        RecipeError: As `load_recipe`.
    """
    if not isinstance(raw, Mapping):
        raise RecipeError(
            explain(
                found=f"{type(raw).__name__} at the top level",
                expected="a mapping of keys to values",
                where=where,
                remedy="write `key: value` lines; recipes/demo.yaml is a commented example",
            )
        )
    merged = _plain(raw)
    for override in overrides:
        _apply(merged, override)
    try:
        return section.model_validate(merged)
    except ValidationError as error:
        problems = [_describe(section, problem) for problem in error.errors()]
        raise RecipeError(
            explain(
                found="; ".join(problems),
                expected=f"the keys and types of {section.__name__}",
                where=where,
                remedy="correct these keys (recipes/demo.yaml comments every key)",
            )
        ) from error


def _read_yaml(text: str | bytes, *, expected: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(
            explain(
                found=f"text that is not YAML: {error}",
                expected=expected,
                where=where,
                remedy="mend the place that the message names",
            )
        ) from error


def _plain(raw: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(k): _plain(v) if isinstance(v, Mapping) else v for k, v in raw.items()}


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set one dotted key; the value is read as YAML, so numbers, lists and null work."""
    key, sign, text = override.partition("=")
    if not sign or not key:
        raise RecipeError(
            explain(
                found=f"override {override!r}",
                expected="KEY=VALUE with a dotted key",
                where="--set",
                remedy="write for example --set train.beta=0.05",
            )
        )
    *parents, last = key.strip().split(".")
    for parent in parents:
        child = tree.get(parent)
        if not isinstance(child, dict):
            child = tree[parent] = {}
        tree = child
    tree[last] = _read_yaml(text, expected="KEY=VALUE with a YAML value", where=f"--set {override}")


def _describe(section: type[Section], problem: Any) -> str:
    """Put one pydantic error into words, with the nearest known key for an unknown one."""
    path = [str(part) for part in problem["loc"]]
    key = ".".join(path)
    if problem["type"] == "missing":
        return f"key '{key}' is missing"
    if problem["type"] != "extra_forbidden":
        return f"key '{key}' is {problem['input']!r}: {problem['msg']}"
    known = _keys(section, path[:-1])
    near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known keys: {', '.join(known)}"
    return f"unknown key '{key}' ({hint})"


def _keys(section: type[Section], path: list[str]) -> list[str]:
    """Known keys of the section that a path leads to."""
    current: Any = section
    for part in path:
        field = current.model_fields.get(part)
        options = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        nested = [o for o in options if isinstance(o, type) and issubclass(o, Section)]
        if not nested:
            return []
        current = nested[0]
    return sorted(current.model_fields)
