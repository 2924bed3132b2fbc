"""A mel spectrogram of a sound of any length, gathered while it is read: NumPy only, in memory that does not grow."""

import math

import numpy as np

FRAME_S = 0.046
RANGE_DB = 80.0
_SLANEY_LINEAR_HZ = 1000.0  # Slaney's scale is linear up to here
_SLANEY_HZ_PER_MEL = 200 / 3
_SLANEY_STEP = math.log(6.4) / 27


class SoundOverview:
    """Samples in, one column of mel levels for each equal share of the sound out; a column shows its loudest frame.

    Args:
        sample_rate: Hz; the picture reaches up to half of it.
        duration_s: Of the whole sound; what comes later is left out.
        columns: Of the picture.
        n_mels: Bands, on Slaney's scale.

    Example:
        >>> overview = SoundOverview(8_000, duration_s=2.0, columns=4, n_mels=16)
        >>> overview.push(np.sin(np.arange(8_000.0)))
        >>> overview.finish().shape
        (16, 4)
    """

    def __init__(self, sample_rate: int, *, duration_s: float, columns: int, n_mels: int = 96) -> None:
        self.length = max(1, round(duration_s * sample_rate))
        self.n_fft = 2 ** math.ceil(math.log2(FRAME_S * sample_rate))
        # Every column gets a frame; of long sounds every sample is in two.
        self.hop_length = min(max(1, self.length // columns), self.n_fft // 2)
        self._window = np.hanning(self.n_fft + 1)[:-1].astype(np.float32)
        self._filters = make_mel_filters(sample_rate, self.n_fft, n_mels)
        self._powers = np.zeros((columns, n_mels), dtype=np.float32)
        self._held = np.zeros(self.n_fft // 2, dtype=np.float32)  # so that the first frame's middle is the beginning
        self._next = 0  # the middle of the next frame, samples

    def push(self, samples: np.ndarray) -> None:
        """Look at more sound: (samples,), float, mono; best some seconds at once."""
        held = np.concatenate([self._held, np.asarray(samples, dtype=np.float32)])
        count = max(0, (len(held) - self.n_fft) // self.hop_length + 1)
        if count:
            frames = np.lib.stride_tricks.sliding_window_view(held, self.n_fft)[:: self.hop_length][:count]
            power = np.square(np.abs(np.fft.rfft(frames * self._window, axis=1))).astype(np.float32)
            self._keep(power @ self._filters)
        self._held = held[count * self.hop_length :].copy()

    def finish(self) -> np.ndarray:
        """(n_mels, columns), low bands first: 1 for the loudest value of all, 0 for 80 dB below it and less."""
        self.push(np.zeros(self.n_fft // 2, dtype=np.float32))
        loudest = float(self._powers.max())
        if not loudest:
            return np.zeros(self._powers.T.shape, dtype=np.float32)
        decibels = 10 * np.log10(np.maximum(self._powers.T / loudest, 1e-20))
        return np.maximum(0.0, 1 + decibels / RANGE_DB)

    def _keep(self, power: np.ndarray) -> None:
        middles = self._next + self.hop_length * np.arange(len(power))
        self._next += self.hop_length * len(power)
        inside = middles < self.length
        columns = middles[inside] * len(self._powers) // self.length
        np.maximum.at(self._powers, columns, power[inside])


def make_mel_filters(sample_rate: int, n_fft: int, n_mels: int) -> np.ndarray:
    """Triangular mel filters of equal area: (1 + n_fft // 2, n_mels), float32.

    Example:
        >>> make_mel_filters(16_000, 512, 40).shape
        (257, 40)

    Source:
        Slaney's Auditory Toolbox, as in ``librosa.filters.mel``.
    """
    edges_hz = to_hz(np.linspace(0.0, to_mel(sample_rate / 2), n_mels + 2))
    bins_hz = np.fft.rfftfreq(n_fft, 1 / sample_rate)[:, None]
    low, middle, high = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    triangles = np.minimum((bins_hz - low) / (middle - low), (high - bins_hz) / (high - middle))
    return (np.maximum(0.0, triangles) * (2 / (high - low))).astype(np.float32)


def to_mel(frequency_hz: float) -> float:
    """Hz -> mel, on Slaney's scale.

    Example:
        >>> round(to_mel(500.0), 6), round(to_mel(6400.0), 6)
        (7.5, 42.0)
    """
    if frequency_hz < _SLANEY_LINEAR_HZ:
        return frequency_hz / _SLANEY_HZ_PER_MEL
    return _SLANEY_LINEAR_HZ / _SLANEY_HZ_PER_MEL + math.log(frequency_hz / _SLANEY_LINEAR_HZ) / _SLANEY_STEP


def to_hz(mels: np.ndarray) -> np.ndarray:
    """Mel -> Hz, on Slaney's scale.

    Example:
        >>> to_hz(np.array([7.5, 42.0])).round(3).tolist()
        [500.0, 6400.0]
    """
    knee = _SLANEY_LINEAR_HZ / _SLANEY_HZ_PER_MEL
    above = _SLANEY_LINEAR_HZ * np.exp(_SLANEY_STEP * np.maximum(mels - knee, 0.0))
    return np.where(mels < knee, mels * _SLANEY_HZ_PER_MEL, above)
