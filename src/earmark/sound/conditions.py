"""What happens to sounds on their way to a model: telephone rates, codecs, overload, noise, rooms; each repeatable."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.sound.codecs import Codec, pass_through_codec
from earmark.sound.resample import resample

Waveform = NDArray[np.float32]
Change = Callable[[Waveform, int, np.random.Generator], Waveform]
NoiseColour = Literal["white", "pink"]

LOWEST_PINK_HZ = 20.0
# A small room, heard from two metres away: what decides how loud its reverberation is beside the direct sound.
ROOM_M3, DISTANCE_M = 60.0, 2.0
FIRST_REFLECTION_S = 0.002


class Condition(NamedTuple):
    """One bad condition at one strength.

    Attributes:
        name: Of the kind: ``"white noise"``.
        strength: How bad, in words: ``"10 dB"``.
        change: Takes (waveform, sample rate in Hz, generator) and gives a waveform of the same length.
    """

    name: str
    strength: str
    change: Change


def list_conditions(sample_rate: int) -> list[Condition]:
    """All conditions, kind by kind, each from mild to harsh.

    Args:
        sample_rate: Hz, of the sounds they are made for; rates that are no lower are left out.

    Example:
        >>> [condition.strength for condition in list_conditions(16_000) if condition.name == "sample rate"]
        ['8 kHz']
    """
    conditions = [
        Condition("sample rate", f"{rate // 1000} kHz", partial(_lower_rate, rate=rate))
        for rate in (16_000, 8_000)
        if rate < sample_rate
    ]
    rates: tuple[tuple[Codec, tuple[int, ...]], ...] = (("mp3", (64, 32, 16)), ("opus", (32, 16, 8)))
    for codec, kbits in rates:
        name = {"mp3": "MP3", "opus": "Opus"}[codec]
        conditions += [Condition(name, f"{kbit} kbit/s", partial(_code, codec=codec, kbit=kbit)) for kbit in kbits]
    conditions += [
        Condition("clipping", f"{share:.0%}".replace("%", " %"), partial(_clip, share=share))
        for share in (0.01, 0.1, 0.3)
    ]
    colours: tuple[NoiseColour, ...] = ("white", "pink")
    conditions += [
        Condition(f"{colour} noise", f"{snr_db} dB", partial(_add_noise, colour=colour, snr_db=float(snr_db)))
        for colour in colours
        for snr_db in (20, 10, 0)
    ]
    conditions += [
        Condition("reverberation", f"{rt60_s:g} s", partial(_reverberate, rt60_s=rt60_s)) for rt60_s in (0.3, 0.6)
    ]
    return conditions


def overload(waveform: Waveform, share: float) -> Waveform:
    """Turn a sound up until a share of its samples lies beyond full scale, and cut them off there.

    Args:
        waveform: (samples,), float32.
        share: 0 to 1, without 1. A sound of which so few samples are not zero that this cannot be is left as it is.

    Example:
        >>> overload(np.array([0.125, -0.25, 0.5, 0.75], dtype=np.float32), 0.25).tolist()
        [0.25, -0.5, 1.0, 1.0]
    """
    loudness = np.sort(np.abs(waveform))
    n_clipped = int(np.ceil(share * len(waveform)))
    full_scale = loudness[max(0, len(waveform) - n_clipped - 1)]
    if full_scale == 0:
        return waveform
    return np.clip(waveform / full_scale, -1.0, 1.0).astype(np.float32)


def add_noise(
    waveform: Waveform, sample_rate: int, generator: np.random.Generator, *, colour: NoiseColour, snr_db: float
) -> Waveform:
    """Gaussian noise beneath a sound; the ratio of their powers over the whole of it is exactly ``snr_db``.

    Args:
        waveform: (samples,), float32; digital silence is left as it is.
        sample_rate: Hz.
        generator: Draws the noise.
        colour: ``"white"``: the same power in every Hz; ``"pink"``: in every octave, from 20 Hz up.
        snr_db: Power of the sound over that of the noise, dB.

    Example:
        >>> noisy = add_noise(np.ones(8_000, np.float32), 8_000, np.random.default_rng(0), colour="pink", snr_db=0.0)
        >>> round(float(np.mean((noisy - 1) ** 2)), 3)
        1.0
    """
    samples = len(waveform)
    noise = generator.standard_normal(samples)
    if colour == "pink":
        frequency_hz = np.maximum(np.fft.rfftfreq(samples, 1 / sample_rate), LOWEST_PINK_HZ)
        noise = np.fft.irfft(np.fft.rfft(noise) / np.sqrt(frequency_hz), samples)
    power, noise_power = float(np.mean(waveform.astype(np.float64) ** 2)), float(np.mean(noise**2))
    if power == 0 or noise_power == 0:
        return waveform
    return (waveform + noise * np.sqrt(power / noise_power * 10 ** (-snr_db / 10))).astype(np.float32)


def make_room(sample_rate: int, rt60_s: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """The impulse response of a small room: the direct sound, then noise that falls by 60 dB in ``rt60_s``.

    Args:
        sample_rate: Hz.
        rt60_s: Reverberation time, seconds, > 0.
        generator: Draws the reflections.

    Returns:
        (samples,), of energy 1; it begins with the direct sound.

    Example:
        >>> room = make_room(16_000, 0.3, np.random.default_rng(0))
        >>> len(room), int(room.argmax()), round(float(room @ room), 6)
        (7200, 0, 1.0)

    Source:
        Polack's model, exponentially decaying Gaussian noise (Moorer, "About This Reverberation Business", 1979;
        Polack, 1988). The reverberation's energy beside the direct sound's is (distance / critical distance)^2, with
        the critical distance 0.057 sqrt(volume / RT60) m (Kuttruff, "Room Acoustics"): 8 dB more at 0.3 s.
    """
    time_s = np.arange(round(1.5 * rt60_s * sample_rate)) / sample_rate
    tail = generator.standard_normal(len(time_s)) * 10 ** (-3 * time_s / rt60_s)
    tail[time_s < FIRST_REFLECTION_S] = 0.0
    tail_energy = (DISTANCE_M / 0.057) ** 2 * rt60_s / ROOM_M3
    room = tail * np.sqrt(tail_energy / (tail @ tail))
    room[0] = 1.0
    return room / np.sqrt(room @ room)


def _lower_rate(waveform: Waveform, sample_rate: int, _: np.random.Generator, *, rate: int) -> Waveform:
    again = resample(resample(waveform, sample_rate, rate), rate, sample_rate)[: len(waveform)]
    return np.pad(again, (0, len(waveform) - len(again)))


def _code(waveform: Waveform, sample_rate: int, _: np.random.Generator, *, codec: Codec, kbit: int) -> Waveform:
    return pass_through_codec(waveform, sample_rate, codec, bit_rate=1000 * kbit)


def _clip(waveform: Waveform, _rate: int, _: np.random.Generator, *, share: float) -> Waveform:
    return overload(waveform, share)


def _add_noise(
    waveform: Waveform, sample_rate: int, generator: np.random.Generator, *, colour: NoiseColour, snr_db: float
) -> Waveform:
    return add_noise(waveform, sample_rate, generator, colour=colour, snr_db=snr_db)


def _reverberate(waveform: Waveform, sample_rate: int, generator: np.random.Generator, *, rt60_s: float) -> Waveform:
    """In a room of its own, as loud as before."""
    from scipy.signal import fftconvolve  # type: ignore[import-untyped]

    wet = fftconvolve(waveform, make_room(sample_rate, rt60_s, generator))[: len(waveform)]
    power, wet_power = (float(np.mean(sound.astype(np.float64) ** 2)) for sound in (waveform, wet))
    return (wet * np.sqrt(power / wet_power)).astype(np.float32) if wet_power else waveform
