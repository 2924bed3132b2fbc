"""Pictures of one sound, as SVG for a page: its waveform, its mel spectrogram."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from earmark.errors import SoundError
from earmark.pages.figure import ACCENT, INK, Raster, add_panel, make_figure, to_png, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# One layout for both pictures, in pixels: set above each other, their seconds line up.
WIDTH_PX = 360
LEFT_PX, RIGHT_PX = 46, 48
PANEL_PX = WIDTH_PX - LEFT_PX - RIGHT_PX
RANGE_DB = 80.0
FRAMES = 440  # enough for the panel's width, few enough that a page may hold dozens
WINDOW_S = 0.046
MIN_TICK_GAP_PX = 14


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
    waveform = _checked(waveform)
    duration_s = len(waveform) / sample_rate
    peak = float(np.abs(waveform).max())
    limit = max(1.0, peak)
    figure = make_figure(WIDTH_PX, 88)
    panel = add_panel(figure, LEFT_PX, 8, PANEL_PX, 56)
    seconds, low, high = _envelope(waveform, sample_rate)
    panel.fill_between(seconds, low, high, color=ACCENT, linewidth=0.6, clip_on=False)
    panel.set_ylim(-limit, limit)
    panel.set_yticks([-limit, 0, limit], [f"−{limit:.3g}", "0", f"{limit:.3g}"])
    _mark_seconds(panel, duration_s)
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
    waveform = _checked(waveform)
    duration_s = len(waveform) / sample_rate
    figure = make_figure(WIDTH_PX, 180)
    top_px, height_px = 10, 144
    panel = add_panel(figure, LEFT_PX, top_px, PANEL_PX, height_px)
    panel.set_ylim(0, n_mels)
    ticks = _round_frequencies(sample_rate, n_mels, height_px)
    panel.set_yticks(list(ticks.values()), [_name_frequency(hz) for hz in ticks])
    _mark_seconds(panel, duration_s)
    bar_left_px, bar_width_px = WIDTH_PX - RIGHT_PX + 10, 7
    bar = add_panel(figure, bar_left_px, top_px, bar_width_px, height_px)
    bar.set_xticks([])
    bar.set_ylim(-RANGE_DB, 0)
    bar.set_yticks([0, -20, -40, -60, -80], ["0 dB", "−20", "−40", "−60", "−80"])
    bar.yaxis.tick_right()
    for spine in [*bar.spines.values(), *panel.spines.values()]:
        spine.set_visible(False)
    levels = 1 + _relative_mel_db(waveform, sample_rate, n_mels) / RANGE_DB
    rasters = (
        Raster(to_png(levels[::-1]), LEFT_PX, top_px, PANEL_PX, height_px),
        Raster(to_png(np.linspace(1, 0, 64)[:, None]), bar_left_px, top_px, bar_width_px, height_px),
    )
    highest = _name_frequency(sample_rate / 2)
    description = (
        f"Mel spectrogram, {duration_s:.1f} seconds, up to {highest}, brightness from −80 to 0 dB of its loudest value."
    )
    return to_svg(figure, description, rasters)


def _checked(waveform: NDArray[np.floating]) -> NDArray[np.float32]:
    if waveform.size == 0:
        raise SoundError("There is nothing to draw: the sound has no samples. Check the clip's start and end.")
    return np.ascontiguousarray(waveform, dtype=np.float32)


def _envelope(
    waveform: NDArray[np.float32], sample_rate: int
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
    starts = np.unique(np.linspace(0, len(waveform), PANEL_PX, endpoint=False).astype(int))
    low, high = np.minimum.reduceat(waveform, starts), np.maximum.reduceat(waveform, starts)
    middles = (starts + np.append(starts[1:], len(waveform))) / 2
    return middles / sample_rate, low, high


def _mark_seconds(panel: Axes, duration_s: float) -> None:
    from matplotlib.ticker import MaxNLocator

    panel.set_xlim(0, duration_s)
    ticks = [t for t in MaxNLocator(nbins=7, steps=[1, 2, 5, 10]).tick_values(0, duration_s) if t <= duration_s * 1.001]
    names = [f"{tick:g}" for tick in np.round(ticks, 6)]
    panel.set_xticks(ticks, [*names[:-1], f"{names[-1]} s"], color=INK)


def _relative_mel_db(waveform: NDArray[np.float32], sample_rate: int, n_mels: int) -> NDArray[np.floating]:
    """(n_mels, frames), from -80 to 0 dB."""
    import torch

    from earmark.sound.features import log_mel

    peak = float(np.abs(waveform).max())
    if peak == 0:
        return np.full((n_mels, 1), -RANGE_DB)
    decibels = log_mel(
        torch.from_numpy(waveform / peak),
        sample_rate=sample_rate,
        n_fft=2 ** int(np.ceil(np.log2(WINDOW_S * sample_rate))),
        hop_length=max(1, len(waveform) // FRAMES),
        n_mels=n_mels,
        reference="max",
        top_db=RANGE_DB,
    )
    return decibels.numpy()


def _round_frequencies(sample_rate: int, n_mels: int, height_px: float) -> dict[float, float]:
    """Octaves of 125 Hz that keep their distance, and the height of each on the mel axis, in bands."""
    from transformers.audio_utils import hertz_to_mel

    # The centres of the bands divide the mel scale into n_mels + 1 steps; band k is drawn from k to k + 1.
    mel_per_band = hertz_to_mel(sample_rate / 2, mel_scale="slaney") / (n_mels + 1)
    ticks: dict[float, float] = {}
    frequency = 125.0 * 2 ** np.floor(np.log2(sample_rate / 2 / 125))
    while frequency >= 125:
        height = hertz_to_mel(frequency, mel_scale="slaney") / mel_per_band - 0.5
        lowest = min(ticks.values(), default=np.inf)
        if height <= n_mels and (lowest - height) * height_px / n_mels >= MIN_TICK_GAP_PX:
            ticks[float(frequency)] = float(height)
        frequency /= 2
    return ticks


def _name_frequency(frequency_hz: float) -> str:
    return f"{frequency_hz / 1000:g} kHz" if frequency_hz >= 1000 else f"{frequency_hz:g} Hz"
