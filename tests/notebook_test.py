"""The notebook in docs/ runs as it stands, on tiny data, and what it makes shows itself."""

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
import soundfile
from nbclient import NotebookClient

from earmark.data.known import find_gtzan_split
from earmark.sound.synthesis import synthesise

NOTEBOOK = Path(__file__).parents[1] / "docs" / "hubert.ipynb"
GENRES = {"blues": "rain", "metal": "engine"}
TRACKS_KEPT = {"train": 4, "validation": 2, "test": 2}


def write_gtzan(folder: Path) -> None:
    """A few short tracks of two genres, from every part of the published split."""
    for genre, sound in GENRES.items():
        left = dict(TRACKS_KEPT)
        for number in range(100):
            track = f"{genre}.{number:05d}.wav"
            if left.get(find_gtzan_split(track), 0):
                left[find_gtzan_split(track)] -= 1
                (folder / genre).mkdir(parents=True, exist_ok=True)
                soundfile.write(
                    folder / genre / track, synthesise(sound, seed=number, duration_s=1.0, sample_rate=16_000), 16_000
                )


def read_notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture
def executed(hub, write_native, tmp_path, monkeypatch):
    """The notebook after a run beside its data, where a stand-in of the Hub has a tiny HuBERT; and that folder."""
    write_gtzan(tmp_path / "data" / "genres")
    write_native(tmp_path / "hubert", "hubert")
    hub.add("ntu-spml/distilhubert", {path.name: path.read_bytes() for path in (tmp_path / "hubert").iterdir()})
    # The kernel is a process of its own, and knows only what stands in the environment.
    for name, value in {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(tmp_path / "home"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    for name in [name for name in os.environ if name.startswith(("HF_TOKEN", "HF_HUB_CACHE", "HUGGINGFACE_"))]:
        monkeypatch.delenv(name)
    notebook = read_notebook()
    # A cell may wait for a busy machine; one that fails does so at once.
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    return notebook, tmp_path


def show_last(notebook: Any, line: str) -> dict[str, Any]:
    """What the cell that ends in ``line`` shows, by kind: ``text/html`` and so on."""
    (cell,) = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.endswith(line)]
    (shown,) = [output for output in cell.outputs if output.output_type == "execute_result"]
    return shown.data


@pytest.mark.slow
def test_notebook_runs_and_shows_what_it_makes(executed):
    notebook, folder = executed
    clips = show_last(notebook, "\nclips")["text/html"]
    assert "16 clips in 2 classes" in clips
    assert "GTZAN" in clips
    run = show_last(notebook, "\nrun")["text/html"]
    assert "published fault-filtered split (8/4/4)" in run
    assert 'href="runs/hubert/report.html"' in run
    assert (folder / "runs" / "hubert" / "report.html").is_file()
    prediction = show_last(notebook, "top_k=3)")["text/html"]
    assert prediction.index("%") > min(prediction.index(genre) for genre in GENRES)
    assert "<audio" in show_last(notebook, "Audio(tracks.iloc[0])")["text/html"]
    assert show_last(notebook, ".sheet)")["image/svg+xml"].startswith("<svg")


def test_notebook_is_kept_without_output():
    for cell in read_notebook().cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
