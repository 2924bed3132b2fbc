"""The verb push, and what comes back: whatever takes a model takes it by its id on the Hub."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from earmark.cli.main import app, run

RATE = 8000
TINY = [f"audio.sample_rate={RATE}", "front_end.n_fft=256", "front_end.n_mels=16", "model.hidden=[8]", "train.epochs=2"]


@pytest.fixture(scope="module")
def trained(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from earmark.training.run import train

    return train(sounds, "quick", out=tmp_path_factory.mktemp("runs") / "run", overrides=TINY).folder


def call(*arguments: str) -> list[str]:
    """The lines that ``earmark ARGUMENTS`` writes."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout.splitlines()


def test_a_model_is_pushed_and_used_by_its_id(hub, monkeypatch, sounds, trained, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_ours")
    assert call("push", str(trained), "me/hums", "--message", "A first try") == [
        f"On the Hub, private: {hub.url}/me/hums",
        "Label a file: earmark predict me/hums FILE",
    ]
    assert hub.models["me/hums"]["commits"] == ["A first try"]
    clip = str(sounds / "hum" / "3.wav")
    ask = ("predict", "--format", "jsonl")
    assert json.loads(call(*ask, "me/hums", clip)[0]) == json.loads(call(*ask, str(trained), clip)[0])
    assert call("verify", "me/hums")[-1] == "The model me/hums gives the answers it gave when it was saved."
    out = tmp_path / "measured"
    call("evaluate", "me/hums", str(sounds), "--out", str(out), "--allow-leak")
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["title"].startswith("hums on ")
    assert report["metrics"]["clips"] == 20


def test_public_is_said(hub, monkeypatch, trained):
    monkeypatch.setenv("HF_TOKEN", "hf_ours")
    assert call("push", str(trained), "me/hums", "--public")[0] == f"On the Hub, for everybody: {hub.url}/me/hums"
    assert hub.models["me/hums"]["private"] is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["push", "{run}", "me/hums"], "earmark: Pushing needs a token that may write; make one at "),
        (["push", "{run}", "hums"], "earmark: 'hums' is no name for a model on the Hub; give OWNER/NAME"),
        (["push", "{run}/none", "me/hums"], "earmark: There is no run {run}/none; give the folder"),
        (["verify", "me/hums"], "earmark: There is no folder me/hums here, and the Hub knows no model of that name"),
        (["predict", "me/hums", "{run}/a.wav"], "earmark: There is no folder me/hums here, and the Hub knows no model"),
        (["evaluate", "me/hums", "{run}"], "earmark: There is no folder me/hums here, and the Hub knows no model"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(hub, monkeypatch, capsys, trained, arguments, said):
    monkeypatch.setattr("sys.argv", ["earmark", *(argument.format(run=trained) for argument in arguments)])
    with pytest.raises(SystemExit) as ended:
        run()
    written = capsys.readouterr()
    assert (ended.value.code, written.out) == (2, "")
    assert written.err.startswith(said.format(run=trained))
    assert written.err.count("\n") == 1
