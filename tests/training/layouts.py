"""One small training in every layout: packed, one pair at a time, padded, two processes.

Alone, `python layouts.py --record` writes curves/dpo.json: six steps of AdamW with a clipped
gradient in float64, packed, in one process. Started by torchrun, `python layouts.py LAYOUT FILE
 Record again only where the numbers are
meant to change (another loss, model, order or optimiser), and say why in the commit.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import peft
import torch
from small_runs import exact_llama, make_trainer, padded_logps, random_pairs, with_own_references

from notus.scoring.attention import NAME
from notus.training.group import from_first, process_group

CURVE = Path(__file__).with_name("curves") / "dpo.json"
STEPS = 6
SETTINGS: dict[str, dict[str, Any]] = {
    "packed": {"max_tokens": 10_000},
    "one pair a micro-batch": {"max_tokens": 1},
    "some": {"max_tokens": 60},
    "padded": {"max_tokens": 10_000, "padded": True},
    "recomputed": {"max_tokens": 60, "checkpointing": True},
    "ddp": {"max_tokens": 60},
    "fsdp": {"max_tokens": 60, "sharded": True},
    "fsdp, recomputed": {"max_tokens": 60, "sharded": True, "checkpointing": True},
    "ddp, resumed": {"max_tokens": 60, "resumed": "ddp"},
    "fsdp, resumed": {"max_tokens": 60, "sharded": True, "resumed": "fsdp"},
    "fsdp, resumed from ddp": {"max_tokens": 60, "sharded": True, "resumed": "ddp"},
    "lora": {"max_tokens": 10_000, "lora": True},
    "lora, ddp": {"max_tokens": 60, "lora": True},
    "lora, fsdp": {"max_tokens": 60, "lora": True, "sharded": True},
}
Curve = list[dict[str, float]]


def train(layout: str) -> tuple[Curve, dict[str, Any]]:
    """Loss and gradient norm of six steps, held-out metrics at the end, and the last weights."""
    settings = dict(SETTINGS[layout])
    former = settings.pop("resumed", None)
    folder = from_first(tempfile.mkdtemp())
    checkpoint = None
    if former is not None:
        make(dict(SETTINGS[former]), folder).train()
        checkpoint = f"{folder}/checkpoint-3"
    trainer = make(settings, folder)
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.evaluate()
    history = trainer.state.log_history
    # Accuracies are left out: while the policy is the reference, rounding alone says who is ahead.
    names = ("loss", "grad_norm", "rewards/margins", "logps/chosen")
    curve = [{k: row[k] for k in names} for row in history if "loss" in row]
    final = {k: history[-1][f"eval_{k}"] for k in names if k != "grad_norm"}
    return [*curve, final], trainer.whole_weights() or trainer.model.state_dict()


def make(settings: dict[str, Any], folder: str) -> Any:
    """A trainer of the tiny model in float64, six steps of eight pairs (the third has four)."""
    model = exact_llama()
    pairs = with_own_references(model, random_pairs(20))
    heldout = with_own_references(model, random_pairs(7, seed=1))
    if settings.pop("lora", False):
        model = with_lora(model)
    padded = settings.pop("padded", False)
    trainer = make_trainer(
        model,
        pairs,
        eval_examples=heldout,
        max_steps=STEPS,
        learning_rate=1e-2,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        per_device_train_batch_size=8,
        per_device_eval_batch_size=4,
        output_dir=folder,
        save_strategy="steps",
        save_steps=3,
        ddp_find_unused_parameters=False,
        activation_checkpointing=settings.pop("checkpointing", False),
        **settings,
    )
    if padded:
        use_padded(trainer)
    return trainer


def use_padded(trainer: Any) -> None:
    """Score a forest's pairs by the padded layout, which repeats every prompt."""
    pairs: list[Any] = []
    step, score = trainer.training_step, trainer._score

    def training_step(model: Any, inputs: Any, num: Any = None) -> torch.Tensor:
        pairs[:] = inputs["batch"].examples
        return step(model, inputs, num)

    def score_batch(batch: Any) -> torch.Tensor:
        pairs[:] = batch.examples
        return score(batch)

    def logps(model: Any, forest: Any) -> torch.Tensor:
        order = (forest.sequence_index[::2] // 2).tolist()
        model.set_attn_implementation("sdpa")
        chosen, rejected = padded_logps(model, [pairs[i] for i in order])
        model.set_attn_implementation(NAME)
        return torch.stack([chosen, rejected], 1).flatten()

    trainer.training_step, trainer._score, trainer._logps = training_step, score_batch, logps


def with_lora(model: Any) -> Any:
    config = peft.LoraConfig(
        r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=True, task_type="CAUSAL_LM"
    )
    dtype = model.dtype
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return peft.get_peft_model(model, config).to(dtype)


def largest_difference(one: Curve, other: Curve) -> float:
    """Over steps and numbers, relative where a number is above 1."""
    return max(
        abs(a[k] - b[k]) / max(1.0, abs(a[k]))
        for a, b in zip(one, other, strict=True)
        for k in a.keys() | b.keys()
    )


def main(layouts: list[str], folder: Path) -> None:
    with process_group(timeout=60) as here:
        for layout in layouts:
            curve, weights = train(layout)
            if here.is_first:
                (folder / f"{layout}.json").write_text(json.dumps(curve))
                torch.save(weights, folder / f"{layout}.pt")


if __name__ == "__main__":
    if sys.argv[1:] == ["--record"]:
        text = json.dumps(train("packed")[0], indent=1) + "\n"
        CURVE.write_text(text)
    else:
        main(sys.argv[2:], Path(sys.argv[1]))
