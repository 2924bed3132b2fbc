"""Where in the spectrogram a convolutional network found a class: its last feature map, weighed by its gradient."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earmark.inference.classifier import WINDOWS_AT_ONCE, Classifier
from earmark.inference.torch_network import reach_torch
from earmark.models import EarmarkForAudioClassification
from earmark.models.backbones import SmallCnn
from earmark.models.front_ends import Encoded, LogMel, LogMelConfig
from earmark.models.pictures import ColouredPicture, RepeatedPicture
from earmark.sound.heat import HeatMap
from earmark.sound.windows import cut_pieces

PROBES = 4  # pictures of noise over which it is measured where the cells of a feature map look


def map_activation(classifier: Classifier, waveform: NDArray[np.float32], index: int) -> HeatMap | None:
    """What spoke for a class, band by band and frame by frame; ``None`` for a model without a feature map.

    The activations of the last feature map are multiplied by the gradient of the class's log odds and summed over the
    channels; what is negative counts nothing. Cells are laid back on bands and frames at the places where they look.
    Each window of a long sound counts by the probability that it gave the class.

    Args:
        classifier: Any.
        waveform: (samples,), at the model's rate.
        index: Of the class.

    Source:
        Selvaraju et al., "Grad-CAM" (2017), in the form of Draelos and Carin, "Use HiResCAM instead of Grad-CAM"
        (2020): gradients are not averaged over the map, so that a head that treats bands differently is followed.
    """
    model = reach_torch(classifier).model
    if not isinstance(model, EarmarkForAudioClassification) or not isinstance(model.front_end, LogMel):
        return None
    pieces = cut_pieces(len(waveform), classifier.window)
    maps = []
    for begin in range(0, len(pieces), WINDOWS_AT_ONCE):
        chosen = [waveform[start:stop] for start, stop in pieces[begin : begin + WINDOWS_AT_ONCE]]
        found = _map_windows(classifier, chosen, index)
        if found is None:
            return None
        maps.append(found)
    cells = np.concatenate(maps)
    rows, columns = _find_centres(model.backbone, _picture_shape(model), cells.shape[1:])
    values = _lay_back(model, cells, rows, columns, len(waveform))
    highest = values.max()
    config, rate = model.front_end.config, classifier.sample_rate
    return HeatMap(
        values / highest if highest > 0 else values,
        _edge_frames_s(len(waveform), config.hop_length, rate),
        _edge_bands_hz(config, rate),
    )


def _map_windows(classifier: Classifier, windows: list[NDArray[np.float32]], index: int) -> NDArray[np.floating] | None:
    """(windows, rows, columns): how much each cell spoke for the class, times the probability of it in its window."""
    network = reach_torch(classifier)
    model, device = network.model, network.device
    inputs = network.extractor(windows, sampling_rate=classifier.sample_rate, return_tensors="pt").to(device)
    with torch.no_grad():
        encoded = model.encode(**inputs)
        standardised = model.standardise(encoded) if model.standardises else encoded
        mapped = model.backbone.map_features(model.backbone.picture(standardised), standardised.frames)
    if not _is_map(model.backbone, mapped.features):
        return None
    with torch.enable_grad():
        features = mapped.features.detach().requires_grad_()
        logits = model.backbone.classify_map(Encoded(features, mapped.frames)).float()
        log_odds = _measure_log_odds(logits, index, multi_label=classifier.multi_label)
        (gradient,) = torch.autograd.grad(log_odds.sum(), features)
    spoke = (gradient * mapped.features).sum(1).clamp_min(0.0)
    return (spoke * log_odds.detach().sigmoid()[:, None, None]).double().cpu().numpy()


def _is_map(backbone: Any, features: Tensor) -> bool:
    """(windows, channels, rows, columns), and more than one of these; transformers end in a row of tokens."""
    if features.ndim != 4 or features.shape[-1] * features.shape[-2] < 2:
        return False
    return isinstance(backbone, SmallCnn) or features.shape[1] == backbone.network.num_features


def _measure_log_odds(logits: Tensor, index: int, *, multi_label: bool) -> Tensor:
    """(windows,): the class against all others; its gradient does not fade where the network is sure, as that of the
    probability does."""
    if multi_label:
        return logits[:, index]
    others = torch.cat([logits[:, :index], logits[:, index + 1 :]], dim=1)
    return logits[:, index] - others.logsumexp(1)


def _picture_shape(model: EarmarkForAudioClassification) -> tuple[int, ...]:
    frames = torch.tensor([1 + model.config.window // model.front_end.config.hop_length], device=model.device)
    blank = torch.zeros(1, model.front_end.size, int(frames), device=model.device)
    backbone: Any = model.backbone
    return tuple(backbone.picture(Encoded(blank, frames)).shape[1:])


def _find_centres(
    backbone: Any, shape: tuple[int, ...], cells: tuple[int, ...]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Where each row and each column of the feature map looks, in pixels of the picture.

    Networks pad and halve in different ways: half a cell lies between them. So it is measured where the gradient of
    the middle cell lies, over pictures of noise; the others lie whole strides from there.
    """
    generator = torch.Generator().manual_seed(0)
    device = next(backbone.parameters()).device
    with torch.enable_grad():
        noise = torch.randn((PROBES, *shape), generator=generator).to(device).requires_grad_()
        frames = torch.full((PROBES,), shape[-1], device=device)
        features = backbone.map_features(noise, frames).features
        (gradient,) = torch.autograd.grad(features[:, :, cells[0] // 2, cells[1] // 2].abs().sum(), noise)
    weight = gradient.double().square().sum((0, 1)).cpu().numpy()
    centres = []
    for axis, n_cells in enumerate(cells):
        along, size = weight.sum(axis=1 - axis), shape[axis + 1]
        stride = 2.0 ** round(np.log2(size / n_cells))
        middle = along @ np.arange(size) / along.sum() if along.sum() > 0 else stride * (n_cells // 2 + 0.5) - 0.5
        centres.append(middle + stride * (np.arange(n_cells) - n_cells // 2))
    return centres[0], centres[1]


def _lay_back(
    model: EarmarkForAudioClassification,
    cells: NDArray[np.floating],
    rows: NDArray[np.floating],
    columns: NDArray[np.floating],
    length: int,
) -> NDArray[np.floating]:
    """(windows, rows, columns) -> (bands, frames) of the whole sound, between the cells' centres in straight lines."""
    hop_length, window, picture = model.front_end.config.hop_length, model.config.window, model.backbone.picture
    bands: NDArray[np.floating] = np.arange(model.front_end.size, dtype=np.float64)
    position = np.arange(1 + length // hop_length) * hop_length
    owner = np.minimum(position // window, len(cells) - 1)
    frames = (position - owner * window) / hop_length
    if isinstance(picture, RepeatedPicture | ColouredPicture):
        bands = _scale(bands, model.front_end.size, picture.size_px)
        frames = _scale(frames, 1 + window // hop_length, picture.size_px)
    if isinstance(picture, ColouredPicture):
        bands = picture.size_px - 1 - bands
    by_band = _interpolate(bands, rows)
    values = np.zeros((len(bands), len(position)))
    for i, cell in enumerate(cells):
        mine = owner == i
        values[:, mine] = by_band @ cell @ _interpolate(frames[mine], columns).T
    return values


def _scale(pixels: NDArray[np.floating], size: int, new_size: int) -> NDArray[np.floating]:
    """Places in a picture as places in one of another size."""
    return (pixels + 0.5) * new_size / size - 0.5


def _interpolate(places: NDArray[np.floating], centres: NDArray[np.floating]) -> NDArray[np.floating]:
    """(places, centres): what each centre contributes to each place."""
    return np.stack([np.interp(places, centres, row) for row in np.eye(len(centres))], axis=1)


def _edge_frames_s(length: int, hop_length: int, sample_rate: int) -> NDArray[np.floating]:
    """Frames are centred on multiples of the hop; the first and the last are cut at the sound's ends."""
    edges = (np.arange(2 + length // hop_length) - 0.5) * hop_length
    return np.append(np.clip(edges[:-1], 0, length), length) / sample_rate


def _edge_bands_hz(config: LogMelConfig, sample_rate: int) -> NDArray[np.floating]:
    from transformers.audio_utils import hertz_to_mel, mel_to_hertz

    f_max = sample_rate / 2 if config.f_max is None else config.f_max
    lowest, highest = (float(hertz_to_mel(edge_hz, mel_scale=config.mel_scale)) for edge_hz in (config.f_min, f_max))
    peaks = np.linspace(lowest, highest, config.n_mels + 2)
    edges = np.concatenate([[lowest], (peaks[1:-2] + peaks[2:-1]) / 2, [highest]])
    return np.asarray(mel_to_hertz(edges, mel_scale=config.mel_scale))
