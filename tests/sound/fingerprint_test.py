"""Fingerprints: small, of a known shape, the same at another gain, nothing for silence."""

import numpy as np
import pytest

from earmark.sound.fingerprint import FRAME_LENGTH, fingerprint, read_bands, read_signs
from earmark.sound.synthesis import synthesise


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    return synthesise("voice", seed=1, duration_s=2.0, sample_rate=22_050)


@pytest.mark.parametrize(("duration_s", "frames"), [(0.05, 0), (0.5, 16), (2.0, 63), (10.0, 313), (25.0, 313)])
def test_a_row_is_kept_for_every_32_ms_of_the_first_ten_seconds(duration_s: float, frames: int) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, round(duration_s * 22_050)).astype(np.float32)
    kept = fingerprint(noise, 22_050)
    assert kept.shape == (frames, 81)
    assert kept.dtype == np.uint8


def test_what_comes_after_ten_seconds_changes_nothing(voice: np.ndarray) -> None:
    long = np.tile(voice, 6)
    assert np.array_equal(fingerprint(long, 22_050), fingerprint(long[: 10 * 22_050], 22_050))


def test_a_gain_changes_hardly_a_byte(voice: np.ndarray) -> None:
    assert np.mean(fingerprint(voice, 22_050) != fingerprint(0.1 * voice, 22_050)) < 0.001


def test_bands_and_signs_follow_the_sound() -> None:
    seconds = np.arange(32_000) / 16_000
    tone = (0.5 * np.sin(2 * np.pi * 1000 * seconds + 0.2) * (seconds > 1)).astype(np.float32)
    kept = fingerprint(tone, 16_000)
    bands, signs = read_bands(kept), read_signs(kept)
    assert bands.shape == (63, 16)
    assert len(np.unique(bands[40:60].argmax(axis=1))) == 1
    assert bands[:25].max() < 0.01 * bands[40:60].max()
    shown = slice(40 * FRAME_LENGTH, 60 * FRAME_LENGTH)
    assert np.mean((signs[shown] > 0) == (tone[shown] >= 0)) > 0.99


@pytest.mark.parametrize(
    "silence",
    [
        np.zeros(22_050),
        np.full(22_050, 0.3),
        np.full(22_050, np.nan),
        np.random.default_rng(0).integers(-1, 2, 22_050) / 2**16,
    ],
    ids=["zeros", "an offset", "not a number", "less than the last bit"],
)
def test_silence_keeps_nothing(silence: np.ndarray) -> None:
    kept = fingerprint(silence.astype(np.float32), 22_050)
    assert kept.shape == (32, 81)
    assert not kept.any()


@pytest.mark.parametrize("samples", [0, 1, 700])
def test_what_is_too_short_has_no_rows(samples: int) -> None:
    assert fingerprint(np.ones(samples, np.float32), 22_050).shape == (0, 81)


def test_a_broken_sample_is_a_zero(voice: np.ndarray) -> None:
    broken, mended = voice.copy(), voice.copy()
    broken[[100, 5000]], mended[[100, 5000]] = [np.nan, np.inf], 0
    assert np.array_equal(fingerprint(broken, 22_050), fingerprint(mended, 22_050))
