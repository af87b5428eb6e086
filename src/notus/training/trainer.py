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
from transformers import TrainingArguments
from transformers.trainer_utils import EvalLoopOutput

from notus.errors import TrainingError, explain
from notus.scoring.attention import evaluation_mode, use_tree_attention
from notus.scoring.forest import Forest
from notus.scoring.fused import fused_loss
from notus.scoring.logps import sequence_logps
from notus.training.batches import Batch, Collator, LongestFirstSampler
from notus.training.clock import Clock
from notus.training.columns import COLUMNS
from notus.training.distributed import DistributedTrainer
from notus.training.examples import Example
from notus.training.gauges import Gauges
from notus.training.group import summed
from notus.training.guards import check_losses, check_norm
from notus.training.objectives import Objective, Outcome

# Before the first update the policy is the reference, so that every log-ratio is 0. The allowance,
# a share of a loss above 1, is for float32 sums over two packings and for bfloat16 products.
STEP0_TOLERANCE = {torch.float32: 2e-3, torch.float64: 1e-6, torch.bfloat16: 5e-2}


class PreferenceTrainer(DistributedTrainer):
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
            data_collator=Collator(
                max_tokens=max_tokens, rank=args.process_index, size=args.world_size
            ),
            **kwargs,
        )
        self.objective = objective
        self._names: list[str] = []
        self.gauges = Gauges(model, train_examples, clock or Clock())

    def training_step(
        self, model: Any, inputs: Mapping[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """Run forward and backward over one step's forests; return the mean loss of its examples.

        Every process returns the whole step's, and has the rows of all its examples.
        """
        model.train()
        batch: Batch = inputs["batch"]
        weight = batch.weights.sum().item()
        rows = torch.zeros(len(batch.examples), len(COLUMNS), dtype=torch.float64)
        passes = batch.share.passes
        with use_tree_attention(model):
            shift = self._shift(model, batch)
            for number, (forest, indices) in enumerate(passes, start=1):
                with self.micro_batch(model, last=number == len(passes)):
                    if indices is None:
                        loss = self._logps(model, forest).sum() * 0
                    else:
                        mine = torch.tensor(indices)
                        loss = self._loss(model, forest, batch, mine, shift, rows) / weight
                    self.gauges.clock.lap("forward")
                    self.add_gradient(loss)
                    loss.item()  # Waits for the device.
                    self.gauges.clock.lap("backward")
        summed(rows)
        self._names = [example.name for example in batch.examples]
        if self.state.global_step == 0 and self.objective.needs_reference:
            self._check_step0(rows, batch)
        check_losses(rows[:, 0].tolist(), self._names, step=self.state.global_step + 1)
        self.gauges.step(batch, rows)
        return torch.tensor(_mean(rows[:, 0], batch.weights), device=self.args.device)

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,  # noqa: FBT001 - the parent's signature
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Score all held-out examples, each process its share; the metrics are over all."""
        self.model.eval()
        batches: list[Batch] = [inputs["batch"] for inputs in dataloader]
        rows = torch.cat([self._score(batch) for batch in batches])
        loss = _mean(rows[:, 0], torch.cat([batch.weights for batch in batches]))
        found = self.gauges.evaluation(self.eval_dataset, rows)
        found = {"loss": loss, **found, **self.objective.says(loss)}
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        return EvalLoopOutput(rows, None, metrics, len(rows))

    @torch.no_grad()
    def _score(self, batch: Batch) -> Tensor:
        """[P, len(COLUMNS)] rows of a batch."""
        rows = torch.zeros(len(batch.examples), len(COLUMNS), dtype=torch.float64)
        with use_tree_attention(self.model):
            shift = self._shift(self.model, batch)
            for forest, indices in batch.share.passes:
                if indices is None:
                    self._logps(self.model, forest)
                    continue
                out = self._forward(self.model, forest, batch.targets[indices], shift)
                rows[indices] = out.rows.double().cpu()
        return summed(rows)

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
            for forest, indices in (
                batch.mismatched if kind == "mismatched" else batch.share
            ).passes:
                found = self._logps(model, forest).double().cpu()
                if indices is not None:
                    logps[indices] = found  # One sequence an example.
        return self.objective.shift(summed(logps), batch.targets)

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

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> float:
        """Look at the norm before the update: after one that is NaN every weight would be."""
        norm = float(super()._get_grad_norm(model, grad_norm))
        check_norm(norm, self._names, step=self.state.global_step + 1)
        return norm


def _mean(values: Tensor, weights: Tensor) -> float:
    return ((values * weights).sum() / weights.sum()).item()
