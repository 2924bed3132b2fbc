"""The page of reasons: every file, its picture, its labels and its sound; faults where there is no answer."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from earmark.errors import RunError
from earmark.inference.classifier import Classifier
from earmark.inference.explanation import explain
from earmark.inference.explanation_page import write_explanations
from earmark.inference.torch_network import TorchNetwork
from earmark.models import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification

RATE = 8_000
LABELS = ("<b>bell</b>", "雨")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(0)
    config = EarmarkConfig(
        sampling_rate=RATE,
        window=RATE,
        front_end={"kind": "log_mel", "n_fft": 256, "hop_length": 160, "n_mels": 16},
        backbone={"name": "cnn", "widths": [4, 8], "dropout": 0.0},
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
        problem_type="single_label_classification",
    )
    return Classifier(
        TorchNetwork(EarmarkForAudioClassification(config), EarmarkFeatureExtractor(sampling_rate=RATE), device="cpu")
    )


def write_noise(path: Path, seconds: float, seed: int = 0, rate: int = 16_000) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, round(seconds * rate)), rate)
    return str(path)


def test_every_file_is_on_the_page_and_has_its_pictures(classifier: Classifier, tmp_path: Path) -> None:
    paths = [
        write_noise(tmp_path / "a" / "狗 & cat.wav", 0.5),
        write_noise(tmp_path / "b" / "狗 & cat.wav", 1.5, seed=1),
    ]
    (tmp_path / "text.wav").write_text("no sound")
    done: list[tuple[int, int]] = []
    page = write_explanations(
        classifier,
        [*paths, str(tmp_path / "text.wav")],
        tmp_path / "why",
        title="A model",
        on_progress=lambda *count: done.append(count),
    )
    html = page.read_text(encoding="utf-8")
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert {path.name for path in page.parent.iterdir()} == {
        "index.html",
        *(f"狗 & cat.wav{end}" for end in (".png", ".svg", "-2.png", "-2.svg")),
    }
    assert (page.parent / "狗 & cat.wav.png").read_bytes()[:4] == b"\x89PNG"
    assert (page.parent / "狗 & cat.wav.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert html.count("<svg") == 2
    assert html.count("<audio") == 2
    assert html.count("狗 &amp; cat.wav</h2>") == 2
    assert "<b>bell" not in html
    assert html.count("&lt;b&gt;bell&lt;/b&gt;") >= 2
    assert "This sound could not be explained." in html
    addresses = re.findall(r'(?:src|href)="([^"#]+)"', html)
    assert all(address.startswith(("data:", "%E7%8B%97%20%26%20cat.wav")) for address in addresses), addresses


def test_the_page_says_what_explain_says(classifier: Classifier, tmp_path: Path) -> None:
    path = write_noise(tmp_path / "noise.wav", 1.0, rate=RATE)
    html = write_explanations(classifier, [path], tmp_path / "why", title="A model").read_text(encoding="utf-8")
    waveform, _ = soundfile.read(path, dtype="float32")
    explanation = explain(classifier, waveform)
    assert f"{100 * explanation.score:.1f}\u202f%" in html
    assert explanation.sentence.replace("“<b>", "“&lt;b&gt;").replace("</b>”", "&lt;/b&gt;”") in html


def test_of_a_long_file_the_first_minute_is_explained_and_that_is_said(classifier: Classifier, tmp_path: Path) -> None:
    path = write_noise(tmp_path / "long.wav", 75.0, rate=8_000)
    html = write_explanations(classifier, [path], tmp_path / "why", title="A model").read_text(encoding="utf-8")
    assert "Scored and explained are the first 1 min 0 s of 1 min 15 s." in html


def test_too_many_files_or_a_file_for_a_folder_are_one_sentence(classifier: Classifier, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="201 files are too many for a page of reasons; explain at most 200 at once"):
        write_explanations(classifier, ["a.wav"] * 201, tmp_path, title="A model")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="is a file; name a folder"):
        write_explanations(classifier, [], tmp_path / "file", title="A model")
