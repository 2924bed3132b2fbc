"""LoRA: the encoder stays as it is and small matrices beside its attention learn; folded in when training is over."""

from typing import Any

import torch
from torch import nn

from earmark.errors import ModelError
from earmark.models.probe import freeze_encoder, is_head

RANK = 8
SCALE = 16  # what the adapters add counts SCALE / RANK
DROPOUT = 0.05

# Query and value, as the families call them.
ATTENTION = ("q_proj", "v_proj", "query", "value", "query_proj", "value_proj", "linear_q", "linear_v")
# WavLM reads its attention's weights without ever calling the layers: adapters beside them would never be heard.
FEED_FORWARD = ("intermediate_dense", "output_dense")


def add_lora(model: Any) -> None:
    """Put adapters beside the query and value projections of ``model``, in place; they and the head learn, no more.

    WavLM gets them in its feed-forward layers. The model keeps its class and its forward.

    Raises:
        ModelError: peft is not installed, or the model has no such layers.

    Example:
        >>> add_lora(model)                  # doctest: +SKIP
        >>> measure_trainable_share(model)   # doctest: +SKIP
        0.0098
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ModelError('LoRA needs the package peft; install it with: pip install "earmark[peft]"') from error
    adapted = _find_adapted(model)
    if not adapted:
        raise ModelError(
            f"{model.config.model_type} has no attention layers that LoRA knows; tune it in full or as a probe."
        )
    freeze_encoder(model)
    config = LoraConfig(r=RANK, lora_alpha=SCALE, lora_dropout=DROPOUT, target_modules=adapted)
    inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        if is_head(name):
            parameter.requires_grad = True


@torch.no_grad()
def merge_lora(model: Any) -> None:
    """Fold the adapters of `add_lora` into the weights, in place: the model is again what plain Transformers opens.

    Raises:
        ModelError: the adapters hold NaN or infinity.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            try:
                module.merge(safe_merge=True)
            except ValueError as error:
                raise ModelError("The adapters hold NaN or infinity; train with a smaller learning rate.") from error
            model.set_submodule(name, module.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config


def measure_trainable_share(model: nn.Module) -> float:
    """The share of a model's parameters that learn.

    Example:
        >>> layer = nn.Linear(3, 2)
        >>> _ = layer.bias.requires_grad_(False)
        >>> measure_trainable_share(layer)
        0.75
    """
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return trainable / sum(parameter.numel() for parameter in model.parameters())


def _find_adapted(model: Any) -> list[str]:
    """The full names of the layers that get an adapter."""
    chosen = FEED_FORWARD if model.config.model_type == "wavlm" else ATTENTION
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in chosen and not is_head(name)
    ]
