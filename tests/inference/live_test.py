"""Live sound: raw samples however they come, a microphone or none, and an end that closes what is open."""

import io
import sys
import threading
import types

import numpy as np
import pytest
import soxr

from earmark.errors import SoundError
from earmark.inference import live
from earmark.inference.classifier import Classifier
from earmark.inference.decision import Decision
from earmark.inference.events import EventFinder
from earmark.inference.live import decode_pcm, listen, open_microphone, read_pcm
from earmark.inference.timeline import WindowScorer

RATE = 1_000


class LevelNetwork:
    """Hears `up` where samples lie above zero, `down` where they lie below."""

    sample_rate, window, shortest, ignores_padding, multi_label = RATE, 2 * RATE, 1, True, False
    labels = ("up", "down")
    decision = Decision({"up": 0.9, "down": 0.9})

    def run(self, waveforms):
        means = np.array([waveform.mean() for waveform in waveforms])
        return np.stack([20 * means, -20 * means], 1).astype(np.float32)


def make_parts():
    classifier = Classifier(LevelNetwork())
    return WindowScorer(classifier), EventFinder(classifier.labels, classifier.decision, multi_label=False)


def spans(events):
    return [(event.label, event.start_s, event.end_s) for event in events]


def make_steps(*levels, step_s=4):
    return np.repeat(np.array(levels, np.float32), step_s * RATE)


def read_all(data, *, encoding="s16le", from_rate=RATE, to_rate=RATE, size=None):
    source = io.BytesIO(data)
    read = source.read if size is None else lambda _: source.read(size)
    return np.concatenate(
        list(read_pcm(read, encoding=encoding, from_rate=from_rate, to_rate=to_rate, stop=threading.Event()))
    )


@pytest.mark.parametrize("size", [1, 3, 7, 4096, None])
@pytest.mark.parametrize(("encoding", "dtype", "scale"), [("s16le", "<i2", 32_768), ("f32le", "<f4", 1)])
def test_samples_are_the_same_wherever_the_pipe_cuts_them(size, encoding, dtype, scale):
    numbers = np.random.default_rng(0).uniform(-1, 1, 500) * (scale - 1)
    stored = numbers.astype(dtype)
    read = read_all(stored.tobytes(), encoding=encoding, size=size)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, stored.astype(np.float32) / np.float32(scale))


def test_another_rate_is_resampled_as_a_file_would_be():
    sound = (np.sin(np.arange(44_100) * 0.02) * 20_000).astype("<i2")
    expected = soxr.resample(sound.astype(np.float32) / 32_768, 44_100, 16_000, quality="HQ")
    resampled = read_all(sound.tobytes(), from_rate=44_100, to_rate=16_000)
    assert len(resampled) == 16_000
    np.testing.assert_allclose(resampled, expected, atol=1e-5)


def test_nothing_at_all_is_an_error_with_a_remedy():
    with pytest.raises(SoundError, match="No sound came; check"):
        read_all(b"")


@pytest.mark.parametrize(("encoding", "stray"), [("s16le", 1), ("f32le", 1), ("f32le", 3)])
def test_an_end_within_a_sample_is_told_after_all_that_was_whole(encoding, stray):
    width = {"s16le": 2, "f32le": 4}[encoding]
    pieces = decode_pcm([bytes(10 * width + stray)], encoding)
    assert len(next(pieces)) == 10
    with pytest.raises(SoundError, match="in the middle of a sample"):
        next(pieces)


@pytest.mark.parametrize(("mark", "name"), [(b"RIFF", "WAV"), (b"fLaC", "FLAC"), (b"OggS", "Ogg"), (b"ID3\x03", "MP3")])
def test_a_file_in_place_of_raw_samples_is_named(mark, name):
    with pytest.raises(SoundError, match=f"{name} file, not raw samples"):
        read_all(mark + bytes(100))


def test_a_pipe_that_breaks_is_an_error():
    def read(_):
        raise OSError(5, "Input/output error")

    with pytest.raises(SoundError, match="broke off"):
        list(read_pcm(read, encoding="s16le", from_rate=RATE, to_rate=RATE, stop=threading.Event()))


def test_stop_ends_a_sound_that_never_comes():
    stop, never = threading.Event(), threading.Event()
    threading.Timer(0.05, stop.set).start()

    def read(_):
        never.wait()
        return b""

    pieces = read_pcm(read, encoding="s16le", from_rate=RATE, to_rate=RATE, stop=stop)
    assert sum(map(len, pieces)) == 0
    never.set()


def test_hearings_tell_level_window_and_events_as_they_come():
    hearings = list(listen(*make_parts(), np.split(make_steps(0.5, -0.5), 16)))
    assert [hearing.duration_s for hearing in hearings[:3]] == [0.5, 1.0, 1.5]
    assert hearings[0].level_db == pytest.approx(-6.02, abs=0.01)
    assert hearings[0].window is None
    assert hearings[3].window.start_s == 0.0
    assert spans(hearings[4].open) == [("up", 0.0, 2.0)]
    first = next(place for place, hearing in enumerate(hearings) if hearing.closed)
    assert spans(hearings[first].closed) == [("up", 0.0, 3.5)]
    assert hearings[first].duration_s < 8.0, "an event is told when it is over, not at the end"
    assert (hearings[-1].level_db, hearings[-1].open) == (None, [])
    assert spans(hearings[-1].closed) == [("down", 4.5, 8.0)]


def hear(pieces):
    """The events until the sound is over, and why it is."""
    told, hearings = [], listen(*make_parts(), pieces)
    try:
        for hearing in hearings:
            told += hearing.closed
    except SoundError as error:
        return told, str(error)
    return told, ""


def test_what_is_open_is_closed_before_a_fault_is_told():
    def pieces():
        yield make_steps(0.5)
        raise SoundError("gone")

    told, fault = hear(pieces())
    assert spans(told) == [("up", 0.0, 4.0)]
    assert fault == "gone"


def test_nan_ends_the_sound_with_what_was_heard_before():
    told, fault = hear([make_steps(0.5), np.array([np.nan], np.float32)])
    assert spans(told) == [("up", 0.0, 4.0)]
    assert "NaN" in fault


class PortAudioError(Exception):
    pass


def put_in_sounddevice(monkeypatch, *, pieces=(), rates=(RATE,), inputs=1, after=None):
    """A stand-in for the package, with a microphone that gives ``pieces`` as soon as it is opened."""

    class InputStream:
        def __init__(self, *, samplerate, callback, finished_callback, device, **_):
            if device == "nowhere":
                raise ValueError("No input device matching 'nowhere'")
            if not inputs:
                raise PortAudioError("Error querying device -1")
            opened.append((samplerate, device))
            self.callback, self.finished = callback, finished_callback

        def __enter__(self):
            for samples in pieces:
                self.callback(samples[:, None], len(samples), None, None)
            if after == "unplugged":
                self.finished()
            return self

        def __exit__(self, *_):
            opened.append("closed")

    def check_input_settings(*, samplerate, **_):
        if samplerate not in rates:
            raise PortAudioError("Invalid sample rate")

    def query_devices(device=None, kind=None):
        if kind == "input":
            return {"default_samplerate": float(rates[-1])}
        microphone = {"name": "Desk microphone", "max_input_channels": 1}
        return [{"name": "Speakers", "max_input_channels": 0}, *[microphone] * inputs]

    opened = []
    module = types.SimpleNamespace(
        InputStream=InputStream,
        PortAudioError=PortAudioError,
        check_input_settings=check_input_settings,
        query_devices=query_devices,
    )
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return opened


def test_a_microphone_gives_its_sound_until_one_stops(monkeypatch):
    opened = put_in_sounddevice(monkeypatch, pieces=np.split(make_steps(0.5), 4))
    stop = threading.Event()
    with open_microphone(None, sample_rate=RATE, stop=stop) as pieces:
        heard = [next(pieces) for _ in range(4)]
        stop.set()
        assert list(pieces) == []
    np.testing.assert_array_equal(np.concatenate(heard), make_steps(0.5))
    assert opened == [(RATE, None), "closed"]


def test_a_microphone_without_the_model_s_rate_is_resampled(monkeypatch):
    opened = put_in_sounddevice(monkeypatch, pieces=[make_steps(0.5)] * 3, rates=(2 * RATE,))
    stop = threading.Event()
    with open_microphone("1", sample_rate=RATE, stop=stop) as pieces:
        first = [next(pieces) for _ in range(3)]
        stop.set()
        rest = list(pieces)
    assert opened[0] == (2 * RATE, 1)
    assert sum(map(len, [*first, *rest])) == 6 * RATE


def test_a_device_that_is_none_is_answered_with_those_there_are(monkeypatch):
    put_in_sounddevice(monkeypatch)
    with (
        pytest.raises(SoundError, match=r"The device nowhere .* --device: 1 \(Desk microphone\)"),
        open_microphone("nowhere", sample_rate=RATE, stop=threading.Event()),
    ):
        pass


def test_a_computer_without_a_microphone_is_told_so(monkeypatch):
    put_in_sounddevice(monkeypatch, inputs=0)
    with (
        pytest.raises(SoundError, match="no microphone; plug one in"),
        open_microphone(None, sample_rate=RATE, stop=threading.Event()),
    ):
        pass


def test_a_microphone_that_goes_away_ends_the_sound(monkeypatch):
    put_in_sounddevice(monkeypatch, pieces=[make_steps(0.5)], after="unplugged")
    with open_microphone(None, sample_rate=RATE, stop=threading.Event()) as pieces:
        assert len(next(pieces)) == 4 * RATE
        with pytest.raises(SoundError, match="still plugged in"):
            next(pieces)


def test_a_model_slower_than_its_microphone_is_told_instead_of_losing_sound_in_silence(monkeypatch):
    monkeypatch.setattr(live, "LATEST_S", 0.2)
    put_in_sounddevice(monkeypatch, pieces=[make_steps(0.5)] * 3)
    with (
        open_microphone(None, sample_rate=RATE, stop=threading.Event()) as pieces,
        pytest.raises(SoundError, match=r"slower than the sound.*--hop-s"),
    ):
        next(pieces)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with (
        pytest.raises(SoundError, match=r'pip install "earmark\[live\]"'),
        open_microphone(None, sample_rate=RATE, stop=threading.Event()),
    ):
        pass
