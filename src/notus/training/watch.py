"""Watches a training: signs in words, sample answers, and stopping where the recipe asks for it.

    a log -> Signs -> warnings.jsonl, a line for the person who waits, TensorBoard
    an evaluation -> Sampler -> samples.jsonl, answers side by side in TensorBoard, another log

What is said follows from rows of metrics.jsonl alone. A resumed training reads its rows again, so
it knows what has been said and writes the same files. In a run of many processes all of them see
the same rows and stop together; the first one writes.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from notus.directories import write_atomically
from notus.training.callbacks import step_of_row
from notus.training.sampler import Answer, Sampler
from notus.training.signs import Sign, Signs
from notus.training.trainer import PreferenceTrainer

METRICS, WARNINGS, SAMPLES = "metrics.jsonl", "warnings.jsonl", "samples.jsonl"
Say = Callable[[str], None]


class Watch(TrainerCallback):
    """Observes every log and evaluation of one training; stands behind the metrics file."""

    def __init__(
        self,
        directory: Path,
        trainer: PreferenceTrainer,
        sampler: Sampler | None,
        *,
        stop_on: Sequence[str] = (),
        say: Say,
        writer: Any = None,
    ) -> None:
        """Prepare watching.

        Args:
            directory: Where metrics.jsonl is and the other files go.
            trainer: The training's; it also takes the numbers of sample answers.
            sampler: Answers prompts at evaluations; None: nothing is sampled.
            stop_on: Names of signs that end the training.
            say: Called with the text of each sign.
            writer: TensorBoard's SummaryWriter, for texts.
        """
        self._directory = directory
        self._trainer = trainer
        self._sampler = sampler
        self._stop_on = frozenset(stop_on)
        self._say = say
        self._writer = writer
        self._signs = Signs(0)
        self.stopped: Sign | None = None
        """The sign that ended the training."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure the machine, answer as the base; after a resume, read what was said before."""
        self._signs, step = Signs(state.max_steps), state.global_step
        gauges = self._trainer.gauges
        if step:
            gauges.restore(Path(str(args.output_dir)) / f"checkpoint-{step}")
        said = [sign for row in self._rows(step) for sign in self._signs.observe(row)]
        if state.is_world_process_zero:
            text = "".join(_line(sign) for sign in said)
            write_atomically(
                self._directory / WARNINGS, lambda path: path.write_text(text, "utf-8")
            )
        if self._sampler is not None:
            if step:
                self._sampler.resume(step)
            else:
                self._sampler.start()
        gauges.clock.lap("answers")
        weight = next(kwargs["model"].parameters())
        gauges.probe(weight.device, torch.bfloat16 if args.bf16 else weight.dtype)
        gauges.clock.lap("logging")

    def _rows(self, step: int) -> list[dict[str, Any]]:
        """Rows of metrics.jsonl up to a step; later ones may not yet have been dropped."""
        lines = (self._directory / METRICS).read_text("utf-8").splitlines() if step else []
        return [json.loads(line) for line in lines if step_of_row(line) <= step]

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Look for signs in a row."""
        for sign in self._signs.observe({"step": state.global_step, **(logs or {})}):
            if state.is_world_process_zero:
                with (self._directory / WARNINGS).open("a", encoding="utf-8") as file:
                    file.write(_line(sign))
                self._say(f"step {sign.step}: {sign.text}")
                if self._writer is not None:
                    self._writer.add_text(f"signs/{sign.name}", sign.text, sign.step)
            if sign.name in self._stop_on and self.stopped is None:
                self.stopped = sign
                control.should_training_stop = True

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Let the policy answer."""
        if self._sampler is None:
            return
        answers, numbers = self._sampler.evaluate(state.global_step)
        gauges = self._trainer.gauges
        gauges.clock.lap("answers")
        self._trainer.log(numbers | gauges.seconds())
        if self._writer is not None:
            for number, answer in enumerate(answers):
                self._writer.add_text(f"answers/{number}", _shown(answer), answer.step)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Keep in the checkpoint what the next numbers are over."""
        if state.is_world_process_zero:
            self._trainer.gauges.save(
                Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            )


def _line(sign: Sign) -> str:
    return json.dumps(asdict(sign)) + "\n"


def _shown(answer: Answer) -> str:
    """Both texts as code blocks: Markdown of a model's text would be drawn."""
    parts = (f"{answer.mode}, step {answer.step}", answer.prompt, answer.text)
    title, *texts = parts
    blocks = ["\n".join(f"    {line}" for line in text.splitlines()) for text in texts]
    return "\n\n".join([title, *blocks])
