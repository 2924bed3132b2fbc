"""The server: where it listens, what starting it says, and how it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from earmark.cli.main import app
from earmark.errors import ModelError, ServiceError
from earmark.inference.classifier import Classifier
from earmark.serving import server
from earmark.serving.server import is_loopback, name_url, open_socket

PROGRAM = """
import sys, threading
sys.path.insert(0, {here!r})
from conftest import ToneNetwork
from earmark.inference.classifier import Classifier
from earmark.serving.app import build_app
from earmark.serving.server import name_url, open_socket, run_server
from earmark.serving.service import Service

network = ToneNetwork()
network.gate.clear()
run = network.run
def say_and_run(waveforms):
    print("asked", flush=True)
    return run(waveforms)
network.run = say_and_run
threading.Thread(target=lambda: (sys.stdin.readline(), network.gate.set()), daemon=True).start()
listening = open_socket("127.0.0.1", 0)
app = build_app(Service(Classifier(network), name="tones"))
run_server(app, listening, lambda: print(name_url(listening), flush=True))
print("ended", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_was_accepted_is_answered_before_the_end(tone, encoded, number):
    program = PROGRAM.format(here=str(Path(__file__).parent))
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        url = process.stdout.readline().strip()
        answers = []
        asking = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{url}/v1/classify", content=encoded(tone(300, 1)), timeout=20))
        )
        asking.start()
        assert process.stdout.readline() == "asked\n"
        process.send_signal(number)
        deadline = threading.Event()
        for _ in range(200):  # it no longer listens, but has not ended
            try:
                socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=1).close()
            except OSError:
                break
            deadline.wait(0.05)
        assert process.poll() is None
        process.stdin.write("go on\n")
        process.stdin.flush()
        asking.join(20)
        written, complaints = process.communicate(timeout=20)
    assert answers[0].status_code == 200
    assert answers[0].json()["results"][0]["prediction"][0]["label"] == "low"
    assert written == "ended\n"
    assert process.returncode == 0
    assert "Traceback" not in complaints


def test_only_this_machine_can_reach_it_unless_told():
    with open_socket("127.0.0.1", 0) as inside:
        assert is_loopback(inside)
    with open_socket("0.0.0.0", 0) as outside:
        assert not is_loopback(outside)
        assert name_url(outside).startswith("http://127.0.0.1:")


def test_a_taken_port_and_a_foreign_address_are_explained():
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"^127.0.0.1:{port} cannot be listened at .*give another --port"):
            open_socket("127.0.0.1", port)
    with pytest.raises(ServiceError, match="a --host that is this machine's"):
        open_socket("192.0.2.1", 0)


# The verb


@pytest.fixture
def started(monkeypatch, network):
    """Runs `earmark serve` as far as the server, which is noted instead of run."""
    noted = []
    monkeypatch.setattr(Classifier, "from_pretrained", classmethod(lambda cls, name: cls(network)))
    monkeypatch.setattr(
        server, "run_server", lambda app, listening, on_start: (noted.append((app, listening)), on_start())
    )
    return noted


def test_serve_says_where_it_is(started):
    result = CliRunner().invoke(app, ["serve", "runs/birds/model", "--port", "0"], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.output.startswith("runs/birds/model: http://127.0.0.1:")
    assert "can reach" not in result.output


def test_serve_beyond_this_machine_without_a_token_warns(started):
    arguments = ["serve", "birds", "--port", "0", "--host", "0.0.0.0"]
    assert "--token keeps others out" in CliRunner().invoke(app, arguments).output
    assert "--token" not in CliRunner().invoke(app, [*arguments, "--token", "sesame"]).output
    assert "--token" not in CliRunner().invoke(app, arguments, env={"EARMARK_TOKEN": "sesame"}).output


def test_a_directory_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(ModelError, match="holds no model"):
        CliRunner().invoke(app, ["serve", str(tmp_path), "--port", "0"], catch_exceptions=False)
    with pytest.raises(ModelError, match="There is no"):
        CliRunner().invoke(app, ["serve", str(tmp_path / "nothing"), "--port", "0"], catch_exceptions=False)


def test_a_model_with_another_contract_is_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    shape = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 2])
    same = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 2])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "theirs", [shape], [same])
    opsets = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, ir_version=9, opset_imports=opsets), tmp_path / "theirs.onnx")
    with pytest.raises(ModelError, match=r"theirs\.onnx"):
        CliRunner().invoke(app, ["serve", str(tmp_path / "theirs.onnx"), "--port", "0"], catch_exceptions=False)


def test_a_token_that_fits_into_no_header_is_refused(started):
    with pytest.raises(ServiceError, match="must fit into a header"):
        CliRunner().invoke(app, ["serve", "birds", "--port", "0", "--token", "öffne dich"], catch_exceptions=False)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("earmark.serving")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(ServiceError, match=r'pip install "earmark\[serve\]"'):
        CliRunner().invoke(app, ["serve", "birds", "--port", "0"], catch_exceptions=False)


def test_the_service_loads_neither_torch_nor_pandas():
    heavy = ("torch", "transformers", "pandas", "sklearn", "matplotlib", "scipy", "jinja2")
    code = (
        "import earmark.serving.app, earmark.serving.server, json, sys\n"
        f"print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert json.loads(done.stdout) == []
