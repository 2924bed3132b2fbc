"""`earmark show` and `earmark data show --figures`: what they write, what they say, one sentence where it cannot be."""

import sys

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from earmark.cli.main import app, run

RATE_HZ = 8_000


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with one recording, in which one stands."""
    soundfile.write(tmp_path / "dog 狗.flac", 0.4 * np.sin(np.arange(2 * RATE_HZ) * 0.3), RATE_HZ)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments):
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_show_writes_a_page_here_and_says_where(desk):
    assert call("show", "dog 狗.flac") == ["Look and listen: dog 狗.html"]
    assert (desk / "dog 狗.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_show_takes_a_part_and_settings_and_makes_it_anew(desk):
    options = "--start-s 0.5 --duration-s 1 --n-fft 256 --hop-length 64 --n-mels 20 --n-mfcc 8 --spectrum-at-s 1 "
    options += "--spectrum-length 512 --log-frequency --resynthesise --seed 3 --out out/sheet.svg"
    assert call("show", "dog 狗.flac", *options.split()) == [
        "Note: Shown is the part from 0.5 to 1.5 s of 2.0 s.",
        "What the mel spectrogram keeps: out/sheet-resynthesised.wav",
        "Look: out/sheet.svg",
    ]
    assert soundfile.info(desk / "out" / "sheet-resynthesised.wav").frames == RATE_HZ
    sheet = (desk / "out" / "sheet.svg").read_text(encoding="utf-8")
    for words in ("512 samples (64 ms) from 1.00 s", "256 samples (32 ms) every 64 (8 ms)", "20 bands", "0 to 7"):
        assert words in sheet


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "gone.wav"], "gone.wav"),
        (["show", "dog 狗.flac", "--out", "a.pdf"], "a.pdf ends in none of .html, .svg, .png"),
        (["show", "dog 狗.flac", "--start-s", "7"], "dog 狗.flac ends before 7.0 s"),
        (["show", "dog 狗.flac", "--n-mels", "20"], "n_mfcc = 40 needs at least as many mel bands"),
        (["show", "dog 狗.flac", "--spectrum-at-s", "5"], "There is no spectrum at 5 s"),
        (["show", "dog 狗.flac", "--duration-s", "0"], "cannot last 0.0 s"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(arguments, sentence, desk, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["earmark", *arguments])
    with pytest.raises(SystemExit) as end:
        run()
    written = capsys.readouterr()
    assert (end.value.code, written.out) == (2, "")
    assert written.err.startswith("earmark: ")
    assert sentence in written.err
    assert written.err.count("\n") == 1
    assert [path.name for path in desk.iterdir()] == ["dog 狗.flac"]


def test_data_show_draws_counts_and_examples(desk):
    for name in ("bell", "雨"):
        (desk / "my sounds" / name).mkdir(parents=True)
        soundfile.write(desk / "my sounds" / name / "1.wav", 0.4 * np.sin(np.arange(RATE_HZ) * 0.3), RATE_HZ)
    assert call("data", "show", "my sounds", "--figures")[-2:] == [
        "Look and listen: my sounds.html",
        "Next: earmark train my sounds",
    ]
    page = (desk / "my sounds.html").read_text(encoding="utf-8")
    assert "<h3>雨</h3>" in page
    assert call("data", "show", "my sounds", "--out", "new/page.html")[-2] == "Look and listen: new/page.html"
    assert (desk / "new" / "page.html").read_text(encoding="utf-8") == page
