"""The panels of a sheet: waveform, spectrum, spectrogram, mel spectrogram, MFCC, each with its axes and units."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.pages.figure import ACCENT, INK, Raster, to_png
from earmark.sound import figures
from earmark.sound.analysis import FAINTEST_DB, RANGE_DB, SoundAnalysis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOWEST_HZ = 20.0  # where hearing begins, and a logarithmic axis
SPECTRUM_RANGE_DB = 100.0
FREQUENCY_GAP_PX = 58  # between the names of two frequencies side by side
TWO_SIDED = "RdBu_r"  # a map of colours for what has a sign
RASTER_SCALE = 2  # raster pixels to a pixel of the page: sharp on dense screens

Pool = Callable[..., Any]


class Frame(NamedTuple):
    """Where a panel is drawn, in pixels from the figure's top left corner."""

    figure: Figure
    axes: Axes
    left: float
    top: float
    width: float
    height: float


def draw_waveform_panel(frame: Frame, sound: SoundAnalysis) -> list[Raster]:
    """The envelope over time, in a scale that fits its peak; the spectrum's window is shaded."""
    axes = frame.axes
    first_s = sound.spectrum_start_s
    last_s = first_s + sound.spectrum_length / sound.sample_rate
    axes.axvspan(first_s, last_s, color=INK, alpha=0.16, linewidth=0, clip_on=False)
    figures.fill_envelope(
        axes, sound.waveform, sound.sample_rate, columns=int(RASTER_SCALE * frame.width), start_s=sound.start_s
    )
    figures.mark_amplitudes(axes, _round_up(sound.peak))
    figures.mark_seconds(axes, sound.duration_s, sound.start_s)
    return []


def draw_spectrum_panel(frame: Frame, sound: SoundAnalysis) -> list[Raster]:
    """The levels of one window over a logarithmic frequency axis."""
    axes, highest_hz = frame.axes, sound.sample_rate / 2
    lowest_hz = max(float(sound.frequencies_hz[0]), min(LOWEST_HZ, highest_hz / 10))
    audible = sound.frequencies_hz >= lowest_hz
    top_db = max(10 * np.ceil(float(sound.spectrum_db.max()) / 10), FAINTEST_DB + SPECTRUM_RANGE_DB)
    floor_db = top_db - SPECTRUM_RANGE_DB
    shown_hz, shown_db = _keep_peaks(
        sound.frequencies_hz[audible], np.maximum(sound.spectrum_db[audible], floor_db), int(frame.width)
    )
    axes.fill_between(shown_hz, shown_db, floor_db, color=ACCENT, alpha=0.16, linewidth=0, clip_on=False)
    axes.plot(shown_hz, shown_db, color=ACCENT, linewidth=1.1, clip_on=False)
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xlim(lowest_hz, highest_hz)
    ticks = _space_out(figures.descend_octaves(highest_hz, lowest_hz), lowest_hz, highest_hz, frame.width)
    axes.set_xticks(ticks, [figures.name_frequency(hz) for hz in ticks], color=INK)
    axes.set_ylim(floor_db, top_db)
    levels_db = np.arange(top_db, floor_db - 1, -20 if frame.height > 100 else -50)
    names = [signed(level_db) for level_db in levels_db]
    axes.set_yticks(levels_db, [f"{names[0]} dB", *names[1:]])
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.8, clip_on=False)
    return []


def draw_spectrogram_panel(frame: Frame, sound: SoundAnalysis, *, log_frequency: bool) -> list[Raster]:
    """The spectrogram in magma, over a linear or a logarithmic frequency axis."""
    highest_hz, n_rows = sound.sample_rate / 2, int(RASTER_SCALE * frame.height)
    if log_frequency:
        lowest_hz = min(2 * LOWEST_HZ, highest_hz / 10)
        edges_hz = np.geomspace(lowest_hz, highest_hz, n_rows + 1)
        octaves = figures.descend_octaves(highest_hz, lowest_hz)
        ticks_hz = _space_out(octaves, lowest_hz, highest_hz, frame.height, figures.MIN_TICK_GAP_PX)
        heights = np.log(np.array(ticks_hz) / lowest_hz) / np.log(highest_hz / lowest_hz)
    else:
        edges_hz = np.linspace(0, highest_hz, n_rows + 1)
        ticks_hz = _round_frequencies(highest_hz, frame.height)
        heights = np.array(ticks_hz) / highest_hz
    frame.axes.set_ylim(0, 1)
    frame.axes.set_yticks(heights, [figures.name_frequency(hz) for hz in ticks_hz])
    rows = _pool(sound.linear_db, edges_hz * sound.n_fft / sound.sample_rate, np.max)
    return _lay_picture(frame, sound, 1 + rows / RANGE_DB, figures.DECIBEL_TICKS)


def draw_mel_panel(frame: Frame, sound: SoundAnalysis) -> list[Raster]:
    """The mel spectrogram in magma, over a mel-spaced axis named in Hz."""
    n_mels = len(sound.mel_db)
    ticks = figures.place_octaves_in_mels(sound.sample_rate, n_mels, frame.height)
    frame.axes.set_ylim(0, n_mels)
    frame.axes.set_yticks(list(ticks.values()), list(ticks))
    return _lay_picture(frame, sound, 1 + sound.mel_db / RANGE_DB, figures.DECIBEL_TICKS)


def draw_mfcc_panel(frame: Frame, sound: SoundAnalysis) -> list[Raster]:
    """The cepstral coefficients, the first at the bottom, in colours that part at 0.

    The first follows the loudness and is ten times as large as the others: it may go beyond the scale, which is theirs.
    The scale is that of the square root, for the higher coefficients are small.
    """
    n_mfcc = len(sound.mfcc)
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, n_mfcc) if n_mfcc / step * 16 <= frame.height)
    numbers = range(0, n_mfcc, step)
    frame.axes.set_ylim(0, n_mfcc)
    frame.axes.set_yticks([number + 0.5 for number in numbers], [str(number) for number in numbers])
    # In silence there is nothing but rounding.
    limit = _round_up(max(1.0, float(np.percentile(np.abs(sound.mfcc[1:] if n_mfcc > 1 else sound.mfcc), 99.5))))
    ticks = {signed(sign * share * limit): sign * share**0.5 for share in (1.0, 0.25) for sign in (1, -1)}
    levels = 0.5 + 0.5 * np.sign(sound.mfcc) * np.sqrt(np.abs(sound.mfcc) / limit)
    return _lay_picture(frame, sound, levels, {**ticks, "0": 0.0}, colours=TWO_SIDED, pool=np.mean)


def signed(number: float) -> str:
    """A number with the minus sign of print.

    Example:
        >>> signed(-20.0), signed(3.5)
        ('−20', '3.5')
    """
    return f"{number + 0.0:.4g}".replace("-", "−")


def _lay_picture(
    frame: Frame,
    sound: SoundAnalysis,
    levels: NDArray[np.floating],
    bar_ticks: dict[str, float],
    *,
    colours: str = "magma",
    pool: Pool = np.max,
) -> list[Raster]:
    """(rows, frames) of levels from 0 to 1, the lowest row first, with its time axis and its colour bar."""
    figures.mark_seconds(frame.axes, sound.duration_s, sound.start_s)
    figures.hide_frame(frame.axes)
    # Frame t is centred on sample t * hop_length.
    edges = np.linspace(0, len(sound.waveform) / sound.hop_length, int(RASTER_SCALE * frame.width) + 1)
    columns = _pool(levels.T, edges, pool).T
    bar = figures.add_colour_bar(frame.figure, frame.left + frame.width, frame.top, frame.height, bar_ticks, colours)
    # An odd number of colours, so that 0 has one of its own.
    picture = to_png(columns[::-1], n_colours=65, colours=colours)
    return [Raster(picture, frame.left, frame.top, frame.width, frame.height), bar]


def _pool(rows: NDArray[np.floating], edges: NDArray[np.floating], pool: Pool) -> NDArray[np.floating]:
    """A row for each step between two edges: what ``pool`` makes of the rows that it touches; row k is centred on k."""
    first = np.clip(np.floor(edges[:-1] + 0.5).astype(int), 0, len(rows) - 1)
    last = np.clip(np.ceil(edges[1:] + 0.5).astype(int), first + 1, len(rows))
    return np.stack([pool(rows[begin:end], axis=0) for begin, end in zip(first, last, strict=True)])


def _keep_peaks(
    frequencies_hz: NDArray[np.floating], level_db: NDArray[np.floating], columns: int
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Of the bins that share a column of a logarithmic axis only the highest."""
    place = np.log(frequencies_hz / frequencies_hz[0]) / np.log(frequencies_hz[-1] / frequencies_hz[0])
    starts = np.unique(np.floor(place * columns).astype(int), return_index=True)[1]
    kept = [begin + int(level_db[begin:end].argmax()) for begin, end in zip(starts, [*starts[1:], None], strict=True)]
    return frequencies_hz[kept], level_db[kept]


def _space_out(
    frequencies_hz: list[float], lowest_hz: float, highest_hz: float, length_px: float, gap_px: float = FREQUENCY_GAP_PX
) -> list[float]:
    """Those frequencies, from the highest down, whose names keep their distance on a logarithmic axis."""
    px_per_octave = length_px / np.log2(highest_hz / lowest_hz)
    return frequencies_hz[:: max(1, int(np.ceil(gap_px / px_per_octave)))]


def _round_frequencies(highest_hz: float, height_px: float) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(nbins=max(2, int(height_px / 34)), steps=[1, 2, 5, 10]).tick_values(0, highest_hz)
    return [float(tick) for tick in ticks if tick <= highest_hz]


def _round_up(number: float) -> float:
    """The next of 1, 2 or 5 times a power of ten; 1 for 0.

    Example:
        >>> _round_up(0.037), _round_up(1.0), _round_up(312.0), _round_up(0.0)
        (0.05, 1.0, 500.0, 1.0)
    """
    if number == 0:
        return 1.0
    decade = 10.0 ** np.floor(np.log10(number))
    return float(next(step * decade for step in (1, 2, 5, 10) if step * decade >= number * (1 - 1e-6)))
