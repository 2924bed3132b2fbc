"""The loss, against torch's own for hard labels, scikit-learn's, and the arithmetic by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch.nn import functional as F

from earmark.training.losses import measure_loss

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3], [-3.0, 1.0, 4.0], [0.0, 0.0, 0.0]])
LABELS = torch.tensor([0, 2, 1, 2])
ONE_HOT = F.one_hot(LABELS, 3).float()


def test_hard_labels_give_cross_entropy() -> None:
    loss = measure_loss(LOGITS, ONE_HOT).item()
    assert loss == pytest.approx(F.cross_entropy(LOGITS, LABELS).item(), rel=1e-6)
    assert loss == pytest.approx(log_loss(LABELS, LOGITS.double().softmax(-1), labels=[0, 1, 2]), rel=1e-6)


def test_a_mixture_counts_both_its_classes() -> None:
    mixed = torch.tensor([[0.25, 0.0, 0.75]])
    logits = LOGITS[:1]
    by_class = [F.cross_entropy(logits, torch.tensor([label])).item() for label in (0, 2)]
    assert measure_loss(logits, mixed).item() == pytest.approx(0.25 * by_class[0] + 0.75 * by_class[1], rel=1e-6)


def test_label_smoothing_is_torchs() -> None:
    expected = F.cross_entropy(LOGITS, LABELS, label_smoothing=0.1).item()
    assert measure_loss(LOGITS, ONE_HOT, label_smoothing=0.1).item() == pytest.approx(expected, rel=1e-6)


def test_weights_multiply_each_clip_by_its_class() -> None:
    weights = torch.tensor([1.0, 2.0, 5.0])
    each = F.cross_entropy(LOGITS, LABELS, reduction="none")
    expected = (each * weights[LABELS]).mean().item()
    assert measure_loss(LOGITS, ONE_HOT, weights=weights).item() == pytest.approx(expected, rel=1e-6)


def test_several_labels_stand_on_their_own() -> None:
    targets = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 1], [1, 1, 1]])
    chances = LOGITS.double().sigmoid().numpy()
    by_class = [log_loss(targets[:, i], chances[:, i], labels=[0, 1]) for i in range(3)]
    loss = measure_loss(LOGITS, torch.tensor(targets).float(), multi_label=True).item()
    assert loss == pytest.approx(np.mean(by_class), rel=1e-6)
    smooth = torch.tensor(targets).float() * 0.8 + 0.1
    expected = F.binary_cross_entropy_with_logits(LOGITS, smooth).item()
    found = measure_loss(LOGITS, torch.tensor(targets).float(), multi_label=True, label_smoothing=0.2).item()
    assert found == pytest.approx(expected, rel=1e-6)


def test_low_precision_logits_are_measured_in_float32() -> None:
    low = LOGITS.bfloat16()
    assert measure_loss(low, ONE_HOT).dtype == torch.float32
    assert measure_loss(low, ONE_HOT).item() == measure_loss(low.float(), ONE_HOT).item()
