"""Votes that were cast as ratings, and base models that bring no chat template: whole runs."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from small_runs import metrics

from notus.chat_template import Encoder
from notus.console import Talk
from notus.data.schema import Feedback
from notus.errors import DataError, ModelError, RecipeError
from notus.models import load
from notus.pipeline import check_files, run
from notus.recipe_file import load_recipe
from notus.stages.workload import workload
from notus.training.votes import votes_of_ratings
from tiny import CHATML, make_tokenizer, save_model

Make = Callable[[Mapping[str, Sequence[tuple[str, str, Mapping[str, float | None]]]]], Feedback]


@pytest.fixture
def encoder() -> Encoder:
    return Encoder(make_tokenizer(), max_length=60, max_prompt_length=50)


def verdict(value: float | None) -> dict[str, float | None]:
    return {"desirable": value}


def test_completions_are_votes_by_the_mean_of_their_ratings(
    make_feedback: Make, encoder: Encoder
) -> None:
    """The fixture's scale of an aspect that it does not know is 1..5: its middle is 3."""
    feedback = make_feedback(
        {
            "Hi": [
                ("a", "yes", verdict(5.0)),
                ("b", "no", verdict(1.0)),
                ("c", "well", verdict(3.0)),
                ("d", "who knows", verdict(None)),
                ("e", "unrated", {"overall": 9.0}),
            ]
        }
    )
    texts = dict(feedback.completions.select("completion_id", "text").collect().iter_rows())
    found = votes_of_ratings(feedback, encoder)
    assert {texts[v.completion_id]: v.desirable for v in found.votes} == {"yes": True, "no": False}
    assert [v.completion_id for v in found.votes] == sorted(v.completion_id for v in found.votes)
    assert found.dropped["reason"].to_list() == ["no verdict, or as many for as against"] * 2
    for vote in found.votes:
        assert (
            encoder.tokenizer.decode(vote.completion_ids)
            == f"{texts[vote.completion_id]}<|im_end|>"
        )
        assert (vote.source, vote.strategy) == ("test", "desirable")


def test_equal_tokens_are_one_vote_and_none_when_they_contradict(
    make_feedback: Make, encoder: Encoder
) -> None:
    long = "x" * 80
    feedback = make_feedback(
        {
            "One": [("a", long + "1", verdict(5.0)), ("b", long + "2", verdict(4.0))],
            "Two": [("a", long + "1", verdict(5.0)), ("b", long + "2", verdict(1.0))],
        }
    )
    found = votes_of_ratings(feedback, encoder)
    assert [v.desirable for v in found.votes] == [True]
    assert found.num_completions_cut == 2
    assert sorted(found.dropped["reason"].to_list()) == [
        "desirable and not, by equal tokens",
        "equal tokens after truncation",
        "equal tokens after truncation",
    ]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """KTO on 32 ratings, the base model without a template, the template in a file."""
    root = tmp_path_factory.mktemp("votes")
    answers = [(f"the {i} " * (1 + i % 3), True) for i in range(16)]
    answers += [(f"no {i % 7}", False) for i in range(16)]
    rows = [
        {"prompt": f"Count to {i % 16}.", "completion": text, "label": label}
        for i, (text, label) in enumerate(answers)
    ]
    (root / "votes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "chatml.jinja").write_text(CHATML)
    save_model(root / "plain", "no template")
    content: dict[str, Any] = {
        "name": "votes",
        "model": {"base": str(root / "plain"), "chat_template": "chatml.jinja"},
        "data": {
            "source": "votes.jsonl",
            "max_length": 64,
            "max_prompt_length": 48,
            "holdout": 0.25,
        },
        "train": {
            "loss": "kto",
            "votes": "ratings",
            "learning_rate": 1e-3,
            "pairs_per_step": 6,
            "epochs": 2,
            "precision": "float32",
            "report_to": [],
        },
    }
    (root / "recipe.yaml").write_text(yaml.safe_dump(content))
    return root / "recipe.yaml"


def test_a_whole_run_on_ratings_with_a_template_of_its_own(recipe: Path, tmp_path: Path) -> None:
    out = run(load_recipe(recipe), tmp_path / "run", talk=Talk()).directory
    split = pl.read_parquet(out / "training" / "split.parquet")
    assert split["split"].value_counts(sort=True).rows() == [("train", 24), ("heldout", 8)]
    completions = pl.read_parquet(out / "feedback" / "completions.parquet")
    assert set(split["completion_id"]) == set(completions["completion_id"])
    sides = split.join(completions, on="completion_id").group_by("prompt_id").agg("split")
    assert sides["split"].list.n_unique().to_list() == [1] * 16
    rows = metrics(out / "training")
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[0] == pytest.approx(0.5, abs=1e-5)
    assert losses[-1] < losses[0] - 0.02
    assert rows[-1]["eval_num_examples"] == 8
    assert load(str(out / "base")).tokenizer.chat_template == CHATML
    assert load(str(out / "training" / "model")).tokenizer.chat_template == CHATML
    card = (out / "MODEL_CARD.md").read_text()
    assert "| ratings trained on | 24 |" in card
    findings = json.loads((out / "training" / "preflight.json").read_text())["findings"]
    assert [f["level"] for f in findings if f["rule"] == "votes"] == ["note"]


def test_unequal_votes_are_warned_of_with_the_weight_that_mends_it(
    recipe: Path, tmp_path: Path
) -> None:
    """24 to train on: 12 desirable of weight 1/4 pull as 0.25 to 1; the paper wants 1 to 4/3."""
    loaded = load_recipe(recipe, ["train.desirable_weight=0.25", "train.max_steps=1"])
    out = run(loaded, tmp_path / "run", talk=Talk(), until="train").directory
    findings = json.loads((out / "training" / "preflight.json").read_text())["findings"]
    (warning,) = [f for f in findings if f["rule"] == "votes" and f["level"] == "warning"]
    assert "pull as 0.25 to 1" in warning["found"]
    assert warning["remedy"] == "a desirable_weight of 1.00 to 1.33"


def test_what_a_run_on_ratings_does_not_read(recipe: Path) -> None:
    with pytest.raises(RecipeError, match="section binarize makes preferences"):
        load_recipe(recipe, ["binarize.strategy=given"])
    with pytest.raises(RecipeError, match="votes is ratings, which only the losses kto and bco"):
        load_recipe(recipe, ["train.loss=ipo"])


def test_a_template_that_is_missing_is_named_before_the_first_stage(
    recipe: Path, tmp_path: Path
) -> None:
    missing = load_recipe(recipe, ["model.chat_template=none.jinja"])
    with pytest.raises(DataError, match=r"(?s)no file 'none.jinja'.*model.chat_template"):
        check_files(missing)
    without = load_recipe(recipe, ["model.chat_template=null"])
    with pytest.raises(ModelError, match=r"name a Jinja file in model\.chat_template"):
        run(without, tmp_path / "run", talk=Talk())


def test_a_plan_of_a_run_on_ratings_counts_its_votes(recipe: Path) -> None:
    work = workload(load_recipe(recipe), processes=1)
    assert (work.kind, work.examples, work.heldout) == ("votes", 24, 8)
    assert work.shift_pass.tokens > 0
