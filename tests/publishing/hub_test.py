"""Pushing a model: what goes up and what stays here, one commit or nothing, and every refusal in one sentence."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard, constants
from safetensors.numpy import load_file, save_file

from earmark.errors import EarmarkError, ModelError, RunError
from earmark.inference.classifier import Classifier
from earmark.inference.golden import verify_model, write_golden
from earmark.models import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification
from earmark.models.hub import fetch_model
from earmark.publishing.hub import push
from earmark.training.card import write_card
from earmark.training.recipe import Recipe
from earmark.training.run import Run

LABELS = ("狗 bark", "rain")
RATE = 8_000


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as `earmark train` leaves it, with a model that learned nothing."""
    run = tmp_path_factory.mktemp("wang") / "run"
    torch.manual_seed(0)
    config = EarmarkConfig(
        sampling_rate=RATE,
        window=RATE,
        front_end={"kind": "log_mel", "n_fft": 256, "hop_length": 128, "n_mels": 16},
        backbone={"name": "cnn", "widths": [4, 8], "dropout": 0.0},
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
        problem_type="single_label_classification",
    )
    model = run / "model"
    EarmarkForAudioClassification(config).save_pretrained(model)
    EarmarkFeatureExtractor(sampling_rate=RATE).save_pretrained(model)
    write_golden(Classifier.from_pretrained(model, device="cpu"), model)
    report = {
        "title": "cnn on sounds",
        "kind": "train",
        "protocol": "Nothing was tested.",
        "notes": [],
        "data": {"source": "/home/wang/sounds", "clips": 2, "labels": list(LABELS), "split": {"train": 2}},
    }
    (model / "README.md").write_text(write_card(Recipe("cnn"), report), encoding="utf-8")
    clips = [
        {"hash": "1" * 64, "group": "Wang"},
        {"hash": "2" * 64, "group": "Wang"},
        {"hash": "3" * 64, "group": None},
    ]
    (model / "training_data.json").write_text(json.dumps({"clips": clips, "duration_s": [1.0]}), encoding="utf-8")
    (model / ".DS_Store").write_bytes(b"of the system")
    (run / "run.json").write_text("{}")
    (run / "report.json").write_text(json.dumps(report, ensure_ascii=False), encoding="utf-8")
    (run / "report.html").write_text("<audio src='data:…'>")
    (run / "clips.csv").write_text("path,label\n/home/wang/sounds/1.wav,rain\n")
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy that may be harmed."""
    return shutil.copytree(finished, tmp_path / "wang" / "run")


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_ours")


def test_a_pushed_model_is_there_whole_private_and_in_one_commit(hub, token, finished):
    assert push(finished, "me/my-sounds") == f"{hub.url}/me/my-sounds"
    pushed = hub.models["me/my-sounds"]
    assert pushed["private"] is True
    assert pushed["commits"] == ["Earmark: cnn on sounds"]
    assert pushed["files"].keys() == {
        "README.md",
        "config.json",
        "golden.safetensors",
        "model.safetensors",
        "preprocessor_config.json",
        "report.json",
        "training_data.json",
    }
    for name in ("config.json", "model.safetensors", "golden.safetensors"):
        assert pushed["files"][name] == (finished / "model" / name).read_bytes()


def test_what_could_tell_on_people_stays_here(hub, token, finished):
    push(finished, "me/my-sounds")
    files = hub.models["me/my-sounds"]["files"]
    assert not any(b"wang" in content.lower() for content in files.values())
    groups = [clip["group"] for clip in json.loads(files["training_data.json"])["clips"]]
    assert groups[0] == groups[1], "clips of one group are still known to be"
    assert groups[0].startswith("sha256:")
    assert groups[2] is None
    assert json.loads(files["report.json"])["data"]["source"] == "sounds"
    assert "Wang" in (finished / "model" / "training_data.json").read_text(encoding="utf-8"), "only the copy is changed"


def test_the_card_on_the_hub_says_how_to_use_it_from_there(hub, token, finished):
    push(finished, "me/my-sounds")
    card = hub.models["me/my-sounds"]["files"]["README.md"].decode()
    assert 'model="me/my-sounds"' in card
    assert "earmark predict me/my-sounds FILE" in card
    assert "path/to/this/directory" not in card
    assert ModelCard(card).data.pipeline_tag == "audio-classification"


def test_a_pushed_model_answers_from_the_hub_as_it_did_here(hub, token, finished):
    push(finished, "me/my-sounds")
    waveform = np.random.default_rng(0).normal(0, 0.1, 12_000).astype(np.float32)
    here = Classifier.from_pretrained(finished, device="cpu").classify(waveform)
    there = Classifier.from_pretrained("me/my-sounds", device="cpu")
    assert there.classify(waveform) == here
    assert there.network.model.name_or_path == "me/my-sounds", "reports name it so, not by a folder of the cache"
    assert verify_model(there, fetch_model("me/my-sounds")).holds


def test_another_push_is_another_commit_and_leaves_what_others_put_there(hub, token, finished):
    hub.add("me/my-sounds", {"LICENSE": b"mine", "config.json": b"{}"}, private=True)
    push(finished, "me/my-sounds", message="Second try")
    pushed = hub.models["me/my-sounds"]
    assert pushed["commits"] == ["first", "Second try"]
    assert pushed["files"]["LICENSE"] == b"mine"
    assert pushed["files"]["config.json"] == (finished / "model" / "config.json").read_bytes()


def test_a_run_a_folder_and_a_model_directory_may_be_pushed(hub, token, finished, run):
    push(Run(finished, {}), "me/one")
    push(str(finished / "model"), "me/two")
    alone = shutil.copytree(run / "model", run.parent / "alone")
    push(alone, "me/three")
    assert hub.models["me/one"]["files"].keys() == hub.models["me/two"]["files"].keys()
    assert hub.models["me/three"]["files"].keys() == hub.models["me/one"]["files"].keys() - {"report.json"}


def test_public_is_asked_for(hub, token, finished):
    push(finished, "me/open", private=False)
    assert hub.models["me/open"]["private"] is False
    with pytest.raises(ModelError, match="me/open is there already, and public; give --public to publish there"):
        push(finished, "me/open")
    push(finished, "me/closed")
    with pytest.raises(ModelError, match="me/closed is there already, and private; leave --public out"):
        push(finished, "me/closed", private=False)
    assert [len(model["commits"]) for model in hub.models.values()] == [1, 1]


def test_the_token_of_a_login_will_do(hub, finished):
    Path(constants.HF_TOKEN_PATH).write_text("hf_ours\n")
    push(finished, "me/my-sounds")
    assert "me/my-sounds" in hub.models


def refuse(run, name="me/my-sounds", **settings):
    with pytest.raises(EarmarkError) as caught:
        push(run, name, **settings)
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith(".")
    return type(caught.value), said


@pytest.mark.parametrize(
    "name", ["my-sounds", "me/my sounds", "me/my--sounds", "me/-x", "me/a/b", "我/声音", "me/x.git"]
)
def test_a_name_the_hub_does_not_take_is_refused_before_it_is_asked(hub, token, finished, name):
    kind, said = refuse(finished, name)
    assert kind is ModelError
    assert f"{name!r} is no name for a model on the Hub; give OWNER/NAME" in said
    assert hub.asked == []


def test_without_a_token_it_says_how_to_get_one(hub, finished):
    kind, said = refuse(finished)
    assert kind is ModelError
    assert f"make one at {hub.url}/settings/tokens, then run `hf auth login` or set HF_TOKEN" in said
    assert hub.asked == []


def test_a_wrong_token_is_named_by_where_it_comes_from(hub, finished, monkeypatch):
    Path(constants.HF_TOKEN_PATH).write_text("hf_old\n")
    assert "The Hub does not know the token of your login" in refuse(finished)[1]
    monkeypatch.setenv("HF_TOKEN", "hf_nonsense")
    assert "The Hub does not know the token in HF_TOKEN" in refuse(finished)[1]
    assert hub.models == {}


def test_somebody_elses_name_is_refused(hub, token, finished):
    _, said = refuse(finished, "you/my-sounds")
    assert said.startswith("The token may not write to you/my-sounds (403); use your own user name")


def test_a_token_that_may_only_read_is_refused(hub, token, finished):
    hub.add("me/my-sounds", {}, private=True)
    hub.faults["/commit/"] = 403
    assert "and a token with that right from" in refuse(finished)[1]
    assert hub.models["me/my-sounds"]["files"] == {}


def test_a_hub_that_fails_half_way_leaves_nothing_half_written(hub, token, finished):
    hub.faults["/commit/"] = 409
    _, said = refuse(finished)
    assert said == ("The upload to me/my-sounds failed (409 out of order), so nothing was published; push again.")
    assert hub.models["me/my-sounds"]["files"] == {}


def test_a_connection_that_breaks_leaves_nothing_half_written(hub, token, finished, capsys):
    hub.faults["/commit/"] = 0
    _, said = refuse(finished)
    assert said.startswith("The upload to me/my-sounds failed (")
    assert said.endswith("), so nothing was published; push again.")
    assert hub.models["me/my-sounds"]["files"] == {}
    assert capsys.readouterr() == ("", ""), "where no terminal watches, no bars"


def test_without_a_connection_nothing_is_tried(hub, token, finished, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached, so nothing was published; check the connection" in refuse(finished)[1]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE forbids to reach the Hub; unset it to push" in refuse(finished)[1]
    assert hub.asked == []


def test_a_damaged_copy_is_not_published(hub, token, run):
    weights = load_file(run / "model" / "model.safetensors")
    weights["backbone.classify.weight"] = weights["backbone.classify.weight"] * 1.5
    save_file(weights, run / "model" / "model.safetensors", metadata={"format": "pt"})
    kind, said = refuse(run)
    assert kind is ModelError
    assert "does not give the answers it gave when it was saved, so it was not published" in said
    assert hub.models == {}


def test_a_model_that_nobody_can_check_is_not_published(hub, token, run):
    (run / "model" / "golden.safetensors").unlink()
    assert "only models written by `earmark train` can be verified" in refuse(run)[1]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda run: (run / "report.json").unlink(), r"is not finished; `earmark train --resume .*run` ends it"),
        (lambda run: (run / "report.json").write_text('{"kind": "crossval"}'), "measured models and holds none; push"),
        (lambda run: (run / "report.json").write_text("{"), "report.json is damaged .*; copy the run again"),
        (lambda run: shutil.rmtree(run), "There is no run .*; give the folder that `earmark train` wrote"),
    ],
)
@pytest.mark.parametrize("inside", ["", "model"])
def test_what_is_no_finished_training_is_refused(hub, token, run, harm, said, inside):
    harm(run)
    with pytest.raises(RunError, match=said):
        push(run / inside, "me/my-sounds")
    assert hub.asked == []


def test_a_folder_without_a_model_is_refused(hub, token, tmp_path):
    assert "holds no model" in refuse(tmp_path)[1]
