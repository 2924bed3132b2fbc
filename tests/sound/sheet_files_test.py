"""`write_sheet` writes a page that stands alone, or a picture, and says what it shows."""

import base64
import io
import re
import wave
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from PIL import Image

from earmark.errors import RecipeError, SoundError
from earmark.sound.analysis import AnalysisSettings
from earmark.sound.decode import decode
from earmark.sound.sheet_files import write_sheet

RATE_HZ = 8_000


def make_tone(seconds, frequency_hz=500):
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)


@pytest.fixture
def tone(tmp_path):
    path = tmp_path / "狗 & dog.wav"
    soundfile.write(path, np.stack([make_tone(1), make_tone(1)], axis=1), RATE_HZ)
    return path


def find_sounds(page):
    """The decoded sounds of a page's players, with their rates."""
    encoded = re.findall(r'<audio [^>]*src="data:audio/mpeg;base64,([^"]+)"', page)
    return [soundfile.read(io.BytesIO(base64.b64decode(sound))) for sound in encoded]


def test_the_page_stands_alone_with_player_and_sheet(tone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = write_sheet(tone)
    assert (written.sheet.name, written.resynthesised, written.notes) == ("狗 & dog.html", None, ())
    page = written.sheet.read_text(encoding="utf-8")
    assert "<h1>狗 &amp; dog.wav</h1>" in page
    assert "1.0 s · 8,000 Hz · 2 channels, mixed to one · wav/pcm_16" in page
    assert page.count("<svg") == 2  # for screens and for phones
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    ((sound, _),) = find_sounds(page)
    assert np.abs(sound).max() == pytest.approx(0.5, abs=0.05)
    assert "The first" not in page
    assert "Shown is the part" not in page


@pytest.mark.parametrize(("suffix", "start"), [(".svg", b"<?xml"), (".png", b"\x89PNG")])
def test_the_bare_sheet_is_a_picture_with_a_title(suffix, start, tone, tmp_path):
    written = write_sheet(tone.rename(tmp_path / "dog.wav"), tmp_path / "new" / f"dog{suffix.upper()}")
    content = written.sheet.read_bytes()
    assert content.startswith(start)
    assert [path.name for path in written.sheet.parent.iterdir()] == [f"dog{suffix.upper()}"]
    if suffix == ".svg":
        texts = {node.text for node in ElementTree.fromstring(content).iter() if node.tag.endswith("text")}
        assert texts >= {"dog.wav", "1.0 s · 8,000 Hz · 2 channels, mixed to one · wav/pcm_16"}
    else:
        width, height = Image.open(io.BytesIO(content)).size
        assert width == 2 * 920
        assert height > width


def test_what_the_features_keep_is_heard_beside_the_sound_and_written(tone, tmp_path):
    settings = AnalysisSettings(n_fft=512, hop_length=128, n_mels=40, n_mfcc=13)
    first, again, other = (
        write_sheet(tone, tmp_path / f"{name}.html", settings, resynthesise=True, seed=seed)
        for name, seed in (("a b", 1), ("c", 1), ("d", 2))
    )
    assert first.resynthesised == tmp_path / "a b-resynthesised.wav"
    with wave.open(str(first.resynthesised)) as file:
        assert file.getparams()[:4] == (1, 2, RATE_HZ, RATE_HZ)
    assert first.resynthesised.read_bytes() == again.resynthesised.read_bytes()
    assert first.resynthesised.read_bytes() != other.resynthesised.read_bytes()
    made_anew, _ = decode(first.resynthesised)
    assert np.abs(np.fft.rfft(made_anew)).argmax() == pytest.approx(500, abs=30)
    page = first.sheet.read_text(encoding="utf-8")
    assert len(find_sounds(page)) == 2
    assert "40 bands, 512 samples every 128" in page
    assert 'href="a%20b-resynthesised.wav"' in page
    percent = float(re.search(r"is ([\d.]+)\u202f% away", page).group(1))
    assert 0 < percent < 15


def test_of_a_long_file_a_minute_is_shown_and_said_so(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.concatenate([make_tone(50), make_tone(20, 1000)]), RATE_HZ)
    written = write_sheet(path, tmp_path / "a.html")
    assert written.notes == ("Shown is the part from 0 to 60 s of 1 min 10 s.",)
    page = written.sheet.read_text(encoding="utf-8")
    assert written.notes[0] in page
    ((sound, rate_hz),) = find_sounds(page)
    assert len(sound) / rate_hz == pytest.approx(60, abs=0.2)
    part = write_sheet(path, tmp_path / "b.svg", start_s=55, duration_s=5)
    assert part.notes == ("Shown is the part from 55 to 60 s of 1 min 10 s.",)
    assert ">60 s</" in part.sheet.read_text(encoding="utf-8")


def test_a_damaged_file_is_shown_as_far_as_it_goes_and_said_so(tmp_path):
    path = tmp_path / "cut.flac"
    soundfile.write(path, make_tone(2), RATE_HZ)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    written = write_sheet(path, tmp_path / "cut.html")
    assert any("cut.flac is not whole" in note for note in written.notes)
    assert all(note in written.sheet.read_text(encoding="utf-8").replace("&#39;", "'") for note in written.notes)


def test_nothing_is_written_where_something_is_wrong(tone, tmp_path):
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    out = tmp_path / "a.html"
    with pytest.raises(SoundError, match=r"a\.pdf ends in none of \.html, \.svg, \.png"):
        write_sheet(tone, tmp_path / "a.pdf")
    with pytest.raises(SoundError, match=r"gone\.wav"):
        write_sheet(tmp_path / "gone.wav", out)
    with pytest.raises(SoundError, match="ends before 9 s"):
        write_sheet(tone, out, start_s=9)
    with pytest.raises(SoundError, match="no spectrum at 9 s"):
        write_sheet(tone, out, AnalysisSettings(spectrum_at_s=9))
    with pytest.raises(RecipeError, match="hop_length = 400 is too long"):
        write_sheet(tone, out, AnalysisSettings(n_fft=512, hop_length=400), resynthesise=True)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_sound_itself_is_never_written_over(tmp_path):
    path = tmp_path / "dog-resynthesised.wav"
    soundfile.write(path, make_tone(0.2), RATE_HZ)
    before = path.read_bytes()
    with pytest.raises(SoundError, match="would be written over"):
        write_sheet(path, tmp_path / "dog.html", resynthesise=True)
    assert path.read_bytes() == before
