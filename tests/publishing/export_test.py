"""Exporting: every front end and network in one file that answers as torch does, or no file at all."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from earmark import __version__
from earmark.errors import ModelError
from earmark.inference.classifier import Classifier
from earmark.inference.golden import verify_model
from earmark.models.pretrained import load_pretrained_audio
from earmark.publishing import export as export_module
from earmark.publishing.export import INT8_TOLERANCE, export
from earmark.sound.synthesis import SOUND_NAMES, synthesise

LABELS = ("bell", "rain", "voice")


def make_clips(classifier: Classifier, *durations_s: float) -> list[np.ndarray]:
    rate = classifier.sample_rate
    return [
        synthesise(SOUND_NAMES[i % 6], seed=50 + i, duration_s=4.0, sample_rate=rate)[: round(duration_s * rate)]
        for i, duration_s in enumerate(durations_s)
    ]


def check_alike(folder: Path, exported: Path, atol: float = 1e-5) -> None:
    """The exported file says of many sounds what the model says."""
    classifier = Classifier.from_pretrained(folder, device="cpu")
    clips = make_clips(
        classifier, 1.0, 0.4, 0.7, 0.4, 0.25, 2.3, 0.02, 1.0, 1.6, *(frames / 30 for frames in range(1, 12))
    )
    expected = classifier.score(clips)
    assert np.ptp(expected, axis=0).max() > 0.05, "a model that says the same of everything proves nothing"
    np.testing.assert_allclose(Classifier.from_pretrained(exported).score(clips), expected, atol=atol)


@pytest.fixture
def write_tuned(write_native, tmp_path):
    """A tiny audio transformer that tells sounds apart and hears a second at once."""

    def write(family: str) -> Path:
        write_native(tmp_path / "base", family)
        torch.manual_seed(0)
        native = load_pretrained_audio(str(tmp_path / "base"), LABELS, multi_label=False)
        native.model.config.window = min(native.window, native.sample_rate)
        classifier = Classifier(export_module.TorchNetwork(native.model, native.extractor, "cpu"))
        logits = torch.from_numpy(classifier.hear(make_clips(classifier, 0.5, 0.5, 0.5, 0.5)).logits)
        last = getattr(native.model.classifier, "dense", native.model.classifier)
        with torch.no_grad():
            last.weight.div_(logits.std(0).mean())
            last.bias.sub_(logits.mean(0)).div_(logits.std(0).mean())
        native.model.save_pretrained(tmp_path / family)
        native.extractor.save_pretrained(tmp_path / family)
        return tmp_path / family

    return write


def test_a_file_says_all_that_an_answer_needs(exported_cnn):
    session = onnxruntime.InferenceSession(exported_cnn.with_suffix(".onnx"))
    metadata = session.get_modelmeta().custom_metadata_map
    read = {key: json.loads(metadata[key]) for key in ("labels", "sample_rate", "window", "shortest", "tolerance")}
    assert read == {
        "labels": ["bell", "rain", "voice", "铃 🔔"],
        "sample_rate": 16_000,
        "window": 16_000,
        "shortest": 1,
        "tolerance": 1e-3,
    }
    assert [json.loads(metadata[key]) for key in ("ignores_padding", "multi_label")] == [True, False]
    assert json.loads(metadata["decision"]) == {
        "thresholds": {"bell": 0.9},
        "silence_db": -60.0,
        "temperature": 1.5,
    }
    assert (metadata["earmark_version"], metadata["model"], metadata["precision"]) == (__version__, "cnn", "float32")
    assert [entry.name for entry in session.get_inputs()] == ["waveform", "lengths"]
    assert [entry.name for entry in session.get_outputs()] == ["probabilities", "logits"]


def test_the_graph_alone_takes_any_batch_of_any_length(exported_cnn):
    # As somebody without Earmark uses it: sounds longer than a window are averaged inside.
    session = onnxruntime.InferenceSession(exported_cnn.with_suffix(".onnx"))
    classifier = Classifier.from_pretrained(exported_cnn, device="cpu")
    for durations_s in ([0.3], [1.0, 0.2], [3.7, 1.0, 0.1, 2.0]):
        clips = make_clips(classifier, *durations_s)
        lengths = np.array([len(clip) for clip in clips])
        batch = np.zeros((len(clips), lengths.max()), np.float32)
        for row, clip in zip(batch, clips, strict=True):
            row[: len(clip)] = clip
        probabilities, logits = session.run(None, {"waveform": batch, "lengths": lengths})
        np.testing.assert_allclose(probabilities, classifier.score(clips), atol=1e-5)
        powers = np.exp(logits - logits.max(1, keepdims=True))
        np.testing.assert_allclose(probabilities, powers / powers.sum(1, keepdims=True), atol=1e-6)


def test_a_file_names_neither_folders_nor_sources_of_this_machine(exported_cnn):
    content = exported_cnn.with_suffix(".onnx").read_bytes()
    for said in (str(Path.home()), str(exported_cnn.parent), sys.prefix, "site-packages", ".py"):
        assert said.encode() not in content, said


@pytest.mark.slow
def test_a_summary_over_time_with_several_labels_answers_as_torch(write_own, tmp_path):
    problem = {"problem_type": "multi_label_classification"}
    write_own(tmp_path / "quick", {"kind": "mel_statistics", "n_mels": 16}, "mlp", **problem)
    exported = export(tmp_path / "quick", tmp_path / "quick.onnx")
    assert exported.agreeing == exported.sounds > 10
    check_alike(tmp_path / "quick", exported.path)
    assert Classifier.from_pretrained(exported.path).multi_label


@pytest.mark.parametrize("family", ["hubert", pytest.param("ast", marks=pytest.mark.slow)])
def test_an_audio_transformer_answers_as_torch(write_tuned, family, tmp_path):
    folder = write_tuned(family)
    exported = export(folder, tmp_path / f"{family}.onnx")
    assert exported.probabilities_apart < 1e-4
    check_alike(folder, exported.path)


def test_eight_bits_answer_nearly_as_torch_and_say_how_nearly(exported_cnn):
    path = exported_cnn.with_name("cnn-int8.onnx")
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= kinds, "the ranges are in the file"
    verdict = verify_model(Classifier.from_pretrained(path), path)
    assert (verdict.holds, verdict.measure, verdict.tolerance) == (True, "probabilities", INT8_TOLERANCE)
    assert 1e-6 < max(verdict.differences) < INT8_TOLERANCE
    check_alike(exported_cnn, path, atol=INT8_TOLERANCE)


def name_network(name: str, **settings: object) -> dict[str, object]:
    return {"name": name, "dropout": 0.0, **settings}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("front_end", "backbone"),
    [
        ({"kind": "mfcc_mean"}, "mlp"),
        ({"kind": "mfcc_mean", "n_fft": 441, "hop_length": 147, "n_mels": 40, "n_mfcc": 13}, "mlp"),
        ({"kind": "log_mel", "n_mels": 32, "power": 1.0, "reference": "max", "f_min": 50.0}, "cnn"),
        ({"kind": "log_mel", "n_mels": 32}, name_network("test_resnet")),
        ({"kind": "log_mel", "n_mels": 32}, name_network("resnext50_32x4d")),
        ({"kind": "log_mel", "n_mels": 32}, name_network("test_vit")),
        ({"kind": "log_mel", "n_mels": 32}, name_network("test_efficientnet")),
        ({"kind": "log_mel", "decibels": False}, name_network("test_resnet", picture="repeated", size_px=64)),
    ],
)
def test_every_front_end_and_network_answers_as_torch(write_own, tmp_path, front_end, backbone):
    write_own(tmp_path / "model", front_end, backbone)
    check_alike(tmp_path / "model", export(tmp_path / "model", tmp_path / "model.onnx").path, atol=1e-4)


@pytest.mark.slow
def test_a_picture_in_256_colours_answers_as_torch_to_within_a_colour(write_own, tmp_path):
    write_own(tmp_path / "vit", {"kind": "log_mel"}, name_network("test_vit", picture="coloured", size_px=64))
    exported = export(tmp_path / "vit", tmp_path / "vit.onnx")
    check_alike(tmp_path / "vit", exported.path, atol=1e-3)
    classifier = Classifier.from_pretrained(exported.path)
    assert verify_model(classifier, exported.path).tolerance == 1e-2


# Other random networks have answers that hang on their last bits; then no file is written.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("front_end", "backbone", "kind"),
    [
        ({"kind": "mfcc_mean"}, "mlp", "MatMulInteger"),
        ({"kind": "log_mel", "n_mels": 32}, name_network("test_resnet"), "QuantizeLinear"),
        ({"kind": "log_mel", "n_mels": 32}, name_network("test_vit"), "MatMulInteger"),
    ],
)
def test_every_kind_of_network_in_eight_bits_answers_nearly_as_torch(write_own, tmp_path, front_end, backbone, kind):
    write_own(tmp_path / "model", front_end, backbone)
    exported = export(tmp_path / "model", tmp_path / "model.onnx", int8=True)
    assert kind in {node.op_type for node in onnx.load(exported.path).graph.node}
    check_alike(tmp_path / "model", exported.path, atol=INT8_TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["hubert-large", "wav2vec2", "wav2vec2-large", "wavlm", "data2vec", "whisper"])
def test_every_family_answers_as_torch(write_tuned, family, tmp_path):
    folder = write_tuned(family)
    check_alike(folder, export(folder, tmp_path / f"{family}.onnx").path)


@pytest.mark.slow
def test_a_family_whose_shape_hangs_on_the_length_is_refused(write_tuned, tmp_path):
    # SEW fills up an odd number of frames; PyTorch's exporter keeps what it did with the number in the example.
    with pytest.raises(ModelError, match="answers differently from the model in torch"):
        export(write_tuned("sew"), tmp_path / "exported" / "sew.onnx")
    assert list((tmp_path / "exported").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("family", ["hubert", "wavlm", "ast"])
def test_an_audio_transformer_of_eight_bits_answers_nearly_as_torch(write_tuned, family, tmp_path):
    folder = write_tuned(family)
    exported = export(folder, tmp_path / f"{family}.onnx", int8=True)
    assert "MatMulInteger" in {node.op_type for node in onnx.load(exported.path).graph.node}
    check_alike(folder, exported.path, atol=INT8_TOLERANCE)


def draw_a_prepared_graph(exported: Path):
    """In place of the exporter: what it wrote before."""
    return lambda network, name: onnx.load(exported)


@pytest.fixture
def prepared(exported_cnn, monkeypatch):
    """Exports of the tiny network without the seconds that PyTorch's exporter takes."""
    monkeypatch.setattr(export_module, "draw_graph", draw_a_prepared_graph(exported_cnn.with_suffix(".onnx")))
    return exported_cnn


def test_a_file_that_answers_otherwise_is_not_left(prepared, tmp_path, monkeypatch):
    def spoil(network, name):
        model = onnx.load(prepared.with_suffix(".onnx"))
        for weight in model.graph.initializer:
            if "classify" in weight.name:
                weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 1.05, weight.name))
        return model

    monkeypatch.setattr(export_module, "draw_graph", spoil)
    (tmp_path / "kept.onnx").write_bytes(b"an older export")
    for name in ("new.onnx", "kept.onnx"):
        with pytest.raises(
            ModelError, match=r"answers differently .* apart, .* allowed\), so .* was not written"
        ) as caught:
            export(prepared, tmp_path / name)
        assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.onnx"]
    assert (tmp_path / "kept.onnx").read_bytes() == b"an older export"


def test_a_file_that_answers_with_no_number_is_not_left(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module.OnnxNetwork, "run", lambda self, waves: np.full((len(waves), 4), np.nan))
    with pytest.raises(ModelError, match="nan apart"):
        export(prepared, tmp_path / "new.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_model_is_not_exported(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "copy")
    classifier = Classifier.from_pretrained(prepared, device="cpu")
    with torch.no_grad():
        classifier.network.model.backbone.classify.weight.mul_(1.05)
    classifier.network.model.save_pretrained(tmp_path / "copy")
    with pytest.raises(ModelError, match="does not give the answers it gave when it was saved, so it was not exported"):
        export(tmp_path / "copy", tmp_path / "new.onnx")


def test_a_model_without_golden_waveforms_gets_some(prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "copy")
    (tmp_path / "copy" / "golden.safetensors").unlink()
    export(tmp_path / "copy", tmp_path / "new.onnx")
    assert len(Classifier.from_pretrained(tmp_path / "new.onnx").network.read_golden()) == 3


def test_a_file_is_named_after_its_run(prepared, tmp_path, monkeypatch):
    (tmp_path / "runs" / "first").mkdir(parents=True)
    shutil.copytree(prepared, tmp_path / "runs" / "first" / "model")
    (tmp_path / "runs" / "latest").symlink_to("first")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(export_module, "quantise", lambda proto, network: proto)
    assert export("runs/first").path == Path("first.onnx")
    assert export("runs/latest/model").path == Path("first.onnx")
    assert export(tmp_path / "runs" / "first" / "model", int8=True).path == Path("first-int8.onnx")
    assert sorted(os.listdir()) == ["first-int8.onnx", "first.onnx", "runs"]


@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_its_extra(exported_cnn, tmp_path, monkeypatch, name):
    find = export_module.importlib.util.find_spec
    monkeypatch.setattr(export_module.importlib.util, "find_spec", lambda asked: None if asked == name else find(asked))
    with pytest.raises(ModelError, match=rf'Exporting needs {name}; run `pip install "earmark\[onnx\]"`'):
        export(exported_cnn, tmp_path / "new.onnx")


def test_what_cannot_be_exported_is_one_sentence(exported_cnn, tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="is exported already; give the model"):
        export(exported_cnn.with_suffix(".onnx"), tmp_path / "new.onnx")
    with pytest.raises(ModelError, match=r"does not end in \.onnx"):
        export(exported_cnn, tmp_path / "new.bin")
    with pytest.raises(ModelError, match="There is no"):
        export(tmp_path / "nothing", tmp_path / "new.onnx")
    monkeypatch.setattr("earmark.publishing.graph.LARGEST_BYTES", 1_000)
    with pytest.raises(ModelError, match="GB of weights, and one ONNX file holds 2 GB at most"):
        export(exported_cnn, tmp_path / "new.onnx")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator\nand forty lines more")

    monkeypatch.undo()
    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(
        ModelError, match="cannot be exported: PyTorch's exporter to ONNX says 'no such operator'"
    ) as caught:
        export(exported_cnn, tmp_path / "new.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_extractor_without_a_torch_twin_is_one_sentence():
    from transformers import ClapFeatureExtractor

    from earmark.models.extractors import build_extractor

    with pytest.raises(ModelError, match="What ClapFeatureExtractor computes cannot be put into a graph"):
        build_extractor(ClapFeatureExtractor())
