"""Every shipped recipe says what its source published, and plans without weights, data or hub.

The numbers are those of the sources that the recipes name; what one changes is in its comments.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from notus.recipe import Recipe
from notus.recipe_file import load_recipe
from notus.stages.workload import steps_of

FOLDER = Path(__file__).resolve().parent.parent / "recipes"
RECIPES = {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}
PUBLISHED: dict[str, dict[str, Any]] = {
    "notus-7b-v1-full": {
        "beta": 0.1,
        "learning_rate": 5e-7,
        "schedule": "linear",
        "epochs": 3,
        "pairs_per_step": 64,
        "optimizer": "rmsprop",
    },
    "notus-7b-v1-lora": {
        "beta": 0.1,
        "learning_rate": 5e-7,
        "schedule": "linear",
        "epochs": 3,
        "pairs_per_step": 512,
        "optimizer": "rmsprop",
    },
    "zephyr-7b-beta": {
        "beta": 0.01,
        "learning_rate": 5e-7,
        "schedule": "cosine",
        "epochs": 1,
        "pairs_per_step": 128,
        "optimizer": "adamw_torch",
    },
    "zephyr-7b-beta-original": {
        "beta": 0.1,
        "learning_rate": 5e-7,
        "schedule": "linear",
        "epochs": 3,
        "pairs_per_step": 64,
        "optimizer": "rmsprop",
    },
    "tulu3-8b-dpo": {
        "losses": {"sigmoid_norm": 1.0},
        "beta": 5,
        "learning_rate": 5e-7,
        "schedule": "linear",
        "epochs": 1,
        "pairs_per_step": 128,
    },
    "simpo": {
        "losses": {"simpo": 1.0},
        "beta": 10,
        "gamma_beta_ratio": 0.3,
        "learning_rate": 1e-6,
        "schedule": "cosine",
        "epochs": 1,
        "pairs_per_step": 128,
    },
    "apo-zero": {
        "losses": {"apo_zero": 1.0},
        "beta": 0.05,
        "learning_rate": 1e-6,
        "schedule": "cosine",
        "min_lr_ratio": 0.1,
        "epochs": 1,
        "pairs_per_step": 32,
        "max_grad_norm": 0.2,
    },
    "smollm2-135m-dpo": {"beta": 0.5, "schedule": "cosine", "optimizer": "adamw_torch"},
}


def test_what_the_sources_published() -> None:
    assert RECIPES.keys() == PUBLISHED.keys() | {"demo"}
    for name, published in PUBLISHED.items():
        train = load_recipe(RECIPES[name]).train
        assert {key: getattr(train, key) for key in published} == published, name
        assert train.warmup_ratio == 0.1
    lora = load_recipe(RECIPES["notus-7b-v1-lora"]).train.lora
    assert lora is not None
    assert (lora.r, lora.alpha, lora.dropout) == (64, 16, 0.1)
    assert lora.target_modules == ["q_proj", "k_proj", "v_proj", "o_proj"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_key_is_commented(name: str) -> None:
    """Behind the key or in the line below it; what a hub page says needs no reason."""
    lines = RECIPES[name].read_text("utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert load_recipe(RECIPES[name]).name == name
    found = {
        line.strip().partition(":")[0]
        for line, below in zip(lines, [*lines[1:], ""], strict=True)
        if re.match(r"  +\w+:", line) and "#" not in line and not below.strip().startswith("#")
    }
    # The four keys of a section lora stand under one comment.
    assert found <= {"hub_id", "license", "language", "format", "r", "dropout", "target_modules"}


def test_notus_has_the_steps_of_its_logs() -> None:
    """63,619 rows, 2,000 of them held out, 64 a step, three epochs: 3 x 963 steps."""
    recipe: Recipe = load_recipe(RECIPES["notus-7b-v1-full"])
    assert recipe.data.expected is not None
    pairs = recipe.data.expected.pairs - round(recipe.data.expected.pairs * recipe.data.holdout)
    assert abs(pairs - 61_619) < 10
    assert steps_of(recipe, pairs) == 2889
