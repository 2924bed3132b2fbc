"""What the service's tests share: a network that tells high from low by sums, and a service that runs."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
import soundfile

from earmark.inference.classifier import Classifier
from earmark.inference.decision import Decision
from earmark.serving.app import build_app
from earmark.serving.limits import Limits
from earmark.serving.server import build_server, name_url, open_socket
from earmark.serving.service import Service

RATE = 8_000
LABELS = ("low", "high", "铃 🔔")


class ToneNetwork:
    """Says ``low`` below 1 kHz, ``high`` above: from the differences of neighbouring samples, in no time.

    While ``gate`` is not set it waits; ``runs`` holds the lengths of the windows in each run.
    """

    sample_rate = RATE
    labels = LABELS
    window = RATE
    shortest = 1
    ignores_padding = True
    multi_label = False

    def __init__(self) -> None:
        self.decision = Decision({"low": 0.6, "high": 0.6}, silence_db=-60.0)
        self.gate = threading.Event()
        self.gate.set()
        self.runs: list[list[int]] = []

    def run(self, waveforms):
        self.gate.wait(20)
        self.runs.append([len(waveform) for waveform in waveforms])
        logits = np.zeros((len(waveforms), len(LABELS)), dtype=np.float32)
        for row, waveform in zip(logits, waveforms, strict=True):
            steepness = np.abs(np.diff(waveform)).mean() / max(np.abs(waveform).mean(), 1e-9)
            row[:] = 4 * (0.8 - steepness), 4 * (steepness - 0.8), -2
        return logits


def make_tone(frequency_hz: float, duration_s: float, sample_rate: int = RATE, level: float = 0.5) -> np.ndarray:
    times_s = np.arange(round(duration_s * sample_rate)) / sample_rate
    return (level * np.sin(2 * np.pi * frequency_hz * times_s)).astype(np.float32)


def encode(samples: np.ndarray, sample_rate: int = RATE, form: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format=form, subtype=subtype)
    return file.getvalue()


class Running:
    """A service that runs, and a client of it."""

    def __init__(self, service: Service, network: ToneNetwork, url: str) -> None:
        self.service = service
        self.network = network
        self.url = url
        self.port = int(url.rpartition(":")[2])
        self.client = httpx.Client(base_url=url, timeout=20, trust_env=False)

    def classify(self, content: bytes, name: str = "a.wav", **query: object) -> httpx.Response:
        return self.client.post("/v1/classify", files={"file": (name, content)}, params=query)

    def wait_until(self, holds: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + 10
        while not holds():
            assert time.monotonic() < deadline_s, "it never came to that"
            time.sleep(0.005)


@contextmanager
def running(token: str = "", **limits: float) -> Iterator[Running]:
    """A service on a free port, until the block ends."""
    network = ToneNetwork()
    service = Service(Classifier(network), name="tones", limits=Limits(**limits), token=token)
    listening, started = open_socket("127.0.0.1", 0), threading.Event()
    server = build_server(build_app(service), started.set)
    url = name_url(listening)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    assert started.wait(10)
    service_running = Running(service, network, url)
    try:
        yield service_running
    finally:
        network.gate.set()
        service_running.client.close()
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def serve():
    return running


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    """A service with the usual limits, for all tests that leave it as it is."""
    with running() as started:
        yield started


@pytest.fixture(scope="session")
def tone():
    return make_tone


@pytest.fixture(scope="session")
def encoded():
    return encode


@pytest.fixture
def network() -> ToneNetwork:
    return ToneNetwork()


@pytest.fixture
def classifier(network) -> Classifier:
    return Classifier(network)
