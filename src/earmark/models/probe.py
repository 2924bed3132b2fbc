"""A probe: the encoder of a Transformers audio model as it is, heard once, and only its native head trained.

Every audio classifier of Transformers ends alike: the encoder's frames pass a linear ``projector``, are averaged over
time and go into the ``classifier``; or, as in AST, the encoder pools by itself and the ``classifier`` follows. Up to
the average nothing learns in a probe, and a linear layer and a mean may change places. So a window is a single vector
that never changes, and an epoch costs no more than one of logistic regression.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

HEAD = ("projector", "classifier", "layer_weights")


def is_head(name: str) -> bool:
    """Whether the parameter called ``name`` belongs to a native head.

    Example:
        >>> is_head("classifier.dense.weight"), is_head("hubert.encoder.layer_norm.weight")
        (True, False)
    """
    return name.split(".")[0] in HEAD


def freeze_encoder(model: Any) -> None:
    """Let only the head of ``model`` learn."""
    if hasattr(model, "freeze_feature_encoder"):
        model.freeze_feature_encoder()  # else its first convolutions would still ask for the gradient of their input
    for name, parameter in model.named_parameters():
        parameter.requires_grad = is_head(name)


@torch.no_grad()
def encode_window(model: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    """What enters the native head, averaged over time: all that never changes in a probe. Puts ``model`` in eval mode.

    Args:
        model: A native audio classifier of Transformers.
        inputs: What its feature extractor gives for some windows; an ``attention_mask`` is honoured as the model does.

    Returns:
        (windows, size), or (windows, layers, size) where the head weighs the encoder's layers
        (``use_weighted_layer_sum``); float32. `apply_head` turns them into the model's own logits.

    Example:
        >>> features = encode_window(model, prepare_inputs(extractor, [waveform], sample_rate=16_000))  # doctest: +SKIP
        >>> torch.allclose(apply_head(model, features), model(**inputs).logits, atol=1e-5)             # doctest: +SKIP
        True
    """
    model.eval()
    heard: list[Tensor] = []
    entrance = model.projector if hasattr(model, "projector") else model.classifier
    handle = entrance.register_forward_pre_hook(lambda _, arguments: heard.append(arguments[0]))
    try:
        layered = hasattr(model, "layer_weights")
        outputs = model(**inputs, **({"output_hidden_states": True} if layered else {}))
    finally:
        handle.remove()
    if not hasattr(model, "projector"):
        return heard[0].float()
    frames = torch.stack(outputs.hidden_states, dim=1) if layered else heard[0]
    return _average_frames(model, frames.float(), inputs.get("attention_mask"))


def apply_head(model: Any, features: Tensor) -> Tensor:
    """The native head on features of `encode_window`: logits (windows, classes), with gradients for the head."""
    if not hasattr(model, "projector"):
        return model.classifier(features)
    if hasattr(model, "layer_weights"):
        weights = model.layer_weights.softmax(-1)
        features = (features * weights[:, None]).sum(1)
    return model.classifier(model.projector(features))


def _average_frames(model: Any, frames: Tensor, attention_mask: Tensor | None) -> Tensor:
    """(windows, …, frames, size) -> (windows, …, size), over the frames that are sound as the model counts them."""
    if attention_mask is None or not hasattr(model, "_get_feature_vector_attention_mask"):
        return frames.mean(-2)
    valid = model._get_feature_vector_attention_mask(frames.shape[-2], attention_mask).to(frames.dtype)
    shares = valid / valid.sum(1, keepdim=True)
    if frames.ndim == 4:
        shares = shares[:, None]
    return (frames * shares[..., None]).sum(-2)
