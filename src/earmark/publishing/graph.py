"""A model as one graph: waveforms in, probabilities and logits out, whatever its feature extractor computes inside."""

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from earmark.errors import ModelError
from earmark.inference.onnx_contract import LENGTHS, LOGITS, PROBABILITIES, WAVEFORM
from earmark.inference.torch_network import TorchNetwork
from earmark.models import EarmarkForAudioClassification
from earmark.models.extractors import AstFilterBank, WaveformLevel, WhisperLogMel, build_extractor
from earmark.models.front_ends import mark_frames
from earmark.sound.spectrum import MatrixMelSpectrogram
from earmark.sound.statistics import CHANGE_FRAMES

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 20
LARGEST_BYTES = 2_000_000_000  # of a file; protobuf takes 2 GiB
EXAMPLE_S = 4.0


class OwnGraph(nn.Module):
    """A model of ours: sounds of any length, averaged over windows as the model itself does it.

    Args:
        model: The model, in eval mode.
    """

    def __init__(self, model: EarmarkForAudioClassification) -> None:
        super().__init__()
        front_end: Any = copy.deepcopy(model.front_end)
        front_end.mel = MatrixMelSpectrogram(front_end.mel)
        self.extractor = front_end
        self.model = model
        self.window: int = model.config.window
        # ONNX takes what ends before its beginning for an end counted from behind: no sound may have fewer frames than
        # the statistics step over. Frames of padding count in none of them.
        self.margin = 0 if front_end.over_time else max(CHANGE_FRAMES) * front_end.config.hop_length

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        # A network over time sees whole windows; a summary over time is spared the padding of a short sound.
        whole = self.extractor.over_time
        window: Any = self.window if whole else torch.sym_min(self.window, waveform.shape[1])
        windows = (waveform.shape[1] + window - 1) // window
        padded = nn.functional.pad(waveform, (0, windows * window - waveform.shape[1]))
        starts = torch.arange(windows, device=lengths.device) * window
        held = (lengths[:, None] - starts[None, :]).clamp(0, window)
        pieces = nn.functional.pad(padded.reshape(-1, window), (0, self.margin))
        encoded = self.extractor(pieces, held.flatten())
        logits = self.model.head(encoded).reshape(held.shape[0], windows, -1)
        weights = held / held.sum(1, keepdim=True)
        # What fits into a window keeps its logits as they are: to average one would lose their level.
        return torch.where((lengths <= self.window)[:, None], logits[:, 0], self.model.average_windows(logits, weights))


class FixedGraph(nn.Module):
    """AST or Whisper, which hear one length: filled up with zeros, and cut off behind it.

    Args:
        network: The model with its feature extractor.
        extractor: The torch equivalent of the latter.
    """

    def __init__(self, network: TorchNetwork, extractor: AstFilterBank | WhisperLogMel) -> None:
        super().__init__()
        self.extractor = extractor
        self.model = network.model

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.model(self.extractor(waveform, lengths)).logits


class WaveformGraph(nn.Module):
    """HuBERT and its kin: sounds of any length, and where the model hears through masks, of several in a batch.

    Args:
        network: The model with its feature extractor.
        extractor: The torch equivalent of the latter.
    """

    def __init__(self, network: TorchNetwork, extractor: WaveformLevel) -> None:
        super().__init__()
        self.extractor = extractor
        self.model = network.model

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        if lengths is None:
            whole = torch.full((waveform.shape[0],), waveform.shape[1], device=waveform.device)
            return self.model(self.extractor(waveform, whole)).logits
        mask = mark_frames(lengths, waveform.shape[1]).long()
        return self.model(self.extractor(waveform, lengths), attention_mask=mask).logits


class Answering(nn.Module):
    """A graph with its probabilities before its logits.

    Args:
        network: Gives logits.
        multi_label: Sigmoids instead of a softmax.
        takes_lengths: Whether it must be told how many samples of each row are sound.
    """

    def __init__(self, network: nn.Module, *, multi_label: bool, takes_lengths: bool) -> None:
        super().__init__()
        self.network = network
        self.multi_label = multi_label
        self.takes_lengths = takes_lengths

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        logits = self.network(waveform, lengths).float()
        return logits.sigmoid() if self.multi_label else logits.softmax(-1), logits


def build_graph(network: TorchNetwork) -> Answering:
    """The graph of a model.

    Raises:
        ModelError: its feature extractor cannot be put into one.
    """
    takes_lengths = network.ignores_padding
    if isinstance(network.model, EarmarkForAudioClassification):
        graph: nn.Module = OwnGraph(network.model)
    else:
        extractor = build_extractor(network.extractor)
        if isinstance(extractor, AstFilterBank | WhisperLogMel):
            graph = FixedGraph(network, extractor)
            takes_lengths = isinstance(extractor, AstFilterBank)
        else:
            graph = WaveformGraph(network, extractor)
    return Answering(graph, multi_label=network.multi_label, takes_lengths=takes_lengths).eval()


def draw_graph(network: TorchNetwork, name: str) -> "ModelProto":
    """The graph of a model as ONNX has it, of any batch and any length; its metadata is yet to come.

    Args:
        network: The model, on the CPU.
        name: What to call it in messages.

    Raises:
        ModelError: it is too large for one file, or cannot be exported.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.model.state_dict().values())
    if size > LARGEST_BYTES:
        raise ModelError(
            f"{name} has {size / 1e9:.1f} GB of weights, and one ONNX file holds 2 GB at most; export a smaller one."
        )
    graph = build_graph(network)
    batch, samples = torch.export.Dim("batch"), torch.export.Dim("samples", min=network.shortest)
    # Two rows: what is 1 in the example would be 1 for ever.
    length = round(min(1.5 * network.window, EXAMPLE_S * network.sample_rate))
    example: dict[str, Tensor] = {WAVEFORM: torch.empty(2, length).uniform_(-0.5, 0.5)}
    shapes: dict[str, Any] = {WAVEFORM: {0: batch, 1: samples}}
    if graph.takes_lengths:
        example[LENGTHS], shapes[LENGTHS] = torch.tensor([length, length // 2]), {0: batch}
    try:
        with torch.no_grad():
            program: Any = torch.onnx.export(
                graph,
                tuple(example.values()),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(example),
                output_names=[PROBABILITIES, LOGITS],
                dynamic_shapes=shapes,
                verbose=False,
            )
    except Exception as error:  # the exporter has a kind of error for each of its passes
        reason = (str(error.__cause__ or error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{name} cannot be exported: PyTorch's exporter to ONNX says {reason!r}; use the model itself."
        ) from error
    return program.model_proto
