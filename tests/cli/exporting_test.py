"""The verb that exports, and the verbs that then take its file."""

import re
import shutil

import pytest
import soundfile
from typer.testing import CliRunner

from earmark.cli.main import app
from earmark.publishing import export as export_module
from earmark.sound.synthesis import synthesise


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture
def prepared(exported_cnn, monkeypatch):
    """The tiny network, exported without the seconds that PyTorch's exporter takes."""
    import onnx

    monkeypatch.setattr(export_module, "draw_graph", lambda network, name: onnx.load(exported_cnn.with_suffix(".onnx")))
    return exported_cnn


def test_export_says_what_it_wrote_and_how_it_compares(prepared, tmp_path):
    code, said = call("export", prepared, "--format", "onnx", "--out", tmp_path / "small.onnx")
    assert code == 0
    first, second = said.splitlines()
    number = r"\d(?:\.\d+)?(?:e-\d+)?"
    assert re.fullmatch(
        rf"{re.escape(str(tmp_path / 'small.onnx'))}, \d\.\d MB: 18 of 18 sounds get the answer that torch gives; "
        rf"logits at most {number}, probabilities {number} apart\.",
        first,
    )
    assert second == f"Label a file: earmark predict {tmp_path / 'small.onnx'} FILE"
    assert (tmp_path / "small.onnx").is_file()


def test_export_of_eight_bits_says_what_is_allowed(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "quantise", lambda proto, network: proto)
    said = call("export", prepared, "--int8", "--out", tmp_path / "small.onnx")[1]
    assert said.splitlines()[1] == ("Weights of 8 bits move probabilities; up to 0.1 is taken for the same model.")


def test_predict_takes_the_file_as_it_takes_the_model(exported_cnn, tmp_path):
    soundfile.write(tmp_path / "new.wav", synthesise("bell", seed=3, duration_s=1.5, sample_rate=22_050), 22_050)
    answers = [call("predict", model, tmp_path / "new.wav") for model in (exported_cnn, f"{exported_cnn}.onnx")]
    assert answers[0] == answers[1]
    assert answers[0][0] == 0


def test_verify_replays_the_golden_waveforms_inside(exported_cnn):
    code, said = call("verify", f"{exported_cnn}.onnx")
    lines = said.splitlines()
    assert (code, len(lines)) == (0, 4)
    assert re.fullmatch(r"golden waveform 1: logits differ by at most \d\.\de-\d\d", lines[0])
    assert lines[3] == f"The model {exported_cnn}.onnx gives the answers that torch gave when it was exported."
    code, said = call("verify", f"{exported_cnn}-int8.onnx")
    lines = said.splitlines()
    assert (code, len(lines)) == (0, 4)
    assert re.fullmatch(r"golden waveform 1: probabilities differ by at most \d\.\de-\d\d", lines[0])
    assert lines[3].endswith("gives the answers that torch gave when it was exported, to within 0.1 of probability.")


def test_verify_of_a_changed_file_fails(exported_cnn, tmp_path):
    import onnx

    model = onnx.load(f"{exported_cnn}.onnx")
    weight = next(entry for entry in model.graph.initializer if entry.name.endswith("classify.weight"))
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 1.05, weight.name))
    onnx.save(model, tmp_path / "changed.onnx")
    code, said = call("verify", tmp_path / "changed.onnx")
    assert code == 1
    assert "This is not the model it was: more than 0.001 apart. Export it again, or fetch it anew." in said


def test_a_folder_of_that_name_is_no_file(tmp_path, exported_cnn):
    from earmark.errors import ModelError

    shutil.copytree(exported_cnn, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"There is no file .*model\.onnx"):
        call("predict", tmp_path / "model.onnx", "x.wav")
