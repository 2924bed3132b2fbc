"""The last linear layer of any classifier, found by watching it answer: where a temperature goes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d)
STRETCH = 1024.0  # a power of two, so that what is linear answers exactly as many times more


@torch.no_grad()
def divide_logits(model: Any, inputs: Mapping[str, Tensor], temperature: float) -> bool:
    """Divide a model's logits by ``temperature`` for good, in the weights of its last linear layer, if that is so.

    The layer is the last one asked that gives one number a class; where two are averaged (distilled networks), both.
    Whether the logits are its output and nothing else is tried, not assumed: with the layer stretched, they must be
    stretched alike. A tanh behind the layer, say, fails that.

    Args:
        model: A classifier whose forward gives ``logits``; put in eval mode.
        inputs: A batch that fits into one window, on the model's device.
        temperature: Above zero.

    Returns:
        Whether it was done; if not, the model is as it was.

    Example:
        >>> class Linear(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = nn.Linear(3, 2)
        ...     def forward(self, x):
        ...         from types import SimpleNamespace
        ...         return SimpleNamespace(logits=self.layer(x))
        >>> model, x = Linear(), torch.ones(1, 3)
        >>> before = model(x).logits
        >>> divide_logits(model, {"x": x}, 2.0), bool(torch.allclose(model(x).logits, before / 2))
        (True, True)
    """
    model.eval()
    layers, logits = _watch(model, inputs)
    for chosen in (layers[-1:], layers):
        kept = {parameter: parameter.detach().clone() for layer in chosen for parameter in layer.parameters()}
        _multiply(kept, STRETCH)
        stretched = model(**inputs).logits / STRETCH
        linear = bool(torch.allclose(stretched, logits, rtol=1e-4, atol=1e-6 * float(logits.abs().max())))
        _multiply(kept, 1 / temperature if linear else 1.0)
        if chosen and linear:
            return True
    return False


def _multiply(kept: Mapping[nn.Parameter, Tensor], factor: float) -> None:
    for parameter, value in kept.items():
        parameter.copy_(value * factor)


def _watch(model: Any, inputs: Mapping[str, Tensor]) -> tuple[list[nn.Module], Tensor]:
    """The layers that give one number a class, in the order they were asked, and the logits."""
    asked: list[nn.Module] = []

    def note(layer: nn.Module, *_: Any) -> None:
        asked.append(layer)

    handles = [module.register_forward_hook(note) for module in model.modules() if isinstance(module, LINEAR)]
    try:
        logits = model(**inputs).logits
    finally:
        for handle in handles:
            handle.remove()
    classes = logits.shape[-1]
    fitting = [layer for layer in asked if getattr(layer, "out_features", getattr(layer, "out_channels", 0)) == classes]
    return list(dict.fromkeys(fitting)), logits
