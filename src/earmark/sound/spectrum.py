"""Power spectra as products of matrices, for graphs that run elsewhere.

ONNX Runtime's own STFT takes ten times as long as PyTorch's, its matrix product does not.
"""

import math

import torch
from torch import Tensor, nn

from earmark.sound.features import MelSpectrogram


def cut_frames(waveform: Tensor, length: int, hop_length: int) -> Tensor:
    """Overlapping frames of waveforms, nothing padded.

    Args:
        waveform: (rows, samples), at least ``length`` samples.
        length: Samples of a frame.
        hop_length: Samples from one frame to the next.

    Returns:
        (rows, 1 + (samples - length) // hop_length, length).

    Example:
        >>> cut_frames(torch.arange(7)[None], 4, 2).tolist()
        [[[0, 1, 2, 3], [2, 3, 4, 5]]]
    """
    frames = 1 + (waveform.shape[1] - length) // hop_length
    # Rows of the common step are moved instead of single samples.
    step = math.gcd(length, hop_length)
    needed = (frames - 1) * hop_length + length
    blocks = waveform[:, :needed].reshape(waveform.shape[0], -1, step)
    starts = torch.arange(frames, device=waveform.device) * (hop_length // step)
    places = starts[:, None] + torch.arange(length // step, device=waveform.device)
    return blocks.index_select(1, places.flatten()).reshape(waveform.shape[0], -1, length)


class PowerSpectrum(nn.Module):
    """Frames -> power of each frequency bin, in an order of its own, by which `order_filters` sorts filters.

    A DFT of ``A * B`` points is one of A points, then one of B, with a rotation between them; here the rotation is part
    of the second matrix. Of a real sound half the bins say all.

    Args:
        n_fft: Points, the length of a frame.

    Example:
        >>> spectrum, frames = PowerSpectrum(64), torch.randn(3, 10, 64)
        >>> filters = torch.eye(33)
        >>> power = spectrum(frames) @ spectrum.order_filters(filters)
        >>> torch.allclose(power, torch.fft.rfft(frames).abs().square(), atol=1e-4)
        True

    Source:
        Cooley and Tukey, "An Algorithm for the Machine Calculation of Complex Fourier Series" (1965).
    """

    first: Tensor
    second: Tensor

    def __init__(self, n_fft: int) -> None:
        super().__init__()
        divisors = [size for size in range(1, n_fft + 1) if n_fft % size == 0]
        rows = min(divisors, key=lambda size: size + 2 * n_fft // size)  # what the two products cost together
        columns = n_fft // rows
        self.n_fft, self.shape = n_fft, (rows, columns)
        kept = torch.arange(rows // 2 + 1)
        first = _rotate(kept[:, None] * torch.arange(rows)[None, :], rows)
        self.register_buffer("first", torch.cat([first.real, first.imag]).float())
        column = torch.arange(columns)
        turns = column[None, :, None] * kept[:, None, None] + rows * column[None, :, None] * column[None, None, :]
        second = _rotate(turns, n_fft)
        top, bottom = torch.cat([second.real, second.imag], -1), torch.cat([-second.imag, second.real], -1)
        self.register_buffer("second", torch.cat([top, bottom], 1).float())

    def forward(self, frames: Tensor) -> Tensor:
        """(rows, frames, n_fft) -> (rows, frames, bins)."""
        rows, columns = self.shape
        kept = rows // 2 + 1
        parts = self.first @ frames.reshape(-1, rows, columns)
        parts = parts.reshape(-1, 2, kept, columns).permute(2, 0, 1, 3).reshape(kept, -1, 2 * columns)
        squares = (parts @ self.second).square()
        power = squares[..., :columns] + squares[..., columns:]
        return power.transpose(0, 1).reshape(*frames.shape[:2], kept * columns)

    def order_filters(self, filters: Tensor) -> Tensor:
        """(1 + n_fft // 2, bands) -> (bins, bands), each bin's weights where `forward` puts its power."""
        rows, columns = self.shape
        bins = torch.arange(self.n_fft // 2 + 1)
        first, second = bins % rows, bins // rows
        mirrored = first > rows // 2  # the bin's twin above the middle has the same power
        first, second = torch.where(mirrored, rows - first, first), torch.where(mirrored, columns - 1 - second, second)
        ordered = torch.zeros((rows // 2 + 1) * columns, filters.shape[1])
        ordered[first * columns + second] = filters.cpu()
        return ordered


class MatrixMelSpectrogram(nn.Module):
    """A `MelSpectrogram` without an STFT: the same values to within rounding.

    Args:
        mel: Whose window, filters and settings it takes.

    Example:
        >>> mel, waveform = MelSpectrogram(sample_rate=16_000), torch.randn(2, 16_000)
        >>> torch.allclose(MatrixMelSpectrogram(mel)(waveform), mel(waveform), rtol=1e-4, atol=1e-4)
        True
    """

    window: Tensor
    filters: Tensor

    def __init__(self, mel: MelSpectrogram) -> None:
        super().__init__()
        self.hop_length, self.power = mel.hop_length, mel.power
        self.n_fft = mel.window.shape[0]
        self.spectrum = PowerSpectrum(self.n_fft)
        self.register_buffer("window", mel.window.clone())
        self.register_buffer("filters", self.spectrum.order_filters(mel.filters))

    def forward(self, waveform: Tensor) -> Tensor:
        """(rows, samples) -> (rows, n_mels, frames)."""
        half = self.n_fft // 2
        padded = nn.functional.pad(waveform, (half, half))
        power = self.spectrum(cut_frames(padded, self.n_fft, self.hop_length) * self.window)
        return ((power if self.power == 2.0 else power.sqrt()) @ self.filters).transpose(1, 2)


def _rotate(turns: Tensor, points: int) -> Tensor:
    """exp(-2 pi i turns / points), complex128; whole turns are left out, which keeps it exact."""
    angle = -2 * torch.pi * (turns % points).double() / points
    return torch.complex(angle.cos(), angle.sin())
