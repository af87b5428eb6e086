"""Small real runs: a tiny exact Llama, pairs of tokens, one step and its slow twin, a whole stage.

Run as `python small_runs.py ROOT NAME WHAT DONE` it trains in a process of its own, which kills
itself with SIGKILL when it reports that DONE of WHAT is done.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import TrainingArguments

from notus.data.sources import ingest
from notus.recipe import Recipe
from notus.scoring.score import padded_token_logps
from notus.stages import model as model_stages
from notus.stages.binarize import binarize
from notus.store import StageResult
from notus.training.examples import Pair
from notus.training.objectives import Objective, make_objective
from notus.training.trainer import PreferenceTrainer
from tiny import make_llama, make_tokenizer, save_model

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
# PEFT and TRL ask transformers by the old name.
old_name_warns = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
TIMES = ("tokens_per_second", "mfu", "ceiling", "runtime", "samples_per_second", "steps_per_second")


class ExactNorm(nn.Module):
    """RMS norm in the type of its input: transformers' own rounds float64 to float32."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


def exact_llama(dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
    llama = make_llama(make_tokenizer(), seed=seed)
    for module in list(llama.modules()):
        for name, child in module.named_children():
            if "RMSNorm" in type(child).__name__:
                setattr(module, name, ExactNorm(child.weight))
    return llama.to(dtype)


def random_pairs(num: int, *, seed: int = 0, system: int = 5) -> list[Pair]:
    """Pairs behind one system prompt, with all that pairs may share.

    Every fourth repeats the pair before it, every third has a completion that begins the other.
    References are drawn too, 1 to 3 nats a token, so that every pair has a margin of its own.
    """
    rng = np.random.default_rng(seed)
    begin = rng.integers(0, 256, system).tolist()
    pairs: list[Pair] = []
    for i in range(num):
        prompt, chosen, rejected = (rng.integers(0, 256, rng.integers(1, 12)) for _ in range(3))
        pair = Pair(
            preference_id=str(i),
            prompt_id=str(i),
            prompt_ids=begin + prompt.tolist(),
            chosen_ids=chosen.tolist(),
            rejected_ids=[*chosen.tolist(), 7] if i % 3 == 1 else rejected.tolist(),
            reference_chosen=-float(rng.uniform(1, 3) * len(chosen)),
            reference_rejected=-float(rng.uniform(1, 3) * len(rejected)),
        )
        pairs.append(pairs[-1] if i % 4 == 3 else pair)
    return pairs


def padded_logps(model: Any, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """[P] log-probs of chosen and rejected by the padded layout, differentiable."""
    rows = [(p.prompt_ids, ids) for p in pairs for ids in (p.chosen_ids, p.rejected_ids)]
    values, _ = padded_token_logps(model, [np.array([*prompt, *ids]) for prompt, ids in rows])
    spans = [slice(len(prompt) - 1, len(prompt) + len(ids) - 1) for prompt, ids in rows]
    logps = torch.stack([values[row, span].sum() for row, span in enumerate(spans)])
    return logps[0::2], logps[1::2]


def with_own_references(model: Any, pairs: Sequence[Pair]) -> list[Pair]:
    with torch.no_grad():
        chosen, rejected = padded_logps(model.eval(), pairs)
    values = zip(pairs, chosen.tolist(), rejected.tolist(), strict=True)
    return [pair.with_reference(c, r) for pair, c, r in values]


def references(pairs: Sequence[Pair], like: Tensor) -> tuple[Tensor, Tensor]:
    chosen = torch.tensor([p.reference_chosen for p in pairs], dtype=torch.float64)
    rejected = torch.tensor([p.reference_rejected for p in pairs], dtype=torch.float64)
    return chosen.to(like), rejected.to(like)


def padded_step(model: Any, pairs: Sequence[Pair], beta: float) -> tuple[float, dict[str, Tensor]]:
    """The step as the paper writes it: loss and gradients by the padded layout."""
    model.train()
    model.zero_grad(set_to_none=True)
    chosen, rejected = padded_logps(model, pairs)
    reference_chosen, reference_rejected = references(pairs, chosen)
    margin = beta * ((chosen - reference_chosen) - (rejected - reference_rejected))
    loss = torch.log1p(torch.exp(-margin)).mean()
    loss.backward()
    return loss.item(), gradients(model)


def gradients(model: Any) -> dict[str, Tensor]:
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in model.named_parameters()
        if p.requires_grad
    }


def assert_same_gradients(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Largest difference in each gradient, as a share of that gradient's largest entry."""
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        largest = float(gradient.abs().max())
        assert largest > 1e-4, f"the gradient of {name} is nearly 0: nothing is compared"
        error = float((found[name] - gradient).abs().max()) / largest
        assert error <= TOLERANCE[gradient.dtype], f"gradient of {name}: error {error:.3g}"


def make_trainer(
    model: Any,
    pairs: Sequence[Any],
    *,
    max_tokens: int = 64,
    beta: float = 0.1,
    eval_examples: Sequence[Any] = (),
    objective: Objective | None = None,
    sharded: bool = False,
    **arguments: Any,
) -> PreferenceTrainer:
    """A trainer with an objective, or with plain DPO at `beta`."""
    settings = {
        "output_dir": "unused",
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "logging_steps": 1,
        "per_device_train_batch_size": 4,
    }
    return PreferenceTrainer(
        model,
        TrainingArguments(**settings | arguments),
        objective=objective
        or make_objective({"sigmoid": 1.0}, {"beta": beta, "label_smoothing": 0.0}),
        train_examples=pairs,
        eval_examples=eval_examples,
        max_tokens=max_tokens,
        sharded=sharded,
    )


def step(trainer: PreferenceTrainer, pairs: Sequence[Any]) -> tuple[float, dict[str, Tensor]]:
    """One training step that is not the first: its loss and gradients."""
    trainer.model.zero_grad(set_to_none=True)
    trainer.state.global_step = 1
    loss = trainer.training_step(trainer.model, trainer.data_collator(pairs))
    return float(loss), gradients(trainer.model)


def make_recipe(base: Path, **train: Any) -> Recipe:
    settings = {
        "pairs_per_step": 4,
        "max_steps": 6,
        "learning_rate": 1e-3,
        "max_tokens": 96,
        "save_steps": 2,
        "precision": "float32",
        "report_to": [],
    }
    monitor = {"samples": 2, "max_new_tokens": 8} | train.pop("monitor", {})
    data = {"source": "unused", "max_length": 64, "max_prompt_length": 48}
    data["holdout"] = train.pop("holdout", 0.1)
    data["max_length"] = train.pop("max_length", 64)
    data["max_pairs"] = train.pop("max_pairs", None)
    return Recipe.model_validate(
        {
            "name": "small",
            "model": {"base": str(base)},
            "data": data,
            "monitor": monitor,
            "train": settings | train,
        }
    )


def write_inputs(root: Path, num: int = 140) -> Path:
    """Feedback, preferences and base model of a small training, by the stages that make them."""
    rows = [
        {"prompt": f"Count to {i}.", "chosen": f"the {i} " * (1 + i % 3), "rejected": f"no {i % 7}"}
        for i in range(num)
    ]
    root.mkdir(parents=True, exist_ok=True)
    (root / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ingest(root / "pairs.jsonl", root / "feedback", format="pairs")
    binarize(root / "feedback", root / "preferences", strategy="given")
    model_stages.base(str(save_model(root / "tiny")), root / "base")
    return root


def train_stage(
    root: Path,
    name: str = "training",
    progress: Callable[[str, int, int], None] | None = None,
    say: Callable[[str], None] = lambda text: None,
    **train: Any,
) -> StageResult:
    return model_stages.train(
        make_recipe(root / "base", **train),
        feedback=root / "feedback",
        preferences=root / "preferences",
        base=root / "base",
        out=root / name,
        reference=root / "reference",
        progress=progress,
        say=say,
    )


def metrics(directory: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def lasting(rows: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Metrics without what the clock decides."""

    def by_the_clock(name: str) -> bool:
        return name.removeprefix("eval_") in TIMES or name.startswith("seconds/")

    return [{k: v for k, v in row.items() if not by_the_clock(k)} for row in rows]


def main(root: str, name: str, what: str, done: str) -> None:
    def progress(reported: str, now: int, total: int) -> None:
        if (reported, now) == (what, int(done)):
            os.kill(os.getpid(), signal.SIGKILL)

    train_stage(Path(root), name, progress, eval_steps=3)


if __name__ == "__main__":
    main(*sys.argv[1:])
