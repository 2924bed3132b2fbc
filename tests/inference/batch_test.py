"""Archives: the same bytes however often the work was broken off, and every file a row."""

import csv
import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.errors import RunError
from earmark.inference import batch, shards
from earmark.inference.batch import predict_archive
from earmark.inference.classifier import Classifier
from earmark.inference.decision import Decision
from earmark.inference.listing import list_sounds

RATE = 8_000


class Loudness:
    """A network of NumPy: the louder, the likelier ``loud``; counts what it was asked."""

    sample_rate = RATE
    labels = ("loud", "soft")
    window = RATE
    shortest = 1
    ignores_padding = True
    multi_label = False
    decision = Decision()

    def __init__(self):
        self.asked = 0

    def side_by_side(self):
        return nullcontext(2)

    def run(self, waveforms):
        self.asked += len(waveforms)
        level = np.array([np.abs(waveform).mean() for waveform in waveforms], dtype=np.float32)
        return np.stack([20 * level, 1 - level], axis=1)


@pytest.fixture
def small(monkeypatch):
    """Shards of eight files, asked about in groups of four."""
    monkeypatch.setattr(shards, "FILES_PER_SHARD", 8)
    monkeypatch.setattr(batch, "FILES_AT_ONCE", 4)


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"one model")  # told from others by its bytes; `Loudness` answers for it
    return str(tmp_path / "model.onnx")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A folder of 29 sounds in folders, one file that is none, and what is no sound by its name."""
    folder = tmp_path_factory.mktemp("archive")
    for number in range(29):
        path = folder / f"{number % 3}" / f"{number:02d}.wav"
        path.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(number).uniform(-1, 1, 400 + 37 * number) * (number + 1) / 30
        soundfile.write(path, noise, RATE)
    (folder / "1" / "broken.mp3").write_text("these are words")
    (folder / "1" / "notes.md").write_text("no sound")
    (folder / "1.wav").write_bytes((folder / "0" / "00.wav").read_bytes())
    return folder


def predict(model, names, out, network=None, **settings):
    classifier = Classifier(network or Loudness())
    return predict_archive(model, list_sounds(map(str, names)), out, classifier=classifier, **settings)


def stop_after(files):
    def tell(done, total):
        if done >= files:
            raise KeyboardInterrupt

    return tell


def test_every_file_is_a_row_in_the_order_of_the_names(small, model, archive, tmp_path):
    summary = predict(model, [archive], tmp_path / "out.jsonl", top_k=1)
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    sounds = [path for path in archive.rglob("*") if path.suffix in (".wav", ".mp3")]
    assert [record["path"] for record in records] == sorted(map(str, sounds))
    (bad,) = [record for record in records if "error" in record]
    assert bad["path"] == str(archive / "1" / "broken.mp3")
    assert "is text, not sound" in bad["error"]
    assert (summary.files, summary.kept, summary.faults, summary.reasons) == (31, 0, 1, [bad["error"]])
    classifier = Classifier(Loudness())
    for record in records:
        if "error" not in record:
            assert record["prediction"][0]["label"] == classifier.classify(record["path"])[0]["label"]
            assert len(record["prediction"]) == 1
    assert not (tmp_path / "out.jsonl.parts").exists()


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_what_was_broken_off_anywhere_ends_with_the_same_bytes(small, model, archive, tmp_path, form):
    pytest.importorskip("pyarrow")
    whole = tmp_path / f"whole.{form}"
    predict(model, [archive], whole)
    out = tmp_path / f"out.{form}"
    for files in (0, 3, 9, 20, 30):
        with pytest.raises(KeyboardInterrupt):
            predict(model, [archive], out, on_progress=stop_after(files))
        assert not out.exists()
    network = Loudness()
    summary = predict(model, [archive], out, network)
    assert out.read_bytes() == whole.read_bytes()
    assert summary.kept == 24
    assert network.asked == 7, "what was answered is not asked again"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([out.name, whole.name, "model.onnx"])


def test_a_run_killed_while_the_result_is_written_is_put_together_again(small, model, archive, tmp_path, monkeypatch):
    predict(model, [archive], tmp_path / "whole.csv")
    with monkeypatch.context() as patch:
        patch.setattr(shards, "write_records", stop_after(0))
        with pytest.raises(TypeError):
            predict(model, [archive], tmp_path / "out.csv")
    network = Loudness()
    assert predict(model, [archive], tmp_path / "out.csv", network).kept == 31
    assert network.asked == 0
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("model", "another model"),
        ("list", "another list of files"),
        ("top", "another --top"),
        ("reject", "another --reject"),
    ],
)
def test_another_question_is_not_mixed_into_the_old_answers(small, model, archive, tmp_path, change, said):
    out = tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        predict(model, [archive], out, on_progress=stop_after(9))
    kept = {path.name: path.read_bytes() for path in (tmp_path / "out.csv.parts").iterdir()}
    settings = {"top": {"top_k": 1}, "reject": {"reject": True}}.get(change, {})
    names = [archive, archive / "1.wav"] if change == "list" else [archive]
    if change == "model":
        Path(model).write_bytes(b"another model")
    with pytest.raises(RunError, match=f"holds part of a prediction with {said}; ask the same again to continue it"):
        predict(model, names, out, **settings)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out.csv.parts").iterdir()} == kept
    assert not out.exists()


def test_two_at_once_do_not_write_one_result(model, archive, tmp_path):
    from filelock import FileLock

    (tmp_path / "out.csv.parts").mkdir()
    with (
        FileLock(tmp_path / "out.csv.parts" / ".lock"),
        pytest.raises(RunError, match="Another `earmark predict` is writing"),
    ):
        predict(model, [archive], tmp_path / "out.csv")


def test_a_place_that_cannot_be_written_is_one_sentence(model, archive, tmp_path):
    with pytest.raises(RunError, match=r"is a folder; give --out a file in it"):
        predict(model, [archive], tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot be used \(.*\); mend that and run the same command again"):
        predict(model, [archive], tmp_path / "file" / "out.csv")


def test_the_three_forms_say_the_same(small, model, archive, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    for form in ("csv", "jsonl", "parquet"):
        predict(model, [archive], tmp_path / f"out.{form}")
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()))
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    flat = []
    for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        for rank, entry in enumerate(record.get("prediction", ()), start=1):
            flat.append({"path": record["path"], "rank": rank, **entry, "error": None})
        if "error" in record:
            flat.append({"path": record["path"], "rank": None, "label": None, "score": None, "error": record["error"]})
    assert table == flat
    assert [(row["path"], row["label"], row["error"]) for row in rows] == [
        (entry["path"], entry["label"] or "", entry["error"] or "") for entry in flat
    ]
    assert [row["score"] for row in rows] == ["" if e["score"] is None else f"{e['score']:.6g}" for e in flat]


def test_parquet_without_pyarrow_names_the_extra_before_anything_is_done(model, archive, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(RunError, match=r'pip install "earmark\[parquet\]"'):
        predict(model, [archive], tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet.parts").exists()


def test_names_with_line_breaks_and_without_an_encoding_come_through(model, archive, tmp_path):
    sound = (archive / "0" / "00.wav").read_bytes()
    folder = tmp_path / "odd"
    folder.mkdir()
    try:
        for name in (b"two\nlines.wav", b"latin\xff.wav"):
            (folder / name.decode("utf-8", "surrogateescape")).write_bytes(sound)
    except OSError:
        pytest.skip("this disk has no such names")
    predict(model, [folder], tmp_path / "out.jsonl")
    records = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["path"] for record in records] == [f"{folder}/latin\\xff.wav", f"{folder}/two\nlines.wav"]
    assert all(record["prediction"] for record in records)


def test_decoding_in_processes_gives_what_threads_give(small, model, archive, tmp_path, monkeypatch):
    predict(model, [archive], tmp_path / "threads.csv")
    monkeypatch.setattr(batch, "FEW_FILES", 1)
    predict(model, [archive], tmp_path / "processes.csv")
    assert (tmp_path / "processes.csv").read_bytes() == (tmp_path / "threads.csv").read_bytes()


def test_no_list_of_the_files_is_held(small, model, archive, tmp_path):
    path = str(archive / "1.wav")
    longest = 0

    def tell():
        nonlocal longest
        for number in range(200):
            longest = number
            yield path

    network = Loudness()
    asked = []
    predict_archive(
        model,
        tell(),
        tmp_path / "out.csv",
        classifier=Classifier(network),
        on_progress=lambda done, total: asked.append((done, network.asked, total)),
    )
    # Between what is out and what was asked lie no more groups than there are threads for.
    assert max(ahead - done for done, ahead, _ in asked) <= 6 * 4
    assert asked[-1] == (200, 200, 200)
    assert longest == 199


def test_nothing_of_it_imports_torch_or_pandas():
    code = (
        "import sys, earmark.inference.batch, earmark.inference.listing, earmark.inference.decoders\n"
        "heavy = ('torch', 'transformers', 'pandas', 'sklearn', 'pyarrow', 'ray')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
