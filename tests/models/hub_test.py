"""The Hub out of reach: found out at once, and every setting left as it was."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from huggingface_hub import constants
from transformers.utils import logging

from earmark.models.hub import hide_progress, offline_if_unreachable


class _Answering(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint():
    """A mirror on this machine that answers, for as long as the test lasts."""
    server = HTTPServer(("127.0.0.1", 0), _Answering)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def use_until_an_error() -> None:
    with offline_if_unreachable():
        raise ValueError("in the block")


def test_an_answering_hub_is_used(monkeypatch, endpoint):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    with offline_if_unreachable() as reachable:
        assert reachable
        assert constants.HF_HUB_OFFLINE is False
    assert constants.HF_HUB_OFFLINE is False


def test_a_hub_that_does_not_answer_is_not_asked_again_within_the_block(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    with offline_if_unreachable() as reachable:
        assert not reachable
        assert constants.HF_HUB_OFFLINE is True
    assert constants.HF_HUB_OFFLINE is False
    with pytest.raises(ValueError, match="in the block"):
        use_until_an_error()
    assert constants.HF_HUB_OFFLINE is False, "an error restores it, too"


def test_who_asked_to_stay_offline_stays_offline(monkeypatch, endpoint):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    with offline_if_unreachable() as reachable:
        assert not reachable
        assert constants.HF_HUB_OFFLINE is True
    assert constants.HF_HUB_OFFLINE is True


@pytest.mark.parametrize("shown", [True, False])
def test_transformers_bars_are_hidden_and_come_back_if_they_were_there(shown):
    before = logging.is_progress_bar_enabled()
    (logging.enable_progress_bar if shown else logging.disable_progress_bar)()
    try:
        with hide_progress():
            assert not logging.is_progress_bar_enabled()
        assert logging.is_progress_bar_enabled() == shown
    finally:
        (logging.enable_progress_bar if before else logging.disable_progress_bar)()
