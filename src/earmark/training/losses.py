"""The loss: class probabilities as targets, so that hard labels, mixtures and several labels are one case."""

from torch import Tensor
from torch.nn import functional as F


def measure_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    multi_label: bool = False,
    weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy against class probabilities; a sigmoid's for each class where a clip may have several labels.

    Args:
        logits: (batch, classes).
        targets: (batch, classes), 0 to 1; rows sum to 1 unless ``multi_label``.
        multi_label: Whether classes stand on their own.
        weights: (classes,), how much each class counts.
        label_smoothing: Share of the target spread over all classes, 0 to 1.

    Returns:
        Scalar, mean over the batch.

    Example:
        >>> import torch
        >>> measure_loss(torch.zeros(1, 4), torch.tensor([[1.0, 0, 0, 0]]))
        tensor(1.3863)
    """
    logits = logits.float()
    if multi_label:
        smooth = targets * (1 - label_smoothing) + 0.5 * label_smoothing
        return F.binary_cross_entropy_with_logits(logits, smooth, weight=weights)
    return F.cross_entropy(logits, targets, weight=weights, label_smoothing=label_smoothing)
