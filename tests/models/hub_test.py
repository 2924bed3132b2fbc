"""The Hub: models fetched by id, refusals in one sentence; out of reach it is found out at once."""

from contextlib import contextmanager

import pytest
from huggingface_hub import constants
from transformers.utils import logging

from earmark.errors import ModelError
from earmark.models import hub as hub_module
from earmark.models.hub import fetch_model, hide_progress, is_hub_id
from earmark.reach import offline_if_unreachable

NOBODY = "http://127.0.0.1:9"  # the discard port: nobody listens
FILES = {
    "config.json": b'{"model_type": "hubert"}',
    "preprocessor_config.json": b"{}",
    "model.safetensors": b"weights",
    "golden.safetensors": b"golden",
    "pytorch_model.bin": b"the same again",
    "README.md": b"# A model",
    "onnx/config.json": b"{}",
    "checkpoint-5/model.safetensors": b"older",
}


def use_until_an_error() -> None:
    with offline_if_unreachable():
        raise ValueError("in the block")


def test_an_answering_hub_is_used(hub):
    with offline_if_unreachable() as reachable:
        assert reachable
        assert constants.HF_HUB_OFFLINE is False
    assert constants.HF_HUB_OFFLINE is False


def test_a_hub_that_does_not_answer_is_not_asked_again_within_the_block(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", NOBODY)
    with offline_if_unreachable() as reachable:
        assert not reachable
        assert constants.HF_HUB_OFFLINE is True
    assert constants.HF_HUB_OFFLINE is False
    with pytest.raises(ValueError, match="in the block"):
        use_until_an_error()
    assert constants.HF_HUB_OFFLINE is False, "an error restores it, too"


def test_who_asked_to_stay_offline_stays_offline(monkeypatch, hub):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with offline_if_unreachable() as reachable:
        assert not reachable
        assert constants.HF_HUB_OFFLINE is True
    assert constants.HF_HUB_OFFLINE is True


def test_datasets_imported_while_offline_does_not_keep_it_so(monkeypatch, hub):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with offline_if_unreachable() as reachable:
        assert reachable
        assert datasets.config.HF_HUB_OFFLINE is False


@pytest.mark.parametrize("shown", [True, False])
def test_transformers_bars_are_hidden_and_come_back_if_they_were_there(shown):
    before = logging.is_progress_bar_enabled()
    (logging.enable_progress_bar if shown else logging.disable_progress_bar)()
    try:
        with hide_progress():
            assert not logging.is_progress_bar_enabled()
        assert logging.is_progress_bar_enabled() == shown
    finally:
        (logging.enable_progress_bar if before else logging.disable_progress_bar)()


@pytest.mark.parametrize(
    ("name", "could_be"),
    [
        ("owner/name", True),
        ("MIT/ast-finetuned-audioset-10-10-0.4593", True),
        ("cnn", False),
        ("runs/one/model", False),
        ("my runs/first", False),
        ("../model", False),
        ("owner/na--me", False),
        ("录音/模型", False),
    ],
)
def test_a_hub_id_is_known_by_the_hubs_rules(name, could_be):
    assert is_hub_id(name) == could_be


def list_files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_model_is_fetched_with_what_transformers_opens_and_no_more(hub):
    hub.add("owner/name", FILES)
    folder = fetch_model("owner/name")
    wanted = {"config.json", "preprocessor_config.json", "model.safetensors", "golden.safetensors"}
    assert list_files(folder) == wanted
    assert all((folder / name).read_bytes() == FILES[name] for name in wanted)


def test_a_model_with_nothing_but_older_weights_is_fetched_with_them(hub):
    files = {name: content for name, content in FILES.items() if name != "model.safetensors"}
    hub.add("owner/name", files)
    folder = fetch_model("owner/name")
    assert (folder / "pytorch_model.bin").read_bytes() == b"the same again"


def test_fetching_tells_how_far_it_is_and_draws_nothing(hub, monkeypatch, capfd):
    told = []

    @contextmanager
    def watch(description, unit):
        assert (description, unit) == ("Fetching owner/name", "MB")
        yield lambda done, total: told.append((done, total))

    monkeypatch.setattr(hub_module, "show_progress", watch)
    hub.add("owner/name", {**FILES, "model.safetensors": bytes(3_500_000)})
    fetch_model("owner/name")
    assert told[-1] == (4, 4)
    assert all(done <= total for done, total in told)
    assert capfd.readouterr() == ("", "")


def test_a_private_model_is_fetched_with_a_token(hub, monkeypatch):
    hub.add("me/mine", FILES, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_ours")
    assert (fetch_model("me/mine") / "model.safetensors").read_bytes() == b"weights"


def test_what_was_fetched_once_is_there_without_a_connection(hub, monkeypatch):
    hub.add("owner/name", FILES)
    folder = fetch_model("owner/name")
    monkeypatch.setattr(constants, "ENDPOINT", NOBODY)
    assert fetch_model("owner/name") == folder
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch_model("owner/name") == folder


def test_a_cache_that_others_filled_is_used(monkeypatch, tmp_path):
    """As Transformers leaves it: a snapshot, and the name of the branch that it is."""
    place = tmp_path / "models--owner--name"
    snapshot = place / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("a" * 40)
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).write_bytes(FILES[name])
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch_model("owner/name") == snapshot


def offline(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def unreachable(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", NOBODY)


def logged_in(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_ours")


def wrong_token(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_nonsense")


def gated(hub, monkeypatch):
    hub.add("owner/name", FILES)
    hub.gated.add("owner/name")


def private(hub, monkeypatch):
    hub.add("owner/name", FILES, private=True)


def no_model(hub, monkeypatch):
    hub.add("owner/name", {"README.md": b"# Sounds"})


def out_of_order(hub, monkeypatch):
    hub.faults["/api/models"] = 500


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (None, "There is no folder owner/name here, and the Hub knows no model of that name, or keeps it private; "),
        (logged_in, "the Hub knows no model of that name, or keeps it private; check the name, "),
        (private, "for a private model log in with `hf auth login` or set HF_TOKEN"),
        (
            wrong_token,
            "The Hub does not know the token in HF_TOKEN; it is mistyped, expired or revoked: make a new one",
        ),
        (gated, "The owner of owner/name wants its terms accepted first; do so at http.*/owner/name, and log in"),
        (
            unreachable,
            "There is no folder owner/name here, and the Hub .* cannot be reached for a model of that name; ",
        ),
        (offline, "There is no folder owner/name here, and HF_HUB_OFFLINE forbids to fetch .* unset HF_HUB_OFFLINE"),
        (no_model, r"owner/name on the Hub is no model of Transformers \(no config.json\)"),
        (out_of_order, r"owner/name cannot be fetched from the Hub \(500 out of order\); try again later"),
    ],
)
def test_a_model_that_cannot_be_had_is_told_in_one_sentence(hub, monkeypatch, state, said):
    if state is not None:
        state(hub, monkeypatch)
    with pytest.raises(ModelError, match=said) as caught:
        fetch_model("owner/name")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
