"""A sound sent through a lossy codec and back, in memory: what is left of it at a low bit rate."""

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earmark.sound.decode import decode
from earmark.sound.resample import resample

Codec = Literal["mp3", "opus"]

_ENCODERS = {"mp3": ("libmp3lame", "mp3"), "opus": ("libopus", "ogg")}
_RATES_HZ = {
    "mp3": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
}
# MPEG 1 knows no less than 32 kbit/s; below, MP3 goes to half the rates and below, as LAME itself would choose.
_LOWEST_OF_MPEG_1, _HIGHEST_OF_MPEG_2_HZ = 32_000, 16_000


def pass_through_codec(
    waveform: NDArray[np.floating], sample_rate: int, codec: Codec, *, bit_rate: int
) -> NDArray[np.float32]:
    """Encode a sound and decode it again; the delay of the codec is taken out, and the length is kept.

    Args:
        waveform: (samples,), float, mono, at least one; cut off beyond [-1, 1], as an encoder does.
        sample_rate: Hz, any; where the codec does not have it, the sound goes through the next rate that it has.
        codec: ``"mp3"`` (LAME) or ``"opus"`` (libopus, for audio).
        bit_rate: Bits per second, constant for MP3, on average for Opus.

    Returns:
        (samples,), float32, at ``sample_rate``.

    Example:
        >>> tone = np.sin(np.arange(16_000) * 0.1)
        >>> passed = pass_through_codec(tone, 16_000, "opus", bit_rate=32_000)
        >>> passed.shape, bool(np.corrcoef(tone, passed)[0, 1] > 0.95)
        ((16000,), True)
    """
    rate = _choose_rate(sample_rate, codec, bit_rate)
    sent = np.clip(resample(waveform, sample_rate, rate), -1.0, 1.0).astype(np.float32)
    if not len(sent):
        return np.array(waveform, dtype=np.float32)  # less than a sample of the codec's
    received, _ = decode(_encode(sent, rate, codec, bit_rate), sample_rate=sample_rate)
    missing = max(0, len(waveform) - len(received))
    return np.pad(received[: len(waveform)], (0, missing))


def _choose_rate(sample_rate: int, codec: Codec, bit_rate: int) -> int:
    known = _RATES_HZ[codec]
    if codec == "mp3" and bit_rate < _LOWEST_OF_MPEG_1:
        known = tuple(rate for rate in known if rate <= _HIGHEST_OF_MPEG_2_HZ)
    return min((rate for rate in known if rate >= sample_rate), default=known[-1])


def _encode(waveform: NDArray[np.float32], sample_rate: int, codec: Codec, bit_rate: int) -> bytes:
    import av

    name, container = _ENCODERS[codec]
    file = io.BytesIO()
    with av.open(file, mode="w", format=container) as output:
        stream = output.add_stream(name, rate=sample_rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(waveform[None], format="fltp", layout="mono")
        frame.sample_rate = sample_rate
        # Opus takes its samples interleaved, MP3 side by side; of one channel that is a matter of names.
        converter = av.AudioResampler(stream.codec_context.format, "mono", sample_rate)
        for converted in (*converter.resample(frame), None):
            for packet in stream.encode(converted):
                output.mux(packet)
    return file.getvalue()
