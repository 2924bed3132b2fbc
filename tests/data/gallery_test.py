"""The gallery counts right, shows an example a class, and says what it cannot show."""

import re

import numpy as np
import pytest
import soundfile

from earmark.data import gallery
from earmark.data.clips import build_clips
from earmark.data.gallery import choose_examples, render_counts, write_gallery
from earmark.data.layouts import read_clips
from earmark.data.overview import describe_clips

RATE_HZ = 8_000


def write(path, seconds=0.25):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(np.arange(round(seconds * RATE_HZ)) * 0.3), RATE_HZ)
    return str(path)


def render(clips, folder, **more):
    path = write_gallery(clips, describe_clips(clips), folder / "page.html", **more)
    return path.read_text(encoding="utf-8")


def split_cards(page):
    """Class name -> its card."""
    cards = page.split('<article class="clip">')[1:]
    return {re.search(r"<h3>(.*?)</h3>", card).group(1): card.split("</article>")[0] for card in cards}


@pytest.fixture
def folder(tmp_path):
    for take in range(3):
        write(tmp_path / "sounds" / "狗 & dog" / f"{take}.wav")
    write(tmp_path / "sounds" / "rain" / "long one.wav", 12.0)
    return tmp_path / "sounds"


def test_classes_stand_with_counts_bars_and_an_example(folder, tmp_path):
    page = render(read_clips(folder), tmp_path)
    assert "<h1>sounds</h1>" in page
    assert "4 clips in 2 classes, 13 s altogether" in page
    rows = re.findall(r'<th scope="row">(.*?)</th><td class="figures strong">(\d+)</td>.*?width:([\d.]+)%', page)
    assert rows == [("rain", "1", "33.3"), ("狗 &amp; dog", "3", "100.0")]
    cards = split_cards(page)
    assert list(cards) == ["rain", "狗 &amp; dog"]
    for card in cards.values():
        assert card.count("<svg") == 2
        assert card.count("<audio") == 1
    assert "The first 10 s of 12 s." in cards["rain"]
    assert "The first" not in cards["狗 &amp; dog"]
    assert "The first clip of each class that can be read." in page
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)


def test_a_clip_that_cannot_be_read_gives_way_to_one_that_can(folder, tmp_path):
    (folder / "rain" / "a first.wav").write_bytes(b"<html>not found</html>" * 20)
    (folder / "empty").mkdir()
    (folder / "empty" / "only.wav").write_bytes(b"words" * 100)
    page = render(read_clips(folder), tmp_path)
    cards = split_cards(page)
    assert "long one.wav" in cards["rain"]
    assert "This sound could not be shown." in cards["empty"]
    assert "only.wav is text, not sound" in cards["empty"]
    assert "2 clips cannot be read" in page
    assert re.search(r'<th scope="row" class="path">[^<]*a first\.wav</th>', page)


def test_a_clip_that_is_only_found_damaged_when_decoded_says_so(folder, tmp_path):
    soundfile.write(folder / "rain" / "a cut.flac", np.sin(np.arange(16_000) * 0.3), RATE_HZ)
    whole = (folder / "rain" / "a cut.flac").read_bytes()
    (folder / "rain" / "a cut.flac").write_bytes(whole[: len(whole) // 2])
    card = split_cards(render(read_clips(folder), tmp_path))["rain"]
    assert "a cut.flac is not whole" in card
    assert "<audio" in card


def test_of_many_classes_the_first_have_examples_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "EXAMPLES", 3)
    for number in range(5):
        write(tmp_path / "sounds" / f"class {number}" / "a.wav")
    steps = []
    page = render(
        read_clips(tmp_path / "sounds"), tmp_path, on_progress=lambda done, total: steps.append((done, total))
    )
    assert list(split_cards(page)) == ["class 0", "class 1", "class 2"]
    assert "for the first 3 of 5 classes" in page
    assert len(re.findall(r'class="figures strong"', page)) == 5
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert "All clips are equally long: 0.2 s." in page


def test_segments_are_shown_from_their_own_start(tmp_path):
    path = write(tmp_path / "long.wav", 4.0)
    rows = [
        {"path": path, "label": "a", "start_s": 0.5, "end_s": 1.0},
        {"path": path, "label": "b", "start_s": 1.5, "end_s": None},
        {"path": path, "label": "c", "start_s": 9.0, "end_s": None},
    ]
    cards = split_cards(render(build_clips(rows), tmp_path))
    assert "0.5–1 s" in cards["a"]
    assert "Waveform, 0.5 seconds" in cards["a"]
    assert "from 1.5 s" in cards["b"]
    assert "Waveform, 2.5 seconds" in cards["b"]
    assert "ends before 9.0 s" in cards["c"]


def test_of_clips_with_several_labels_the_purest_is_the_example(tmp_path):
    rows = [
        {"path": write(tmp_path / "1.wav"), "label": "dog;rain"},
        {"path": write(tmp_path / "2.wav"), "label": "rain"},
        {"path": write(tmp_path / "3.wav"), "label": "dog;wind"},
    ]
    clips = build_clips(rows, multi_label=True)
    chosen = choose_examples(clips, unreadable={rows[0]["path"]})
    assert {label: row["path"][-5:] for label, row in chosen.items()} == {
        "dog": "3.wav",
        "rain": "2.wav",
        "wind": "3.wav",
    }
    page = render(clips, tmp_path)
    assert "also rain" in split_cards(page)["dog"]
    assert "A clip with several labels counts in each of them." in page


def test_a_notebook_sees_the_counts_of_the_largest_classes_first():
    rows = [{"path": f"/{number}.wav", "label": f"<{number % 25}>"} for number in range(60)]
    fragment = render_counts(build_clips(rows, source="/somewhere/sounds", layout="CSV manifest"))
    assert "60 clips in 25 classes · CSV manifest" in fragment
    assert "and 5 more classes" in fragment
    found = re.findall(r"<th [^>]*>(.*?)</th><td [^>]*>(\d+)</td>", fragment)
    assert len(found) == 20
    assert found[0] == ("&lt;0&gt;", "3")
    assert [int(count) for _, count in found] == sorted((int(count) for _, count in found), reverse=True)
    assert "<script" not in fragment
    assert "class=" not in fragment


def test_nothing_at_all_can_be_counted():
    assert "0 clips in 0 classes" in render_counts(build_clips([]))
