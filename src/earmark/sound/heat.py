"""A heat map over a sound's time and frequency, and its picture: the mel spectrogram, in colour where it counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from earmark.pages.figure import Raster, add_panel, encode_png, make_figure
from earmark.sound.figures import (
    AXIS_PX,
    BAR_GAP_PX,
    BAR_WIDTH_PX,
    LEFT_PX,
    RIGHT_PX,
    TOP_PX,
    WIDTH_PX,
    add_mel_panel,
    as_drawable,
    hide_frame,
    measure_mel_levels,
    name_frequency,
    place_octaves_in_mels,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_MELS = 128
CONTOUR = 0.5  # of the highest heat
LINE = "#ffffff"  # on any paper: the picture beneath is dark
DARKEST_GREY, BRIGHTEST_GREY = 0.08, 0.52  # dim, so that bright and grey is not taken for marked
DARKEST_COLOUR = 0.25  # of magma: silence that counts is seen to count
LIFT = 0.75  # the exponent that lets half the heat be seen as more than half the colour
BAR_LEVEL = 0.72  # how loud the cells of the colour bar are
COLOURS = 128


@dataclass(frozen=True, eq=False)
class HeatMap:
    """How much each part of a sound counts, from 0 to 1.

    Args:
        values: (bands, columns), the highest 1 unless all are 0.
        time_edges_s: (columns + 1,), where each column begins and the last one ends, seconds.
        band_edges_hz: (bands + 1,), likewise in Hz, low bands first; what lies outside counts nothing.

    Example:
        >>> heat = HeatMap(np.array([[0.0, 1.0]]), np.array([0.0, 1.0, 2.0]), np.array([0.0, 4000.0]))
        >>> heat.at(np.array([0.5, 1.5]), np.array([100.0])).tolist()
        [[0.0, 1.0]]
    """

    values: NDArray[np.floating]
    time_edges_s: NDArray[np.floating]
    band_edges_hz: NDArray[np.floating]

    def at(self, times_s: NDArray[np.floating], frequencies_hz: NDArray[np.floating]) -> NDArray[np.floating]:
        """(frequencies, times): the values of the cells in which these points lie."""
        columns = np.searchsorted(self.time_edges_s[1:-1], times_s, side="right")
        bands = np.searchsorted(self.band_edges_hz[1:-1], frequencies_hz, side="right")
        inside = (frequencies_hz >= self.band_edges_hz[0]) & (frequencies_hz <= self.band_edges_hz[-1])
        return np.where(inside[:, None], self.values[bands][:, columns], 0.0)

    def highest(self) -> tuple[float, float]:
        """The middle of the cell that counts most: seconds and Hz."""
        band, column = np.unravel_index(int(self.values.argmax()), self.values.shape)
        times_s, bands_hz = self.time_edges_s, self.band_edges_hz
        return float(times_s[column : column + 2].mean()), float(bands_hz[band : band + 2].mean())


def plot_heat(
    waveform: NDArray[np.floating],
    sample_rate: int,
    heat: HeatMap,
    *,
    width_px: float = WIDTH_PX,
    height_px: float = 180,
) -> tuple[Figure, str, tuple[Raster, ...]]:
    """The mel spectrogram of a sound: in magma where the heat is high, grey where it is 0.

    A line runs round what has at least half of the highest heat.

    Args:
        waveform: (samples,), float, mono, at its own rate.
        sample_rate: Hz; the picture reaches up to half of it.
        heat: What counts; the sound beyond its bands stays grey.
        width_px: Of the figure, pixels.
        height_px: Of the figure, pixels.

    Returns:
        For `earmark.pages.figure.to_svg`: the figure, what it shows in words, and the pixels under its lines.

    Raises:
        SoundError: there is no sample to draw.

    Example:
        >>> heat = HeatMap(np.ones((1, 1)), np.array([0.0, 1.0]), np.array([0.0, 8000.0]))
        >>> plot_heat(np.sin(np.arange(16_000.0)), 16_000, heat)[1]
        'Mel spectrogram, 1.0 seconds, up to 8 kHz, in colour where the heat is high; it is highest at 0.5 s.'
    """
    waveform = as_drawable(waveform)
    duration_s = len(waveform) / sample_rate
    figure = make_figure(width_px, height_px)
    panel_px, panel_height_px = width_px - LEFT_PX - RIGHT_PX, height_px - AXIS_PX
    levels = measure_mel_levels(waveform, sample_rate, N_MELS)
    times_s = (np.arange(levels.shape[1]) + 0.5) / levels.shape[1] * duration_s
    warmth = heat.at(times_s, _list_band_centres_hz(sample_rate))
    ticks = place_octaves_in_mels(sample_rate, N_MELS, panel_height_px)
    panel = add_mel_panel(figure, panel_px, panel_height_px, n_mels=N_MELS, ticks=ticks, duration_s=duration_s)
    if warmth.max() > CONTOUR and warmth.min() < CONTOUR:
        bands = np.arange(N_MELS) + 0.5
        panel.contour(times_s, bands, warmth, levels=[CONTOUR], colors=LINE, linewidths=0.9, alpha=0.8)
    rasters = (
        Raster(_colour(levels, warmth), LEFT_PX, TOP_PX, panel_px, panel_height_px),
        _add_bar(figure, width_px - RIGHT_PX, panel_height_px),
    )
    return figure, _describe(duration_s, sample_rate, heat), rasters


def _describe(duration_s: float, sample_rate: int, heat: HeatMap) -> str:
    shown = f"Mel spectrogram, {duration_s:.1f} seconds, up to {name_frequency(sample_rate / 2)}"
    if not heat.values.any():
        return f"{shown}, all grey: no part of it has any heat."
    time_s, frequency_hz = heat.highest()
    highest = f"{time_s:.3g} s" + (f", {name_frequency(round(frequency_hz))}" if len(heat.values) > 1 else "")
    return f"{shown}, in colour where the heat is high; it is highest at {highest}."


def _list_band_centres_hz(sample_rate: int) -> NDArray[np.floating]:
    from transformers.audio_utils import hertz_to_mel, mel_to_hertz

    highest = hertz_to_mel(sample_rate / 2, mel_scale="slaney")
    return np.asarray(mel_to_hertz(np.linspace(0, highest, N_MELS + 2)[1:-1], mel_scale="slaney"))


def _colour(levels: NDArray[np.floating], warmth: NDArray[np.floating]) -> bytes:
    """A PNG of (bands, columns), low bands below."""
    from matplotlib import colormaps
    from PIL import Image

    levels, share = np.clip(levels[::-1], 0, 1), np.clip(warmth[::-1], 0, 1)[..., None] ** LIFT
    grey = (DARKEST_GREY + (BRIGHTEST_GREY - DARKEST_GREY) * levels)[..., None]
    colours = colormaps["magma"](DARKEST_COLOUR + (1 - DARKEST_COLOUR) * levels)[..., :3]
    mixed = share * colours + (1 - share) * grey
    picture = Image.fromarray((mixed * 255).round().astype(np.uint8))
    return encode_png(picture.quantize(COLOURS, dither=Image.Dither.NONE))


def _add_bar(figure: Figure, panel_right_px: float, height_px: float) -> Raster:
    """What is grey and what is in colour."""
    left_px = panel_right_px + BAR_GAP_PX
    bar = add_panel(figure, left_px, TOP_PX, BAR_WIDTH_PX, height_px)
    bar.set_xticks([])
    bar.set_ylim(0, 1)
    bar.set_yticks([0, 1], ["none", "most"])
    bar.yaxis.tick_right()
    hide_frame(bar)
    steps = np.linspace(0, 1, 64)[:, None]
    return Raster(_colour(np.full_like(steps, BAR_LEVEL), steps), left_px, TOP_PX, BAR_WIDTH_PX, height_px)
