"""Decoding processes: light, robust against files that kill, and gone when their parent is."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from earmark.inference.decoders import DecoderProcesses
from earmark.inference.loading import load_files

LOADER = """
import os, sys
from earmark.inference.loading import Loaded, load_files

def load(paths, sample_rate):
    if any("killer" in path for path in paths):
        os._exit(9)
    return load_files(paths, sample_rate)

def name_modules(paths, sample_rate):
    return [Loaded(" ".join(sorted(sys.modules)), None, "") for _ in paths]
"""


@pytest.fixture
def loader(tmp_path, monkeypatch):
    (tmp_path / "loader_of_the_test.py").write_text(LOADER)
    monkeypatch.syspath_prepend(str(tmp_path))
    import loader_of_the_test

    return loader_of_the_test


def test_a_file_that_ends_its_process_costs_a_row(loader, tmp_path):
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 2_000)
    for name in ("a", "b", "killer", "c"):
        soundfile.write(tmp_path / f"{name}.wav", sound, 8_000)
    paths = [str(tmp_path / f"{name}.wav") for name in ("a", "killer", "b")]
    with DecoderProcesses(1) as decoders:
        first = decoders.submit(loader.load, paths, 8_000)
        loaded = first.result()
        later = decoders.submit(loader.load, [str(tmp_path / "c.wav")], 8_000).result()
    assert [entry.path for entry in loaded] == paths
    assert [entry.waveform is not None for entry in loaded] == [True, False, True]
    assert loaded[1].reason.startswith(f"{paths[1]} ended the process that decoded it")
    np.testing.assert_array_equal(later[0].waveform, load_files([paths[0]], 8_000)[0].waveform)


def test_they_import_little(loader):
    with DecoderProcesses(1) as decoders:
        (loaded,) = decoders.submit(loader.name_modules, [""], 0).result()
    modules = set(loaded.path.split())
    assert "earmark.inference.loading" in modules
    assert not modules & {"torch", "transformers", "pandas", "sklearn", "onnxruntime", "typer", "matplotlib"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_they_end_when_their_parent_is_killed():
    code = (
        "import os, sys, time\n"
        "from earmark.inference.decoders import DecoderProcesses\n"
        "from earmark.inference.loading import load_files\n"
        "if __name__ == '__main__':\n"
        "    decoders = DecoderProcesses(1)\n"
        "    decoders.submit(load_files, [], 8000).result()\n"
        "    print(*decoders._pool._processes, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    os.kill(worker, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for _ in range(200):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            break
        with open(f"/proc/{worker}/stat") as stat:  # nobody may be there to bury it
            if stat.read().rpartition(")")[2].split()[0] == "Z":
                break
        time.sleep(0.05)
    else:
        pytest.fail("the worker outlives its parent")
