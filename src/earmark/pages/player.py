"""Sounds for pages: encoded small enough that dozens fit into one file that opens from disk."""

import base64
import io
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_S = 10.0
# The rates of MPEG 1 and 2: every browser plays these; lower ones (MPEG 2.5) not everywhere.
MP3_RATES_HZ = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
MP3_COMPRESSION = 0.5  # about 80 kbit/s for mono at 44.1 kHz


class PlayableSound(NamedTuple):
    """A sound as an ``<audio>`` element takes it."""

    uri: str
    """A data URI."""
    shown_s: float
    """What can be heard, seconds."""
    duration_s: float
    """What there was, seconds."""

    @property
    def is_cut(self) -> bool:
        """Whether the end was left out."""
        return self.shown_s < self.duration_s


def cut(waveform: NDArray[np.floating], sample_rate: int, max_s: float = MAX_S) -> NDArray[np.floating]:
    """The first ten seconds, all that a page of many sounds plays and shows of one.

    Example:
        >>> cut(np.zeros(200_000, dtype=np.float32), 16_000).shape
        (160000,)
    """
    return waveform[: round(max_s * sample_rate)]


def encode_sound(waveform: NDArray[np.floating], sample_rate: int, *, max_s: float = MAX_S) -> PlayableSound:
    """The first seconds of a sound as an MP3 data URI, or as 16-bit WAV where MP3 cannot be written.

    Args:
        waveform: (samples,), float, mono. Scaled down if it goes beyond [-1, 1], otherwise as loud as it is.
        sample_rate: Hz, any; resampled to the next rate that MP3 has.
        max_s: What comes later is left out, seconds.

    Returns:
        The sound and how much of it there is.

    Example:
        >>> sound = encode_sound(np.zeros(8_000, dtype=np.float32), 8_000)
        >>> sound.shown_s, sound.is_cut, sound.uri.split(",")[0]
        (1.0, False, 'data:audio/mpeg;base64')
    """
    import soundfile

    shown = cut(waveform, sample_rate, max_s).astype(np.float32)
    shown_s, duration_s = len(shown) / sample_rate, len(waveform) / sample_rate
    peak = float(np.abs(shown).max(initial=0.0))
    shown = shown / max(1.0, peak)
    try:
        kind, encoded = "audio/mpeg", _write_mp3(shown, sample_rate)
    except (soundfile.LibsndfileError, ValueError, TypeError):
        # An older libsndfile: a system's own instead of the wheel's.
        kind, encoded = "audio/wav", _write(shown, sample_rate, format="WAV", subtype="PCM_16")
    uri = f"data:{kind};base64,{base64.b64encode(encoded).decode('ascii')}"
    return PlayableSound(uri, shown_s, duration_s)


def _write_mp3(waveform: NDArray[np.floating], sample_rate: int) -> bytes:
    rate = min((allowed for allowed in MP3_RATES_HZ if allowed >= sample_rate), default=MP3_RATES_HZ[-1])
    if rate != sample_rate:
        import soxr

        # Resampling may overshoot a little where the sound is at full scale.
        waveform = np.clip(soxr.resample(waveform, sample_rate, rate), -1.0, 1.0)
    return _write(waveform, rate, format="MP3", subtype="MPEG_LAYER_III", compression_level=MP3_COMPRESSION)


def _write(waveform: NDArray[np.floating], sample_rate: int, **how: Any) -> bytes:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, waveform, sample_rate, **how)
    return file.getvalue()
