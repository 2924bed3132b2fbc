"""Pages are whole and escaped; players play what was put in; figures take the page's colours."""

import base64
import io

import numpy as np
import pytest
import soundfile

from earmark.pages import player
from earmark.pages.figure import ACCENT, INK, Raster, add_panel, make_figure, to_png, to_svg
from earmark.pages.layout import percent, render_page, span


def decode(uri):
    kind, encoded = uri.split(",")
    waveform, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(encoded)))
    return kind, waveform, rate_hz


def make_tone(frequency_hz, rate_hz, seconds=1.0):
    return (0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def test_a_page_is_whole_and_escapes_what_is_put_in():
    page = render_page("page.html.j2", title="<script>alert('狗')</script>", version="1.0")
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#39;狗&#39;)" in page
    assert "prefers-color-scheme: dark" in page
    assert 'href="#content"' in page
    assert 'id="content"' in page


def test_numbers_are_written_alike():
    assert [percent(share) for share in (0, 0.05, 1)] == ["0.0", "5.0", "100.0"]
    assert [span(s) for s in (0.04, 9.97, 59.6, 3599.7, 86_400)] == [
        "0.0 s",
        "10 s",
        "1 min 0 s",
        "1 h 0 min",
        "24 h 0 min",
    ]


@pytest.mark.parametrize(
    ("rate_hz", "mp3_rate_hz"), [(8_000, 16_000), (16_000, 16_000), (44_100, 44_100), (96_000, 48_000)]
)
def test_a_player_holds_the_sound_at_a_rate_that_browsers_play(rate_hz, mp3_rate_hz):
    sound = player.encode_sound(make_tone(1000, rate_hz), rate_hz)
    kind, waveform, decoded_rate_hz = decode(sound.uri)
    assert (kind, decoded_rate_hz) == ("data:audio/mpeg;base64", mp3_rate_hz)
    assert len(waveform) / decoded_rate_hz == pytest.approx(1.0, abs=0.15)
    assert not sound.is_cut
    spectrum = np.abs(np.fft.rfft(waveform))
    assert np.fft.rfftfreq(len(waveform), 1 / decoded_rate_hz)[spectrum.argmax()] == pytest.approx(1000, abs=2)
    assert np.abs(waveform).max() == pytest.approx(0.5, abs=0.05)


def test_a_long_sound_is_cut_after_ten_seconds_and_says_so():
    sound = player.encode_sound(make_tone(300, 16_000, seconds=12.5), 16_000)
    assert (sound.shown_s, sound.duration_s, sound.is_cut) == (10.0, 12.5, True)


def test_a_sound_beyond_full_scale_is_scaled_not_clipped():
    _, waveform, _ = decode(player.encode_sound(6 * make_tone(300, 16_000), 16_000).uri)
    spectrum = np.abs(np.fft.rfft(waveform))
    assert np.sort(spectrum)[-10] < spectrum.max() / 20  # clipping would give overtones


def test_without_an_mp3_writer_the_player_falls_back_on_wav(monkeypatch):
    write = soundfile.write

    def write_like_an_old_libsndfile(*arguments, **how):
        if how["format"] == "MP3":
            raise ValueError("Unknown format: 'MP3'")
        write(*arguments, **how)

    monkeypatch.setattr(soundfile, "write", write_like_an_old_libsndfile)
    tone = make_tone(300, 11_025)
    kind, waveform, rate_hz = decode(player.encode_sound(tone, 11_025).uri)
    assert (kind, rate_hz) == ("data:audio/wav;base64", 11_025)
    np.testing.assert_allclose(waveform, tone, atol=1e-4)


def test_figures_keep_any_text_and_take_the_pages_colours(recwarn):
    figure = make_figure(200, 100)
    panel = add_panel(figure, 40, 10, 150, 60)
    panel.plot([0, 1], [0, 1], color=ACCENT, clip_on=False)
    panel.text(0.5, 0.5, "狗 & <cat>", color=INK)
    svg = to_svg(figure, 'A "quoted" name', (Raster(to_png(np.eye(3)), 40, 10, 150, 60),))
    assert 'viewBox="0 0 200 100"' in svg
    assert "狗 &amp; &lt;cat&gt;" in svg
    assert 'aria-label="A &quot;quoted&quot; name"' in svg
    assert f"var(--accent, {ACCENT})" in svg
    assert svg.index("<image") < svg.index("<path")
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]
