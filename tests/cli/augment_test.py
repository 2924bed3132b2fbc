"""`earmark data augment`: sounds and a page on disk, what was left out said aloud, refusals in one sentence."""

import sys
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner

from earmark.cli.main import app, run
from earmark.sound.synthesis import synthesise

TINY = ["--set=audio.sample_rate=8000", "--set=front_end.n_fft=256", "--set=front_end.n_mels=16"]


@pytest.fixture
def bell(tmp_path: Path) -> Path:
    path = tmp_path / "a bell.wav"
    soundfile.write(path, synthesise("bell", seed=0, duration_s=0.5, sample_rate=16_000), 16_000)
    return path


def refuse(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Call ``earmark data augment`` as the program does, and see it end with code 2."""
    monkeypatch.setattr(sys, "argv", ["earmark", "data", "augment", *arguments])
    with pytest.raises(SystemExit) as end:
        run()
    assert end.value.code == 2


def test_sounds_and_page_are_written_and_named(bell, tmp_path):
    out = tmp_path / "heard"
    change = '--set=augment.waveform=[{name = "PitchShift", p = 1.0}]'
    result = CliRunner().invoke(
        app, ["data", "augment", str(bell), *TINY, change, "--out", str(out), "--count", "2", "--seed", "4"]
    )
    assert result.exit_code == 0, result.exception
    assert sorted(path.name for path in out.iterdir()) == [
        "index.html",
        "original.wav",
        "version-1.wav",
        "version-2.wav",
    ]
    assert "Note: Mixing is left out, since it takes a second file" in result.stdout
    assert f"Sounds: {out / 'original.wav'} and 2 versions of it" in result.stdout
    assert result.stdout.splitlines()[-1] == f"Listen and look: {out / 'index.html'}"
    assert result.stderr == ""


def test_a_wrong_change_is_one_sentence_and_nothing_is_written(bell, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    refuse(bell.name, "--set=augment.waveform=[{name = 'PichShift'}]", monkeypatch=monkeypatch)
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err == "earmark: There is no waveform change 'PichShift'. Did you mean PitchShift?\n"
    assert [path.name for path in tmp_path.iterdir()] == [bell.name]


def test_a_recipe_without_augmentation_says_so(bell, monkeypatch, capsys):
    refuse(str(bell), "--recipe", "quick", monkeypatch=monkeypatch)
    said = capsys.readouterr().err
    assert said.startswith("earmark: quick changes nothing in training: the network hears every clip as it is.")
    assert said.count("\n") == 1
