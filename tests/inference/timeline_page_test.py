"""The page of a recording: one file with sound, picture and events, or the file beside it where that is too long."""

import base64
import re

import numpy as np
import pytest
import soundfile

from earmark.errors import RunError
from earmark.inference import timeline_page
from earmark.inference.events import Event
from earmark.inference.timeline import Timeline, TimelineSettings
from earmark.inference.timeline_page import choose_page, write_timeline_page

RATE = 8_000


def make_timeline(duration_s, events, fault=""):
    settings = TimelineSettings(2.0, 1.0, {"dog": 0.5}, 1, 0.0)
    return Timeline(tuple(events), duration_s, RATE, settings, fault)


@pytest.fixture
def sound(tmp_path):
    folder = tmp_path / "a b"
    folder.mkdir()
    tone = 0.3 * np.sin(np.arange(90 * RATE) * 0.5).astype(np.float32)
    soundfile.write(folder / "dog & 雨 #1.flac", tone, RATE)
    return folder / "dog & 雨 #1.flac"


def read(page):
    return page.read_text(encoding="utf-8")


def find_all(pattern, text):
    return re.findall(pattern, text)


def test_the_page_holds_its_sound_its_pictures_and_asks_nothing_of_a_network(sound, tmp_path):
    page = write_timeline_page(make_timeline(90.0, [Event(1.0, 4.0, "dog", 0.9)]), sound, tmp_path, model="m")
    text = read(page)
    assert page == tmp_path / "index.html"
    assert 'src="data:audio/mpeg;base64,' in text
    pictures = find_all(r'<img src="data:image/png;base64,([^"]+)"', text)
    assert len(pictures) == 5, "90 s in rows of 20 s"
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
    assert not find_all(r'(?:src|href)="(?!data:|#)', text)
    assert "<h1>dog &amp; 雨 #1.flac</h1>" in text


def test_events_lie_where_they_belong_and_go_on_in_the_next_row(sound, tmp_path):
    events = [Event(5.0, 10.0, "dog", 0.9), Event(15.0, 25.0, "<b>雨</b>", 0.8)]
    text = read(write_timeline_page(make_timeline(90.0, events), sound, tmp_path, model="m"))
    places = find_all(r'class="event" style="left:([\d.]+)%;width:([\d.]+)%" data-at="([\d.]+)"', text)
    assert places == [("25.000", "25.000", "5.000"), ("75.000", "25.000", "15.000"), ("0.000", "25.000", "20.000")]
    assert "<b>雨</b>" not in text
    assert "&lt;b&gt;雨&lt;/b&gt;, 0:15.0 – 0:25.0" in text
    assert find_all(r'class="jump" data-at="([\d.]+)"', text) == ["5.000", "15.000"]
    assert find_all(r"--share:([\d.]+)%", text) == ["100.000"] * 4 + ["50.000"]


def test_a_long_recording_is_played_from_its_file(sound, tmp_path, monkeypatch):
    monkeypatch.setattr(timeline_page, "LONGEST_HELD_S", 60.0)
    text = read(write_timeline_page(make_timeline(90.0, []), sound, tmp_path / "pages", model="m"))
    assert 'src="../a%20b/dog%20%26%20%E9%9B%A8%20%231.flac"' in text
    assert "data:audio" not in text
    assert "leave both where they are" in text


def test_a_page_shows_the_surest_of_too_many_events_and_says_so(sound, tmp_path, monkeypatch):
    monkeypatch.setattr(timeline_page, "MOST_EVENTS", 2)
    events = [Event(float(place), place + 0.5, "dog", score) for place, score in enumerate((0.7, 0.9, 0.6, 0.8))]
    text = read(write_timeline_page(make_timeline(90.0, events), sound, tmp_path, model="m"))
    assert find_all(r'class="jump" data-at="([\d.]+)"', text) == ["1.000", "3.000"]
    assert "4 events" in text
    assert "Shown are the 2 with the highest scores" in text


def test_no_events_and_a_fault_are_said(sound, tmp_path):
    text = read(write_timeline_page(make_timeline(90.0, [], "It breaks off."), sound, tmp_path, model="m"))
    assert "No label reached its threshold" in text
    assert "It breaks off." in text


@pytest.mark.parametrize("duration_s", [0.01, 5.0, 20.0, 21.0, 600.0, 7_200.0, 36_000.0, 1e6])
def test_few_rows_hold_any_length(duration_s):
    row_s = timeline_page._choose_row_s(duration_s)
    assert 1 <= np.ceil(duration_s / row_s) <= 6
    ticks = timeline_page._place_ticks(0.0, min(row_s, duration_s), row_s)
    assert 1 <= len(ticks) <= 7


def test_ticks_stand_at_round_times():
    assert timeline_page._place_ticks(30.0, 60.0, 30.0)[:3] == [
        (0.0, "0:30"),
        (pytest.approx(100 / 6), "0:35"),
        (pytest.approx(100 / 3), "0:40"),
    ]


def test_progress_ends_at_the_end(sound, tmp_path):
    told = []
    write_timeline_page(
        make_timeline(90.0, []), sound, tmp_path, model="m", on_progress=lambda *told_now: told.append(told_now)
    )
    assert told[-1] == (90, 90)


def test_a_page_takes_no_other_file_s_place(sound, tmp_path):
    with pytest.raises(RunError, match="is a file; name a folder"):
        choose_page(sound, sound)
    copy = tmp_path / "sound.html"
    copy.write_bytes(sound.read_bytes())
    with pytest.raises(RunError, match="take the place"):
        choose_page(copy, copy)
    assert choose_page(tmp_path / "X.HTM", sound) == tmp_path / "X.HTM"
