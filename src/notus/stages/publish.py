"""The verb publish: a finished run as repositories of the Hugging Face hub.

    training/model + MODEL_CARD.md             -> ORG/NAME
    training/adapter, its base by its hub id   -> ORG/NAME-adapter       with --adapter
    feedback + preferences, as pairs for TRL   -> ORG/NAME-preferences   with --dataset

Without --push nothing is sent and no network is used: it is worked out what would be.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from notus.errors import DataError, UsageError, explain
from notus.stages.export import export
from notus.store import read_manifest

ADAPTER_CARD = """\
---
base_model: {base}
library_name: peft
pipeline_tag: text-generation
{license}tags:
- notus
- lora
---

# {name}

The low-rank adapter of [{model}](https://huggingface.co/{model}), to be put on
[{base}](https://huggingface.co/{base}). What it was trained on, how, and what came of it is on that
model's card.

```python
from peft import AutoPeftModelForCausalLM

model = AutoPeftModelForCausalLM.from_pretrained("{name}")
```
"""
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
LOCAL_PATH = 'path = "training/model"  # or the name under which the model was published'


@dataclass(frozen=True, kw_only=True)
class Repository:
    """One repository of the hub and all that is to be in it."""

    id: str
    kind: str
    """model or dataset, as the hub calls it."""
    files: Mapping[str, Path | bytes]
    """Path in the repository -> a file of this machine, or its content."""

    @property
    def card(self) -> str:
        """What people read first."""
        content = self.files["README.md"]
        return content.decode() if isinstance(content, bytes) else content.read_text("utf-8")

    def rows(self) -> Iterator[dict[str, object]]:
        """Every file with its size in bytes."""
        for path, content in sorted(self.files.items()):
            size = len(content) if isinstance(content, bytes) else content.stat().st_size
            yield {"repository": self.id, "kind": self.kind, "file": path, "bytes": size}


def publish(
    run: Path,
    *,
    to: str,
    push: bool = False,
    private: bool = False,
    adapter: bool = False,
    dataset: bool = False,
) -> dict[str, Any]:
    """Work out what of a run would be published, and with `push` publish it.

    Args:
        run: A finished run's directory.
        to: The model's id on the hub, `org/name`; the others' begin with it.
        push: Send it. What the hub has already is not sent again.
        private: New repositories can be seen by their owners alone.
        adapter: Also the adapter, on its own.
        dataset: Also the preferences that the model was trained on.

    Returns:
        Facts: the repositories' files with sizes, their cards, and what was sent.

    Raises:
        UsageError: No id of the hub, or a part that the run does not have.
        IncompleteError: The run's training did not finish.
        StageError: The hub would not take something; it says what it has by then.
    """
    if not _ID.fullmatch(to):
        raise UsageError(
            explain(
                found=f"{to!r}",
                expected="an id of the hub, ORG/NAME",
                where="--to",
                remedy="name your user or organisation before the slash",
            )
        )
    with TemporaryDirectory() as folder:
        found = list(_repositories(run, to, Path(folder), adapter=adapter, dataset=dataset))
        facts: dict[str, Any] = {
            "files": [row for repository in found for row in repository.rows()],
            "cards": {repository.id: repository.card for repository in found},
            "pushed": [],
        }
        if push:
            from notus.stages.upload import upload

            facts["pushed"] = upload(found, private=private)
    return facts


def _repositories(
    run: Path, to: str, folder: Path, *, adapter: bool, dataset: bool
) -> Iterator[Repository]:
    """What is to be published, that first which the others' cards point to."""
    read_manifest(run / "training", "train")
    recipe = yaml.safe_load((run / "recipe.yaml").read_text("utf-8"))
    if dataset:
        yield _dataset(run, f"{to}-preferences", folder, recipe)
    yield _model(run, to)
    if adapter:
        yield _adapter(run, to, recipe)


def _model(run: Path, to: str) -> Repository:
    card = run / "MODEL_CARD.md"
    if not card.is_file():
        raise _missing("no MODEL_CARD.md", "a model card", run, f"notus card {run}")
    text = card.read_text("utf-8").replace(LOCAL_PATH, f'path = "{to}"')
    files: dict[str, Path | bytes] = dict(_files(run / "training" / "model"))
    return Repository(id=to, kind="model", files=files | {"README.md": text.encode()})


def _adapter(run: Path, to: str, recipe: Mapping[str, Any]) -> Repository:
    """The adapter, whose base is named as others find it."""
    directory, base = run / "training" / "adapter", recipe["model"].get("hub_id")
    if not directory.is_dir():
        raise _missing("no adapter", "a run with train.lora", directory, "leave out --adapter")
    if base is None:
        raise _missing(
            "no hub id of the base model",
            "model.hub_id, by which others find what the adapter is put on",
            run / "recipe.yaml",
            "write it into this file",
        )
    config = json.loads((directory / "adapter_config.json").read_text("utf-8"))
    config["base_model_name_or_path"] = base
    license = recipe["model"].get("license")
    card = ADAPTER_CARD.format(
        base=base,
        name=f"{to}-adapter",
        model=to,
        license=f"license: {license}\n" if license else "",
    )
    changed = {
        "adapter_config.json": json.dumps(config, indent=2, sort_keys=True).encode(),
        "README.md": card.encode(),
    }
    files: dict[str, Path | bytes] = dict(_files(directory))
    return Repository(id=f"{to}-adapter", kind="model", files=files | changed)


def _dataset(run: Path, to: str, folder: Path, recipe: Mapping[str, Any]) -> Repository:
    """The preferences as pairs, as `notus export` writes them."""
    out = folder / to.rpartition("/")[2]
    language = recipe["model"].get("language")
    export(
        run / "feedback",
        out,
        to="trl",
        preferences=run / "preferences",
        audit=run / "audit" if (run / "audit").is_dir() else None,
        language=(language,) if language else (),
    )
    files = {p: f for p, f in _files(out) if p == "README.md" or p.startswith("data/")}
    return Repository(id=to, kind="dataset", files=files)


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            yield path.relative_to(directory).as_posix(), path


def _missing(found: str, expected: str, where: Path, remedy: str) -> DataError:
    return DataError(explain(found=found, expected=expected, where=str(where), remedy=remedy))
