"""The sheet shows what is in the sound where its axes say, in the page's own colours, on a screen and on a phone."""

import base64
import io
import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from earmark.errors import SoundError
from earmark.pages.figure import ACCENT, INK, PAPER, estimate_width_px
from earmark.sound.analysis import AnalysisSettings
from earmark.sound.sheet import NARROW_PX, WIDE_PX, draw_sheet

SVG = "{http://www.w3.org/2000/svg}"
RATE_HZ = 16_000
# In the order of the sheet; each is followed by its colour bar.
SPECTROGRAM, MEL, MFCC = 0, 2, 4


def make_tone(frequency_hz, *, seconds=1.0, rate_hz=RATE_HZ):
    return np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate_hz)) / rate_hz).astype(np.float32)


def read_texts(svg):
    return [(node.text, node) for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def read_picture(svg, number):
    """The colours of a raster, first row at the top, and its place: left, top, width, height."""
    element = ElementTree.fromstring(svg).findall(f"{SVG}image")[number]
    png = base64.b64decode(element.get("href").removeprefix("data:image/png;base64,"))
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return pixels, [float(element.get(name)) for name in ("x", "y", "width", "height")]


def find_tick_heights(svg, top, height):
    """Name -> middle of the tick names that stand left of a panel, in pixels."""
    inside = (
        (text, float(node.get("y")) - 4)
        for text, node in read_texts(svg)
        if "end" in node.get("style") and top - 8 <= float(node.get("y")) - 4 <= top + height + 8
    )
    return {text: y for text, y in inside if "Hz" in text}


@pytest.mark.parametrize("log_frequency", [False, True])
@pytest.mark.parametrize("number", [SPECTROGRAM, MEL])
def test_a_tone_is_brightest_at_its_tick(number, log_frequency):
    svg = draw_sheet(make_tone(4000), RATE_HZ, log_frequency=log_frequency)
    pixels, (_, top, _, height) = read_picture(svg, number)
    brightest = pixels.sum(axis=(1, 2)) == pixels.sum(axis=(1, 2)).max()
    middle = top + (np.flatnonzero(brightest).mean() + 0.5) / len(pixels) * height
    assert middle == pytest.approx(find_tick_heights(svg, top, height)["4 kHz"], abs=2.5)


def test_a_click_stands_at_its_second_in_all_pictures():
    waveform = np.zeros(2 * RATE_HZ, dtype=np.float32)
    waveform[int(1.5 * RATE_HZ)] = 1.0
    svg = draw_sheet(waveform, RATE_HZ)
    for number in (SPECTROGRAM, MEL):
        pixels, _ = read_picture(svg, number)
        lit = np.flatnonzero(pixels.sum(axis=(0, 2)) > pixels.sum(axis=(0, 2)).min())
        assert lit.mean() / pixels.shape[1] == pytest.approx(0.75, abs=0.01)


def test_the_time_axis_is_the_files_own():
    texts = [text for text, _ in read_texts(draw_sheet(make_tone(440, seconds=2), RATE_HZ, start_s=60.0))]
    assert texts.count("60") == 4  # waveform, spectrogram, mel spectrogram, MFCC
    assert texts.count("62 s") == 4


@pytest.mark.parametrize("width_px", [WIDE_PX, NARROW_PX])
def test_every_panel_names_itself_its_settings_and_its_units(width_px):
    settings = AnalysisSettings(n_fft=1024, hop_length=256, n_mels=64, n_mfcc=13, spectrum_at_s=0.5)
    svg = draw_sheet(make_tone(1000), RATE_HZ, settings, width_px=width_px)
    texts = [text for text, _ in read_texts(svg)]
    assert {"Waveform", "Spectrum", "Spectrogram", "Mel spectrogram", "MFCC"} <= set(texts)
    for words in (
        "4,096 samples (256 ms) from 0.50 s",
        "1,024 samples (64 ms) every 256 (16 ms)",
        "64 bands up to 8 kHz",
    ):
        assert any(words in text for text in texts), words
    assert any("coefficients 0 to 12" in text for text in texts)
    # Decibels of spectrum and two colour bars, seconds of four axes.
    assert texts.count("0 dB") == 3
    assert texts.count("1 s") == 4


@pytest.mark.parametrize("width_px", [WIDE_PX, NARROW_PX])
@pytest.mark.parametrize(("seconds", "rate_hz"), [(0.3, 44_100), (5.0, 44_100), (59.0, 8_000)])
def test_no_text_leaves_the_sheet_or_runs_into_another(seconds, rate_hz, width_px):
    svg = draw_sheet(0.0312 * make_tone(440, seconds=seconds, rate_hz=rate_hz), rate_hz, width_px=width_px)
    rows = {}
    for text, node in read_texts(svg):
        font_px = float(re.search(r"font-size: ([\d.]+)px", node.get("style")).group(1))
        width = estimate_width_px(text, 0.88 * font_px)  # the estimate is a generous one
        anchor = re.search(r"text-anchor: (\w+)", node.get("style"))
        x = float(node.get("x"))
        left = x - {"start": 0, "middle": width / 2, "end": width}[anchor.group(1) if anchor else "start"]
        assert left > -3, text
        assert left + width < width_px + 3, text
        rows.setdefault(node.get("y"), []).append((left, left + width, text))
    for row in rows.values():
        row.sort()
        for (_, end, text), (start, _, following) in pairwise(row):
            assert end <= start + 2, (text, following)


def test_the_sheet_is_the_pages_own():
    svg = draw_sheet(make_tone(440), RATE_HZ)
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    for words in ("1.0 seconds", "Spectrum, 4,096 samples (256 ms)", "strongest at 441 Hz", "128 bands"):
        assert words in root.get("aria-label")
    assert not [node for node in root.iter() if node.get("id")]
    assert "font-family" not in svg
    assert INK not in svg
    assert PAPER not in svg
    assert svg.count(ACCENT) == svg.count(f"var(--accent, {ACCENT})")
    assert draw_sheet(make_tone(440), RATE_HZ) == svg


def test_coefficients_have_two_colours_that_part_at_0():
    """Of a steady tone the higher coefficients swing around 0; of silence all but the first are 0."""
    pixels, _ = read_picture(draw_sheet(np.zeros(RATE_HZ, dtype=np.float32), RATE_HZ), MFCC)
    middle = (np.array(colormaps["RdBu_r"](0.5)[:3]) * 255).round()
    assert np.abs(pixels[: len(pixels) // 2] - middle).max() <= 2
    assert np.abs(pixels[-1] - middle).max() > 100


def test_the_waveforms_scale_fits_its_peak():
    for amplitude, tick in ((1.0, "1"), (0.4, "0.5"), (0.011, "0.02"), (3.0, "5")):
        texts = [text for text, _ in read_texts(draw_sheet(amplitude * make_tone(440), RATE_HZ))]
        assert {tick, f"−{tick}"} <= set(texts)


@pytest.mark.parametrize("width_px", [WIDE_PX, NARROW_PX])
@pytest.mark.parametrize(("samples", "rate_hz"), [(1, 16_000), (500, 100), (96_000, 192_000)])
@pytest.mark.filterwarnings("ignore:Some of the")
def test_any_length_and_rate_can_be_drawn(samples, rate_hz, width_px):
    for amplitude in (0.0, 0.5):
        sound = np.full(samples, amplitude, dtype=np.float32)
        assert draw_sheet(sound, rate_hz, width_px=width_px, log_frequency=True).startswith("<svg")


def test_nothing_cannot_be_drawn():
    with pytest.raises(SoundError, match="no samples"):
        draw_sheet(np.array([], dtype=np.float32), RATE_HZ)
