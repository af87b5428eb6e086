"""`notus plan`: every shipped recipe offline, the counts of a real run, changes that help."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from notus import cli
from notus.console import Talk
from notus.errors import ModelError, RecipeError, UsageError
from notus.hardware import GPUS, parse_machine
from notus.pipeline import run
from notus.recipe_file import load_recipe
from notus.stages.plan import plan
from notus.store import read_manifest
from tiny import save_model

FOLDER = Path(__file__).resolve().parent.parent.parent / "recipes"
RECIPES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
Plan = Callable[..., dict[str, Any]]


@pytest.fixture
def notus_plan(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Plan:
    """Run the verb; its JSON."""

    def plan(*arguments: object) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["notus", "plan", *map(str, arguments), "--json"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 0
        facts: dict[str, Any] = json.loads(capsys.readouterr().out)
        return facts

    return plan


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_plans_offline(name: str, notus_plan: Plan) -> None:
    sizes = "data.expected={pairs: 1000, prompt_tokens: 200, completion_tokens: 300}"
    absent = ["--set", "data.source=absent.jsonl", *(["--set", sizes] if name == "demo" else [])]
    if load_recipe(FOLDER / f"{name}.yaml").model.base.startswith("package:"):
        absent += ["--set", "model.base=HuggingFaceTB/SmolLM2-135M-Instruct"]  # Known without it.
    facts = notus_plan(FOLDER / f"{name}.yaml", "--gpus", "8xH100", "--sharding", "fsdp", *absent)
    assert facts["recipe"] == name
    assert facts["fits"]
    assert facts["steps"] >= 10
    assert 0 < facts["trainable"] <= facts["parameters"]
    assert set(facts["operations"]) == {"reference", "training", "evaluation"}
    assert facts["time is"].startswith("assumed: 35% of 989 Tflop/s a GPU")
    assert 0 < facts["hours in all"] < 24


def test_what_the_published_notus_needs(notus_plan: Plan) -> None:
    """28 GiB of weights and as much of RMSprop's states fit into 40 GB on no single GPU."""
    recipe = FOLDER / "notus-7b-v1-full.yaml"
    facts = notus_plan(recipe, "--gpus", "8xA100-40GB")
    assert not facts["fits"]
    assert facts["memory, GiB"]["weights"] == pytest.approx(4 * 7.2417 / 1.0737, abs=0.05)
    assert facts["change"] == "--sharding fsdp"
    changed = notus_plan(recipe, "--gpus", "8xA100-40GB", *facts["change"].split())
    assert changed["fits"]
    assert (changed["pairs"], changed["steps"]) == (61621, 2889)


@pytest.mark.parametrize(
    ("gpus", "settings"),
    [
        ("1xL4", []),
        ("2xL4", ["train.gradient_checkpointing=false"]),
        ("1xH100", ["train.max_tokens=200000", "train.pairs_per_step=512", "train.lora={r: 8}"]),
        ("8xA100-40GB", ["train.max_tokens=200000", "train.pairs_per_step=4096"]),
    ],
)
def test_the_change_that_is_suggested_helps(
    gpus: str, settings: list[str], notus_plan: Plan
) -> None:
    recipe = FOLDER / "notus-7b-v1-full.yaml"
    sets = [part for setting in settings for part in ("--set", setting)]
    facts = notus_plan(recipe, "--gpus", gpus, *sets)
    assert not facts["fits"]
    if "one example alone" in facts["change"]:
        pytest.fail(facts["change"])
    more = re.findall(r"--\S+ (?:\S+: \S+|\S+)", facts["change"])
    assert more
    words = [word for option in more for word in option.split(" ", 1)]
    assert notus_plan(recipe, "--gpus", gpus, *sets, *words)["fits"]


def test_what_fits_nowhere_is_said(notus_plan: Plan) -> None:
    options = ["--set", "data.max_length=30000", "--set", "data.max_prompt_length=100"]
    facts = notus_plan(FOLDER / "notus-7b-v1-full.yaml", "--gpus", "RTX-4090", *options)
    assert re.fullmatch(r"one example alone needs \d+ GiB: a larger machine or .*", facts["change"])


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model and 30 pairs, small enough to be trained and to be timed."""
    folder = tmp_path_factory.mktemp("plan")
    rows = [
        {"prompt": f"Count to {i}.", "chosen": f"the {i} " * (1 + i % 5), "rejected": f"no {i}"}
        for i in range(30)
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    content = {
        "name": "small",
        "model": {"base": str(save_model(folder / "tiny"))},
        "data": {
            "source": "pairs.jsonl",
            "holdout": 0.2,
            "max_length": 96,
            "max_prompt_length": 64,
        },
        "binarize": {"strategy": "given"},
        "train": {"pairs_per_step": 5, "epochs": 1.5, "report_to": [], "precision": "float32"},
        "evaluate": {"resamples": 50},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    return path


def test_counts_are_those_of_the_run(recipe: Path, tmp_path: Path, notus_plan: Plan) -> None:
    facts = notus_plan(recipe)
    run(load_recipe(recipe), tmp_path / "run", talk=Talk(quiet=True), until="train")
    trained = read_manifest(tmp_path / "run" / "training").facts
    assert facts["pairs"] == trained["pairs_train"] == 24
    assert facts["held out"] == trained["pairs_heldout"] == 6
    assert facts["steps"] == trained["steps"] == 8
    assert facts["trainable"] == trained["trainable_parameters"]
    # Prompts and what completions share are computed once.
    assert 0.5 * trained["tokens_in_pairs"] < facts["tokens an epoch"] < trained["tokens_in_pairs"]
    assert facts["data"] == "24 encoded pairs, 24 of them packed"
    assert facts["machine"] == "CPU"
    assert re.match(r"measured here: \d+ tokens/s", facts["time is"])
    assert facts["seconds"]["training"] > 0


def test_a_model_without_weights_is_timed_by_the_ceiling(recipe: Path) -> None:
    overrides = ["model.base=org/none", "model.architecture=smollm2-135m"]
    with pytest.raises(RecipeError, match="the tokenizer of org/none is not at hand"):
        plan(load_recipe(recipe, overrides))
    overrides.append("data.expected={pairs: 50, prompt_tokens: 20, completion_tokens: 20}")
    facts = plan(load_recipe(recipe, overrides))
    assert facts["tokens an epoch"] == 40 * 60
    assert re.match(r"assumed: 50% of \d+ Gflop/s, measured here", facts["time is"])
    assert facts["data"].startswith("the sizes that the recipe expects, because the tokenizer")


def test_what_cannot_be_planned(recipe: Path) -> None:
    with pytest.raises(ModelError, match=r"(?s)no config of 'org/none'.*model\.architecture="):
        plan(load_recipe(recipe, ["model.base=org/none"]))
    with pytest.raises(RecipeError, match=r"known architectures: mistral-7b, "):
        load_recipe(recipe, ["model.architecture=gpt-5"])
    with pytest.raises(ModelError, match="adapters that cannot be put on"):
        plan(load_recipe(recipe, ["train.lora={target_modules: [nowhere]}"]))
    with pytest.raises(UsageError, match="sharding 'all'"):
        plan(load_recipe(recipe), sharding="all")


@pytest.mark.parametrize(
    ("text", "count", "name"),
    [("8xA100-40GB", 8, "A100-40GB"), ("l4", 1, "L4"), (" 2 X h200", 2, "H200")],
)
def test_gpus_by_name(text: str, count: int, name: str) -> None:
    machine = parse_machine(text)
    assert (machine.count, machine.gpu) == (count, GPUS[name])


@pytest.mark.parametrize(
    ("text", "found"), [("8xA10O", "did you mean"), ("", "a number, an x"), ("0xL4", "GPU '0xL4'")]
)
def test_gpus_that_nobody_knows(text: str, found: str) -> None:
    with pytest.raises(UsageError, match=found):
        parse_machine(text)


def test_what_other_objectives_work_on(recipe: Path) -> None:
    """Votes: two a pair, each alone with its prompt. Demonstrations: the chosen half alone."""
    overrides = ["data.source=absent.jsonl", "data.holdout=0.1", "data.max_pairs=null"]
    overrides.append("data.expected={pairs: 100, prompt_tokens: 20, completion_tokens: 10}")
    machine = parse_machine("L4")

    def facts(*more: str) -> dict[str, Any]:
        return plan(load_recipe(recipe, [*overrides, *more]), machine=machine)

    pairs, simpo = facts(), facts("train.loss=simpo")
    assert (pairs["pairs"], pairs["held out"], pairs["tokens an epoch"]) == (90, 10, 90 * 40)
    assert pairs["operations"]["reference"] > 0 == simpo["operations"]["reference"]
    votes = facts("train.loss=kto")
    assert (votes["votes"], votes["tokens an epoch"]) == (180, 180 * 30)
    assert votes["operations of training"]["shift of the votes"] > 0
    sft = facts("train.objective=sft")
    assert (sft["demonstrations"], sft["tokens an epoch"]) == (90, 90 * 30)


@pytest.mark.parametrize("loss", ["kto", "bco"])
def test_votes_are_counted_as_a_run_counts_them(recipe: Path, loss: str, tmp_path: Path) -> None:
    loaded = load_recipe(recipe, [f"train.loss={loss}", "train.max_steps=2"])
    facts = plan(loaded, machine=parse_machine("L4"))
    run(loaded, tmp_path / "run", talk=Talk(quiet=True), until="train")
    trained = read_manifest(tmp_path / "run" / "training").facts
    assert facts["votes"] == trained["votes_train"]
    assert facts["operations of training"]["shift of the votes"] > 0
