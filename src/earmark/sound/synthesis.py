"""Ten synthetic sounds, each a family of its own: the embedded default data of the demo and of the tests.

Every take is another: pitch, rhythm, timbre, room, microphone, background noise and level are drawn anew, and classes
share bands (alarm, siren, birdsong; rain, wind, engine), so that an average spectrum gives only part of them away.
"""

import json
import os
import shutil
import tempfile
import wave
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import SoundError

Signal = NDArray[np.float64]

# Raised whenever the same seed gives other samples, so that folders written before are made anew.
_VERSION = 1
_RECORD_NAME = ".synthesis.json"
_LEFT_BY_SYSTEMS = frozenset({".DS_Store", "desktop.ini", "Thumbs.db"})


class _Take:
    """One take: its random numbers, its clock, and the tools that the sounds are made with."""

    def __init__(self, rng: np.random.Generator, duration_s: float, sample_rate: int) -> None:
        self.rng = rng
        self.duration_s = duration_s
        self.sample_rate = sample_rate
        self.time_s = self.clock(duration_s)

    def clock(self, duration_s: float) -> Signal:
        return np.arange(max(1, round(duration_s * self.sample_rate))) / self.sample_rate

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def pitch(self, low: float, high: float) -> float:
        """Even on the scale that the ear hears: for frequencies, rates and lengths."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def drift(self, rate_hz: float) -> Signal:
        """A smooth random curve in [0, 1] with about ``rate_hz`` turns a second."""
        knots = self.rng.uniform(size=int(self.duration_s * rate_hz) + 4)
        position = self.time_s * rate_hz + self.between(0, 1)
        index = position.astype(int)
        blend = 0.5 - 0.5 * np.cos(np.pi * (position - index))
        return knots[index] * (1 - blend) + knots[index + 1] * blend

    def tone(self, pitch_hz: Signal, ratios: Iterable[float], roll_off: float) -> Signal:
        """Partials over a pitch that may glide, each at ``ratio ** -roll_off``; none passes half the sample rate."""
        phase = 2 * np.pi * np.cumsum(pitch_hz) / self.sample_rate
        signal = np.zeros_like(phase)
        for ratio in ratios:
            audible = np.clip(10 - 20 * ratio * pitch_hz / self.sample_rate, 0, 1)
            signal += ratio**-roll_off * audible * np.sin(ratio * phase + self.between(0, 2 * np.pi))
        return signal

    def pulses(self, pitch_hz: Signal, weights: Signal) -> Signal:
        """A periodic wave with these weights of its harmonics, read from a table: cheap for any number of them."""
        spectrum = np.concatenate([[0], weights * np.exp(2j * np.pi * self.rng.uniform(size=len(weights)) ** 3)])
        table = np.fft.irfft(spectrum, 4096) * 2048
        phase = np.cumsum(pitch_hz) / self.sample_rate % 1.0
        return np.interp(phase * 4096, np.arange(4097), np.append(table, table[0]))

    def noise(self, response: Callable[[Signal], Signal], duration_s: float | None = None) -> Signal:
        """Gaussian noise with this amplitude response over frequency, at unit power."""
        samples = len(self.clock(self.duration_s if duration_s is None else duration_s))
        frequency_hz = np.maximum(np.fft.rfftfreq(samples, 1 / self.sample_rate), 10.0)
        white = self.rng.standard_normal(2 * len(frequency_hz)).view(np.complex128)
        signal = np.fft.irfft(white * response(frequency_hz), samples)
        return signal / (np.std(signal) + 1e-12)

    def filter(self, signal: Signal, response: Callable[[Signal], Signal]) -> Signal:
        frequency_hz = np.maximum(np.fft.rfftfreq(len(signal), 1 / self.sample_rate), 10.0)
        return np.fft.irfft(np.fft.rfft(signal) * response(frequency_hz), len(signal))

    def convolve(self, signal: Signal, kernel: Signal) -> Signal:
        """The kernel started by every sample of the signal, cut off at the end of the signal."""
        length = 1 << (len(signal) + len(kernel)).bit_length()
        product = np.fft.rfft(signal, length) * np.fft.rfft(kernel, length)
        return np.fft.irfft(product, length)[: len(signal)]

    def lay_out(self, starts_s: Iterable[float], events: Iterable[Signal]) -> Signal:
        """Events on the clock of the take; what hangs over its ends is cut off or left out."""
        signal = np.zeros_like(self.time_s)
        for start_s, event in zip(starts_s, events, strict=True):
            start = round(start_s * self.sample_rate)
            if 0 <= start < len(signal):
                signal[start : start + len(event)] += event[: len(signal) - start]
        return signal

    def onsets_s(self, period_s: float, jitter: float) -> Signal:
        """A rhythm from a random first beat to the end, seconds."""
        first_s = self.between(0, min(period_s, 0.4 * self.duration_s))
        beats_s = np.arange(first_s, self.duration_s, period_s)
        return np.maximum(beats_s + self.rng.normal(0, jitter * period_s, len(beats_s)), 0)


def _band(centre_hz: float, octaves: float) -> Callable[[Signal], Signal]:
    return lambda frequency_hz: np.exp(-0.5 * (np.log2(frequency_hz / centre_hz) / octaves) ** 2)


def _slope(db_per_octave: float, knee_hz: float = 1000.0) -> Callable[[Signal], Signal]:
    return lambda frequency_hz: (frequency_hz / knee_hz) ** (db_per_octave / 6.02)


def _fade(clock_s: Signal, attack_s: float, decay_s: float) -> Signal:
    """Rises within the attack, falls by 60 dB within the decay."""
    return np.clip(clock_s / attack_s, 0, 1) * np.exp(-6.9 * clock_s / decay_s)


def _gate(clock_s: Signal, length_s: float, ramp_s: float = 0.004) -> Signal:
    return np.clip(np.minimum(clock_s, length_s - clock_s) / ramp_s, 0, 1)


def _formants(centres_hz: Signal, gains: tuple[float, ...]) -> Callable[[Signal], Signal]:
    bands = [_band(centre_hz, 0.17) for centre_hz in centres_hz]
    return lambda frequency_hz: 0.01 + np.dot(gains, [band(frequency_hz) for band in bands])


def _alarm(take: _Take) -> Signal:
    """Groups of beeps from a small loudspeaker, on one pitch or two."""
    beep_s, beeps = take.pitch(0.05, 0.2), int(take.rng.integers(1, 5))
    period_s = beep_s * take.between(1.4, 2.2)
    group_s = beeps * period_s + take.between(0, 0.4)
    clock_s = take.time_s - take.between(0, 0.3 * take.duration_s)
    within_s = clock_s % group_s
    second = (within_s // period_s) % 2 * (take.rng.random() < 0.4) * take.between(-0.3, 0.3)
    tone = take.tone(take.pitch(1000, 3200) * 2**second, range(1, 9, take.rng.integers(1, 3)), take.between(0.7, 2.0))
    return tone * (clock_s >= 0) * (within_s < beeps * period_s) * _gate(within_s % period_s, beep_s)


def _bell(take: _Take) -> Signal:
    """One to three strokes; the partials of a church bell, or of a bar where the upper ones are far apart."""
    church, bar = (0.5, 1.0, 1.19, 1.5, 2.0, 2.51, 2.66, 3.01, 4.1, 5.4), (1.0, 2.76, 5.4, 8.93)
    ratios = church if take.rng.random() < 0.7 else bar
    pitch_hz, ring_s = take.pitch(250, 1000), take.pitch(1.2, 5.0)
    starts_s, strokes = take.onsets_s(take.pitch(0.4, 2.0), 0.02)[:3], []
    for _ in starts_s:
        clock_s, stroke = take.time_s, np.zeros_like(take.time_s)
        for ratio in ratios:
            frequency_hz = pitch_hz * ratio * take.between(0.995, 1.005)
            if frequency_hz < 0.45 * take.sample_rate:
                ringing = _fade(clock_s, 0.001, ring_s / ratio**0.8)
                stroke += take.between(0.2, 1.0) / ratio**0.5 * ringing * np.sin(2 * np.pi * frequency_hz * clock_s)
        strokes.append(stroke * take.between(0.4, 1.0))
    return take.lay_out(starts_s, strokes)


def _birdsong(take: _Take) -> Signal:
    """Phrases of one chirp repeated: a quick glide with a soft second harmonic."""
    start_s, centre_hz = take.between(0, 0.3 * take.duration_s), take.pitch(2000, 5000)
    starts_s, chirps = [], []
    while start_s < take.duration_s:
        chirp_s, glide = take.pitch(0.03, 0.22), take.between(-0.7, 0.7)
        clock_s = take.clock(chirp_s)
        rise = clock_s / chirp_s
        wobble = take.between(0, 0.12) * np.sin(2 * np.pi * take.between(20, 60) * clock_s)
        chirp_hz = centre_hz * 2 ** (take.between(-0.3, 0.3) + glide * rise ** take.between(0.5, 2) + wobble)
        chirp = take.tone(chirp_hz, (1, 2), take.between(2, 6)) * np.sin(np.pi * rise) ** 1.5
        for _ in range(int(take.rng.integers(1, 7))):
            starts_s.append(start_s)
            chirps.append(chirp * take.between(0.5, 1.0))
            start_s += chirp_s * take.between(1.15, 1.4)
        start_s += take.between(0.05, 0.4)
    return take.lay_out(starts_s, chirps)


def _drums(take: _Take) -> Signal:
    """Kick, snare and hi-hat on an eighth-note grid with random patterns."""
    clock_s = take.clock(0.3)
    drop_hz = take.between(42, 65) * (1 + take.between(1.5, 4) * np.exp(-clock_s / 0.025))
    kick = take.tone(drop_hz, (1, 2), 2.7) * _fade(clock_s, 0.002, take.between(0.2, 0.5))
    shell = 0.4 * take.tone(np.full_like(clock_s, take.between(160, 240)), (1, 1.6), 1.5)
    snare = (shell + 0.5 * take.noise(_band(take.pitch(1500, 5000), 1.2), 0.3)) * _fade(clock_s, 0.001, 0.25)
    hat = 0.35 * take.noise(_slope(9, 9000), 0.3) * _fade(clock_s, 0.001, take.pitch(0.05, 0.25))
    kit = [sound * take.between(0.3, 1.0) for sound in (kick, snare, hat)]
    odds, swing_s = take.rng.uniform(0.1, 0.5, 8), take.between(0, 0.03)
    starts_s = take.onsets_s(take.pitch(0.17, 0.33), 0.005)
    beats = []
    for beat in np.arange(len(starts_s)) % 8:
        hits = (beat in (0, 4) or odds[beat] > 0.4, beat in (2, 6), odds[beat] < 0.4)
        beats.append(sum(hit * take.between(0.7, 1.0) * sound for hit, sound in zip(hits, kit, strict=True)))
    return take.lay_out(starts_s + swing_s * (np.arange(len(starts_s)) % 2), beats)


def _engine(take: _Take) -> Signal:
    """Firing pulses with uneven cylinders through an exhaust, and its hiss in step with them."""
    pitch_hz = take.pitch(22, 110) * 2 ** (take.between(0, 0.9) * (take.drift(take.pitch(0.3, 2)) - 0.5))
    weights = np.arange(1.0, 61.0) ** -take.between(0.6, 1.3) * take.rng.lognormal(0, 0.7, 60)
    pulses = take.pulses(pitch_hz / 2, weights)
    throb = 0.5 + 0.5 * np.sin(2 * np.pi * np.cumsum(pitch_hz) / take.sample_rate)
    hiss = take.noise(_band(take.pitch(300, 2500), 1.3)) * (0.3 + throb**2)
    exhaust = _band(take.pitch(80, 500), take.between(1.0, 2.0))
    return take.filter(pulses / np.std(pulses), lambda f: exhaust(f) + 0.15) + take.pitch(0.05, 0.5) * hiss


def _footsteps(take: _Take) -> Signal:
    """Heel and toe on some ground: a dull thud and a crunch, left and right not quite alike."""
    ground_hz, crunch = take.pitch(700, 5000), take.pitch(0.04, 0.5)
    clock_s, toe_s = take.clock(0.25), take.between(0.06, 0.13)
    starts_s = take.onsets_s(take.pitch(0.3, 0.65), 0.04)
    falls: tuple[list[Signal], list[Signal]] = ([], [])
    for step in range(len(starts_s)):
        for fall, thud, decay_s in zip(falls, (1.0, 0.35), (0.12, 0.18), strict=True):
            body = np.sin(2 * np.pi * take.between(70, 130) * clock_s) * _fade(clock_s, 0.003, decay_s)
            grains = take.noise(_band(ground_hz, 0.9), 0.25) * _fade(clock_s, 0.006, decay_s)
            grains *= 0.4 + (take.rng.random(len(clock_s)) < 0.02) * 2
            fall.append((thud * body + crunch * grains) * take.between(0.6, 1.0) * (0.8, 1.0)[step % 2])
    return take.lay_out(starts_s, falls[0]) + take.lay_out(starts_s + toe_s, falls[1])


def _rain(take: _Take) -> Signal:
    """A hiss of far drops, and near drops as short rings of many pitches."""
    hiss = take.noise(_band(take.pitch(1200, 6000), take.between(1.0, 2.0))) * (0.8 + 0.2 * take.drift(2))
    drops, per_pitch = np.zeros_like(take.time_s), 1 + int(take.pitch(3, 60) * take.duration_s)
    for _ in range(5):
        where, weights = take.rng.integers(len(drops), size=per_pitch), take.rng.lognormal(0, 0.8, per_pitch)
        falls = np.bincount(where, weights, len(drops)).astype(float)
        clock_s = take.clock(0.03)
        ring = np.sin(2 * np.pi * take.pitch(900, 6000) * clock_s) * _fade(clock_s, 0.0005, take.pitch(0.008, 0.03))
        drops += take.convolve(falls, ring)
    return 0.25 * hiss + take.pitch(0.15, 1.2) * drops


def _siren(take: _Take) -> Signal:
    """A horn that wails, yelps or alternates between two notes."""
    low_hz, octaves, rate_hz = take.pitch(400, 900), take.between(0.5, 1.3), take.pitch(0.3, 4)
    turn = (take.time_s * rate_hz + take.between(0, 1)) % 1.0
    wail = 0.5 - 0.5 * np.cos(2 * np.pi * turn)
    yelp = np.minimum(turn / 0.7, (1 - turn) / 0.3)
    two_notes = 0.5 + 0.5 * np.tanh(20 * np.sin(2 * np.pi * turn))
    height = (wail, yelp, two_notes)[take.rng.integers(3)]
    tone = take.tone(low_hz * 2 ** (octaves * height), range(1, 9), take.between(0.6, 1.8))
    horn = _band(take.pitch(800, 2500), take.between(0.8, 1.6))
    passing = 0.35 + 0.65 * take.drift(0.7)
    return take.filter(tone, lambda f: horn(f) + 0.1) * passing * np.clip(take.time_s / take.pitch(0.01, 0.5), 0, 1)


_VOWELS_HZ = ((730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240))
"""The first three formants of a, e, i, o and u (Peterson and Barney 1952, men)."""


def _voice(take: _Take) -> Signal:
    """Syllables that glide from vowel to vowel: a buzzing glottis through three formants, with some breath."""
    stature = take.between(1.0, 1.3)
    pitch_hz = take.pitch(85, 280) * 2 ** (0.6 * (take.drift(take.between(1, 3)) - 0.5))
    pitch_hz = pitch_hz * (1 + 0.012 * np.sin(2 * np.pi * take.between(4.5, 6.5) * take.time_s))
    order = np.arange(1.0, int(0.42 * take.sample_rate / pitch_hz.max()))
    glottis = take.pulses(pitch_hz, order ** -take.between(0.8, 1.5))
    source = glottis / np.std(glottis) + take.pitch(0.01, 0.15) * take.noise(_slope(3))
    blend, spoken = take.drift(take.between(1.5, 4)), []
    for vowel in take.rng.choice(len(_VOWELS_HZ), 2, replace=False):
        gains = (1.0, take.between(0.3, 0.8), take.between(0.1, 0.4))
        spoken.append(take.filter(source, _formants(np.multiply(_VOWELS_HZ[vowel], stature), gains)))
    starts_s = take.onsets_s(take.pitch(0.3, 0.9), 0.1)
    lengths_s = [take.pitch(0.15, 0.6) for _ in starts_s]
    opening = [_gate(take.clock(length_s), length_s, 0.04) for length_s in lengths_s]
    vowels = (spoken[0] * blend + spoken[1] * (1 - blend)) * np.minimum(take.lay_out(starts_s, opening), 1)
    hiss_s = take.pitch(0.05, 0.15)
    hiss = take.noise(_band(take.pitch(3500, 7000), 0.6), hiss_s) * _gate(take.clock(hiss_s), hiss_s, 0.03)
    consonants = take.lay_out(starts_s - 0.8 * hiss_s, [hiss] * len(starts_s))
    return vowels / (np.std(vowels) + 1e-12) + take.pitch(0.1, 0.5) * consonants


def _wind(take: _Take) -> Signal:
    """Gusts: bands of noise that swell one by one over a rumble, the louder the brighter."""
    gust = take.drift(take.pitch(0.4, 2.0))
    signal = take.pitch(0.1, 0.6) * take.noise(_slope(-take.between(5, 10), 200)) * (0.2 + gust)
    for _ in range(3):
        whistle = take.noise(_band(take.pitch(250, 1500), take.pitch(0.15, 0.9)))
        signal += take.pitch(0.1, 0.6) * whistle * (gust * take.drift(take.pitch(0.5, 3))) ** 1.5
    return signal


_MAKERS = (_alarm, _bell, _birdsong, _drums, _engine, _footsteps, _rain, _siren, _voice, _wind)
_SOUNDS: dict[str, Callable[[_Take], Signal]] = {maker.__name__.removeprefix("_"): maker for maker in _MAKERS}
SOUND_NAMES: tuple[str, ...] = tuple(_SOUNDS)


def _record(take: _Take, dry: Signal) -> Signal:
    """What a microphone in a room makes of a sound: echo, colour, background noise and some level."""
    dry = dry / (np.abs(dry).max() + 1e-12)
    tail_s = take.clock(take.pitch(0.08, 0.6))
    echo = take.rng.standard_normal(len(tail_s)) * _fade(tail_s, 0.002, tail_s[-1] + 0.01) / np.sqrt(len(tail_s))
    heard = dry + take.pitch(0.05, 1.0) * take.convolve(dry, echo)
    colour, lowest_hz = _slope(take.between(-2, 2)), take.pitch(20, 120)
    heard = take.filter(heard, lambda f: colour(f) / (1 + (lowest_hz / f) ** 2))
    background = take.noise(_slope(-take.between(3, 6))) * 10 ** (take.between(-55, -25) / 20)
    heard = heard / (np.std(heard) + 1e-12) + background
    return heard / (np.abs(heard).max() + 1e-12) * 10 ** (take.between(-30, 0) / 20)


def synthesise(name: str, *, seed: int, duration_s: float = 2.0, sample_rate: int = 22_050) -> NDArray[np.float32]:
    """One take of a synthetic sound; the same arguments give the same samples in every process.

    Args:
        name: One of ``SOUND_NAMES``.
        seed: Which take, >= 0.
        duration_s: Length, seconds.
        sample_rate: Hz, at least 8000.

    Returns:
        (round(duration_s * sample_rate),), float32, mono, in [-1, 1], with a peak between -30 and 0 dB.

    Raises:
        SoundError: no such sound, a sample rate below 8000 Hz or no length; the message says what is allowed.

    Example:
        >>> synthesise("bell", seed=3).shape
        (44100,)
    """
    if name not in _SOUNDS:
        raise SoundError(f"There is no synthetic sound {name!r}: choose one of {', '.join(SOUND_NAMES)}.")
    if sample_rate < 8000 or round(duration_s * sample_rate) < 1:
        raise SoundError(f"No sound of {duration_s} s at {sample_rate} Hz: use 8000 Hz or more and a length above 0 s.")
    take = _Take(np.random.default_rng([seed, SOUND_NAMES.index(name)]), duration_s, sample_rate)
    return _record(take, _SOUNDS[name](take)).astype(np.float32)


def write_sounds(
    folder: str | os.PathLike[str],
    *,
    clips_per_class: int = 30,
    seed: int = 0,
    duration_s: float = 2.0,
    sample_rate: int = 22_050,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a folder of class folders with takes of every synthetic sound, whole or not at all.

    A folder that already holds exactly these takes is left untouched; one written by this function with other
    arguments is replaced; anything else is refused.

    Args:
        folder: Where; ``<folder>/bell/bell_001.wav`` and so on, 16-bit WAV.
        clips_per_class: Takes of each sound.
        seed: Other seeds give other takes.
        duration_s: Length of each, seconds.
        sample_rate: Hz, at least 8000.
        on_progress: Called with (clips written, clips in all) after each clip.

    Returns:
        The folder.

    Raises:
        SoundError: the folder holds something else, or ``synthesise`` refuses the arguments.

    Example:
        >>> folder = write_sounds(tempfile.mkdtemp() + "/sounds", clips_per_class=1, duration_s=0.5)
        >>> sorted(path.name for path in folder.glob("b*/*"))
        ['bell_001.wav', 'birdsong_001.wav']
    """
    folder = Path(os.path.abspath(folder))
    names = [f"{name}/{name}_{take:03d}.wav" for name in SOUND_NAMES for take in range(1, clips_per_class + 1)]
    record = {"seed": seed, "duration_s": duration_s, "sample_rate": sample_rate, "version": _VERSION, "sounds": names}
    if folder.exists() and _is_written(folder, record):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    # A neighbour is filled and then renamed: a killed run leaves nothing that looks like a data set.
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        whole = part / "whole"
        for done, name in enumerate(names, start=1):
            take = int(np.random.SeedSequence([seed, done]).generate_state(1)[0])
            sound = synthesise(name.split("/")[0], seed=take, duration_s=duration_s, sample_rate=sample_rate)
            (whole / name).parent.mkdir(parents=True, exist_ok=True)
            with wave.open(str(whole / name), "wb") as file:
                file.setparams((1, 2, sample_rate, 0, "NONE", ""))
                file.writeframes(np.round(sound * 32767).astype("<i2").tobytes())
            if on_progress:
                on_progress(done, len(names))
        (whole / _RECORD_NAME).write_text(json.dumps(record), encoding="utf-8")
        if folder.exists():
            folder.rename(part / "before")
        whole.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _is_written(folder: Path, record: dict[str, Any]) -> bool:
    """Whether the folder holds just what the record says; a folder that is not ours to replace is an error."""
    files = (path for path in folder.rglob("*") if not path.is_dir() and path.name not in _LEFT_BY_SYSTEMS)
    found = {path.relative_to(folder).as_posix() for path in files}
    try:
        before = json.loads((folder / _RECORD_NAME).read_text(encoding="utf-8"))
        ours = {*before["sounds"], _RECORD_NAME}
    except (OSError, ValueError, KeyError, TypeError):
        before, ours = None, set()
    if others := found - ours or ({"it is a file"} if not folder.is_dir() else set()):
        raise SoundError(f"{folder} already holds something else ({min(others)}): name another folder.")
    return before == record and found == ours
