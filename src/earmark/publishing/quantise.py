"""Weights of 8 bits instead of 32: a quarter of the size, and answers that lie a little apart."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from earmark.inference.onnx_contract import LENGTHS, WAVEFORM
from earmark.inference.torch_network import TorchNetwork
from earmark.sound.synthesis import SOUND_NAMES, synthesise

if TYPE_CHECKING:
    from onnx import ModelProto

SCOPE = "pkg.torch.onnx.name_scopes"  # where PyTorch's exporter says which module a node comes from
FRONT, BODY = "'network.extractor'", "'network.model"
LINEAR = ("MatMul", "Gemm")
CONVOLVING = ("Conv", "Relu", "Add", "MaxPool", "AveragePool")
CALIBRATION_TAKES = 3  # of each synthetic sound


def quantise(proto: "ModelProto", network: TorchNetwork) -> "ModelProto":
    """A graph of `draw_graph` with the weights of its network in 8 bits; its front end stays as it is.

    Where convolutions hold most of the weights, the ranges of what flows between layers are measured on synthetic
    sounds and kept (static, QDQ): to measure them anew for each sound would take longer than is won. Elsewhere the
    linear layers measure them as they go (dynamic).

    Args:
        proto: The graph; it is changed.
        network: The model it was drawn from.

    Source:
        Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"
        (2018), as in ONNX Runtime's ``quantize_static`` and ``quantize_dynamic``.
    """
    import onnx
    from onnxruntime import quantization as ort

    del proto.graph.value_info[:]  # the exporter's shapes are symbols, at which ONNX Runtime's tools stumble
    # Seven bits of weights: processors without VNNI add two products in 16 bits, which eight overflow.
    settings: dict[str, Any] = {"per_channel": True, "reduce_range": True, "weight_type": ort.QuantType.QInt8}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save_model(proto, source)
        if _convolves(network.model):
            ort.quantize_static(
                source,
                target,
                _Calibration(network, [entry.name for entry in proto.graph.input]),
                quant_format=ort.QuantFormat.QDQ,
                op_types_to_quantize=list(CONVOLVING),
                nodes_to_quantize=_name_nodes(proto, BODY),
                **settings,
            )
        else:
            ort.quantize_dynamic(
                source,
                target,
                op_types_to_quantize=list(LINEAR),
                # The last layer is small, and what it rounds nothing evens out.
                nodes_to_exclude=[*_name_nodes(proto, FRONT), *_name_last(proto)],
                **settings,
            )
        return onnx.load_model(target)


def _convolves(model: nn.Module) -> bool:
    """Whether most weights are those of convolutions over pictures."""
    sizes = {nn.Conv2d: 0, nn.Linear: 0}
    for module in model.modules():
        for kind in sizes:
            if isinstance(module, kind):
                sizes[kind] += sum(parameter.numel() for parameter in module.parameters())
    return sizes[nn.Conv2d] > sizes[nn.Linear]


def _name_nodes(proto: "ModelProto", scope: str) -> list[str]:
    """Nodes that come from modules in this scope."""
    return [
        node.name
        for node in proto.graph.node
        if any(entry.key == SCOPE and scope in entry.value for entry in node.metadata_props)
    ]


def _name_last(proto: "ModelProto") -> tuple[str, str]:
    """The last linear layer, and what ONNX Runtime calls it once it has made a product and a sum of it."""
    last = [node.name for node in proto.graph.node if node.op_type in LINEAR][-1]
    return last, f"{last}_MatMul"


class _Calibration:
    """Windows of synthetic sounds, one after another, as ONNX Runtime's calibration asks for them.

    Args:
        network: For which.
        inputs: What its graph takes.
    """

    def __init__(self, network: TorchNetwork, inputs: list[str]) -> None:
        self.network, self.inputs = network, inputs
        self.windows = self._draw()

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next inputs; ``None`` after the last."""
        return next(self.windows, None)

    def _draw(self) -> Iterator[dict[str, np.ndarray]]:
        for take in range(CALIBRATION_TAKES):
            for name in SOUND_NAMES:
                rate, window = self.network.sample_rate, self.network.window
                sound = synthesise(name, seed=take, duration_s=max(window / rate, 0.5), sample_rate=rate)[:window]
                given = {WAVEFORM: sound[None], LENGTHS: np.array([len(sound)])}
                yield {key: given[key] for key in self.inputs}
