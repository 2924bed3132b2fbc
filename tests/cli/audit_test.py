"""`data audit` and `data apply` from the folder to the new manifest."""

import csv
import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from earmark.cli.main import app
from earmark.data.clips import read_csv
from earmark.errors import ClipsError

RATE = 16_000


@pytest.fixture
def sounds(tmp_path, monkeypatch):
    """Tones and hisses, too few for worker processes; one sound under two labels."""
    generator = np.random.default_rng(0)
    for place in range(3):
        hiss = generator.normal(0, 0.1, RATE)
        tone = 0.3 * np.sin(np.arange(RATE) * (0.2 + 0.05 * place)) + 0.05 * generator.normal(0, 0.1, RATE)
        for label, samples in (("hiss", hiss), ("tone", tone)):
            (tmp_path / "sounds" / label).mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / "sounds" / label / f"{place} {label}.wav", samples, RATE)
    soundfile.write(tmp_path / "sounds" / "tone" / "hissing.wav", hiss, RATE)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "sounds"


def call(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_from_an_audit_to_a_new_manifest(sounds, tmp_path):
    said = call("data", "audit", sounds, "--json", "found.json")
    assert "1 pair of clips with the same sound and different labels" in said
    assert "Mend before training: label conflicts." in said
    assert "Next: earmark data apply" in said.splitlines()[-1]
    assert json.loads((tmp_path / "found.json").read_text())["conflicts"][0]["exact"]
    assert "sounds-corrections.csv" in (tmp_path / "sounds-audit.html").read_text(encoding="utf-8")

    corrections = tmp_path / "sounds-corrections.csv"
    rows = list(csv.DictReader(corrections.read_text().splitlines()))
    assert {row["action"] for row in rows} == {"keep"}
    wrong = next(row for row in rows if row["path"].endswith("hissing.wav"))
    assert wrong["suggested"] == "hiss"
    wrong["action"] = "relabel"
    with corrections.open("w", newline="") as file:
        table = csv.DictWriter(file, wrong.keys())
        table.writeheader()
        table.writerows(rows)

    said = call("data", "apply", sounds, corrections, "--out", "new.csv")
    assert "1 relabelled, 0 dropped, 7 clips in 2 classes left" in said
    assert "Next: earmark train new.csv" in said
    assert sorted(read_csv("new.csv").table["label"]) == ["hiss"] * 4 + ["tone"] * 3


def test_corrections_that_somebody_has_edited_are_not_written_over(sounds, tmp_path):
    mine = tmp_path / "sounds-corrections.csv"
    mine.write_text("mine")
    said = call("data", "audit", sounds)
    assert mine.read_text() == "mine"
    assert "sounds-corrections-2.csv" in said
    assert (tmp_path / "sounds-corrections-2.csv").is_file()


def test_a_manifest_does_not_replace_the_corrections(sounds, tmp_path):
    call("data", "audit", sounds)
    with pytest.raises(ClipsError, match="holds the corrections"):
        call("data", "apply", sounds, "sounds-corrections.csv", "--out", "sounds-corrections.csv")
