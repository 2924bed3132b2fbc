"""`earmark data download`: what it lists, says and refuses; fetching itself is tested with the data."""

import io
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from earmark.cli.main import app, run
from earmark.data import catalogue


def download(*arguments: object) -> Result:
    result = CliRunner().invoke(app, ["data", "download", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of three spoken digits, which is the whole dataset for once."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as container:
        for digit in range(3):
            container.writestr(f"free-spoken-digit-dataset-master/recordings/{digit}_theo_0.wav", b"sound")
    archive = tmp_path / "fsdd.zip"
    archive.write_bytes(packed.getvalue())
    monkeypatch.setattr(catalogue, "KNOWN_DATASETS", (replace(catalogue.find_dataset("fsdd"), clips=3),))
    return archive


def test_without_a_name_all_known_datasets_are_listed() -> None:
    lines = download().stdout.splitlines()
    assert lines[0].split() == ["name", "dataset", "archive", "clips", "classes", "licence"]
    names = [line.split()[0] for line in lines[1:-1]]
    assert names == ["gtzan", "urbansound8k", "esc50", "esc10", "speech-commands", "fsdd"]
    assert lines[2].split() == ["urbansound8k", "UrbanSound8K", "6.0", "GB", "8,732", "10", "CC", "BY-NC"]
    assert "from the same archive" in lines[4], "who takes ESC-10 should know that he fetches ESC-50"
    assert lines[-1] == "Next: earmark data download NAME DIR"


def test_a_dataset_from_an_archive_ends_with_what_to_do_next(digits: Path, tmp_path: Path) -> None:
    result = download("FSDD", tmp_path / "data", "--from", digits)
    home = tmp_path / "data" / "free-spoken-digit-dataset"
    lines = result.stdout.splitlines()
    assert lines[0] == "Free Spoken Digit Dataset v1.0.10: 3 clips, 10 classes, archive of 16.4 MB"
    assert lines[1].startswith("Licence: CC BY-SA 4.0. To cite: Z. Jackson: Free Spoken Digit Dataset")
    assert lines[2] == f"Unpacked 3 clips: {home}"
    assert lines[3].startswith(
        "No checksum is published for Free Spoken Digit Dataset v1.0.10; that of fsdd.zip is sha256:"
    )
    assert lines[4:] == [f"Next: earmark train {home}"]
    assert result.stderr == "", "where no terminal watches, no progress is drawn"
    assert sorted(path.name for path in (home / "recordings").iterdir()) == [f"{n}_theo_0.wav" for n in range(3)]


def test_a_second_time_it_says_so_and_does_nothing(digits: Path, tmp_path: Path) -> None:
    download("fsdd", tmp_path / "data", "--from", digits)
    digits.unlink()
    lines = download("fsdd", tmp_path / "data").stdout.splitlines()
    home = tmp_path / "data" / "free-spoken-digit-dataset"
    assert lines[2:] == [
        f"It stands there already, with 3 clips; nothing was done: {home}",
        f"Next: earmark train {home}",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gtzam", "data"], "No dataset is known as 'gtzam'. Did you mean 'gtzan'?"),
        (["gtzan"], "Say where GTZAN goes: earmark data download gtzan DIR."),
        (["gtzan", "{file}"], "cannot be used"),
        (["gtzan", "data", "--from", "none.zip"], "none.zip does not exist"),
    ],
)
def test_what_is_the_users_to_mend_is_one_sentence_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.chdir(tmp_path)
    words = [argument.format(file=tmp_path / "a file") for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["earmark", "data", "download", *words])
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("earmark: ")
    assert said in lines[0]
