"""The command line as such: help, version, errors in one sentence, and pipes that get plain text."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import earmark
from earmark.cli.main import app, run

VERBS = {
    "train": "Train a classifier, measure it on clips it never heard",
    "crossval": "Test every clip once, on a model that never heard it",
    "evaluate": "Measure a model on labelled clips",
    "predict": "Label sound files with the probability of each label",
    "verify": "Replay a model's golden waveforms",
    "push": "Upload a trained model with its card and figures",
    "recipes": "List the recipes, or print one",
    "data": "Look at labelled sounds before anything is trained",
    "data show": "Classes with their counts and durations",
    "cache": "Show what the store of decoded sound holds, its size and its limit",
    "cache clear": "Take away all decoded sound that no run is using",
    "show": "Draw a sound: waveform, spectrum, spectrogram",
    "demo": "Make ten kinds of sound, train, evaluate",
    "doctor": "Say what is installed",
}
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of ``earmark ARGUMENTS``, by its real entry point."""
    monkeypatch.setattr(sys, "argv", ["earmark", *arguments])
    code = 0
    try:
        run()
    except SystemExit as end:
        code = int(end.code or 0)
    written = capsys.readouterr()
    return code, written.out, written.err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_helps(verb: str) -> None:
    for option in ("--help", "-h"):
        result = CliRunner().invoke(app, [*verb.split(), option], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
        assert result.exit_code == 0
        assert f"earmark {verb}" in result.output
        assert VERBS[verb] in result.output


def test_help_lists_every_verb() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert all(re.search(rf"\b{verb}\b", result.output) for verb in VERBS if " " not in verb)


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, capsys, "--version") == (0, f"earmark {earmark.__version__}\n", "")


def write_csv(tmp_path: Path, text: str) -> str:
    for name in ("a", "b", "c", "d"):
        (tmp_path / f"{name}.wav").touch()
    path = tmp_path / "clips.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("data show {tmp}/none", r"{tmp}/none does not exist: check its name\."),
        ("recipes quikc", r"There is no recipe 'quikc'\. Did you mean quick\?"),
        ("recipes quick --set train.epoch=1", r"There is no setting train\.epoch\. Did you mean train\.epochs\?"),
        ("train {csv} --recipe nothing", "There is no recipe 'nothing'"),
        ("train {csv} --recipe {tmp}/mine.toml", "There is no recipe file"),
        ("train {csv} --set train.epochs=0", "train.epochs = 0 is too small"),
        ("train {csv} --test-fold 9", r"There is no fold 9; the folds are 1, 2\."),
        ("train {csv} --recipe quick", r"None of the 4 clips can be heard; the first: .*a\.wav is empty"),
        ("train {csv} --out {tmp}", "holds something already. Choose another --out"),
        ("train --resume {tmp}/none", "holds no run to continue"),
        ("crossval {tmp}/none.csv", "none.csv does not exist"),
        ("evaluate {tmp}/none {csv}", "There is no {tmp}/none; give the directory of a model"),
        ("evaluate {tmp} {csv}", "holds no model"),
        ("predict {tmp} {tmp}/a.wav", "holds no model"),
        ("predict {tmp} {empty}", "holds no sound files"),
        ("verify {csv}", "is a file; give the directory"),
    ],
)
def test_an_error_is_one_sentence_and_exit_code_2(
    arguments: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = write_csv(tmp_path, "path,label,fold\na.wav,cat,1\nb.wav,cat,2\nc.wav,dog,1\nd.wav,dog,2\n")
    (tmp_path / "empty").mkdir()
    places = {"tmp": str(tmp_path), "csv": clips, "empty": str(tmp_path / "empty")}
    code, out, err = call(monkeypatch, capsys, *arguments.format(**places).split())
    assert code == 2
    assert out == ""
    assert err.startswith("earmark: ")
    assert re.search(sentence.format(**places), err)
    assert err.count("\n") == 1
    assert not CONTROL.search(err)


def test_a_manifest_with_faults_lists_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = write_csv(tmp_path, "path,label\na.wav,cat\ngone.wav,dog\nb.wav,\n")
    code, _, err = call(monkeypatch, capsys, "train", clips)
    assert code == 2
    assert "row 3 (gone.wav)" in err
    assert "no label: row 4" in err
    assert "Traceback" not in err


def test_a_place_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clips = write_csv(tmp_path, "path,label\na.wav,cat\nb.wav,dog\n")
    code, _, err = call(monkeypatch, capsys, "data", "show", clips, "--csv", str(tmp_path / "a.wav" / "out.csv"))
    assert code == 2
    assert re.fullmatch(r"earmark: .*a\.wav.* cannot be used \(.*\); check the path, .*\n", err)


@pytest.mark.parametrize("arguments", [["train"], ["train", "sounds", "--resume", "run"], ["nothing"], ["predict"]])
def test_a_wrong_call_shows_how_it_is_meant(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: ")
    assert "Traceback" not in err


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("earmark.data.layouts.read_clips", press)
    code, out, err = call(monkeypatch, capsys, "data", "show", "sounds")
    assert (code, out, err) == (130, "", "earmark: broken off.\n")


def test_nothing_is_searched_for_garbage_when_a_verb_has_ended() -> None:
    """With torch imported that takes longer than many a verb."""
    # What is registered first is called last.
    code = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 1000)); "
        "from earmark.cli.main import run; run()"
    )
    told = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "True"


def test_recipes_are_listed_with_one_line_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(monkeypatch, capsys, "recipes")
    assert code == 0
    lines = {line.split()[0]: line for line in out.splitlines()[:-1]}
    assert {"cnn", "mfcc-mlp", "quick", "resnet18"} <= lines.keys()
    assert [name for name, line in lines.items() if line.endswith("(default)")] == ["cnn"]
    assert out.splitlines()[-1] == "Every setting of one: earmark recipes NAME"


def test_a_recipe_is_printed_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(monkeypatch, capsys, "recipes", "quick", "--set", "train.epochs=7", "-s", "model.hidden=[9]")
    assert (code, err) == (0, "")
    (tmp_path / "mine.toml").write_text(out, encoding="utf-8")
    recipe = earmark.load_recipe(str(tmp_path / "mine.toml"))
    assert (recipe.train.epochs, recipe.model.hidden, recipe.front_end.kind) == (7, (9,), "mel_statistics")


def test_doctor_says_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path / "my cache"))
    code, out, _ = call(monkeypatch, capsys, "doctor")
    assert code == (1 if "Conflict: " in out else 0)
    assert out.startswith(f"earmark {earmark.__version__}, Python {sys.version.split()[0]}")
    for word in ("torch ", "transformers ", "soundfile ", "Device: ", "Codecs: libsndfile ", "PyAV ", "aac"):
        assert word in out
    assert f"Cache: {tmp_path / 'my cache'}" in out


def test_doctor_names_a_torchaudio_that_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As its last release does beside a newer torch: it is found, and fails as it is imported."""
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text("raise OSError('libcudart.so.13: no such file')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    code, out, _ = call(monkeypatch, capsys, "doctor")
    assert code == 1
    (conflict,) = [line for line in out.splitlines() if line.startswith("Conflict: torchaudio")]
    assert "libcudart.so.13" in conflict
    assert "pip uninstall torchaudio" in conflict


@pytest.mark.skipif(os.name == "nt", reason="Windows has no broken pipes of this kind")
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    """As `| head` does."""
    clips = write_csv(tmp_path, "path,label\n" + "".join(f"{name}.wav,{name}\n" for name in "abcd"))
    command = [sys.executable, "-c", "from earmark.cli.main import run; run()", "data", "show", clips]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() != 0
