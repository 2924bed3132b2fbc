"""Progress: a line where somebody watches, nothing where nobody does."""

import os
import sys

import pytest

from earmark.progress import is_live, show_progress


def count_to_three(description: str) -> None:
    with show_progress(description, unit="clips") as advance:
        for done in range(3):
            advance(done + 1, 3)


def test_nothing_is_written_where_no_terminal_watches(capfd):
    count_to_three("Decoding")
    assert tuple(capfd.readouterr()) == ("", "")


def show_on_terminal(monkeypatch, act) -> str:
    """What ``act`` writes to standard error where that is a terminal."""
    pty = pytest.importorskip("pty", reason="needs a pseudo-terminal")
    watched, written = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    end, shown = "that was all", ""
    with os.fdopen(written, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        assert is_live()
        act()
        terminal.write(end)
        terminal.flush()
        while not shown.endswith(end):  # a single read may give the beginning only
            shown += os.read(watched, 65_536).decode()
    os.close(watched)
    return shown.removesuffix(end)


def test_a_terminal_shows_what_is_done_and_is_left_clean(monkeypatch, capfd):
    shown = show_on_terminal(monkeypatch, lambda: count_to_three("Decoding"))
    assert "Decoding" in shown
    assert "3/3" in shown
    assert "clips" in shown
    assert shown.rstrip().endswith("\x1b[2K"), "the line is wiped when the step is done"
    assert capfd.readouterr().out == "", "standard output stays free for results"


def test_bytes_are_shown_as_people_read_them(monkeypatch):
    def fetch() -> None:
        with show_progress("Downloading", unit="bytes") as advance:
            advance(1_300_000_000, 2_600_000_000)

    assert "1.3/2.6 GB" in show_on_terminal(monkeypatch, fetch)


@pytest.mark.parametrize("live", [False, True])
def test_an_error_in_the_step_comes_through(monkeypatch, live):
    monkeypatch.setattr("earmark.progress.is_live", lambda: live)

    def stumble() -> None:
        with show_progress("Counting") as advance:
            advance(1, 2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stumble()
