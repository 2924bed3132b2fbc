"""Regression: the loss under gradient accumulation."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import TrainingArguments
from transformers.modeling_outputs import SequenceClassifierOutput

from earmark.training.journal import Journal
from earmark.training.recipe import load_recipe
from earmark.training.trainer import ClassificationTrainer


class _Features(torch.utils.data.Dataset):
    """Eight clips as six numbers each."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.features = torch.from_numpy(random.normal(0, 1, (8, 6)).astype(np.float32))
        self.targets = np.eye(3, dtype=np.float32)[random.integers(0, 3, 8)]

    def __len__(self) -> int:
        return 8

    def __getitem__(self, item: int) -> dict[str, Tensor]:
        return {"features": self.features[item], "targets": torch.from_numpy(self.targets[item])}


class _Mlp(nn.Module):
    """Takes any keyword, as Transformers' own audio classifiers do: that is what misleads its Trainer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))

    def forward(self, features: Tensor, **_: Any) -> SequenceClassifierOutput:
        return SequenceClassifierOutput(logits=self.layers(features))


def test_four_batches_of_two_are_one_batch_of_eight(tmp_path: Path) -> None:
    """Regression: Transformers leaves the loss undivided under accumulation for models that take any keyword."""
    recipe = load_recipe("quick", ["train.schedule=constant"])
    weights = []
    for batch, accumulation in ((8, 1), (2, 4)):
        torch.manual_seed(0)
        model = _Mlp()
        arguments = TrainingArguments(
            output_dir=str(tmp_path),
            num_train_epochs=3,
            per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation,
            learning_rate=0.5,
            optim="sgd",  # Adam's first step is as long whatever the gradient's scale
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            use_cpu=True,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        journal = Journal(None, "accumulation", validating=False, plain_lines=1)
        ClassificationTrainer(
            recipe=recipe,
            journal=journal,
            multi_label=False,
            model=model,
            args=arguments,
            train_dataset=_Features(),
            callbacks=[journal],
        ).train()
        weights.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=1e-6)
