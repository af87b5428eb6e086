"""Set-ups as a user has them: a recipe, pairs and a model folder, of which each part can be spoilt.

Texts are drawn from a few hundred words, so no prompt repeats another and no trifle tells chosen
from rejected; what a fault then plants is all that is wrong.
"""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from notus.console import Talk
from notus.pipeline import preflight, run
from notus.recipe_file import load_recipe
from notus.training.preflight import Preflight
from notus.training.prepare import Prepared, prepare, read_tables
from tiny import make_llama, make_tokenizer

WINDOW = 512
_SOUNDS = ["ba", "do", "ka", "le", "mi", "no", "ru", "sa", "te", "vo", "zi", "gra", "stu", "wen"]


@dataclass
class Setup:
    """A folder with recipe.yaml, pairs.jsonl and model/; `write` writes what is changed in it."""

    root: Path
    recipe: dict[str, Any]
    rows: list[dict[str, Any]]
    tokenizer: Any
    model: Any
    out: Path
    """The run's directory."""
    cleanup: ExitStack = field(default_factory=ExitStack)
    """What a fault has to undo."""

    def edit_json(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change a JSON file of the model folder."""
        path = self.root / "model" / name
        content = json.loads(path.read_text("utf-8"))
        change(content)
        path.write_text(json.dumps(content), "utf-8")

    def template(self, text: str) -> None:
        """Give the model folder another chat template."""
        (self.root / "model" / "chat_template.jinja").write_text(text, "utf-8")

    def save_model(self) -> None:
        self.model.save_pretrained(self.root / "model")
        self.tokenizer.save_pretrained(self.root / "model")

    def write(self) -> Path:
        """Write pairs and recipe; return the recipe's path."""
        lines = "".join(json.dumps(row) + "\n" for row in self.rows)
        (self.root / "pairs.jsonl").write_text(lines, "utf-8")
        path = self.root / "recipe.yaml"
        path.write_text(yaml.safe_dump(self.recipe), "utf-8")
        return path

    def check(self, *overrides: str) -> Preflight:
        """What the preflight finds."""
        return preflight(load_recipe(self.write(), overrides), self.out, talk=Talk(quiet=True))

    def prepared(self, *overrides: str) -> Prepared:
        """What a training would start from, after `check`."""
        pairs, texts = read_tables(self.out / "feedback", self.out / "preferences")
        return prepare(
            load_recipe(self.write(), overrides),
            pairs,
            texts,
            self.out / "base",
            directory=self.out,
            reference_root=self.root / ".reference",
        )

    def train(self, *overrides: str) -> None:
        """Train up to the tuned model."""
        run(load_recipe(self.write(), overrides), self.out, talk=Talk(quiet=True), until="train")


def make_setup(root: Path, kind: str = "chatml", *, pairs: int = 60, **train: Any) -> Setup:
    """A tiny model and clean pairs.

    Args:
        root: Folder to write.
        kind: A kind of `tiny.TEMPLATES`.
        pairs: Number of pairs.
        **train: Keys of the recipe's section train.
    """
    tokenizer = make_tokenizer(kind)
    settings = {"learning_rate": 1e-3, "pairs_per_step": 4, "max_tokens": 1024, "report_to": []}
    recipe = {
        "name": "setup",
        "model": {"base": str(root / "model")},
        "data": {
            "source": "pairs.jsonl",
            "format": "pairs",
            "max_length": 256,
            "max_prompt_length": 128,
            "holdout": 0.2,
        },
        "binarize": {"strategy": "given"},
        "train": settings | {"precision": "float32"} | train,
    }
    model = make_llama(tokenizer, window=WINDOW)
    setup = Setup(root, recipe, make_rows(pairs), tokenizer, model, root / "run")
    setup.save_model()
    return setup


def make_rows(num: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Pairs of plain words; neither length nor first word tells chosen from rejected."""
    rng = np.random.default_rng(seed)

    def text(least: int, most: int) -> str:
        chosen = ["".join(rng.choice(_SOUNDS, rng.integers(1, 4))) for _ in range(most)]
        return " ".join(chosen[: rng.integers(least, most)]).capitalize()

    return [
        {"prompt": f"{text(6, 10)}?", "chosen": f"{text(4, 12)}.", "rejected": f"{text(4, 12)}."}
        for _ in range(num)
    ]
