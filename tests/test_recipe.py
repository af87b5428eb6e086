"""Recipes: what fits, what does not, and one message that says so."""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from notus.errors import RecipeError
from notus.loss_settings import LOSS_SETTINGS, SETTINGS
from notus.recipe import EvaluateSection, Recipe
from notus.recipe_file import load_recipe, parse, resolve_paths
from notus.section import Section
from notus.settings import GenerateSection

ROOT = Path(__file__).resolve().parent.parent
LEAST: dict[str, Any] = {"name": "x", "model": {"base": "b"}, "data": {"source": "raw.jsonl"}}


def read(*overrides: str, raw: object = LEAST) -> Recipe:
    return parse(Recipe, raw, overrides, where="test")


def keys(section: type[Section], prefix: str = "") -> Iterator[str]:
    """Every key that a recipe may have, dotted."""
    for name, field in section.model_fields.items():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        nested = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)]
        if nested:
            yield from keys(nested[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_a_recipe_needs_three_keys_and_fills_in_the_rest() -> None:
    recipe = read()
    assert (recipe.model.base, recipe.data.source) == ("b", Path("raw.jsonl"))
    assert recipe.train.beta == 0.1
    with pytest.raises(RecipeError) as caught:
        read(raw={})
    for key in ("name", "model", "data"):
        assert f"key '{key}' is missing" in str(caught.value)


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read().train.beta = 1.0  # type: ignore[misc]


def test_numbers_that_yaml_reads_as_text_are_numbers() -> None:
    assert yaml.safe_load("5e-7") == "5e-7"
    assert read("train.learning_rate=5e-7").train.learning_rate == 5e-7


def test_overrides_reach_every_depth_and_are_read_as_yaml() -> None:
    recipe = read(
        "train.beta=0.05",
        "train.lora.r=4",
        "train.report_to=[]",
        "binarize.compare=null",
        "data.source=a=b.jsonl",
        "seed=7",
    )
    assert recipe.train.beta == 0.05
    assert recipe.train.lora is not None
    assert (recipe.train.lora.r, recipe.train.lora.alpha) == (4, 32)
    assert (recipe.train.report_to, recipe.binarize.compare) == ([], None)
    assert (recipe.data.source, recipe.seed) == (Path("a=b.jsonl"), 7)
    assert LEAST["data"] == {"source": "raw.jsonl"}


def test_the_last_of_equal_overrides_counts() -> None:
    assert read("train.beta=0.5", "train.beta=0.2").train.beta == 0.2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.beat=1", "unknown key 'train.beat' (did you mean 'beta'?)"),
        ("trian.beta=1", "unknown key 'trian' (did you mean 'train'?)"),
        ("train.lora.alhpa=1", "unknown key 'train.lora.alhpa' (did you mean 'alpha'?)"),
        ("data.max_lenght=9", "unknown key 'data.max_lenght' (did you mean 'max_length'?)"),
        ("binarize.qqq=9", "unknown key 'binarize.qqq' (known keys: against, compare, strategy)"),
        ("=1", "override '=1'"),
        ("train.beta", "override 'train.beta'"),
        ("", "override ''"),
        ("train.beta=[1", "text that is not YAML"),
        ("train.beta=\x00", "text that is not YAML"),
        ("train.epochs=", "key 'train.epochs' is None"),
        ("train.beta=-1", "key 'train.beta' is -1: Input should be greater than 0"),
        ("train.beta=.inf", "key 'train.beta' is inf"),
        ("train.beta=.nan", "key 'train.beta' is nan"),
        ("train.epochs=three", "key 'train.epochs' is 'three'"),
        ("train.schedule=step", "key 'train.schedule' is 'step'"),
        ("train=5", "key 'train' is 5"),
        ("train.loss=dpo", "loss 'dpo' is unknown; known are sigmoid, robust, ipo"),
        ("train.loss={}", "no loss"),
        ("train.loss={sigmoid: 0}", "the weight 0.0 of loss sigmoid must be above 0"),
        ("train.loss={sigmoid: 1, kto: 1}", "loss kto is one of votes and cannot be mixed"),
        ("train.gamma_beta_ratio=1", "gamma_beta_ratio is 1.0, which loss sigmoid does not read"),
        ("train.desirable_weight=2", "(only kto): set it to null"),
        ("train.label_smoothing=0.5", "key 'train.label_smoothing' is 0.5"),
        ("train.objective=rl", "key 'train.objective' is 'rl'"),
        ("name.first=x", "key 'name' is {'first': 'x'}"),
        ("name=../x", "key 'name' is '../x'"),
        ("seed=-1", "key 'seed' is -1"),
        ("train.seed=-1", "key 'train.seed' is -1"),
        ("data.max_length=512", "max_prompt_length 512 must be below max_length 512"),
    ],
)
def test_what_does_not_fit(override: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read(override)
    assert message in str(caught.value)
    assert "do this:" in str(caught.value)


@pytest.mark.parametrize("key", list(keys(Recipe)))
def test_a_slip_in_any_key_is_met_with_the_key(key: str) -> None:
    *parents, last = key.split(".")
    slip = last[:-1] + "_" + last[-1] if len(last) > 1 else f"{last}_"
    with pytest.raises(RecipeError) as caught:
        read(f"{'.'.join([*parents, slip])}=1")
    assert f"did you mean '{last}'?" in str(caught.value)


def test_all_problems_are_in_one_message() -> None:
    with pytest.raises(RecipeError) as caught:
        read("train.beat=1", "train.epochs=-1", "sede=1")
    for part in ("'train.beat'", "'train.epochs'", "did you mean 'seed'?"):
        assert part in str(caught.value)


@pytest.mark.parametrize("raw", [None, [], "name: x", 5])
def test_what_is_no_mapping(raw: object) -> None:
    with pytest.raises(RecipeError, match=f"{type(raw).__name__} at the top level"):
        read(raw=raw)


@pytest.mark.parametrize(
    ("section", "overrides"),
    [
        (GenerateSection, ["temperatures=[-1]", "temperatures=[]", "temperatures=[.nan]"]),
        (GenerateSection, ["principles=[]", "seed=-1", "max_new_tokens=0", "batch_tokens=0"]),
        (EvaluateSection, ["temperature=0", "samples=-1", "max_new_tokens=0", "resamples=0"]),
    ],
)
def test_settings_that_would_only_fail_later(section: type[Section], overrides: list[str]) -> None:
    for override in overrides:
        with pytest.raises(RecipeError, match=override.split("=")[0]):
            parse(section, {}, [override], where="--set")


@pytest.mark.parametrize("section", Section.__subclasses__())
def test_every_key_has_a_description(section: type[Section]) -> None:
    """A part of the recipe is described by its own docstring."""
    undescribed = [f.annotation for f in section.model_fields.values() if not f.description]
    assert all(kind in Section.__subclasses__() for kind in undescribed)
    assert section.__doc__


def test_each_loss_brings_its_own_defaults_and_nothing_else() -> None:
    """What a loss does not read stays null, so that setting it is noticed; the rest is written."""
    for name, known in LOSS_SETTINGS.items():
        train = read(f"train.loss={name}").train
        assert train.losses == {name: 1.0}
        assert train.loss_settings == known.defaults
        assert {key for key in SETTINGS if getattr(train, key) is not None} == {*known.defaults}
        for key in {*SETTINGS} - {*known.defaults}:
            with pytest.raises(RecipeError, match=rf"{key} is 0\.25, which loss {name} does not"):
                read(f"train.loss={name}", f"train.{key}=0.25")
    assert read().train.losses == {"sigmoid": 1.0}
    assert read("train.loss=simpo", "train.beta=10").train.loss_settings["beta"] == 10
    assert read("train.loss=simpo", "train.beta=null").train.beta == 2.0


def test_a_mixture_reads_what_its_losses_read() -> None:
    train = read("train.loss={nll: 0.2, sigmoid: 1}").train
    assert train.losses == {"nll": 0.2, "sigmoid": 1.0}
    assert train.loss_settings == {"beta": 0.1, "label_smoothing": 0.0}
    assert read("train.loss={sigmoid_norm: 1, sigmoid: 1}").train.beta == 0.1


def test_supervised_fine_tuning_has_no_loss_to_choose() -> None:
    train = read("train.objective=sft").train
    assert (train.loss, train.beta, train.losses) == (None, None, {})
    with pytest.raises(RecipeError, match="objective sft has a loss of its own, and loss is ipo"):
        read("train.objective=sft", "train.loss=ipo")
    with pytest.raises(RecipeError, match=r"beta is 0\.1, which objective sft does not read"):
        read("train.objective=sft", "train.beta=0.1")


@pytest.mark.parametrize("override", ["loss=kto", "objective=sft", "loss={ipo: 1, nll: 2}"])
def test_what_a_recipe_became_can_be_read_again(override: str) -> None:
    recipe = read(f"train.{override}")
    assert read(raw=recipe.model_dump(mode="json")) == recipe


# --- files


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_paths_are_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    path = write(
        tmp_path / "recipes" / "r.yaml",
        "name: x\nmodel: {base: org/model}\n"
        "data: {source: ../data/raw.jsonl, planted: planted.jsonl}\n"
        "evaluate: {prompts: /abs/p.jsonl}\n",
    )
    recipe = load_recipe(path)
    assert recipe.data.source == (tmp_path / "data" / "raw.jsonl").resolve()
    assert recipe.data.planted == (tmp_path / "recipes" / "planted.jsonl").resolve()
    assert recipe.evaluate.prompts == Path("/abs/p.jsonl")
    assert recipe.model.base == "org/model"
    assert load_recipe(path, ["data.source=here.jsonl"]).data.source.parent == path.parent.resolve()
    assert resolve_paths(recipe, Path("/elsewhere")) == recipe


def test_a_resolved_recipe_can_be_read_again(tmp_path: Path) -> None:
    recipe = load_recipe(ROOT / "recipes" / "demo.yaml", ["train.lora={r: 8}"])
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)
    assert load_recipe(write(tmp_path / "again.yaml", text)) == recipe


def test_a_source_may_be_on_the_hub() -> None:
    recipe = load_recipe(ROOT / "recipes" / "demo.yaml", ["data.source=openbmb/UltraFeedback"])
    assert recipe.data.source == Path("openbmb/UltraFeedback")
    recipe = load_recipe(ROOT / "recipes" / "demo.yaml", ["data.source=rows.jsonl"])
    assert recipe.data.source == (ROOT / "recipes" / "rows.jsonl")


def test_the_demo_recipe_has_every_key() -> None:
    path = ROOT / "recipes" / "demo.yaml"
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))

    def present(tree: dict[str, Any], prefix: str = "") -> set[str]:
        return set(
            itertools.chain.from_iterable(
                present(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
                for key, value in tree.items()
            )
        )

    optional = {"train.lora", "data.expected"}
    expected = {k for k in keys(Recipe) if k.rpartition(".")[0] not in optional} | optional
    assert present(raw) == expected
    assert load_recipe(path).name == "demo"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("name: [", "text that is not YAML"),
        (b"name: \xe9", "text that is not YAML"),
        (b"\xff\xfex", "text that is not YAML"),
        ("- a", "list at the top level"),
        ("", "NoneType at the top level"),
        ("!!python/object/apply:os.getcwd []", "text that is not YAML"),
    ],
)
def test_a_file_that_is_no_recipe(content: str | bytes, found: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=found) as caught:
        load_recipe(write(tmp_path / "r.yaml", content))
    assert str(tmp_path / "r.yaml") in str(caught.value)


@pytest.mark.parametrize("name", ["none.yaml", "."])
def test_a_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no recipe file"):
        load_recipe(tmp_path / name)


@given(st.one_of(st.text(max_size=30), st.text(max_size=9).map("seed={}".format)))
def test_any_override_is_applied_or_explained(text: str) -> None:
    with contextlib.suppress(RecipeError):
        assert read(text).name


def test_a_cosine_alone_has_an_end_of_its_own() -> None:
    assert read("train.schedule=cosine", "train.min_lr_ratio=0.1").train.min_lr_ratio == 0.1
    with pytest.raises(RecipeError, match=r"(?s)min_lr_ratio 0.1.*schedule is linear"):
        read("train.min_lr_ratio=0.1")
