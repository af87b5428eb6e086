"""A training that is watched: answers, signs, stopping, and what is logged, on small real runs."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file
from small_runs import (
    exact_llama,
    lasting,
    make_recipe,
    make_trainer,
    metrics,
    old_name_warns,
    random_pairs,
    train_stage,
    write_inputs,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from notus.errors import RecipeError, TrainingError
from notus.metric_names import METRICS, parse
from notus.models import Model
from notus.monitor_settings import Sign
from notus.recipe import Recipe
from notus.recipe_file import parse as parse_recipe
from notus.scoring.score import padded_token_logps
from notus.store import StageResult
from notus.training.clock import Clock
from notus.training.examples import Pair
from notus.training.gauges import GROUP_STEPS, Gauges
from notus.training.sampler import SamplePrompt, Sampler, choose_prompts
from notus.training.signs import RULES
from notus.training.watching import _reference
from tiny import make_llama, make_tokenizer

PROMPTS = [SamplePrompt("b", [5, 6, 7]), SamplePrompt("a", [5, 9]), SamplePrompt("c", [8] * 9)]
BAD = {"learning_rate": 0.3, "pairs_per_step": 16, "schedule": "constant_with_warmup"}
"""A step that throws the model far from any answer that it has seen."""


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("watch"))


@pytest.fixture(scope="module")
def good(root: Path) -> StageResult:
    return train_stage(root, "good", eval_steps=3, report_to=["tensorboard"])


def make_sampler(model: Any, path: Path, reference: Any = None) -> Sampler:
    return Sampler(
        Model(model=model, tokenizer=make_tokenizer(), name="tiny", window=64),
        PROMPTS,
        path=path,
        writes=True,
        max_new_tokens=12,
        seed=3,
        autocast=nullcontext,
        reference=None if reference is None else lambda: nullcontext(reference),
    )


def test_every_logged_name_is_documented(good: StageResult) -> None:
    names = {name for row in metrics(good.directory) for name in row}
    assert {name for name in names if parse(name) is None} == set()
    assert {"answers/kl", "eval_displacement", "seconds/answers", "mfu"} <= names
    text = (Path(__file__).parents[2] / "docs" / "reference.md").read_text()
    assert [name for name in METRICS if f"`{name}`" not in text] == []


def test_the_base_answers_once_and_the_policy_at_every_evaluation(good: StageResult) -> None:
    rows = rows_of(good.directory / "samples.jsonl")
    prompts = {row["prompt_id"] for row in rows}
    assert len(prompts) == 2
    heads = [(row["step"], row["model"], row["mode"]) for row in rows]
    times = [(0, "base"), (3, "policy"), (6, "policy")]
    modes = ("greedy", "sampled")
    assert heads == [(*time, mode) for time in times for mode in modes for _ in prompts]
    answered = [row for row in metrics(good.directory) if "answers/tokens" in row]
    assert [row["step"] for row in answered] == [3, 6]
    for row in answered:
        own = [r for r in rows if r["step"] == row["step"] and r["mode"] == "greedy"]
        base = [r for r in rows if r["model"] == "base" and r["mode"] == "greedy"]
        assert row["answers/tokens"] == np.mean([r["num_tokens"] for r in own])
        lengths = [r["num_tokens"] for r in base]
        assert row["answers/length_ratio"] == row["answers/tokens"] / np.mean(lengths)
    assert answered[1]["answers/kl"] > 0


def test_a_good_training_gives_no_sign_of_harm(good: StageResult) -> None:
    names = {row["name"] for row in rows_of(good.directory / "warnings.jsonl")}
    assert names <= {"clipping"}
    assert "stopped" not in good.manifest.facts


def test_trackers_get_numbers_and_texts(good: StageResult) -> None:
    events = EventAccumulator(str(good.directory / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"train/displaced", "train/answers/kl", "eval/displacement"} <= set(tags["scalars"])
    texts = [tag for tag in tags["tensors"] if tag.startswith("answers/")]
    assert len(texts) == 4
    shown = events.Tensors(texts[0])
    assert [event.step for event in shown] == [3, 6]
    text = shown[0].tensor_proto.string_val[0].decode()
    assert text.startswith("greedy, step 3\n\n    ")


@pytest.mark.parametrize("lora", [False, pytest.param(True, marks=old_name_warns)])
def test_the_reference_is_the_base_whatever_was_trained(root: Path, lora: bool) -> None:
    """Answers of the base scored under what is lent: the KL of nothing trained is nothing."""
    llama = make_llama(make_tokenizer())
    if lora:
        config = peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
        llama = peft.get_peft_model(llama, config)
    with torch.no_grad():
        for name, weight in llama.named_parameters():
            if "lora_B" in name or (not lora and "down_proj" in name):
                weight += 0.5
    with torch.random.fork_rng():
        torch.manual_seed(7)
        before = torch.get_rng_state()
        with _reference(llama, str(root / "base"), trust_remote_code=False)() as lent:
            logps, _ = padded_token_logps(lent, [np.arange(20)])
        assert torch.equal(torch.get_rng_state(), before), "training's draws go on as they were"
    expected, _ = padded_token_logps(make_llama(make_tokenizer()), [np.arange(20)])
    torch.testing.assert_close(logps, expected)
    changed, _ = padded_token_logps(llama, [np.arange(20)])
    assert float((changed - expected).abs().max().detach()) > 1e-3


def test_kl_is_zero_to_oneself_and_what_the_padded_layout_says_to_another(tmp_path: Path) -> None:
    """k3 of every token drawn, by the slow layout."""
    policy, other = exact_llama(), exact_llama(seed=1)
    sampler = make_sampler(policy, tmp_path / "same.jsonl", policy)
    sampler.start()
    _, found = sampler.evaluate(1)
    assert found["answers/kl"] == pytest.approx(0, abs=1e-12)
    assert found["answers/entropy_ratio"] == 1
    assert found["answers/length_ratio"] == 1
    sampler = make_sampler(policy, tmp_path / "other.jsonl", other)
    sampler.start()
    _, found = sampler.evaluate(1)
    drawn = sampler._generate(1.0)
    logs = {"policy": policy, "other": other}
    p, q = (torch.cat(drawn_logps(model, drawn)) for model in logs.values())
    assert found["answers/kl"] == pytest.approx(float((torch.exp(q - p) - 1 - (q - p)).mean()))
    assert found["answers/kl_sequence"] == pytest.approx(float((p - q).sum() / len(PROMPTS)))
    assert found["answers/entropy"] == pytest.approx(float(-p.mean()))
    assert found["answers/kl"] > 0.01


@torch.no_grad()
def drawn_logps(model: Any, drawn: Sequence[list[int]]) -> list[torch.Tensor]:
    rows = [np.array([*prompt.ids, *ids]) for prompt, ids in zip(PROMPTS, drawn, strict=True)]
    values, _ = padded_token_logps(model, rows)
    spans = [slice(len(p.ids) - 1, len(row) - 1) for p, row in zip(PROMPTS, rows, strict=True)]
    return [values[i, span] for i, span in enumerate(spans)]


def test_sampling_leaves_the_model_and_its_draws_alone(tmp_path: Path) -> None:
    model = make_llama(make_tokenizer())
    model.train()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    sampler = make_sampler(model, tmp_path / "samples.jsonl")
    sampler.start()
    answers, found = sampler.evaluate(4)
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)
    assert "answers/kl" not in found
    assert [answer.text for answer in answers] == [answer.text for answer in sampler._base]


def test_what_was_answered_later_is_dropped_after_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    sampler = make_sampler(make_llama(make_tokenizer()), path)
    sampler.start()
    for step in (2, 4):
        sampler.evaluate(step)
    kept = [row for row in rows_of(path) if row["step"] <= 2]
    path.write_text(path.read_text() + '{"step": 4, "mo')
    resumed = make_sampler(make_llama(make_tokenizer()), path)
    resumed.resume(2)
    assert rows_of(path) == kept
    assert resumed._base == sampler._base


def test_prompts_that_leave_no_room_are_not_asked() -> None:
    prompts = {"c": [1] * 3, "a": [1] * 9, "b": [1] * 4}
    assert [p.prompt_id for p in choose_prompts(prompts, 2, longest=4)] == ["b", "c"]
    assert choose_prompts(prompts, 0, longest=9) == []


def test_a_bad_training_is_told_once_and_in_words(root: Path) -> None:
    said: list[str] = []
    result = train_stage(root, "bad", say=said.append, eval_steps=3, **BAD)
    signs = rows_of(result.directory / "warnings.jsonl")
    names = [sign["name"] for sign in signs]
    assert "displacement" in names
    assert len(names) == len(set(names))
    told = [text for text in said if text.startswith("step ")]
    assert [text.partition(": ")[2].partition(":")[0].replace(" ", "_") for text in told] == names


def test_a_stopped_training_keeps_the_model_from_before(root: Path) -> None:
    """Four good steps, then a learning rate that destroys: the kept weights are those of step 4."""
    options = {"eval_steps": 1, "save_steps": 1, "max_steps": 9}
    stop = {"monitor": {"stop_on": ["kl"]}}
    said: list[str] = []
    with growing_rate(after=4):
        result = train_stage(root, "stopped", say=said.append, **BAD | options | stop)
    stopped = result.manifest.facts["stopped"]
    assert stopped == {"sign": "kl", "step": 5, "kept_step": 4}
    assert max(row["step"] for row in metrics(result.directory)) == 5
    assert said[-1] == "stopped at step 5; the model is that of step 4"
    with growing_rate(after=4):
        expected = train_stage(root, "four", **BAD | options | {"max_steps": 4})
    assert result.manifest.facts["heldout"] == expected.manifest.facts["heldout"]
    kept, four = (
        load_file(r.directory / "model" / "model.safetensors") for r in (result, expected)
    )
    assert all(torch.equal(kept[name], four[name]) for name in four)


@contextmanager
def growing_rate(after: int) -> Iterator[None]:
    """A schedule of 1e-4 for some steps and the recipe's own rate from then on."""
    with pytest.MonkeyPatch.context() as patch:

        def scheduler(self: Any, num_training_steps: int, optimizer: Any = None) -> Any:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                self.optimizer, lambda step: 1.0 if step >= after else 1e-4 / 0.3
            )
            return self.lr_scheduler

        patch.setattr("notus.training.trainer.PreferenceTrainer.create_scheduler", scheduler)
        yield


def test_nothing_is_kept_when_no_checkpoint_is_old_enough(root: Path) -> None:
    stop = {"monitor": {"stop_on": ["displacement"]}, "eval_steps": 1, "save_steps": 50}
    with pytest.raises(TrainingError, match=r"(?s)displacement: chosen answers.*no checkpoint"):
        train_stage(root, "lost", **BAD | stop)


def pairs_of(sources: Sequence[str]) -> list[Pair]:
    pairs = random_pairs(len(sources))
    return [
        Pair(**{**vars(pair), "source": source, "strategy": "given"})
        for pair, source in zip(pairs, sources, strict=True)
    ]


def test_numbers_by_source_go_on_after_a_resume(tmp_path: Path) -> None:
    """Ten steps, once in one go and once with a checkpoint after the fourth."""
    pairs = pairs_of(["flan", "web", "flan"])
    model = exact_llama()
    trainer = make_trainer(model, pairs)
    batch = trainer.data_collator(pairs)["batch"]
    rng = np.random.default_rng(0)
    steps = [torch.from_numpy(-rng.uniform(1, 9, (3, 9))) for _ in range(GROUP_STEPS)]

    def run(gauges: Gauges, first: int, last: int) -> dict[str, float]:
        found: dict[str, float] = {}
        for number in range(first, last + 1):
            gauges.step(batch, steps[number - 1])
            gauges.clock.lap("forward")
            found = gauges.read(number)
        return found

    whole = run(Gauges(model, pairs, Clock()), 1, GROUP_STEPS)
    cut = Gauges(model, pairs, Clock())
    early = run(cut, 1, 4)
    cut.save(tmp_path)
    resumed = Gauges(model, pairs, Clock())
    resumed.restore(tmp_path)
    again = run(resumed, 5, GROUP_STEPS)
    assert lasting([again]) == lasting([whole])
    assert not any("source/" in name for name in early)
    assert whole["source/flan/num_examples"] == 2 * GROUP_STEPS
    flan = torch.cat([rows[[0, 2]] for rows in steps])
    margins = (flan[:, 1] - flan[:, 2]).mean().item()
    assert whole["source/flan/rewards/margins"] == pytest.approx(margins)
    assert not any("strategy/" in name for name in whole), "one strategy is all pairs"


def test_time_is_shared_out_among_the_parts(good: StageResult) -> None:
    """The parts of all rows are the training's time; none is negative."""
    rows = metrics(good.directory)
    parts = [(n, v) for row in rows for n, v in row.items() if n.startswith("seconds/")]
    assert min(value for _, value in parts) >= 0
    assert {name for name, _ in parts} == {name for name in METRICS if "seconds/" in name}
    assert sum(value for _, value in parts) < good.manifest.wall_seconds
    training = [row for row in rows if "loss" in row]
    for row in training:
        assert 0 < row["mfu"] < 1.5
        assert row["ceiling"] > 1e8


def test_signs_of_the_recipe_are_those_that_there_are() -> None:
    assert set(Sign.__args__) == set(RULES)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["monitor.stop_on=[kl]", "monitor.samples=0"], "needs sample answers"),
        (["monitor.stop_on=[kl]", "monitor.kl=false"], "needs kl: true"),
        (["monitor.stop_on=[collapse]", "data.holdout=0"], "needs held-out prompts"),
        (["monitor.stop_on=[displacement]", "train.loss=simpo"], "a loss with a reference"),
        (["monitor.stop_on=[chance]", "train.loss=kto"], "a loss of pairs"),
        (["monitor.stop_on=[boredom]"], "not_finite"),
    ],
)
def test_a_sign_that_cannot_set_in_stops_nothing(overrides: list[str], message: str) -> None:
    raw = make_recipe(Path("base")).model_dump(mode="json")
    raw["train"] |= {"loss": None, "beta": None, "label_smoothing": None}
    with pytest.raises(RecipeError, match=message):
        parse_recipe(Recipe, raw, overrides, where="test")
