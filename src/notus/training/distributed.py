"""transformers' Trainer with one trajectory, however many processes share each step.

Every process goes through the same batches, whole: who computes what of a batch is for the batch to
say. A step's gradient is the sum over all processes, reduced once. Checkpoints hold the whole
state, whatever part of it a process has.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from transformers import Trainer

from notus.training.sharding import (
    load_optimizer_state,
    shard,
    whole_optimizer_state,
    whole_state,
)

OPTIMIZER, SCHEDULER = "optimizer.pt", "scheduler.pt"


class DistributedTrainer(Trainer):
    """What a training on several processes needs beside its step, which a subclass has."""

    def __init__(self, *args: Any, sharded: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sharded = sharded
        """Whether the weights are spread over the processes (FSDP2)."""

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Load whole steps; accelerate would deal them out, and fill the last one up."""
        size = self.args.per_device_train_batch_size
        return self._loader(self.train_dataset, size, self._get_train_sampler(self.train_dataset))

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Load whole batches in the examples' order."""
        dataset = self.eval_dataset if eval_dataset is None else eval_dataset
        return self._loader(dataset, self.args.per_device_eval_batch_size, None)

    def _loader(self, dataset: Any, batch_size: int, sampler: Any) -> DataLoader[Any]:
        loader: DataLoader[Any] = DataLoader(
            dataset, batch_size=batch_size, sampler=sampler, collate_fn=self.data_collator
        )
        # As for one process: an epoch has its order, and can be gone on with in its middle.
        return prepare_data_loader(loader, num_processes=1, process_index=0)

    @contextmanager
    def micro_batch(self, model: Any, *, last: bool) -> Iterator[None]:
        """Hold one forward and backward; gradients are reduced in a step's last one.

        A sharded model reduces in every backward: what it would keep is the whole gradient.
        """
        self.accelerator.gradient_state._set_sync_gradients(last)  # DeepSpeed updates where it is.
        later = isinstance(model, DistributedDataParallel) and not last
        with model.no_sync() if later else nullcontext():
            yield

    def add_gradient(self, loss: Tensor) -> None:
        """Add a loss's gradient to the step's, which is the sum over processes.

        All ways to reduce (DDP, FSDP2, ZeRO) average; multiplying by a number of processes that is
        a power of two undoes it without rounding.
        """
        scale = {"scale_wrt_gas": False} if self.is_deepspeed_enabled else {}
        self.accelerator.backward(loss * self.args.world_size, **scale)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Spread the weights first: an optimiser holds the tensors that it is given."""
        if self.sharded:
            shard(self.model)
            # To transformers: a model that must not be wrapped, and reduces its own gradients.
            self.is_distributed_loading_by_transformers = True
        return super().create_optimizer(model)

    def whole_weights(self) -> dict[str, Tensor] | None:
        """Gather the weights in main memory; all processes must call it. None: all are here."""
        if self.sharded:
            return whole_state(self.model)
        if self.is_deepspeed_enabled:
            return self.accelerator.get_state_dict(self.deepspeed)
        return None

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        state = whole_state(self.model) if self.sharded else state_dict
        if self.args.should_save:
            super()._save(output_dir, state)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.sharded:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        state = whole_optimizer_state(self.optimizer)
        if self.args.should_save:
            torch.save(state, Path(output_dir) / OPTIMIZER)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if not self.sharded or checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        folder = Path(checkpoint)
        state = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
        load_optimizer_state(self.optimizer, state)
        self.lr_scheduler.load_state_dict(torch.load(folder / SCHEDULER, weights_only=True))
