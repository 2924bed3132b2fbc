"""Transformers' Trainer with our loss, schedules, sampler and journal."""

from typing import Any

import numpy as np
import torch
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer

from earmark.training.batches import BalancedSampler, class_weights
from earmark.training.journal import Journal
from earmark.training.losses import measure_loss
from earmark.training.recipe import Recipe
from earmark.training.schedule import build_schedule


class ClassificationTrainer(Trainer):
    """What Transformers' Trainer lacks: targets that are probabilities, our schedules, and a record an epoch."""

    def __init__(self, *, recipe: Recipe, journal: Journal, multi_label: bool, **settings: Any) -> None:
        self.recipe = recipe
        self.journal = journal
        self.multi_label = multi_label
        super().__init__(**settings)
        # Transformers would leave the division under gradient accumulation to models that take any keyword.
        self.model_accepts_loss_kwargs = False
        # One process on one CPU: as dear as a step of a small network is what Accelerate asks itself at each.
        self.is_plain = self.args.device.type == "cpu" and self.args.world_size == 1
        self.weights: Tensor | None = None
        if recipe.train.balance == "weights":
            self.weights = class_weights(self.train_dataset.targets).to(self.args.device)

    def compute_loss(self, model: nn.Module, inputs: dict, return_outputs: bool = False, **_: Any) -> Any:
        """The loss against class probabilities; in training it is also counted."""
        targets = inputs.pop("targets")
        outputs = model(**inputs)
        loss = measure_loss(
            outputs.logits,
            targets,
            multi_label=self.multi_label,
            weights=self.weights,
            label_smoothing=self.recipe.train.label_smoothing,
        )
        if model.training:
            self.journal.count(loss.detach(), self._count_right(outputs.logits.detach(), targets), len(targets))
        return (loss, outputs) if return_outputs else loss

    def training_step(self, model: nn.Module, inputs: dict, num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward; on one CPU without what Transformers does for other machines at every step.

        `EpochTeller` has put the model into training mode.
        """
        if not self.is_plain:
            return super().training_step(model, inputs, num_items_in_batch)
        with self.compute_loss_context_manager():
            loss = self.compute_loss(model, inputs) / self.current_gradient_accumulation_steps
        loss.backward()
        return loss.detach()

    def _clip_grad_norm(self, model: nn.Module) -> Any:
        if not self.is_plain:
            return super()._clip_grad_norm(model)
        return nn.utils.clip_grad_norm_(model.parameters(), self.args.max_grad_norm)

    def _count_right(self, logits: Tensor, targets: Tensor) -> Tensor:
        if self.multi_label:
            return ((logits > 0) == (targets > 0.5)).float().mean(-1).sum()
        return (logits.argmax(-1) == targets.argmax(-1)).sum()

    def create_optimizer(self, *given: Any, **settings: Any) -> Any:
        """AdamW as Transformers groups it, or plain Adam without weight decay, as the tutorials have it."""
        if self.recipe.train.optimizer == "adamw":
            return super().create_optimizer(*given, **settings)
        if self.optimizer is None:  # type: ignore[has-type]
            learning = [weight for weight in self.model.parameters() if weight.requires_grad]
            # Fused, as Transformers has AdamW: one pass over the weights instead of ten.
            self.optimizer = torch.optim.Adam(learning, lr=self.recipe.train.learning_rate, fused=True)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The recipe's schedule."""
        if self.is_plain and isinstance(self.optimizer, AcceleratedOptimizer):
            self.optimizer = self.optimizer.optimizer  # its wrapper looks for a package on disk at every step
        if self.lr_scheduler is None:  # type: ignore[has-type]
            batches = -(-len(self.train_dataset) // (self.args.train_batch_size * self.args.world_size))
            self.lr_scheduler = build_schedule(
                optimizer or self.optimizer,
                self.recipe.train,
                steps=num_training_steps,
                steps_per_epoch=max(1, -(-batches // self.args.gradient_accumulation_steps)),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """All clips to choose by: Trainer's own would drop the last few wherever the last training batch is dropped."""
        loader = DataLoader(self.eval_dataset, self.args.per_device_eval_batch_size, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self.recipe.train.balance == "sampler":
            return BalancedSampler(self.train_dataset.targets, self.args.seed)
        return super()._get_train_sampler(train_dataset)


def measure_accuracy(prediction: Any) -> dict[str, float]:
    """Accuracy of Trainer's predictions, 0 to 1."""
    logits, targets = prediction
    return {"accuracy": float((logits.argmax(-1) == targets.argmax(-1)).mean())}


def measure_map(prediction: Any) -> dict[str, float]:
    """Mean average precision of Trainer's predictions over the classes that occur, 0 to 1."""
    from sklearn.metrics import average_precision_score

    logits, targets = prediction
    occurring = np.flatnonzero(targets.sum(0) > 0)
    return {"map": float(np.mean([average_precision_score(targets[:, i], logits[:, i]) for i in occurring]))}
