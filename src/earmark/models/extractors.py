"""What Transformers' feature extractors compute, in torch: for graphs that take waveforms and run elsewhere."""

from typing import Any

import torch
from torch import Tensor, nn

from earmark.errors import ModelError
from earmark.models.front_ends import mark_frames
from earmark.models.pretrained import FBANK_HOP, FBANK_LENGTH, longest_window
from earmark.sound.spectrum import PowerSpectrum, cut_frames

AST_N_FFT = 512
AST_FLOOR = 1.192092955078125e-07
PRE_EMPHASIS = 0.97


class WaveformLevel(nn.Module):
    """Each waveform at mean 0 and variance 1 over its own samples, as ``Wav2Vec2FeatureExtractor`` brings it there.

    Args:
        normalises: What the extractor's ``do_normalize`` says; off, the waveform stays as it is.

    Example:
        >>> level = WaveformLevel(normalises=True)
        >>> level(torch.tensor([[1.0, 3.0, 0.0]]), torch.tensor([2])).round(decimals=3)
        tensor([[-1.,  1.,  0.]])
    """

    def __init__(self, *, normalises: bool) -> None:
        super().__init__()
        self.normalises = normalises

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(rows, samples), zeros behind the first ``lengths`` -> the same shape."""
        if not self.normalises:
            return waveform
        valid = mark_frames(lengths, waveform.shape[1])
        mean = waveform.sum(1, keepdim=True) / lengths[:, None]
        centred = (waveform - mean).masked_fill(~valid, 0.0)
        variance = centred.square().sum(1, keepdim=True) / lengths[:, None]
        return centred / (variance + 1e-7).sqrt()


class AstFilterBank(nn.Module):
    """Kaldi's log filter bank as ``ASTFeatureExtractor`` has it, for all rows at once.

    Args:
        extractor: Whose settings it takes.

    Example:
        >>> from transformers import ASTFeatureExtractor
        >>> AstFilterBank(ASTFeatureExtractor())(torch.zeros(1, 16_000), torch.tensor([16_000])).shape
        torch.Size([1, 1024, 128])

    Source:
        Gong et al., "AST: Audio Spectrogram Transformer" (2021); Kaldi's ``compute-fbank-feats``.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        from transformers.audio_utils import mel_filter_bank

        self.samples = longest_window(extractor)
        self.mean: float = extractor.mean if extractor.do_normalize else 0.0
        self.deviation: float = 2 * extractor.std if extractor.do_normalize else 1.0
        filters = mel_filter_bank(
            num_frequency_bins=AST_N_FFT // 2 + 1,
            num_mel_filters=extractor.num_mel_bins,
            min_frequency=20,
            max_frequency=extractor.sampling_rate // 2,
            sampling_rate=extractor.sampling_rate,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
        self.spectrum = PowerSpectrum(AST_N_FFT)
        self.register_buffer("filters", self.spectrum.order_filters(torch.from_numpy(filters).float()))
        self.register_buffer("window", torch.hann_window(FBANK_LENGTH, periodic=False))

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """(rows, samples) -> (rows, frames, bands); what lies behind the longest window is cut off."""
        fitted = _fit(waveform, self.samples)
        frames = cut_frames(fitted, FBANK_LENGTH, FBANK_HOP)
        frames = frames - frames.mean(-1, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], -1)
        shaped = nn.functional.pad((frames - PRE_EMPHASIS * before) * self.window, (0, AST_N_FFT - FBANK_LENGTH))
        levels = (self.spectrum(shaped) @ self.filters).clamp_min(AST_FLOOR).log()
        whole = torch.div(lengths - FBANK_LENGTH, FBANK_HOP, rounding_mode="floor") + 1
        # Frames of padding are zero before they are normalised, not silence.
        levels = levels.masked_fill(~mark_frames(whole, levels.shape[1])[..., None], 0.0)
        return (levels - self.mean) / self.deviation


class WhisperLogMel(nn.Module):
    """The log-mel spectrogram of ``WhisperFeatureExtractor``.

    Args:
        extractor: Whose settings it takes.

    Example:
        >>> from transformers import WhisperFeatureExtractor
        >>> WhisperLogMel(WhisperFeatureExtractor())(torch.zeros(1, 16_000)).shape
        torch.Size([1, 80, 3000])

    Source:
        Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022).
    """

    window: Tensor
    filters: Tensor

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.samples, self.n_fft, self.hop_length = extractor.n_samples, extractor.n_fft, extractor.hop_length
        self.spectrum = PowerSpectrum(self.n_fft)
        filters = torch.from_numpy(extractor.mel_filters).float()
        self.register_buffer("filters", self.spectrum.order_filters(filters))
        self.register_buffer("window", torch.hann_window(self.n_fft))

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(rows, samples) -> (rows, bands, frames); silence fills up, and what lies behind the window is cut off."""
        half = self.n_fft // 2
        padded = nn.functional.pad(_fit(waveform, self.samples), (half, half), mode="reflect")
        frames = cut_frames(padded, self.n_fft, self.hop_length)[:, :-1]
        levels = (self.spectrum(frames * self.window) @ self.filters).clamp_min(1e-10).log10()
        loudest = levels.amax((1, 2), keepdim=True)
        return (torch.maximum(levels, loudest - 8.0).transpose(1, 2) + 4.0) / 4.0


def build_extractor(extractor: Any) -> WaveformLevel | AstFilterBank | WhisperLogMel:
    """The torch equivalent of a feature extractor: (rows, samples) and lengths -> what the model takes first.

    Raises:
        ModelError: none is known.
    """
    from transformers import ASTFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

    if isinstance(extractor, ASTFeatureExtractor):
        return AstFilterBank(extractor)
    if isinstance(extractor, WhisperFeatureExtractor):
        return WhisperLogMel(extractor)
    if isinstance(extractor, Wav2Vec2FeatureExtractor):
        return WaveformLevel(normalises=extractor.do_normalize)
    raise ModelError(
        f"What {type(extractor).__name__} computes cannot be put into a graph; models that take waveforms, AST and "
        "Whisper can be exported."
    )


def _fit(waveform: Tensor, samples: int) -> Tensor:
    """Cut or filled up with zeros to one length."""
    return nn.functional.pad(waveform, (0, samples))[:, :samples]
