"""The preference trainer: transformers' Trainer with another training step.

Checkpoints, resuming, schedulers, accelerate, PEFT and trackers are the ecosystem's own. What is
ours: an optimiser step is one batch of examples, cut into forests by token budget; each forest is
one forward and backward pass whose loss is weighted by its share of the step's examples.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import EvalPrediction, Trainer, TrainingArguments

from notus.errors import TrainingError, explain
from notus.scoring.attention import evaluation_mode, use_tree_attention
from notus.scoring.forest import Forest
from notus.scoring.fused import fused_loss
from notus.scoring.logps import sequence_logps
from notus.training.batches import Batch, Collator, LongestFirstSampler
from notus.training.clock import Clock
from notus.training.columns import COLUMNS
from notus.training.examples import Example
from notus.training.gather import num_processes, whole_step
from notus.training.gauges import Gauges
from notus.training.objectives import Objective, Outcome

# Before the first update the policy is the reference, so that every log-ratio is 0. The allowance,
# a share of a loss above 1, is for float32 sums over two packings and for bfloat16 products.
STEP0_TOLERANCE = {torch.float32: 2e-3, torch.float64: 1e-6, torch.bfloat16: 5e-2}


class PreferenceTrainer(Trainer):
    """Trains a policy on examples with stored reference log-probs."""

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        *,
        objective: Objective,
        train_examples: Sequence[Example],
        eval_examples: Sequence[Example],
        max_tokens: int,
        clock: Clock | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            model=model,
            args=args,
            train_dataset=list(train_examples),
            eval_dataset=list(eval_examples),
            data_collator=Collator(max_tokens=max_tokens),
            compute_metrics=self._evaluation_metrics,
            **kwargs,
        )
        self.objective = objective
        self.gauges = Gauges(model, train_examples, clock or Clock())

    def training_step(
        self, model: Any, inputs: Mapping[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """Run forward and backward over one step's forests; return the mean loss of its examples.

        With several processes it is this one's share of that mean, times their number: what is
        averaged over processes, gradients too, is then the whole step's.
        """
        model.train()
        batch: Batch = inputs["batch"]
        weight = whole_step(batch.weights).sum().item() / num_processes()
        rows = torch.zeros(len(batch.examples), len(COLUMNS), dtype=torch.float64)
        total = torch.zeros((), dtype=torch.float64)
        with use_tree_attention(model):
            shift = self._shift(model, batch)
            for forest, indices in zip(batch.forests, batch.indices, strict=True):
                loss = self._loss(model, forest, batch, torch.tensor(indices), shift, rows) / weight
                self.gauges.clock.lap("forward")
                self.accelerator.backward(loss)
                total += loss.detach().double().cpu()  # Waits for the device.
                self.gauges.clock.lap("backward")
        if self.state.global_step == 0 and self.objective.needs_reference:
            self._check_step0(rows, batch)
        self.gauges.step(batch, rows)
        return total.float().to(self.args.device)

    def prediction_step(
        self,
        model: Any,
        inputs: Mapping[str, Any],
        prediction_loss_only: bool,  # noqa: FBT001 - the parent's signature
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Score one held-out batch: (mean loss, [P, len(COLUMNS)] rows, [P] weights)."""
        batch: Batch = inputs["batch"]
        rows = torch.zeros(len(batch.examples), len(COLUMNS), dtype=torch.float64)
        with torch.no_grad(), use_tree_attention(model):
            shift = self._shift(model, batch)
            for forest, indices in zip(batch.forests, batch.indices, strict=True):
                out = self._forward(model, forest, batch.targets[indices], shift)
                rows[indices] = out.rows.double().cpu()
        return rows[:, 0].mean(), rows, batch.weights

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add what the gauges say to what the trackers get."""
        if "grad_norm" in logs:
            logs["clipped"] = float(logs["grad_norm"] > self.args.max_grad_norm)
        if "loss" in logs:
            logs |= self.gauges.read(self.state.global_step) | self.objective.says(logs["loss"])
        elif "eval_loss" in logs:
            self.gauges.clock.lap("evaluation")
            logs |= self.gauges.seconds()
        super().log(logs, start_time)

    def floating_point_ops(self, inputs: Mapping[str, Any]) -> int:
        """Count a step's operations, for transformers' own sum of them."""
        return int(self.gauges.operations(inputs["batch"]))

    def _get_train_sampler(self, train_dataset: Any = None) -> LongestFirstSampler:
        lengths = [example.num_tokens for example in train_dataset or self.train_dataset]
        return LongestFirstSampler(lengths, seed=self.args.seed)

    def _loss(
        self,
        model: Any,
        forest: Forest,
        batch: Batch,
        indices: Tensor,
        shift: Tensor,
        rows: Tensor,
    ) -> Tensor:
        """Sum the weighted losses of a forest's examples, with gradient; fill in their rows."""

        def loss_of(logps: Tensor, units: Tensor) -> Tensor:
            own = indices[units.cpu()]
            out = self.objective(logps, batch.targets[own], shift)
            rows[own] = out.rows.double().cpu()
            return (out.losses * batch.weights[own].to(out.losses)).sum()

        size = self.objective.num_completions
        # The whole pass, as in the reference's: the model's own forward leaves the head out.
        with self.accelerator.autocast():
            return fused_loss(model, forest.to(self.args.device), loss_of, unit_size=size)

    def _forward(self, model: Any, forest: Forest, targets: Tensor, shift: Tensor) -> Outcome:
        """Losses and rows of a forest's examples."""
        return self.objective(self._logps(model, forest), targets, shift)

    def _logps(self, model: Any, forest: Forest) -> Tensor:
        with self.accelerator.autocast():
            return sequence_logps(model, forest.to(self.args.device))

    @torch.no_grad()
    def _shift(self, model: Any, batch: Batch) -> Tensor:
        """Work out the objective's number of the whole step, in a pass of its own."""
        kind = self.objective.shifted_by
        if kind is None:
            return torch.zeros(())
        logps = torch.zeros(len(batch.examples), dtype=torch.float64)
        # Dropout would make two passes two policies.
        with evaluation_mode(model):
            for forest in batch.mismatched if kind == "mismatched" else batch.forests:
                # One sequence an example.
                logps[forest.sequence_index] = self._logps(model, forest).double().cpu()
        return self.objective.shift(whole_step(logps), whole_step(batch.targets))

    def _check_step0(self, rows: Tensor, batch: Batch) -> None:
        loss = _mean(rows[:, 0], batch.weights)
        expected = _mean(self.objective.at_reference(batch.targets), batch.weights)
        dtype = torch.bfloat16 if self.args.bf16 else next(self.model.parameters()).dtype
        allowed = STEP0_TOLERANCE[dtype] * max(1.0, abs(expected))
        if not abs(loss - expected) <= allowed:  # a NaN is not
            name = "ln 2 = " if math.isclose(expected, math.log(2), abs_tol=1e-9) else ""
            raise TrainingError(
                explain(
                    found=f"a loss of {loss:.6f} at step 0",
                    expected=f"{name}{expected:.6f}: before the first update the policy is the "
                    "reference",
                    where="the first batch",
                    remedy="look for dropout in the base model, or reference log-probs of another "
                    "model (delete the folder of reference log-probs and train again)",
                )
            )

    def _evaluation_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        rows = torch.as_tensor(prediction.predictions)
        weights = torch.as_tensor(prediction.label_ids)
        loss = _mean(rows[:, 0], weights)
        found = self.gauges.evaluation(self.eval_dataset, rows)
        return {"loss": loss, **found, **self.objective.says(loss)}


def _mean(values: Tensor, weights: Tensor) -> float:
    return ((values * weights).sum() / weights.sum()).item()
