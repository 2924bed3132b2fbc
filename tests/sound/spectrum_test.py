"""The spectrum as products of matrices is the spectrum, for every length that a front end may have."""

import pytest
import torch

from earmark.sound.features import MelSpectrogram
from earmark.sound.spectrum import MatrixMelSpectrogram, PowerSpectrum, cut_frames


# Powers of two, lengths of 25 and 10 ms, odd ones, a prime, and hardly any.
@pytest.mark.parametrize("n_fft", [1, 2, 7, 16, 143, 400, 441, 512, 1000, 1024, 2048])
def test_the_power_of_every_bin_is_that_of_the_fourier_transform(n_fft):
    frames = torch.randn(2, 5, n_fft, generator=torch.Generator().manual_seed(0))
    spectrum = PowerSpectrum(n_fft)
    power = spectrum(frames) @ spectrum.order_filters(torch.eye(n_fft // 2 + 1))
    expected = torch.fft.rfft(frames.double()).abs().square()
    torch.testing.assert_close(power.double(), expected, rtol=0, atol=float(2e-6 * expected.max()))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_fft": 2048, "hop_length": 640, "n_mels": 128},
        {"n_fft": 400, "n_mels": 20, "hop_length": 160, "power": 1.0, "mel_scale": "htk", "mel_norm": "none"},
        {"n_fft": 1023, "hop_length": 441},
    ],
)
@pytest.mark.parametrize("samples", [1, 700, 32_017])
def test_a_mel_spectrogram_has_the_frames_and_values_of_the_short_time_transform(settings, samples):
    mel = MelSpectrogram(sample_rate=32_000, **settings)
    waveform = torch.randn(2, samples, generator=torch.Generator().manual_seed(1))
    expected = mel(waveform)
    torch.testing.assert_close(MatrixMelSpectrogram(mel)(waveform), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("length", "hop_length"), [(4, 2), (5, 2), (6, 4), (3, 3), (2, 5)])
def test_frames_are_those_that_unfold_cuts(length, hop_length):
    waveform = torch.arange(44).reshape(2, 22)
    assert torch.equal(cut_frames(waveform, length, hop_length), waveform.unfold(1, length, hop_length))
