"""The pictures show what is in the sound, where it is, in the page's own colours and fonts."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from earmark.errors import SoundError
from earmark.pages.figure import ACCENT, INK, PAPER
from earmark.sound import figures

SVG = "{http://www.w3.org/2000/svg}"
RATE_HZ = 16_000


def make_tone(frequency_hz, *, seconds=1.0, rate_hz=RATE_HZ):
    return np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate_hz)) / rate_hz).astype(np.float32)


def read_texts(svg):
    return {node.text: node for node in ElementTree.fromstring(svg).iter(f"{SVG}text")}


def read_raster(svg):
    """Levels from 0 (darkest) to 63 of the spectrogram, first row at the top, and the element that holds it."""
    element = ElementTree.fromstring(svg).find(f"{SVG}image")
    png = base64.b64decode(element.get("href").removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(png))), element


@pytest.mark.parametrize("frequency_hz", [500, 1000, 4000])
def test_a_tone_is_brightest_at_its_tick(frequency_hz):
    svg = figures.draw_mel_spectrogram(make_tone(frequency_hz), RATE_HZ)
    levels, element = read_raster(svg)
    brightest_row = levels.sum(axis=1).argmax() + 0.5
    height_px = float(element.get("y")) + brightest_row * float(element.get("height")) / len(levels)
    name = f"{frequency_hz // 1000} kHz" if frequency_hz >= 1000 else f"{frequency_hz} Hz"
    tick = read_texts(svg)[name]
    # Text stands on its base line, four pixels below its middle.
    assert float(tick.get("y")) - 4 == pytest.approx(height_px, abs=2.0)


def test_a_click_stands_at_its_second_in_both_pictures():
    waveform = np.zeros(2 * RATE_HZ, dtype=np.float32)
    waveform[int(1.5 * RATE_HZ)] = 1.0
    levels, _ = read_raster(figures.draw_mel_spectrogram(waveform, RATE_HZ))
    assert levels.sum(axis=0).argmax() / levels.shape[1] == pytest.approx(0.75, abs=0.02)
    outline = next(
        node
        for node in ElementTree.fromstring(figures.draw_waveform(waveform, RATE_HZ))
        if "accent" in node.get("style")
    )
    points = [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", outline.get("d"))]
    peak_x, _ = min(points, key=lambda point: point[1])
    assert (peak_x - figures.LEFT_PX) / figures.PANEL_PX == pytest.approx(0.75, abs=0.01)


def test_the_range_is_80_db_below_the_loudest_value():
    quiet_half = np.concatenate([make_tone(1000), 1e-2 * make_tone(1000)])
    levels, _ = read_raster(figures.draw_mel_spectrogram(quiet_half, RATE_HZ))
    loud, quiet = levels[:, 40:180].max(), levels[:, 260:400].max()
    assert loud == 63
    assert (loud - quiet) / 63 * 80 == pytest.approx(40, abs=1.5)
    halved, _ = read_raster(figures.draw_mel_spectrogram(quiet_half / 1000, RATE_HZ))
    np.testing.assert_allclose(halved.astype(int), levels.astype(int), atol=1)


def test_silence_is_dark():
    levels, _ = read_raster(figures.draw_mel_spectrogram(np.zeros(RATE_HZ, dtype=np.float32), RATE_HZ))
    assert levels.max() == 0
    assert "peak 0.00" in figures.draw_waveform(np.zeros(RATE_HZ, dtype=np.float32), RATE_HZ)


@pytest.mark.parametrize("draw", [figures.draw_waveform, figures.draw_mel_spectrogram])
def test_a_picture_is_the_pages_own(draw):
    svg = draw(make_tone(440), RATE_HZ)
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label").endswith(".")
    # Many pictures share one page: no ids to collide, no style that leaks, no colour that only fits light paper.
    assert not [node for node in root.iter() if node.get("id")]
    assert "<style" not in svg
    assert "font-family" not in svg
    assert INK not in svg
    assert PAPER not in svg
    assert svg.count(ACCENT) == svg.count(f"var(--accent, {ACCENT})")
    assert "currentColor" in svg
    assert draw(make_tone(440), RATE_HZ) == svg


@pytest.mark.parametrize("draw", [figures.draw_waveform, figures.draw_mel_spectrogram])
@pytest.mark.parametrize(("samples", "rate_hz"), [(1, 16_000), (50, 8_000), (8_000, 8_000), (96_000, 96_000)])
def test_any_length_and_rate_can_be_drawn(draw, samples, rate_hz):
    assert draw(np.full(samples, 0.5, dtype=np.float32), rate_hz).startswith("<svg")


@pytest.mark.parametrize("draw", [figures.draw_waveform, figures.draw_mel_spectrogram])
def test_nothing_cannot_be_drawn(draw):
    with pytest.raises(SoundError, match="no samples"):
        draw(np.array([], dtype=np.float32), RATE_HZ)


def test_the_axes_have_round_ticks_and_units():
    texts = read_texts(figures.draw_mel_spectrogram(make_tone(440, seconds=5, rate_hz=44_100), 44_100))
    assert {"0", "1", "2", "3", "4", "5 s", "16 kHz", "8 kHz", "1 kHz", "500 Hz", "0 dB", "−80"} <= set(texts)


def test_a_waveform_beyond_full_scale_stays_in_its_frame():
    texts = read_texts(figures.draw_waveform(3 * make_tone(440), RATE_HZ))
    assert {"3", "0", "−3"} <= set(texts)
