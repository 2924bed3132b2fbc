"""The verb `tune` and the option `--budget`, as somebody at a terminal meets them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from earmark.cli.main import app

RATE = 8000
TINY = [
    f"--set=audio.sample_rate={RATE}",
    "--set=front_end.n_fft=256",
    "--set=front_end.n_mels=16",
    "--set=model.hidden=[8]",
    "--set=train.epochs=2",
]


def test_tune_says_what_it_searched_and_ends_with_what_to_do_next(sounds: Path, tmp_path: Path) -> None:
    out = tmp_path / "search"
    done = CliRunner().invoke(app, ["tune", str(sounds), "-r", "quick", "--trials", "2", "--out", str(out), *TINY])
    assert done.exit_code == 0, done.output
    assert "Searched, and nothing else: train.learning_rate: 0.0002 to 0.02 (logarithmic)" in done.stderr
    lines = done.stdout.splitlines()
    assert "validation accuracy" in lines[0]
    assert sum(line.startswith(("1 ", "2 ")) for line in lines) == 2
    assert any("test clips were left out of the search: not one was decoded" in line for line in lines)
    assert lines[-2] == f"Look: {out / 'search.html'}"
    assert lines[-1] == f"Train with it: earmark train {out / 'split.csv'} --recipe {out / 'best.toml'}"


@pytest.mark.parametrize("arguments", [["tune"], ["tune", "sounds", "--resume", "search"]])
def test_tune_takes_sounds_or_a_search_to_continue(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "give the sounds to search on, or --resume SEARCH" in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("call", "dropped"),
    [
        ("train --resume run --budget 1m", "--budget"),
        ("train --resume run --explain -s train.epochs=9 --seed 1", "--set, --seed"),
        ("crossval --resume run --refit", "--refit"),
        ("tune --resume search --trials 9 --budget 1m --recipe quick", "--recipe"),
    ],
)
def test_what_is_continued_takes_no_other_settings(call: str, dropped: str) -> None:
    done = CliRunner().invoke(app, call.split())
    assert done.exit_code == 2
    assert f"keeps what it began with; leave {dropped} out" in " ".join(done.stderr.replace("│", " ").split())
