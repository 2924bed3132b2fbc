"""Exported files: the same answers as torch, without torch, and whatever is wrong with one in a sentence."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper

from earmark.errors import ModelError
from earmark.inference import loading
from earmark.inference.classifier import Classifier, find_model
from earmark.inference.golden import GOLDEN_SOUNDS, verify_model
from earmark.inference.onnx_network import OnnxNetwork, is_onnx
from earmark.sound.synthesis import synthesise

RATE = 16_000
WINDOW = 16_000
# What is left out of an installation for exported files; docs/onnx.md has what stays in.
LEFT_OUT = [
    "torch",
    "torchvision",
    "transformers",
    "accelerate",
    "timm",
    "pandas",
    "sklearn",
    "scipy",
    "matplotlib",
    "onnx",
    "onnxscript",
    "safetensors",
    "huggingface_hub",
    "jinja2",
    "filelock",
    "platformdirs",
    "pooch",
    "requests",
    "threadpoolctl",
    "tomli_w",
    "peft",
    "datasets",
]


@pytest.fixture(scope="module")
def pair(exported_cnn) -> tuple[Classifier, Classifier]:
    """A model in torch, and the file exported from it."""
    return (
        Classifier.from_pretrained(exported_cnn, device="cpu"),
        Classifier.from_pretrained(exported_cnn.with_suffix(".onnx")),
    )


@pytest.fixture
def altered(exported_cnn, tmp_path) -> Callable[..., Path]:
    """A copy of the exported file with other metadata: a value of ``None`` leaves the key out."""

    def alter(**changes: str | None) -> Path:
        model = onnx.load(exported_cnn.with_suffix(".onnx"))
        metadata = {entry.key: entry.value for entry in model.metadata_props} | changes
        helper.set_model_props(model, {key: value for key, value in metadata.items() if value is not None})
        onnx.save(model, tmp_path / "altered.onnx")
        return tmp_path / "altered.onnx"

    return alter


def make_clip(seed: int, samples: int, sample_rate: int = RATE) -> np.ndarray:
    name = ("bell", "rain", "voice", "engine")[seed % 4]
    return synthesise(name, seed=seed, duration_s=samples / sample_rate + 1, sample_rate=sample_rate)[:samples]


def test_it_is_the_same_classifier(pair):
    torch, exported = pair
    for name in ("labels", "sample_rate", "window", "multi_label"):
        assert getattr(exported, name) == getattr(torch, name)
    assert exported.decision.to_config() == torch.decision.to_config()
    assert exported.decision.thresholds == {"bell": 0.9}
    assert isinstance(exported.network, OnnxNetwork)


def test_sounds_of_all_lengths_get_the_answers_of_torch(pair):
    torch, exported = pair
    lengths = [1, 500, 1_600, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW, 100_000, 20_000] * 2
    clips = [make_clip(seed, length) for seed, length in enumerate(lengths)]
    clips += [np.zeros(WINDOW, np.float32), np.ones(5_000, np.float32)]
    expected = torch.score(clips)
    assert np.ptp(expected, axis=0).max() > 0.3, "a model that says the same of everything proves nothing"
    np.testing.assert_allclose(exported.score(clips), expected, atol=1e-5)


def test_files_get_the_answers_of_torch_also_where_they_are_rejected(pair, tmp_path, monkeypatch):
    torch, exported = pair
    paths = []
    for seed, (rate, seconds) in enumerate([(44_100, 1.5), (8_000, 0.3), (16_000, 7.0)]):
        paths.append(str(tmp_path / f"{seed}.flac"))
        soundfile.write(paths[-1], make_clip(seed, round(seconds * rate), rate), rate)
    soundfile.write(tmp_path / "silence.wav", np.zeros(9_000), RATE)
    (tmp_path / "text.mp3").write_text("this is no sound")
    paths += [str(tmp_path / "silence.wav"), str(tmp_path / "text.mp3")]
    monkeypatch.setattr(loading, "WHOLE_FILE_BYTES", 50_000)  # the last sound is read block by block
    for expected, answer in zip(
        torch.classify_files(paths, reject=True), exported.classify_files(paths, reject=True), strict=True
    ):
        assert (answer.path, answer.reason) == (expected.path, expected.reason)
        if expected.prediction is not None:
            assert [entry["label"] for entry in answer.prediction] == [entry["label"] for entry in expected.prediction]
            assert answer.prediction.rejected == expected.prediction.rejected
            scores = [[entry["score"] for entry in found] for found in (answer.prediction, expected.prediction)]
            np.testing.assert_allclose(scores[0], scores[1], atol=1e-4)
    assert answer.prediction is None


def test_the_file_holds_its_golden_waveforms_and_is_verified_by_them(exported_cnn, pair):
    exported = pair[1]
    verdict = verify_model(exported, exported_cnn.with_suffix(".onnx"))
    assert verdict.holds
    assert len(verdict.differences) == GOLDEN_SOUNDS
    assert (verdict.measure, verdict.tolerance) == ("logits", 1e-3)
    assert max(verdict.differences) < 1e-4
    assert max(len(sound.samples) for sound in exported.network.read_golden()) > WINDOW


def test_a_file_of_which_a_weight_was_changed_does_not_hold(exported_cnn, tmp_path):
    model = onnx.load(exported_cnn.with_suffix(".onnx"))
    weight = max((entry for entry in model.graph.initializer if "classify" in entry.name), key=lambda e: len(e.dims))
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 1.01, weight.name))
    onnx.save(model, tmp_path / "changed.onnx")
    verdict = verify_model(Classifier.from_pretrained(tmp_path / "changed.onnx"), tmp_path / "changed.onnx")
    assert not verdict.holds


BLOCKED = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {LEFT_OUT}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Blocked())
from earmark.cli.main import run
run()
"""


def run_blocked(*arguments: str) -> subprocess.CompletedProcess:
    """``earmark ARGUMENTS`` where only what an exported file needs can be imported."""
    return subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", BLOCKED, *arguments],
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
        env=os.environ,
    )


@pytest.fixture
def sound(tmp_path) -> str:
    path = tmp_path / "new.wav"
    soundfile.write(path, make_clip(0, 3 * RATE), RATE)
    return str(path)


def test_predict_needs_nothing_of_torch(exported_cnn, pair, sound):
    done = run_blocked("predict", str(exported_cnn.with_suffix(".onnx")), sound, "--format", "jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads(done.stdout)
    expected = pair[0].classify(sound, top_k=3)
    assert [entry["label"] for entry in record["prediction"]] == [entry["label"] for entry in expected]
    assert record["prediction"][0]["score"] == pytest.approx(expected[0]["score"], abs=1e-4)


def test_verify_and_timeline_need_nothing_of_torch(exported_cnn, sound):
    done = run_blocked("verify", str(exported_cnn.with_suffix(".onnx")))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("gives the answers that torch gave when it was exported.\n")
    done = run_blocked("timeline", str(exported_cnn.with_suffix(".onnx")), sound, "--format", "csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("start_s,end_s,label,score\n")


def test_a_model_that_needs_torch_says_so_where_there_is_none(exported_cnn, sound):
    done = run_blocked("predict", str(exported_cnn), sound)
    assert done.returncode == 2
    assert done.stderr == "earmark: this needs torch, which is not installed; install Earmark with all it depends on.\n"


def spoil_contents(path: Path) -> Iterator[tuple[Path, bytes, str]]:
    whole = path.read_bytes()
    yield path, b"", "cannot be opened by ONNX Runtime"
    yield path, b"this is no model" * 100, "cannot be opened by ONNX Runtime"
    yield path, whole[: len(whole) // 2], "cannot be opened by ONNX Runtime"


def test_what_is_no_whole_onnx_file_is_one_sentence(exported_cnn, tmp_path):
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(exported_cnn.with_suffix(".onnx").read_bytes())
    for path, content, said in spoil_contents(copy):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=said) as caught:
            Classifier.from_pretrained(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    for name in (tmp_path / "none.onnx", "owner/none.onnx"):
        for ask in (Classifier.from_pretrained, find_model):
            with pytest.raises(
                ModelError, match=r"There is no file .*none.onnx; `earmark export MODEL --out none.onnx`"
            ):
                ask(name)
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ModelError, match="There is no file"):
        Classifier.from_pretrained(tmp_path / "folder.onnx")
    assert is_onnx("A.ONNX")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"earmark_format": None}, "was not written by `earmark export`"),
        ({"earmark_format": "99"}, r"has format 99, and this Earmark \([\d.]+\) reads 1; export the model again"),
        ({"labels": None}, r"has damaged metadata \('labels' is missing\)"),
        ({"labels": '["a"'}, "has damaged metadata"),
        ({"labels": "[1, 2, 3, 4]"}, "labels is no list of names"),
        ({"labels": '["a", "b"]'}, "gives 4 logits and names 2 labels"),
        ({"window": "-3"}, "window is -3, no number of samples"),
        ({"sample_rate": '"fast"'}, "sample_rate is 'fast', no number of samples"),
        ({"decision": '{"wrong": 1}'}, "has damaged metadata .*wrong"),
        ({"precision": "float1"}, "precision is 'float1'"),
    ],
)
def test_other_metadata_is_one_sentence(altered, changes, said):
    path = altered(**changes)
    with pytest.raises(ModelError, match=said) as caught:
        Classifier.from_pretrained(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("golden", ["", "no base 64!", "AAAA"])
def test_damaged_golden_waveforms_are_one_sentence(altered, golden):
    path = altered(golden=golden)
    classifier = Classifier.from_pretrained(path)
    with pytest.raises(
        ModelError, match=r"has damaged metadata .*golden waveforms cannot be read.*export the model again"
    ):
        verify_model(classifier, path)


def test_somebody_elses_onnx_file_is_one_sentence(tmp_path):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "other",
        [value("x", TensorProto.FLOAT, [1])],
        [value("y", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match=r"other\.onnx was not written by `earmark export` \(its metadata has no"):
        Classifier.from_pretrained(tmp_path / "other.onnx")


def test_a_graph_that_is_not_what_its_metadata_says_is_one_sentence(exported_cnn, tmp_path):
    ours = onnx.load(exported_cnn.with_suffix(".onnx"))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "other",
        [value("x", TensorProto.FLOAT, [1])],
        [value("y", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {entry.key: entry.value for entry in ours.metadata_props})
    onnx.save(model, tmp_path / "mixed.onnx")
    with pytest.raises(ModelError, match="takes x and gives y, not what `earmark export` writes"):
        Classifier.from_pretrained(tmp_path / "mixed.onnx")


def test_without_onnxruntime_the_extra_is_named(exported_cnn, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelError, match=r'not installed; run `pip install "earmark\[onnx\]"`'):
        Classifier.from_pretrained(exported_cnn.with_suffix(".onnx"))


def test_what_needs_the_network_itself_asks_for_the_model(pair):
    from earmark.inference.torch_network import reach_torch

    with pytest.raises(ModelError, match="an exported file does not show; give the model directory"):
        reach_torch(pair[1])
