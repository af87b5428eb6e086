"""Held-out pairs of a file of their own: what is trained on, what is measured, and nothing on both.

`data.heldout` may name prompts that also stand in the training file; those are never trained on.
"""

import json
from pathlib import Path

import polars as pl
import pytest
import yaml

from notus.console import Talk
from notus.errors import RecipeError
from notus.pipeline import run
from notus.recipe_file import load_recipe
from tiny import save_model


def write_pairs(path: Path, numbers: range, *, side: str) -> None:
    rows = [
        {"prompt": f"Count to {i}.", "chosen": f"the {i} {side}", "rejected": f"no {i} {side}"}
        for i in numbers
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training pairs 0 to 19, held-out pairs 15 to 24: five prompts stand in both files."""
    folder = tmp_path_factory.mktemp("heldout")
    write_pairs(folder / "train.jsonl", range(20), side="here")
    write_pairs(folder / "eval.jsonl", range(15, 25), side="there")
    content = {
        "name": "given",
        "model": {"base": str(save_model(folder / "tiny"))},
        "data": {
            "source": "train.jsonl",
            "heldout": "eval.jsonl",
            "holdout": 0,
            "max_length": 96,
            "max_prompt_length": 64,
        },
        "binarize": {"strategy": "given"},
        "train": {"pairs_per_step": 8, "report_to": [], "precision": "float32"},
        "evaluate": {"resamples": 100},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    return path


def test_a_file_of_held_out_pairs(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = run(load_recipe(recipe), out, talk=Talk(quiet=True))
    split = pl.read_parquet(out / "training" / "split.parquet")
    sides = dict(split.group_by("split").len().iter_rows())
    assert sides == {"train": 15, "heldout": 10, "left out": 5}
    assert len(split) == split["preference_id"].n_unique()
    sources = {name: out / name / "preferences.parquet" for name in ("preferences",)}
    sources["heldout"] = out / "heldout" / "preferences" / "preferences.parquet"
    prompts = {
        side: set(
            split.filter(pl.col("split") == side).join(
                pl.read_parquet(sources[table]), on="preference_id"
            )["prompt_id"]
        )
        for side, table in (("train", "preferences"), ("heldout", "heldout"))
    }
    assert (len(prompts["train"]), len(prompts["heldout"])) == (15, 10)
    assert not prompts["train"] & prompts["heldout"]
    # Base and tuned are compared on exactly these ten.
    measured = pl.read_parquet(out / "evaluation" / "pairs.parquet")
    assert measured.filter(pl.col("model") == "tuned").height == 10
    assert not any(done.stages.values())
    assert all(run(load_recipe(recipe), out, talk=Talk(quiet=True)).stages.values())


def test_two_ways_to_hold_out_are_one_too_many(recipe: Path) -> None:
    with pytest.raises(RecipeError, match=r"heldout eval\.jsonl is given, so holdout must be 0"):
        load_recipe(recipe, ["data.holdout=0.1"])
    with pytest.raises(RecipeError, match="dtype bfloat16"):
        load_recipe(recipe, ["train.dtype=bfloat16"])
    assert load_recipe(recipe).data.heldout == recipe.parent / "eval.jsonl"
