"""For every test: a cache of its own, no network, one thread, so that figures repeat and cores are shared."""

import base64
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

# Before anything of ours or of the libraries is imported, since they read these once.
os.environ["EARMARK_CACHE"] = tempfile.mkdtemp(prefix="earmark-tests-")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["NO_COLOR"] = "1"

TOKEN = "hf_ours"


class StandInHub:
    """The Hub's HTTP interface on this machine, as far as fetching a model and pushing one go.

    One user, ``me``, whose token is ``hf_ours``. ``models`` holds what lies there: id -> (private, files, commits).
    ``gated`` are ids whose terms nobody has accepted; a request whose path contains a key of ``faults`` is answered
    with that status, or not at all where it is 0; ``asked`` lists every request that came.
    """

    def __init__(self) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        self.gated: set[str] = set()
        self.faults: dict[str, int] = {}
        self.asked: list[str] = []
        self.objects: dict[str, bytes] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_HubHandler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def add(self, name: str, files: dict[str, bytes], *, private: bool = False) -> None:
        self.models[name] = {"private": private, "files": dict(files), "commits": ["first"]}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class _HubHandler(BaseHTTPRequestHandler):
    hub: StandInHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _handle(self) -> None:
        self.path_only = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {self.path_only}")
        self.body = self._read_body()
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.known = token == TOKEN
        faults = [status for part, status in self.hub.faults.items() if part in self.path_only]
        if faults == [0]:
            self.close_connection = True
        elif faults:
            self._answer({"error": "out of order"}, faults[0])
        elif token and not self.known:
            self._refuse(401, "", "Invalid credentials in Authorization header")
        else:
            self._route()

    do_GET = do_HEAD = do_POST = do_PUT = _handle  # noqa: N815 - the names http.server looks for

    def _route(self) -> None:
        parts = self.path_only.strip("/").split("/")
        if parts == [""]:
            self._answer({})
        elif parts == ["api", "repos", "create"]:
            self._create(json.loads(self.body))
        elif parts == ["api", "validate-yaml"]:
            self._answer({"errors": [], "warnings": []})
        elif parts[0] == "lfs":
            self.hub.objects[parts[1]] = self.body
            self._answer({})
        elif parts[:2] == ["api", "models"] and len(parts) >= 4:
            self._model("/".join(parts[2:4]), parts[4:])
        elif len(parts) > 3 and parts[2] == "resolve":
            self._model("/".join(parts[:2]), parts[2:])
        elif self.path_only.endswith(".git/info/lfs/objects/batch"):
            self._place_objects(json.loads(self.body))
        else:
            self._answer({"error": "not found"}, 404)

    def _model(self, name: str, rest: list[str]) -> None:
        model = self.hub.models.get(name)
        if model is None or (model["private"] and not self.known):
            self._refuse(404 if self.known else 401, "RepoNotFound", "Repository not found")
        elif rest[:1] == ["resolve"]:
            if name in self.hub.gated:
                self._refuse(403, "GatedRepo", f"Access to model {name} is restricted")
            else:
                self._give_file(model, "/".join(rest[2:]))
        elif rest[:1] == ["tree"]:
            self._answer([_describe(path, content) for path, content in model["files"].items()])
        elif rest[:1] == ["preupload"]:
            asked = [file["path"] for file in json.loads(self.body)["files"]]
            modes = [(path, "lfs" if path.endswith(".safetensors") else "regular") for path in asked]
            self._answer({"files": [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in modes]})
        elif rest[:1] == ["commit"]:
            self._commit(name, model, [json.loads(line) for line in self.body.splitlines()])
        else:
            files = [{"rfilename": path} for path in model["files"]]
            self._answer({"id": name, "private": model["private"], "sha": _revision(model), "siblings": files})

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if asked["organization"] != "me":
            self._refuse(403, "", f"You don't have the rights to create a model under the namespace {name}")
            return
        there = name in self.hub.models
        if not there:
            private = asked["visibility"] == "private" if "visibility" in asked else asked["private"]
            self.hub.models[name] = {"private": private, "files": {}, "commits": []}
        self._answer({"url": f"{self.hub.url}/{name}"}, 409 if there else 200)

    def _place_objects(self, asked: dict[str, Any]) -> None:
        places = [
            {**entry, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{entry['oid']}"}}}
            for entry in asked["objects"]
        ]
        self._answer({"transfer": "basic", "objects": places})

    def _commit(self, name: str, model: dict[str, Any], lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                model["files"][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                content = self.hub.objects[value["oid"]]
                assert hashlib.sha256(content).hexdigest() == value["oid"]
                model["files"][value["path"]] = content
            else:
                model["commits"].append(value["summary"])
        revision = _revision(model)
        url = f"{self.hub.url}/{name}/commit/{revision}"
        self._answer({"success": True, "commitOid": revision, "commitUrl": url})

    def _give_file(self, model: dict[str, Any], path: str) -> None:
        if path not in model["files"]:
            self._refuse(404, "EntryNotFound", "Entry not found")
            return
        content = model["files"][path]
        self._send(content, 200, {"ETag": f'"{_git_hash(content)}"', "X-Repo-Commit": _revision(model)})

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _refuse(self, status: int, code: str, said: str) -> None:
        headers = {"X-Error-Message": said} | ({"X-Error-Code": code} if code else {})
        self._send(json.dumps({"error": said}).encode(), status, headers)

    def _answer(self, value: Any, status: int = 200) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json"})

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _describe(path: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": len(content), "oid": _git_hash(content)}


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _revision(model: dict[str, Any]) -> str:
    return hashlib.sha1(repr((model["commits"], sorted(model["files"].items()))).encode()).hexdigest()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInHub]:
    """A stand-in for the Hub, asked by everything that asks the Hub; nobody is logged in, and nothing is cached."""
    from huggingface_hub import constants

    home = tmp_path_factory.mktemp("hub")
    stand_in = StandInHub()
    monkeypatch.setattr(constants, "ENDPOINT", stand_in.url)
    template = stand_in.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield stand_in
    stand_in.close()


@pytest.fixture(scope="session")
def write_native() -> Callable[..., Any]:
    """Writes a tiny random audio model of Transformers with its extractor, in the form its family has on the Hub.

    ``write_native(folder, family, **changes)`` returns what was written; ``changes`` go into its configuration.
    """
    import torch
    import transformers as hf

    tiny = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    speech = {**tiny, "conv_dim": (8,) * 7, "classifier_proj_size": 8, "num_conv_pos_embedding_groups": 2}
    speech["num_conv_pos_embeddings"] = 16
    large = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
    data2vec = {"num_conv_pos_embeddings": 2, "conv_pos_kernel_size": 5}
    whisper = {"d_model": 16, "max_source_positions": 50, "classifier_proj_size": 8, "vocab_size": 9, "pad_token_id": 0}
    whisper |= {f"{part}_{key}": 2 for part in ("encoder", "decoder") for key in ("layers", "attention_heads")}
    whisper |= {"encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "bos_token_id": 1, "eos_token_id": 2}
    whisper["init_std"] = 0.3  # with less, one so small says the same of every sound
    unmasked = hf.Wav2Vec2FeatureExtractor(return_attention_mask=False)
    masked = hf.Wav2Vec2FeatureExtractor(return_attention_mask=True)
    patches = hf.ASTFeatureExtractor(max_length=64, num_mel_bins=32)
    # Base models without a head, models with another, and an encoder among other things.
    families = {
        "hubert": (hf.HubertModel, hf.HubertConfig, speech, unmasked),
        "hubert-large": (hf.HubertModel, hf.HubertConfig, speech | large, masked),
        "wav2vec2": (hf.Wav2Vec2ForPreTraining, hf.Wav2Vec2Config, speech, unmasked),
        "wav2vec2-large": (hf.Wav2Vec2ForCTC, hf.Wav2Vec2Config, speech | large, masked),
        "wavlm": (hf.WavLMModel, hf.WavLMConfig, speech, unmasked),
        "data2vec": (hf.Data2VecAudioModel, hf.Data2VecAudioConfig, speech | data2vec, masked),
        "sew": (hf.SEWModel, hf.SEWConfig, speech | {"conv_dim": (8,) * 13}, unmasked),
        "ast": (
            hf.ASTForAudioClassification,
            hf.ASTConfig,
            {**tiny, "max_length": 64, "num_mel_bins": 32, "num_labels": 527},
            patches,
        ),
        "whisper": (
            hf.WhisperForConditionalGeneration,
            hf.WhisperConfig,
            whisper,
            hf.WhisperFeatureExtractor(chunk_length=1),
        ),
    }

    def write(folder: Any, family: str, **changes: Any) -> Any:
        model_class, config_class, settings, extractor = families[family]
        torch.manual_seed(7)
        model = model_class(config_class(**{**settings, **changes})).eval()
        model.save_pretrained(folder)
        extractor.save_pretrained(folder)
        return model

    return write


@pytest.fixture(scope="session")
def write_own() -> Callable[..., Any]:
    """Writes a tiny random model of ours that tells sounds apart, with its golden waveforms.

    ``write_own(folder, front_end, backbone, **changes)``: the backbone is ``"mlp"``, ``"cnn"`` or its settings, and
    ``changes`` go into the configuration.
    """
    import numpy as np
    import torch

    from earmark.inference.classifier import Classifier
    from earmark.inference.golden import write_golden
    from earmark.models import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification
    from earmark.sound.synthesis import SOUND_NAMES, synthesise

    labels = ("bell", "rain", "voice", "铃 🔔")
    mlp = {"name": "mlp", "hidden": [32], "dropout": 0.0, "batch_norm": True, "activation": "relu"}
    backbones = {"mlp": mlp, "cnn": {"name": "cnn", "widths": [4, 8, 16], "dropout": 0.0}}

    def write(folder: Any, front_end: dict[str, Any], backbone: str | dict[str, Any], **changes: Any) -> None:
        torch.manual_seed(0)
        settings: dict[str, Any] = {
            "sampling_rate": 16_000,
            "window": 16_000,
            "id2label": dict(enumerate(labels)),
            "label2id": {label: i for i, label in enumerate(labels)},
            "problem_type": "single_label_classification",
            "earmark_decision": {"thresholds": {"bell": 0.9}, "silence_db": -60.0, "temperature": 1.5},
        }
        network = backbones[backbone] if isinstance(backbone, str) else backbone
        model = EarmarkForAudioClassification(
            EarmarkConfig(**settings | {"front_end": front_end, "backbone": network} | changes)
        ).eval()
        rate, window = model.config.sampling_rate, model.config.window
        clips = [
            synthesise(name, seed=1, duration_s=window / rate, sample_rate=rate)[:window] for name in SOUND_NAMES[:4]
        ]
        heard = torch.from_numpy(np.stack(clips))
        with torch.no_grad():
            model.standardise.fit([model.encode(heard)])
            # Random networks say nearly the same of everything; a steep, centred last layer makes differences show.
            last = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
            logits = model(heard).logits
            last.weight.div_(logits.std(0).mean())
            last.bias.sub_(logits.mean(0)).div_(logits.std(0).mean())
        model.save_pretrained(folder)
        EarmarkFeatureExtractor(sampling_rate=rate).save_pretrained(folder)
        write_golden(Classifier.from_pretrained(folder, device="cpu"), folder)

    return write


@pytest.fixture(scope="session")
def exported_cnn(write_own: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The folder of a tiny convolutional network; beside it ``cnn.onnx`` and ``cnn-int8.onnx``, exported from it.

    PyTorch's exporter takes seconds: it is asked once, whatever the number of processes and of files.
    """
    import copy

    from filelock import FileLock

    from earmark.publishing import export as exporting

    place = tmp_path_factory.getbasetemp()
    place = place.parent if "PYTEST_XDIST_WORKER" in os.environ else place
    folder = place / "exported" / "cnn"
    draw, drawn = exporting.draw_graph, []
    with FileLock(place / "exported.lock"), pytest.MonkeyPatch.context() as patch:
        if folder.with_name("cnn-int8.onnx").exists():
            return folder

        def draw_once(network: Any, name: str) -> Any:
            drawn[:] = drawn or [draw(network, name)]
            return copy.deepcopy(drawn[0])

        patch.setattr(exporting, "draw_graph", draw_once)
        write_own(folder, {"kind": "log_mel", "n_mels": 32, "top_db": 80.0}, "cnn")
        exporting.export(folder, folder.with_suffix(".onnx"))
        exporting.export(folder, folder.with_name("cnn-int8.onnx"), int8=True)
    return folder
