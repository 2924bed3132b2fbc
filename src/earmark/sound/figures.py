"""Pictures of one sound, as SVG for a page: its waveform, its mel spectrogram; and what such pictures are made of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from earmark.errors import SoundError
from earmark.pages.figure import ACCENT, INK, Raster, add_panel, lay_under, make_figure, to_png, to_svg
from earmark.sound.analysis import RANGE_DB, WINDOW_S

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# One layout for both pictures, in pixels: set above each other, their seconds line up.
WIDTH_PX = 360
LEFT_PX, RIGHT_PX = 46, 48
PANEL_PX = WIDTH_PX - LEFT_PX - RIGHT_PX
TOP_PX, HEIGHT_PX = 10, 144  # of what is drawn of a mel spectrogram, without its axes
AXIS_PX = 36  # above and below that
FRAMES = 440  # enough for the panel's width, few enough that a page may hold dozens
MIN_TICK_GAP_PX = 14
BAR_GAP_PX, BAR_WIDTH_PX = 10, 7
DECIBEL_TICKS = {"0 dB": 0.0, "−20": -20.0, "−40": -40.0, "−60": -60.0, "−80": -80.0}


def draw_waveform(waveform: NDArray[np.floating], sample_rate: int) -> str:
    """The waveform as its envelope: for each pixel the lowest and the highest sample.

    Args:
        waveform: (samples,), float, mono, nominally in [-1, 1]; the scale grows where it goes beyond.
        sample_rate: Hz.

    Returns:
        An ``<svg>`` element in the page's colours, 360 pixels wide by nature.

    Raises:
        SoundError: there is no sample to draw.

    Example:
        >>> tone = np.sin(np.linspace(0, 880 * np.pi, 16_000))
        >>> draw_waveform(tone, 16_000).count("Waveform, 1.0 seconds, peak 1.00")
        1
    """
    waveform = as_drawable(waveform)
    duration_s = len(waveform) / sample_rate
    peak = float(np.abs(waveform).max())
    limit = max(1.0, peak)
    figure = make_figure(WIDTH_PX, 88)
    panel = add_panel(figure, LEFT_PX, 8, PANEL_PX, 56)
    fill_envelope(panel, waveform, sample_rate, columns=PANEL_PX)
    mark_amplitudes(panel, limit)
    mark_seconds(panel, duration_s)
    return to_svg(figure, f"Waveform, {duration_s:.1f} seconds, peak {peak:.2f}.")


def draw_mel_spectrogram(waveform: NDArray[np.floating], sample_rate: int, *, n_mels: int = 128) -> str:
    """The mel spectrogram in magma, in decibels below the clip's loudest value, over a range of 80 dB.

    Args:
        waveform: (samples,), float, mono.
        sample_rate: Hz; the picture reaches up to half of it.
        n_mels: Number of mel bands (Slaney's scale).

    Returns:
        An ``<svg>`` element in the page's colours, 360 pixels wide by nature, with a dB colour bar.

    Raises:
        SoundError: there is no sample to draw.

    Example:
        >>> tone = np.sin(np.linspace(0, 880 * np.pi, 16_000))
        >>> draw_mel_spectrogram(tone, 16_000).count("Mel spectrogram, 1.0 seconds, up to 8 kHz")
        1
    """
    waveform = as_drawable(waveform)
    frame = _draw_mel_frame(len(waveform) / sample_rate, sample_rate, n_mels)
    return lay_under(frame, _colour_mels(waveform, sample_rate, n_mels))


def plot_mel_spectrogram(
    waveform: NDArray[np.floating], sample_rate: int, *, n_mels: int = 128
) -> tuple[Figure, str, tuple[Raster, ...]]:
    """The figure of `draw_mel_spectrogram`, what it shows in words, and the pixels that lie under its lines."""
    waveform = as_drawable(waveform)
    figure, description, bar = _plot_mel_frame(len(waveform) / sample_rate, sample_rate, n_mels)
    return figure, description, (_colour_mels(waveform, sample_rate, n_mels), bar)


# Four fifths of the time of a picture go into its axes, which are the same for every clip of one length.
@lru_cache(maxsize=64)
def _draw_mel_frame(duration_s: float, sample_rate: int, n_mels: int) -> str:
    figure, description, bar = _plot_mel_frame(duration_s, sample_rate, n_mels)
    return to_svg(figure, description, (bar,))


def _plot_mel_frame(duration_s: float, sample_rate: int, n_mels: int) -> tuple[Figure, str, Raster]:
    figure = make_figure(WIDTH_PX, HEIGHT_PX + AXIS_PX)
    ticks = place_octaves_in_mels(sample_rate, n_mels, HEIGHT_PX)
    add_mel_panel(figure, PANEL_PX, HEIGHT_PX, n_mels=n_mels, ticks=ticks, duration_s=duration_s)
    bar = add_colour_bar(figure, WIDTH_PX - RIGHT_PX, TOP_PX, HEIGHT_PX, DECIBEL_TICKS)
    highest = name_frequency(sample_rate / 2)
    description = (
        f"Mel spectrogram, {duration_s:.1f} seconds, up to {highest}, brightness from −80 to 0 dB of its loudest value."
    )
    return figure, description, bar


def _colour_mels(waveform: NDArray[np.float32], sample_rate: int, n_mels: int) -> Raster:
    levels = measure_mel_levels(waveform, sample_rate, n_mels)
    return Raster(to_png(levels[::-1]), LEFT_PX, TOP_PX, PANEL_PX, HEIGHT_PX)


def as_drawable(waveform: NDArray[np.floating]) -> NDArray[np.float32]:
    """The waveform as float32; one without samples is a SoundError."""
    if waveform.size == 0:
        raise SoundError("There is nothing to draw: the sound has no samples. Check the clip's start and end.")
    return np.ascontiguousarray(waveform, dtype=np.float32)


def fill_envelope(
    panel: Axes, waveform: NDArray[np.float32], sample_rate: int, *, columns: int, start_s: float = 0.0
) -> None:
    """Fill what lies between the lowest and the highest sample of each column."""
    starts = np.unique(np.linspace(0, len(waveform), columns, endpoint=False).astype(int))
    low, high = np.minimum.reduceat(waveform, starts), np.maximum.reduceat(waveform, starts)
    middles = (starts + np.append(starts[1:], len(waveform))) / 2
    panel.fill_between(start_s + middles / sample_rate, low, high, color=ACCENT, linewidth=0.6, clip_on=False)


def mark_amplitudes(panel: Axes, limit: float) -> None:
    """An amplitude axis from ``-limit`` to ``limit``."""
    panel.set_ylim(-limit, limit)
    panel.set_yticks([-limit, 0, limit], [f"−{limit:.3g}", "0", f"{limit:.3g}"])


def mark_seconds(panel: Axes, duration_s: float, start_s: float = 0.0) -> None:
    """A time axis with round ticks, the last of them with its unit."""
    from matplotlib.ticker import MaxNLocator

    end_s = start_s + duration_s
    panel.set_xlim(start_s, end_s)
    ticks = MaxNLocator(nbins=7, steps=[1, 2, 5, 10]).tick_values(start_s, end_s)
    margin_s = duration_s * 0.001
    shown = [tick for tick in ticks if start_s - margin_s <= tick <= end_s + margin_s]
    names = [f"{tick:g}" for tick in np.round(shown, 6)]
    panel.set_xticks(shown, [*names[:-1], f"{names[-1]} s"], color=INK)


def add_colour_bar(
    figure: Figure,
    panel_right_px: float,
    top_px: float,
    height_px: float,
    ticks: Mapping[str, float],
    colours: str = "magma",
) -> Raster:
    """A colour bar beside a panel, from the lowest tick to the highest.

    Args:
        figure: From `make_figure`.
        panel_right_px: Where the panel's data area ends.
        top_px: Where the data area begins, from the figure's upper edge.
        height_px: Of the data area.
        ticks: Name -> value.
        colours: Name of a colour map of matplotlib.

    Returns:
        The colours, to be laid under the line art.
    """
    left_px = panel_right_px + BAR_GAP_PX
    bar = add_panel(figure, left_px, top_px, BAR_WIDTH_PX, height_px)
    bar.set_xticks([])
    bar.set_ylim(min(ticks.values()), max(ticks.values()))
    bar.set_yticks(list(ticks.values()), list(ticks))
    bar.yaxis.tick_right()
    hide_frame(bar)
    return Raster(to_png(np.linspace(1, 0, 64)[:, None], colours=colours), left_px, top_px, BAR_WIDTH_PX, height_px)


def add_mel_panel(
    figure: Figure, width_px: float, height_px: float, *, n_mels: int, ticks: Mapping[str, float], duration_s: float
) -> Axes:
    """Axes for a mel spectrogram made of pixels: seconds below, frequencies beside, no frame.

    Args:
        figure: From `make_figure`; the panel stands at ``LEFT_PX``, ``TOP_PX``.
        width_px: Of the data area.
        height_px: Of the data area.
        n_mels: Bands; band k lies between k and k + 1.
        ticks: Name -> height on that axis.
        duration_s: Of the sound, seconds.
    """
    panel = add_panel(figure, LEFT_PX, TOP_PX, width_px, height_px)
    panel.set_ylim(0, n_mels)
    panel.set_yticks(list(ticks.values()), list(ticks))
    mark_seconds(panel, duration_s)
    hide_frame(panel)
    return panel


def hide_frame(panel: Axes) -> None:
    """No lines around the panel: a picture made of pixels is its own frame."""
    for spine in panel.spines.values():
        spine.set_visible(False)


def measure_mel_levels(waveform: NDArray[np.float32], sample_rate: int, n_mels: int) -> NDArray[np.floating]:
    """The mel spectrogram as brightness: (n_mels, frames), 1 for its loudest value, 0 for 80 dB below and less."""
    import torch

    from earmark.sound.features import log_mel

    peak = float(np.abs(waveform).max())
    if peak == 0:
        return np.zeros((n_mels, 1))
    decibels = log_mel(
        torch.from_numpy(waveform / peak),
        sample_rate=sample_rate,
        n_fft=2 ** int(np.ceil(np.log2(WINDOW_S * sample_rate))),
        hop_length=max(1, len(waveform) // FRAMES),
        n_mels=n_mels,
        reference="max",
        top_db=RANGE_DB,
    )
    return 1 + decibels.numpy() / RANGE_DB


def place_octaves_in_mels(sample_rate: int, n_mels: int, height_px: float) -> dict[str, float]:
    """Octaves of 125 Hz that keep their distance: name -> height on an axis of mel bands."""
    from transformers.audio_utils import hertz_to_mel

    # The centres of the bands divide the mel scale into n_mels + 1 steps; band k is drawn from k to k + 1.
    mel_per_band = hertz_to_mel(sample_rate / 2, mel_scale="slaney") / (n_mels + 1)
    ticks: dict[str, float] = {}
    for frequency_hz in descend_octaves(sample_rate / 2):
        height = hertz_to_mel(frequency_hz, mel_scale="slaney") / mel_per_band - 0.5
        lowest = min(ticks.values(), default=np.inf)
        if height <= n_mels and (lowest - height) * height_px / n_mels >= MIN_TICK_GAP_PX:
            ticks[name_frequency(frequency_hz)] = float(height)
    return ticks


def descend_octaves(highest_hz: float, lowest_hz: float = 125.0) -> list[float]:
    """The octaves of 125 Hz between two frequencies, from the highest down.

    Example:
        >>> descend_octaves(1000.0, 200.0)
        [1000.0, 500.0, 250.0]
    """
    exponents = range(int(np.floor(np.log2(highest_hz / 125))), int(np.ceil(np.log2(lowest_hz / 125))) - 1, -1)
    return [125.0 * 2.0**exponent for exponent in exponents]


def name_frequency(frequency_hz: float) -> str:
    """A frequency as a tick names it.

    Example:
        >>> name_frequency(500.0), name_frequency(22_050.0)
        ('500 Hz', '22.05 kHz')
    """
    return f"{frequency_hz / 1000:g} kHz" if frequency_hz >= 1000 else f"{frequency_hz:g} Hz"
