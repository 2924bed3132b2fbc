"""Answers to uploads: those of the classifier and of the command line, within the limits of one request."""

import io
import threading

import numpy as np
import pytest

from earmark.errors import ModelError, RunError, SoundError
from earmark.inference.classifier import Classifier
from earmark.inference.timeline import find_events
from earmark.serving.answers import Answers, EventSettings
from earmark.serving.limits import Limits
from earmark.serving.problems import Refusal
from earmark.serving.uploads import Upload

RATE = 8_000


@pytest.fixture
def heard():
    return []


@pytest.fixture
def answer(classifier, heard):
    """Answers under limits given by name."""
    return lambda **limits: Answers(classifier, Limits(**limits), heard.append)


def write_matroska(samples: np.ndarray, stated_s: float) -> bytes:
    """FLAC in Matroska whose header states another duration than it has."""
    import av

    file = io.BytesIO()
    with av.open(file, mode="w", format="matroska") as output:
        stream = output.add_stream("flac", rate=RATE, layout="mono")
        for start in range(0, len(samples), 4096):
            part = (samples[start : start + 4096] * 32767).astype("<i2")
            frame = av.AudioFrame.from_ndarray(part[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    content = file.getvalue()
    # Duration, a double in milliseconds, behind its EBML id; and the track's own as text.
    place = content.index(b"\x44\x89\x88") + 3
    text = content.index(b"DURATION") + 8
    digits = content.index(b"00:", text)
    content = content[:place] + np.array([stated_s * 1000], ">f8").tobytes() + content[place + 8 :]
    stated = f"00:00:{stated_s:012.9f}".encode()
    return content[:digits] + stated + content[digits + len(stated) :]


@pytest.mark.parametrize("duration_s", [0.4, 1.0, 3.7, 100.0])
def test_an_answer_is_that_of_the_classifier_whatever_the_length(answer, classifier, tone, encoded, duration_s):
    content = encoded(tone(400, duration_s) + tone(2_000, duration_s, level=0.2), form="FLAC")
    [entry] = answer().classify([Upload("a.flac", content)])
    expected = classifier.classify(content)
    assert [label["label"] for label in entry["prediction"]] == [label["label"] for label in expected]
    assert [label["score"] for label in entry["prediction"]] == pytest.approx([label["score"] for label in expected])
    assert entry["duration_s"] == pytest.approx(duration_s)
    assert entry["file"] == "a.flac"


def test_events_are_those_of_the_command_line(answer, classifier, tone, encoded, heard):
    content = encoded(np.concatenate([tone(300, 70), np.zeros(5 * RATE, np.float32), tone(3_000, 20)]))
    settings = {"hop_s": 0.25, "threshold": 0.7, "smooth": 3, "min_duration_s": 0.5}
    [entry] = answer().find_events([Upload("a.wav", content)], EventSettings(**settings))
    timeline = find_events(classifier, content, **settings)
    assert entry["events"] == timeline.to_records()
    assert {event["label"] for event in entry["events"]} == {"low", "high"}
    assert entry["settings"]["hop_s"] == 0.25
    assert heard == [pytest.approx(95)]


def test_silence_is_unknown_where_asked(answer, encoded):
    content = encoded(np.zeros(RATE, dtype=np.float32))
    [entry] = answer().classify([Upload("a.wav", content)], reject=True, top_k=1)
    assert entry["rejected"]
    assert [label["label"] for label in entry["prediction"]] == ["unknown"]


def test_of_several_sounds_each_has_its_answer_or_its_reason(answer, tone, encoded):
    uploads = [
        Upload("low.wav", encoded(tone(300, 1))),
        Upload("letter.txt", b"Dear Sir or Madam"),
        Upload("high.wav", encoded(tone(3_000, 1))),
    ]
    low, letter, high = answer().classify(uploads, top_k=1)
    assert low["prediction"][0]["label"] == "low"
    assert letter["error"]["detail"].startswith("letter.txt is text, not sound")
    assert letter["error"]["status"] == 422
    assert high["prediction"][0]["label"] == "high"


def test_a_single_sound_that_cannot_be_read_says_what_the_command_line_says(answer):
    with pytest.raises(SoundError, match=r"^letter.txt is text, not sound"):
        answer().classify([Upload("letter.txt", b"Dear Sir or Madam")])


def test_a_file_cut_off_is_answered_with_a_warning(answer, tone, encoded):
    content = encoded(tone(300, 4))[:-RATE]
    [entry] = answer().classify([Upload("a.wav", content)])
    assert entry["warning"].startswith("a.wav is not whole: its header promises")
    assert entry["duration_s"] == pytest.approx(3.5)


def test_nan_is_refused_and_values_that_overflow_too(answer, classifier, tone, encoded):
    sound = tone(300, 1)
    sound[100] = np.nan
    with pytest.raises(SoundError, match=r"a.wav holds NaN or infinite values"):
        answer().classify([Upload("a.wav", encoded(sound, subtype="FLOAT"))])
    classifier.network.run = lambda waveforms: np.full((len(waveforms), 3), np.nan, dtype=np.float32)
    with pytest.raises(ModelError, match=r"no finite answer for a.wav"):
        answer().classify([Upload("a.wav", encoded(tone(300, 1)))])
    with pytest.raises(ModelError, match=r"no finite answer for a.wav"):
        answer().find_events([Upload("a.wav", encoded(tone(300, 1)))], EventSettings())


def test_a_recording_that_turns_to_nan_midway_has_the_events_until_there(answer, tone, encoded):
    sound = tone(300, 100)
    sound[-100] = np.nan
    [entry] = answer().find_events([Upload("a.wav", encoded(sound, subtype="FLOAT"))], EventSettings())
    assert "NaN" in entry["warning"]
    assert entry["events"][0]["label"] == "low"
    assert 50 < entry["duration_s"] < 100


def test_a_ten_hour_file_is_refused_by_its_header(answer, encoded):
    # 36,000 s of silence at 1 kHz: 72 MB decoded, a few kilobytes as FLAC.
    content = encoded(np.zeros(36_000_000, dtype=np.int16), 1_000, form="FLAC")
    assert len(content) < 200_000
    with pytest.raises(Refusal, match=r"^night.flac lasts 10 hours, and this service takes 1 hour of sound") as refusal:
        answer().classify([Upload("night.flac", content)])
    assert refusal.value.kind == "too-long"


@pytest.mark.parametrize("picture", [False, True])
def test_a_bomb_that_says_it_is_short_is_cut_off_while_it_decodes(answer, heard, picture):
    content = write_matroska(np.zeros(900 * RATE, dtype=np.float32), stated_s=1.0)
    assert len(content) < 0.02 * 900 * RATE * 2
    with pytest.raises(Refusal, match=r"^bomb.mkv goes on for longer than it says") as refusal:
        answer(max_duration_s=30).classify([Upload("bomb.mkv", content)], picture=picture)
    assert refusal.value.kind == "too-long"
    assert heard[0] < 120  # a block at most is decoded beyond the limit


def test_the_limit_holds_for_all_sounds_of_a_request_together(answer, tone, encoded):
    uploads = [Upload(f"{number}.wav", encoded(tone(300, 4))) for number in range(3)]
    first, second, third = answer(max_duration_s=10).classify(uploads)
    assert "prediction" in first
    assert "prediction" in second
    assert "together with the sounds before it" in third["error"]["detail"]


def test_what_takes_too_long_to_decode_is_cut_off(answer, tone, encoded):
    with pytest.raises(Refusal, match="takes more than the 0 seconds that this service gives to decoding"):
        answer(max_decode_s=0).classify([Upload("a.wav", encoded(tone(300, 2)))])


@pytest.mark.parametrize(
    ("sample_rate", "channels", "reason"), [(100, 1, "sample rate of 100 Hz"), (8_000, 100, "100 channels")]
)
def test_headers_that_would_fill_the_memory_are_refused(answer, encoded, sample_rate, channels, reason):
    content = encoded(np.zeros((500, channels), dtype=np.float32), sample_rate)
    with pytest.raises(Refusal, match=reason):
        answer().classify([Upload("a.wav", content)])


def test_windows_without_number_are_refused(answer, tone, encoded):
    with pytest.raises(RunError, match=r"too much work for a service; give a hop_s of at least 0.05"):
        answer().find_events([Upload("a.wav", encoded(tone(300, 2)))], EventSettings(hop_s=0.01))


def test_a_picture_comes_with_the_answer(answer, tone, encoded):
    [entry] = answer().classify([Upload("a.wav", encoded(tone(300, 2)))], picture=True)
    assert entry["picture"]["highest_hz"] == RATE / 2
    assert entry["picture"]["columns"] * entry["picture"]["column_s"] == pytest.approx(2, rel=0.05)


def test_many_threads_get_the_same_answers_as_one(answer, network, tone, encoded):
    from earmark.serving.shared_network import SharedNetwork

    uploads = [Upload(f"{number}.wav", encoded(tone(200 + 70 * number, 0.5 + 0.3 * number))) for number in range(12)]
    expected = [answer().classify([upload]) for upload in uploads]
    shared = SharedNetwork(network)
    answers = Answers(Classifier(shared), Limits(), lambda seconds: None)
    given: dict[int, object] = {}

    def ask(number: int) -> None:
        given[number] = answers.classify([uploads[number]])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(uploads))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    shared.close()
    assert [given[number] for number in range(len(uploads))] == expected
