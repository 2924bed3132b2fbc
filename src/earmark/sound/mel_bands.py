"""The engine of every mel spectrogram: short-time spectra, their power, and its sum a band."""

from functools import lru_cache, partial

import torch
from torch import Tensor

BANDS_AT_ONCE = 16
SAMPLES_AT_ONCE = 1 << 18

Heard = tuple[tuple[int, int], ...]


@lru_cache(maxsize=32)
def find_bins(filters: Tensor) -> Heard:
    """For each group of neighbouring bands, from which bin to which one it hears anything.

    Args:
        filters: (bins, bands), as `earmark.sound.features.mel_filters` keeps them.

    Example:
        >>> find_bins(torch.eye(40))
        ((0, 16), (16, 32), (32, 40))
    """
    heard = [group.any(dim=1).nonzero() for group in filters.split(BANDS_AT_ONCE, dim=1)]
    return tuple((int(bins[0]), int(bins[-1]) + 1) if len(bins) else (0, 1) for bins in heard)


def apply_mel(
    waveform: Tensor, window: Tensor, filters: Tensor, heard: Heard, *, hop_length: int, power: float
) -> Tensor:
    """Waveform (…, samples) -> (…, bands, frames): short-time spectra, their power or amplitude, its sum a band.

    On a CPU a few rows at a time go through all steps, so that what lies between them stays in the processor's cache:
    half the time of all rows at once.

    Args:
        waveform: (samples,) or (batch, samples), float32.
        window: (n_fft,).
        filters: (1 + n_fft // 2, bands).
        heard: `find_bins` of them.
        hop_length: Step between frames, samples.
        power: 2 for power, 1 for amplitude.
    """
    flat = waveform.reshape(-1, waveform.shape[-1])
    transform = partial(
        _transform_rows, window=window, filters=filters, heard=heard, hop_length=hop_length, power=power
    )
    if torch.compiler.is_compiling() or flat.device.type != "cpu" or flat.shape[0] < 2:
        mel = transform(flat)
    else:
        at_once = max(1, SAMPLES_AT_ONCE // max(1, flat.shape[1]))
        mel = torch.cat([transform(rows) for rows in flat.split(at_once)])
    return mel.reshape(*waveform.shape[:-1], *mel.shape[-2:])


def _transform_rows(
    rows: Tensor, *, window: Tensor, filters: Tensor, heard: Heard, hop_length: int, power: float
) -> Tensor:
    n_fft = window.shape[0]
    # librosa and this agree frame for frame: zeros at both ends, frame t centred on sample t * hop_length.
    spectrum = torch.stft(
        rows, n_fft, hop_length=hop_length, window=window, center=True, pad_mode="constant", return_complex=True
    )
    # torch.stft lays its result out frame by frame: kept so, the next three steps take a third of the time.
    parts = torch.view_as_real(spectrum.transpose(1, 2))
    # Squared where it lies, unless gradients need it: a second array of megabytes costs more in fresh memory pages
    # than the squares themselves.
    parts = parts.square() if parts.requires_grad else parts.square_()
    energy = parts[..., 0] + parts[..., 1]
    magnitude = energy if power == 2.0 else energy.sqrt()
    return _sum_bands(magnitude, filters, heard).transpose(1, 2).contiguous()


def _sum_bands(magnitude: Tensor, filters: Tensor, heard: Heard) -> Tensor:
    """(rows, frames, bins) -> (rows, frames, bands): ``magnitude @ filters``."""
    if torch.compiler.is_compiling() or magnitude.device.type != "cpu":
        return magnitude @ filters
    # A band hears a few neighbouring bins: nine tenths of the whole product would be zeros.
    flat = magnitude.reshape(-1, magnitude.shape[-1])
    groups = zip(filters.split(BANDS_AT_ONCE, dim=1), heard, strict=True)
    bands = [flat[:, first:end] @ group[first:end] for group, (first, end) in groups]
    return torch.cat(bands, dim=1).reshape(*magnitude.shape[:-1], filters.shape[1])
