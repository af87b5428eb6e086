"""The preference trainer: transformers' Trainer with another training step.

Checkpoints, resuming, schedulers, accelerate, PEFT and trackers are the ecosystem's own. What is
ours: an optimiser step is one batch of pairs, cut into forests by token budget; each forest is one
forward and backward pass whose loss is weighted by its share of the step's pairs.
"""

import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import EvalPrediction, Trainer, TrainingArguments

from notus.errors import TrainingError, explain
from notus.scoring.attention import use_tree_attention
from notus.scoring.forest import Forest
from notus.scoring.logps import sequence_logps
from notus.training.batches import LongestFirstSampler, Pair, PairBatch, PairCollator
from notus.training.losses import rewards_accuracy, sigmoid

# At step 0 the policy is the reference, so every margin is 0 and the loss is ln 2 (DPO, eq. 7). The
# allowance is for float32 sums over two different packings, and for bfloat16 products.
STEP0_TOLERANCE = {torch.float32: 2e-3, torch.float64: 1e-6, torch.bfloat16: 5e-2}


class PreferenceTrainer(Trainer):
    """Trains a policy on pairs with stored reference log-probs."""

    def __init__(
        self,
        model: Any,
        args: TrainingArguments,
        *,
        train_pairs: Sequence[Pair],
        eval_pairs: Sequence[Pair],
        beta: float,
        max_tokens: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            model=model,
            args=args,
            train_dataset=list(train_pairs),
            eval_dataset=list(eval_pairs),
            data_collator=PairCollator(max_tokens=max_tokens),
            compute_metrics=_evaluation_metrics,
            **kwargs,
        )
        self.beta = beta
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._since = time.perf_counter()

    def training_step(
        self, model: Any, inputs: Mapping[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """Run forward and backward over one step's forests; return the mean loss of its pairs."""
        model.train()
        batch, num_pairs = inputs["batch"], len(inputs["reference_chosen"])
        total = torch.zeros((), dtype=torch.float64)
        with use_tree_attention(model):
            for forest, indices in zip(batch.forests, batch.pair_indices, strict=True):
                losses, rows = self._forward(model, forest, inputs, indices)
                loss = losses.sum() / num_pairs
                self.accelerator.backward(loss)
                total += loss.detach().double().cpu()
                for name, mean in _means(rows).items():
                    self._sums[name] += mean * len(rows)
        if self.state.global_step == 0:
            self._check_step0(total.item())
        self._sums["tokens"] += batch.num_tokens
        self._sums["num_pairs"] += num_pairs
        return total.float().to(self.args.device)

    def prediction_step(
        self,
        model: Any,
        inputs: Mapping[str, Any],
        prediction_loss_only: bool,  # noqa: FBT001 - the parent's signature
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Score one batch of held-out pairs: (mean loss, [P, 7] numbers a pair, [P] dummies)."""
        batch = inputs["batch"]
        rows = torch.zeros(len(inputs["reference_chosen"]), 7, dtype=torch.float64)
        with torch.no_grad(), use_tree_attention(model):
            for forest, indices in zip(batch.forests, batch.pair_indices, strict=True):
                rows[indices] = self._forward(model, forest, inputs, indices)[1]
        return rows[:, 0].mean(), rows, torch.zeros(len(rows))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means since the last log to what the trackers get."""
        if "loss" in logs and self._sums["num_pairs"]:
            pairs = self._sums.pop("num_pairs")
            seconds = time.perf_counter() - self._since
            tokens = self._sums.pop("tokens")
            logs |= {name: total / pairs for name, total in self._sums.items()}
            logs |= {"num_pairs": pairs, "tokens_per_second": tokens / seconds}
            self._sums.clear()
        self._since = time.perf_counter()
        super().log(logs, start_time)

    def floating_point_ops(self, inputs: Mapping[str, Any]) -> int:
        """Count 6 operations a parameter and token (Kaplan et al. 2020, section 2.1)."""
        batch: PairBatch = inputs["batch"]
        return 6 * batch.num_tokens * sum(p.numel() for p in self.model.parameters())

    def _get_train_sampler(self, train_dataset: Any = None) -> LongestFirstSampler:
        lengths = [pair.num_tokens for pair in train_dataset or self.train_dataset]
        return LongestFirstSampler(lengths, seed=self.args.seed)

    def _forward(
        self, model: Any, forest: Forest, inputs: Mapping[str, Any], indices: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Losses [P] of a forest's pairs, with gradient, and their numbers for `_means` [P, 7]."""
        # The whole pass, as in the reference's: the model's own forward leaves the head out.
        with self.accelerator.autocast():
            logps = sequence_logps(model, forest.to(self.args.device))
        chosen, rejected = logps[0::2], logps[1::2]
        references = (inputs["reference_chosen"], inputs["reference_rejected"])
        reference_chosen, reference_rejected = (r[list(indices)].to(logps) for r in references)
        out = sigmoid(chosen, rejected, reference_chosen, reference_rejected, beta=self.beta)
        rows = torch.stack(
            [
                out.losses,
                out.chosen_rewards,
                out.rejected_rewards,
                chosen,
                rejected,
                chosen - reference_chosen,
                rejected - reference_rejected,
            ],
            dim=1,
        )
        return out.losses, rows.detach().double().cpu()

    def _check_step0(self, loss: float) -> None:
        dtype = torch.bfloat16 if self.args.bf16 else next(self.model.parameters()).dtype
        if not abs(loss - math.log(2)) <= STEP0_TOLERANCE[dtype]:  # a NaN is not
            raise TrainingError(
                explain(
                    found=f"a loss of {loss:.6f} at step 0",
                    expected=f"ln 2 = {math.log(2):.6f}: before the first update the policy is the "
                    "reference",
                    where="the first batch of pairs",
                    remedy="look for dropout in the base model, or reference log-probs of another "
                    "model (delete the run's reference folder and train again)",
                )
            )


def _means(rows: Tensor) -> dict[str, float]:
    """Name the usual metrics of a block of pairs, the rows of `_forward`."""
    _, chosen, rejected, *logps = rows.unbind(dim=1)
    values = {
        "rewards/chosen": chosen.mean(),
        "rewards/rejected": rejected.mean(),
        "rewards/margins": (chosen - rejected).mean(),
        "rewards/accuracies": rewards_accuracy(chosen, rejected),
    }
    names = ("logps/chosen", "logps/rejected", "delta_logps/chosen", "delta_logps/rejected")
    values |= {name: column.mean() for name, column in zip(names, logps, strict=True)}
    return {name: value.item() for name, value in values.items()}


def _evaluation_metrics(prediction: EvalPrediction) -> dict[str, float]:
    rows = torch.as_tensor(prediction.predictions)
    return _means(rows) | {"num_pairs": len(rows)}
