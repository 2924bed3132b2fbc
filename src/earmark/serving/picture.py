"""What a page draws of a sound: its envelope and its mel spectrogram, made while it streams by; NumPy only."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.sound.overview import make_mel_filters

COLUMNS = 800  # about; between half and twice as many where the stated duration was wrong
N_MELS = 128
RANGE_DB = 80.0
WINDOW_S = 0.046  # of the spectra; the power of two from here on
MOST_OVERLAP = 32  # frames that see the same sample, in the shortest sounds
FRAMES_AT_ONCE = 512


class PictureMaker:
    """Samples in, at the end a picture of a bounded size, however many they were.

    Args:
        sample_rate: Hz.
        duration_s: What the sound says that it lasts, seconds; where it lasts longer, the columns grow with it.

    Example:
        >>> maker = PictureMaker(16_000, 5.0)
        >>> maker.push(np.sin(np.arange(80_000)).astype(np.float32))
        >>> picture = maker.finish()
        >>> picture["columns"], picture["column_s"], len(base64.b64decode(picture["mel"])) // N_MELS
        (801, 0.00625, 801)
    """

    def __init__(self, sample_rate: int, duration_s: float) -> None:
        self.sample_rate = sample_rate
        self.n_fft = 2 ** int(np.ceil(np.log2(WINDOW_S * sample_rate)))
        wanted = max(self.n_fft // MOST_OVERLAP, round(duration_s * sample_rate) // COLUMNS)
        self.hop = min(wanted, self.n_fft)
        size = self.hop * round(wanted / self.hop)
        self._powers, self._extremes = _Columns(size), _Columns(size)
        self._window = np.hanning(self.n_fft + 1)[:-1].astype(np.float32)
        self._filters = make_mel_filters(sample_rate, self.n_fft, N_MELS)
        self._heard = np.zeros(self.n_fft // 2, dtype=np.float32)  # frames are centred
        self._seen = np.zeros(0, dtype=np.float32)
        self._heard_at = self._seen_at = 0  # where these begin, samples

    def push(self, samples: NDArray[np.float32]) -> None:
        """See more sound: (samples,)."""
        self._heard = np.concatenate([self._heard, samples])
        self._seen = np.concatenate([self._seen, samples])
        self._measure_spectra()
        self._measure_extremes()

    def finish(self) -> dict[str, Any]:
        """The picture, ready for JSON.

        Returns:
            ``columns``, each of ``column_s`` seconds; ``peak``; ``low`` and ``high``: int8, in 1/127 of the peak;
            ``mel``: uint8, (bands, columns), the lowest band first, 255 for the loudest value, 0 for ``range_db``
            below it and less; ``highest_hz``: where the bands end. The arrays are in base64.
        """
        self._heard = np.concatenate([self._heard, np.zeros(self.n_fft // 2, dtype=np.float32)])
        self._measure_spectra()
        self._measure_extremes()
        if len(self._seen):
            self._extremes.add(self._seen_at, np.array([-self._seen.min(), self._seen.max()]))
        while self._powers.size != self._extremes.size:
            min(self._powers, self._extremes, key=lambda columns: columns.size).halve()
        mel = np.stack(self._powers.rows or [np.zeros(N_MELS, dtype=np.float32)], axis=1)
        low, high = np.array(self._extremes.rows or [np.zeros(2)]).T * [[-1], [1]]
        peak = float(max(-low.min(), high.max(), 0.0))
        scale = 127 / peak if peak else 0.0
        return {
            "columns": mel.shape[1],
            "column_s": self._powers.size / self.sample_rate,
            "peak": peak,
            "low": _pack((low * scale).round().astype(np.int8)),
            "high": _pack((high * scale).round().astype(np.int8)),
            "mel": _pack(_brighten(mel)),
            "bands": N_MELS,
            "range_db": RANGE_DB,
            "highest_hz": self.sample_rate / 2,
        }

    def _measure_spectra(self) -> None:
        """All frames that are whole, a few at a time."""
        while (count := min((len(self._heard) - self.n_fft) // self.hop + 1, FRAMES_AT_ONCE)) > 0:
            frames = np.lib.stride_tricks.sliding_window_view(self._heard, self.n_fft)[:: self.hop][:count]
            spectra = np.fft.rfft(frames * self._window, axis=1)
            powers = (spectra.real**2 + spectra.imag**2).astype(np.float32) @ self._filters
            for row in powers:
                self._powers.add(self._heard_at, row)
                self._heard_at += self.hop
            self._heard = self._heard[count * self.hop :]
            # A sound that goes on for longer than it said is looked at in larger steps.
            while 2 * self.hop <= self.n_fft and self._powers.size > self.hop:
                self.hop *= 2

    def _measure_extremes(self) -> None:
        step = self._extremes.size
        whole = len(self._seen) // step * step
        parts = self._seen[:whole].reshape(-1, step)
        for row in np.stack([-parts.min(1), parts.max(1)], axis=1):
            self._extremes.add(self._seen_at, row)
            self._seen_at += step
        self._seen = self._seen[whole:]


class _Columns:
    """The highest of all rows whose positions fall into a column; the columns grow where there would be too many."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.rows: list[NDArray[np.floating]] = []

    def add(self, position: int, row: NDArray[np.floating]) -> None:
        """Put a row in its place, which is the last or the next."""
        if position // self.size < len(self.rows):
            self.rows[-1] = np.maximum(self.rows[-1], row)
        else:
            self.rows.append(row)
        if len(self.rows) > 2 * COLUMNS:
            self.halve()

    def halve(self) -> None:
        """Two columns become one."""
        self.rows = [np.max(self.rows[first : first + 2], axis=0) for first in range(0, len(self.rows), 2)]
        self.size *= 2


def _brighten(powers: NDArray[np.float32]) -> NDArray[np.uint8]:
    loudest = float(powers.max())
    if not loudest:
        return np.zeros(powers.shape, dtype=np.uint8)
    levels_db = 10 * np.log10(np.maximum(powers / loudest, 1e-12))
    return (np.clip(1 + levels_db / RANGE_DB, 0, 1) * 255).round().astype(np.uint8)


def _pack(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")
