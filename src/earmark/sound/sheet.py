"""One sheet about one sound: waveform, spectrum, spectrogram, mel spectrogram and MFCC, with axes and units."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.pages.figure import FONT_PX, INK, Raster, add_panel, estimate_width_px, make_figure, to_svg
from earmark.sound import panels
from earmark.sound.analysis import AnalysisSettings, SoundAnalysis, analyse_sound
from earmark.sound.figures import name_frequency

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE_PX, NARROW_PX = 920, 360  # for a screen and for a phone
STACKED_PX = 600  # a narrower sheet has lower panels, and headings of two lines
TITLE_PX, HEADING_PX = FONT_PX + 7, FONT_PX + 3
LINE_PX = 18
FOOT_PX = 36  # tick labels, and the space to the next panel


class Sheet(NamedTuple):
    """A sheet laid out: for `earmark.pages.figure.to_svg` or `earmark.pages.picture.to_picture`."""

    figure: Figure
    description: str
    rasters: tuple[Raster, ...]


class _Panel(NamedTuple):
    title: str
    details: str
    height_px: float
    draw: Callable[[panels.Frame, SoundAnalysis], list[Raster]]


def draw_sheet(
    waveform: NDArray[np.floating],
    sample_rate: int,
    settings: AnalysisSettings | None = None,
    *,
    log_frequency: bool = False,
    start_s: float = 0.0,
    width_px: float = WIDE_PX,
) -> str:
    """The sheet as SVG in the page's colours.

    Args:
        waveform: (samples,), float, mono, nominally in [-1, 1].
        sample_rate: Hz.
        settings: How to take it apart; ``None`` for what suits the sound.
        log_frequency: The spectrogram's frequency axis is logarithmic instead of linear.
        start_s: Where in its file the waveform begins, seconds: the time axes begin there.
        width_px: Natural width; a sheet below 600 is made for a phone.

    Returns:
        An ``<svg>`` element.

    Raises:
        SoundError: there is no sample, or the spectrum's window begins outside of the sound.
        RecipeError: more coefficients than mel bands.

    Example:
        >>> tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
        >>> draw_sheet(tone, 16_000).count("strongest at 1 kHz") > 0
        True

    Source:
        The pictures of Hugging Face's audio course, which most tutorials show: librosa's, with decibels and Hz.
    """
    sheet = lay_out_sheet(
        analyse_sound(waveform, sample_rate, settings, start_s=start_s), log_frequency=log_frequency, width_px=width_px
    )
    return to_svg(sheet.figure, sheet.description, sheet.rasters)


def lay_out_sheet(
    sound: SoundAnalysis,
    *,
    log_frequency: bool = False,
    width_px: float = WIDE_PX,
    title: str = "",
    subtitle: str = "",
) -> Sheet:
    """The sheet of a sound that is taken apart already.

    Args:
        sound: From `analyse_sound`.
        log_frequency: The spectrogram's frequency axis is logarithmic instead of linear.
        width_px: Natural width; a sheet below 600 is made for a phone.
        title: Over the sheet, such as the file's name; a page says it itself.
        subtitle: Under the title.

    Returns:
        Figure, description and rasters.
    """
    stacked = width_px < STACKED_PX
    parts = _plan(sound, log_frequency, stacked)
    left_px, right_px = (46, 48) if stacked else (58, 62)
    top_px: float = 2 * LINE_PX + 22 if title else 0
    head_px = LINE_PX * (2 if stacked else 1) + 8
    figure = make_figure(width_px, top_px + sum(head_px + part.height_px + FOOT_PX for part in parts))
    if title:
        _write_title(figure, left_px, width_px - left_px - right_px, title, subtitle)
    rasters: list[Raster] = []
    for part in parts:
        top_px += head_px
        place = (left_px, top_px, width_px - left_px - right_px, part.height_px)
        axes = add_panel(figure, *place)
        _write_heading(axes, part, stacked)
        rasters += part.draw(panels.Frame(figure, axes, *place), sound)
        top_px += part.height_px + FOOT_PX
    described = "; ".join(f"{part.title}, {part.details}" for part in parts)
    return Sheet(figure, f"{sound.duration_s:.1f} seconds of sound. {described}.", tuple(rasters))


def _plan(sound: SoundAnalysis, log_frequency: bool, stacked: bool) -> list[_Panel]:
    level = f"{panels.signed(round(20 * np.log10(sound.peak), 1))} dB of full scale" if sound.peak else "silence"
    rate = sound.sample_rate
    window = (
        f"{sound.spectrum_length:,} samples ({_ms(sound.spectrum_length, rate)}) from {sound.spectrum_start_s:.2f} s"
    )
    strongest = "" if sound.strongest_hz is None else f", strongest at {_name_three_digits(sound.strongest_hz)}"
    frames = (
        f"{sound.n_fft:,} samples ({_ms(sound.n_fft, rate)}) every {sound.hop_length:,} ({_ms(sound.hop_length, rate)})"
    )
    bands = f"{len(sound.mel_db)} bands up to {name_frequency(rate / 2)}"
    coefficients = f"coefficients 0 to {len(sound.mfcc) - 1} over time"
    spectrogram = partial(panels.draw_spectrogram_panel, log_frequency=log_frequency)
    if stacked:
        return [
            _Panel("Waveform", f"amplitude; peak {sound.peak:.3g}, {level}", 72, panels.draw_waveform_panel),
            _Panel("Spectrum", window, 130, panels.draw_spectrum_panel),
            _Panel("Spectrogram", frames, 150, spectrogram),
            _Panel("Mel spectrogram", bands, 150, panels.draw_mel_panel),
            _Panel("MFCC", coefficients, 120, panels.draw_mfcc_panel),
        ]
    loudest = "dB below the loudest value"
    return [
        _Panel("Waveform", f"amplitude; peak {sound.peak:.3g}, {level}", 110, panels.draw_waveform_panel),
        _Panel(
            "Spectrum", f"{window}, shaded above{strongest}; dB of a full-scale sine", 170, panels.draw_spectrum_panel
        ),
        _Panel("Spectrogram", f"{frames}; {loudest}", 200, spectrogram),
        _Panel("Mel spectrogram", f"{bands}, the same frames; {loudest}", 200, panels.draw_mel_panel),
        _Panel(
            "MFCC",
            f"{coefficients}, from the mel spectrogram; 0 follows the loudness",
            150,
            panels.draw_mfcc_panel,
        ),
    ]


def _ms(samples: int, sample_rate: int) -> str:
    length_ms = 1000 * samples / sample_rate
    return f"{length_ms:.3g} ms" if length_ms < 1000 else f"{length_ms:,.0f} ms"


def _name_three_digits(frequency_hz: float) -> str:
    return name_frequency(float(f"{frequency_hz:.3g}"))


def _write_title(figure: Figure, left_px: float, room_px: float, title: str, subtitle: str) -> None:
    width, height = figure.get_size_inches() * figure.dpi
    kept = title
    while estimate_width_px(kept, TITLE_PX) > room_px:
        kept = kept.removesuffix("…")[:-1] + "…"
    figure.text(left_px / width, 1 - 26 / height, kept, color=INK, size=TITLE_PX, weight="bold", va="baseline")
    figure.text(left_px / width, 1 - 46 / height, subtitle, color=INK, size=FONT_PX + 1, alpha=0.7, va="baseline")


def _write_heading(axes: Axes, part: _Panel, stacked: bool) -> None:
    _write_above(axes, part.title, 0, 8 + (LINE_PX if stacked else 0), size=HEADING_PX, weight="bold")
    if stacked:
        _write_above(axes, part.details, 0, 9, size=FONT_PX, alpha=0.7)
    else:
        _write_above(axes, part.details, 1, 8, size=FONT_PX, alpha=0.7, ha="right")


def _write_above(axes: Axes, text: str, across: float, base_px: float, **style: Any) -> None:
    """Text ``base_px`` above the panel; ``across`` is 0 at its left edge and 1 at its right."""
    axes.annotate(
        text,
        (across, 1),
        xycoords="axes fraction",
        xytext=(0, base_px),
        textcoords="offset points",
        color=INK,
        annotation_clip=False,
        **style,
    )
