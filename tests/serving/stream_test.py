"""Live sound over a WebSocket: the windows and events of a file, and a clear end whatever comes."""

import base64
import json
import os
import socket
from contextlib import ExitStack

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from earmark.inference.events import EventFinder
from earmark.inference.timeline import WindowScorer
from earmark.sound.resample import resample

RATE = 8_000


@pytest.fixture
def open_stream():
    """Connects to a service's stream and says the first message."""
    with ExitStack() as opened:

        def start(running, first: object = None, **headers: str):
            url = f"ws://127.0.0.1:{running.port}/v1/stream"
            connection = opened.enter_context(connect(url, additional_headers=headers, compression=None))
            if first is not None:
                connection.send(first if isinstance(first, str | bytes) else json.dumps(first))
            return connection

        yield start


def receive_until(connection, kind: str) -> list[dict]:
    messages = []
    while not messages or messages[-1]["type"] != kind:
        messages.append(json.loads(connection.recv(10)))
    return messages


def read_refusal(connection, kind: str, code: int) -> str:
    problem = json.loads(connection.recv(10))
    assert problem["type"] == f"/docs#{kind}"
    with pytest.raises(ConnectionClosed) as closed:
        connection.recv(10)
    assert closed.value.rcvd.code == code
    return problem["detail"]


@pytest.mark.parametrize(("encoding", "dtype", "scale"), [("s16le", "<i2", 32_767), ("f32le", "<f4", 1)])
@pytest.mark.parametrize("sample_rate", [RATE, 44_100])
def test_windows_and_events_are_those_of_the_whole(
    service, classifier, open_stream, tone, encoding, dtype, scale, sample_rate
):
    sound = np.concatenate([tone(300, 3.3, sample_rate), tone(3_000, 2.4, sample_rate)])
    data = (sound * scale).astype(dtype).tobytes()
    stream = open_stream(service, {"sample_rate": sample_rate, "encoding": encoding, "hop_s": 0.5, "top_k": 1})
    ready = json.loads(stream.recv(10))
    assert (ready["type"], ready["window_s"], ready["hop_s"]) == ("ready", 1.0, 0.5)
    for start in range(0, len(data), 9_999):  # which cuts samples in two
        stream.send(data[start : start + 9_999])
    stream.send('{"type": "end"}')
    messages = receive_until(stream, "end")

    heard = np.frombuffer(data, dtype).astype(np.float32) / (32_768 if scale > 1 else 1)
    scorer = WindowScorer(classifier, hop_s=0.5)
    finder = EventFinder(classifier.labels, classifier.decision, multi_label=False)
    windows = scorer.push(resample(heard, sample_rate, RATE)) + scorer.finish()
    events = finder.push(windows) + finder.finish()
    told = [message for message in messages if message["type"] == "window"]
    assert [(window["start_s"], window["end_s"]) for window in told] == [(w.start_s, w.end_s) for w in windows]
    scores = [window["prediction"][0]["score"] for window in told]
    assert scores == pytest.approx([w.probabilities.max() for w in windows], abs=1e-3)
    spans = [
        (message["label"], message["start_s"], message["end_s"]) for message in messages if message["type"] == "event"
    ]
    assert spans == [(event.label, event.start_s, event.end_s) for event in events]
    assert messages[-1]["duration_s"] == pytest.approx(5.7, abs=1e-3)


def test_what_is_running_is_told_before_it_ends(service, open_stream, tone):
    stream = open_stream(service, {"sample_rate": RATE})
    stream.send((tone(300, 2) * 32_767).astype("<i2").tobytes())
    messages = [json.loads(stream.recv(10)) for _ in range(4)]
    assert [message["type"] for message in messages] == ["ready", "window", "window", "window"]
    assert messages[-1]["open"][0]["label"] == "low"


@pytest.mark.parametrize(
    ("first", "sentence"),
    [
        (b"\0\0\0\0", "The first message must be text"),
        ("hello", "The first message: invalid JSON"),
        ({"encoding": "s16le"}, "sample_rate: field required"),
        ({"sample_rate": 10}, "sample_rate is 10; input should be greater than or equal to 1000"),
        ({"sample_rate": RATE, "encoding": "mp3"}, "encoding is mp3; input should be 's16le' or 'f32le'"),
        ({"sample_rate": RATE, "volume": 3}, "volume is 3; extra inputs are not permitted"),
        ({"sample_rate": RATE, "hop_s": 0.001}, "Windows cannot begin every 0.001 s"),
        ({"sample_rate": RATE, "threshold": 2}, "The threshold is 2"),
    ],
)
def test_a_wrong_first_message_is_explained(service, open_stream, first, sentence):
    stream = open_stream(service, first)
    assert sentence in read_refusal(stream, "wrong-value", 1007)


def test_nan_among_the_samples_ends_the_stream(service, open_stream):
    stream = open_stream(service, {"sample_rate": RATE, "encoding": "f32le"})
    stream.recv(10)
    stream.send(np.full(100, np.nan, "<f4").tobytes())
    assert "NaN or infinite" in read_refusal(stream, "unreadable", 1007)


def test_a_file_instead_of_samples_is_recognised(service, open_stream, tone, encoded):
    stream = open_stream(service, {"sample_rate": RATE})
    stream.recv(10)
    stream.send(encoded(tone(300, 1)))
    assert "This is a WAV file" in read_refusal(stream, "unreadable", 1007)


def test_an_end_without_sound_or_within_a_sample_is_told(service, open_stream):
    for data, sentence in ((None, "No sound came"), (b"\0\0\0", "in the middle of a sample")):
        stream = open_stream(service, {"sample_rate": RATE})
        stream.recv(10)
        if data:
            stream.send(data)
        stream.send('{"type": "end"}')
        assert sentence in read_refusal(stream, "unreadable", 1007)


def test_other_text_after_the_first_message_is_refused(service, open_stream):
    stream = open_stream(service, {"sample_rate": RATE})
    stream.recv(10)
    stream.send("how are you?")
    assert "binary messages" in read_refusal(stream, "wrong-value", 1007)


def test_the_token_is_asked_for(serve, open_stream):
    with serve(token="sesame") as closed:
        for first in ({"sample_rate": RATE}, {"sample_rate": RATE, "token": "sesam"}):
            assert "asks for a token" in read_refusal(open_stream(closed, first), "token", 1008)
        said = open_stream(closed, {"sample_rate": RATE, "token": "sesame"})
        assert json.loads(said.recv(10))["type"] == "ready"
        in_header = open_stream(closed, {"sample_rate": RATE}, Authorization="Bearer sesame")
        assert json.loads(in_header.recv(10))["type"] == "ready"


def test_streams_are_bounded_and_silent_ones_end(serve, open_stream, tone, encoded):
    with serve(max_streams=2, max_silence_s=0.5) as small:
        first, second = (open_stream(small, {"sample_rate": RATE}) for _ in range(2))
        assert json.loads(first.recv(10))["type"] == json.loads(second.recv(10))["type"] == "ready"
        assert "2 live streams are open" in read_refusal(open_stream(small), "busy", 1013)
        assert "Nothing came for 0.5 s" in read_refusal(first, "too-slow", 1008)
        small.wait_until(lambda: small.service.admission.streams == 0)
        assert json.loads(open_stream(small, {"sample_rate": RATE}).recv(10))["type"] == "ready"
        assert small.classify(encoded(tone(300, 1))).status_code == 200


def test_too_large_a_message_ends_the_stream(service, open_stream):
    stream = open_stream(service, {"sample_rate": RATE})
    stream.recv(10)

    def overflow():
        stream.send(bytes(3_000_000))
        stream.recv(10)

    with pytest.raises(ConnectionClosed) as closed:
        overflow()
    assert closed.value.rcvd is None or closed.value.rcvd.code == 1009


def test_a_client_that_vanishes_frees_its_place(service):
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = ["GET /v1/stream HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 101")
        service.wait_until(lambda: service.service.admission.streams == 1)
    service.wait_until(lambda: service.service.admission.streams == 0)
