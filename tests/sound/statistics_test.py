"""Mel statistics against the same definition in plain NumPy."""

import numpy as np
import pytest
import torch

from earmark.sound.features import mel_spectrogram
from earmark.sound.statistics import STATISTICS_PER_BAND, mel_statistics
from earmark.sound.synthesis import SOUND_NAMES, synthesise


def describe_in_numpy(mel: np.ndarray, range_db: float) -> np.ndarray:
    """The definition in the docstring, a clip and a band at a time; ``mel`` is (bands, frames), power, no padding."""
    mel = mel.astype(np.float64)
    level_db = 10 * np.log10(np.maximum(mel, 1e-10))
    frame_power = mel.sum(0)
    sounding = frame_power >= frame_power.max() * 10 ** (-range_db / 10)
    heard = level_db[:, sounding]
    rows = [heard.mean(1), heard.std(1), *np.percentile(heard, [10, 50, 90], axis=1)]
    for step in (1, 8):
        pairs = sounding[step:] & sounding[:-step]
        change = np.abs(level_db[:, step:] - level_db[:, :-step])[:, pairs]
        rows.append(change.mean(1) if pairs.any() else np.zeros(len(mel)))
    return np.concatenate(rows)


def make_mel(name: str, seed: int, duration_s: float = 1.1) -> torch.Tensor:
    clip = synthesise(name, seed=seed, duration_s=duration_s, sample_rate=16_000)
    clip[: len(clip) // 5] *= 1e-4  # 80 dB down: frames that must be passed over
    return mel_spectrogram(torch.from_numpy(clip), sample_rate=16_000, n_mels=32, hop_length=256)


@pytest.mark.parametrize("range_db", [20.0, 60.0])
@pytest.mark.parametrize("name", SOUND_NAMES)
def test_equals_numpy(name, range_db):
    mel = make_mel(name, seed=3)
    statistics = mel_statistics(mel[None], torch.ones(1, mel.shape[-1], dtype=torch.bool), range_db=range_db)
    assert statistics.shape == (1, STATISTICS_PER_BAND * 32)
    np.testing.assert_allclose(statistics[0].numpy(), describe_in_numpy(mel.numpy(), range_db), atol=2e-3)


@pytest.mark.parametrize("duration_s", [0.01, 0.02, 0.05, 0.13, 0.14])
def test_equals_numpy_for_clips_of_few_frames(duration_s):
    mel = make_mel("bell", seed=0, duration_s=duration_s)
    statistics = mel_statistics(mel[None], torch.ones(1, mel.shape[-1], dtype=torch.bool))
    np.testing.assert_allclose(statistics[0].numpy(), describe_in_numpy(mel.numpy(), 60.0), atol=2e-3)


def test_padded_frames_count_nowhere_whatever_they_hold():
    mels = [make_mel(name, seed=1, duration_s=0.4 + 0.3 * i) for i, name in enumerate(("siren", "rain", "drums"))]
    longest = max(mel.shape[-1] for mel in mels)
    batch, valid = torch.full((3, 32, longest), 1e6), torch.zeros(3, longest, dtype=torch.bool)
    for row, mel in enumerate(mels):
        batch[row, :, : mel.shape[-1]] = mel
        valid[row, : mel.shape[-1]] = True
    together = mel_statistics(batch, valid).numpy()
    for mel, statistics in zip(mels, together, strict=True):
        np.testing.assert_allclose(statistics, describe_in_numpy(mel.numpy(), 60.0), atol=2e-3)


def test_the_graph_branch_for_gradients_gives_the_same():
    # NumPy sorts where no gradient is asked for, torch where one is.
    mel = make_mel("voice", seed=2)[None]
    valid = torch.ones(1, mel.shape[-1], dtype=torch.bool)
    traced = mel_statistics(mel.clone().requires_grad_(), valid)
    assert traced.requires_grad
    torch.testing.assert_close(traced.detach(), mel_statistics(mel, valid))


def test_silence_and_a_steady_sound_have_finite_statistics():
    valid = torch.ones(1, 10, dtype=torch.bool)
    for value, level_db in ((0.0, -100.0), (1.0, 0.0)):
        statistics = mel_statistics(torch.full((1, 4, 10), value), valid)[0].reshape(7, 4)
        expected = torch.tensor([level_db, 0.0, level_db, level_db, level_db, 0.0, 0.0])[:, None].expand(7, 4)
        torch.testing.assert_close(statistics, expected)
