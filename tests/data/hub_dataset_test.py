"""Hugging Face datasets: saved to disk, as Parquet, as a folder with metadata.csv, and by their id on the Hub."""

import contextlib
import io
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from earmark.data import hub_dataset
from earmark.data.clips import Clips
from earmark.data.hub_dataset import name_hub_dataset
from earmark.data.layouts import read_clips
from earmark.data.waveforms import load_waveforms
from earmark.errors import ClipsError, RunError

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def own_caches(tmp_path_factory, monkeypatch):
    """What is taken out of datasets goes to a cache of each test's own."""
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
    datasets.disable_progress_bars()


def wav(level: float) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.full(80, level), 8000, format="WAV")
    return buffer.getvalue()


def make_dataset(labels: list, names: list[str] | None = None, **columns: list) -> "datasets.Dataset":
    """A dataset as the Hub keeps them: a sound of 80 samples at the level i / 10 for each label, with its name."""
    paths = [f"{i}.wav" for i in range(len(labels))]
    sounds = [{"bytes": wav(i / 10), "path": path} for i, path in enumerate(paths)]
    dataset = datasets.Dataset.from_dict({"id": paths, "audio": sounds, "label": labels, **columns})
    dataset = dataset.cast_column("audio", datasets.Audio())
    return dataset.cast_column("label", datasets.ClassLabel(names=names)) if names else dataset


def fault_of(path: str | Path) -> str:
    with pytest.raises(ClipsError) as caught:
        read_clips(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names_and(clips: Clips, *columns: str) -> list[tuple]:
    cells = zip(*(clips.table[column] for column in columns), strict=True)
    return [(Path(path).name, *row) for path, row in zip(clips.table["path"], cells, strict=True)]


def levels(clips: Clips) -> list[float]:
    """What is heard at each path: the level of its sound, times ten."""
    waveforms = load_waveforms(clips, sample_rate=8000)
    return [round(float(waveforms.read(row)[0]) * 10) for row in range(len(waveforms))]


def test_a_saved_dataset_is_read_and_heard(tmp_path):
    make_dataset([0, 1, 1, 0], ["cat", "dog"]).save_to_disk(tmp_path / "saved")
    clips = read_clips(tmp_path / "saved")
    assert (clips.layout, clips.labels, clips.source) == (
        "Hugging Face dataset",
        ("cat", "dog"),
        str(tmp_path / "saved"),
    )
    assert list(clips.table.columns) == ["path", "label"]
    assert names_and(clips, "label") == [("0.wav", "cat"), ("1.wav", "dog"), ("2.wav", "dog"), ("3.wav", "cat")]
    assert levels(clips) == [0, 1, 2, 3]


def test_sounds_are_taken_out_once_and_named_by_their_content(tmp_path):
    make_dataset([0, 1], ["cat", "dog"]).save_to_disk(tmp_path / "saved")
    make_dataset([1, 0], ["dog", "cat"]).save_to_disk(tmp_path / "again")
    paths = read_clips(tmp_path / "saved").table["path"].tolist()
    written = [os.stat(path).st_mtime_ns for path in paths]
    assert read_clips(tmp_path / "again").table["path"].tolist() == paths
    assert [os.stat(path).st_mtime_ns for path in paths] == written
    assert not list(Path(os.environ["EARMARK_CACHE"]).rglob("*.part"))


def test_splits_are_taken_over(tmp_path):
    parts = {"train": make_dataset([0, 1], ["cat", "dog"]), "validation": make_dataset([0], ["cat", "dog"])}
    parts |= {"test_clean": make_dataset([1], ["cat", "dog"]), "other": make_dataset([1], ["cat", "dog"])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path)
    clips = read_clips(tmp_path)
    assert clips.table["split"].tolist() == ["train", "train", "validation", "test", "unused"]
    # The same sound in several parts is as many clips, each with a file of its own, as a manifest needs them.
    assert clips.table["path"].is_unique


def test_one_part_alone_divides_nothing(tmp_path):
    datasets.DatasetDict({"test": make_dataset([0, 1], ["cat", "dog"])}).save_to_disk(tmp_path)
    assert "split" not in read_clips(tmp_path).table


def test_parquet_in_a_folder_and_alone(tmp_path):
    (tmp_path / "data").mkdir()
    make_dataset([0, 1], ["cat", "dog"]).to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    make_dataset([1], ["cat", "dog"]).to_parquet(tmp_path / "data" / "test-00000-of-00001.parquet")
    clips = read_clips(tmp_path)
    assert clips.layout == "Hugging Face dataset"
    assert sorted(names_and(clips, "label", "split")) == [
        ("0.wav", "cat", "train"),
        ("1.wav", "dog", "train"),
        ("2-0.wav", "dog", "test"),
    ]
    alone = read_clips(tmp_path / "data" / "train-00000-of-00001.parquet")
    assert names_and(alone, "label") == [("0.wav", "cat"), ("1.wav", "dog")]
    assert levels(alone) == [0, 1]


def test_labels_may_be_words_or_several(tmp_path):
    words = make_dataset(["x", "y"], genre=["rock", " pop "]).remove_columns("label")
    words.save_to_disk(tmp_path / "words")
    assert read_clips(tmp_path / "words").labels == ("pop", "rock")
    several = make_dataset([["dog", "rain"], ["a;b"], []])
    several.save_to_disk(tmp_path / "several")
    clips = read_clips(tmp_path / "several")
    assert clips.multi_label
    assert names_and(clips, "label") == [("0.wav", "dog;rain"), ("1.wav", "a,b")]
    assert clips.passed_over == {"no label": 1}
    numbered = make_dataset([[0, 1], [1]])
    numbered.cast_column("label", datasets.List(datasets.ClassLabel(names=["cat", "dog"]))).save_to_disk(tmp_path / "n")
    assert names_and(read_clips(tmp_path / "n"), "label") == [("0.wav", "cat;dog"), ("1.wav", "dog")]


def test_folds_and_groups_are_known_by_their_columns(tmp_path):
    """As copies of ESC-50 on the Hub have them: what stays together there stays together here."""
    columns = {"fold": [1, 2, 1], "src_file": [100032, 100032, 7], "category": ["dog", "dog", "rain"]}
    make_dataset([3, 3, 4], **columns).rename_column("label", "target").save_to_disk(tmp_path)
    assert names_and(read_clips(tmp_path), "label", "fold", "group") == [
        ("0.wav", "dog", 1, "100032"),
        ("1.wav", "dog", 2, "100032"),
        ("2.wav", "rain", 1, "7"),
    ]


def test_a_copy_of_gtzan_keeps_its_published_split(tmp_path):
    names = ["blues.00029.wav", "blues.00000.wav", "jazz.00075.wav", "disco.00038.wav"]
    sounds = [{"bytes": wav(i / 10), "path": f"genres/x/{name}"} for i, name in enumerate(names)]
    table = {"file": names, "audio": sounds, "genre": ["blues", "blues", "jazz", "disco"]}
    dataset = datasets.Dataset.from_dict(table).cast_column("audio", datasets.Audio())
    datasets.DatasetDict({"train": dataset}).save_to_disk(tmp_path)
    clips = read_clips(tmp_path)
    assert clips.layout == "GTZAN"
    parts = ["train", "validation", "test", "unused"]
    assert names_and(clips, "split") == list(zip(names, parts, strict=True))


def test_rows_without_label_or_sound_are_counted(tmp_path):
    dataset = make_dataset([0, 1, -1, 1], ["cat", "dog"])
    table = dataset.to_dict() | {"audio": [{"bytes": wav(0.1), "path": None}] * 3 + [None]}
    features = dataset.features | {"audio": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}}
    datasets.Dataset.from_dict(table, features=datasets.Features(features)).save_to_disk(tmp_path)
    clips = read_clips(tmp_path)
    assert names_and(clips, "label") == [("sound", "cat"), ("2-sound", "dog")]
    assert clips.passed_over == {"no label": 1, "no sound in the row": 1}
    assert levels(clips) == [1, 1]


def test_names_inside_a_dataset_never_leave_the_cache(tmp_path):
    sounds = [
        {"bytes": wav(i / 10), "path": path} for i, path in enumerate(("../../x.wav", "C:\\a\\y:z?.wav", "..", ""))
    ]
    dataset = datasets.Dataset.from_dict({"audio": sounds, "label": list("abab")}).cast_column(
        "audio", datasets.Audio()
    )
    dataset.save_to_disk(tmp_path)
    clips = read_clips(tmp_path)
    assert [name for name, _ in names_and(clips, "label")] == ["x.wav", "y_z_.wav", "sound", "sound"]
    cache = Path(os.environ["EARMARK_CACHE"]) / "sounds"
    assert all(Path(path).is_relative_to(cache) and ".." not in Path(path).parts for path in clips.table["path"])


def test_faults_of_a_dataset(tmp_path):
    sound = make_dataset([0, 1], ["cat", "dog"])
    sound.remove_columns("audio").save_to_disk(tmp_path / "silent")
    assert "silent has no audio column (its columns: id, label): choose a dataset" in fault_of(tmp_path / "silent")
    sound.remove_columns("label").save_to_disk(tmp_path / "unlabelled")
    fault = fault_of(tmp_path / "unlabelled")
    assert "has no column of labels (its columns: id, audio): rename the one that holds them to label." in fault
    two = sound.rename_column("label", "accent").add_column("mood", [0, 1])
    two.cast_column("mood", datasets.ClassLabel(names=["glad", "sad"])).save_to_disk(tmp_path / "two")
    assert "two has several columns of labels (accent, mood): save it" in fault_of(tmp_path / "two")
    make_dataset([0, 0], ["cat", "dog"]).save_to_disk(tmp_path / "one")
    assert "one holds a single class, 'cat', with 2 sounds" in fault_of(tmp_path / "one")
    make_dataset([-1, -1], ["cat", "dog"]).save_to_disk(tmp_path / "secret")
    assert "secret holds no sound with a label in its column label" in fault_of(tmp_path / "secret")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    assert "broken.parquet cannot be read as a Hugging Face dataset (" in fault_of(tmp_path / "broken.parquet")
    sound.save_to_disk(tmp_path / "cut")
    arrow = next((tmp_path / "cut").glob("*.arrow"))
    arrow.write_bytes(arrow.read_bytes()[:100])
    assert "cut cannot be read as a Hugging Face dataset (" in fault_of(tmp_path / "cut")


def test_a_dataset_that_only_names_its_sounds(tmp_path):
    (tmp_path / "here.wav").write_bytes(wav(0.5))
    features = datasets.Features({"audio": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}})
    features["label"] = datasets.Value("string")
    rows = {"audio": [{"bytes": None, "path": "here.wav"}, {"bytes": None, "path": "gone.wav"}], "label": ["a", "b"]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "list.parquet")
    assert "names 1 of 2 files that are not there: gone.wav." in fault_of(tmp_path / "list.parquet")
    (tmp_path / "gone.wav").write_bytes(wav(0.6))
    assert levels(read_clips(tmp_path / "list.parquet")) == [5, 6]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="every folder can be written here")
def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    make_dataset([0, 1], ["cat", "dog"]).save_to_disk(tmp_path / "saved")
    (tmp_path / "cache").mkdir(mode=0o500)
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path / "cache"))
    with pytest.raises(RunError, match=r"cannot be written .* set EARMARK_CACHE"):
        read_clips(tmp_path / "saved")


def test_the_package_is_asked_for_by_name(tmp_path, monkeypatch):
    make_dataset([0, 1], ["cat", "dog"]).save_to_disk(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    assert 'pip install "earmark[datasets]"' in fault_of(tmp_path)


# A folder with metadata.csv.


def test_an_audiofolder(tmp_path):
    for part, text in (
        ("train", "file_name,label\na.wav,cat\nsub/b.wav,dog\n"),
        ("test", "file_name,label\nc.wav,\nd.wav,dog\n"),
    ):
        for name in ("a.wav", "sub/b.wav", "c.wav", "d.wav"):
            path = tmp_path / part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (tmp_path / part / "metadata.csv").write_text(text)
    clips = read_clips(tmp_path)
    assert clips.layout == "Hugging Face dataset"
    assert names_and(clips, "label", "split") == [
        ("d.wav", "dog", "test"),
        ("a.wav", "cat", "train"),
        ("b.wav", "dog", "train"),
    ]
    assert clips.passed_over == {"not audio": 2, "no label": 1, "not in metadata.csv": 4}
    (tmp_path / "train" / "a.wav").unlink()
    assert "metadata.csv names 1 of 2 files that are not there: a.wav." in fault_of(tmp_path)


def test_metadata_without_labels_leaves_the_folders_to_speak(tmp_path):
    for name in ("cat/a.wav", "dog/b.wav"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / "metadata.csv").write_text("file_name,transcription\ncat/a.wav,meow\ndog/b.wav,woof\n")
    clips = read_clips(tmp_path)
    assert (clips.layout, clips.labels) == ("folder of classes", ("cat", "dog"))


# The Hub.


def test_what_is_a_name_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    assert name_hub_dataset("ashraq/esc50") == "ashraq/esc50"
    assert name_hub_dataset("hf://ashraq/esc50") == "ashraq/esc50"
    assert name_hub_dataset(str(Path("hf://google/speech_commands/v0.02"))) == "google/speech_commands/v0.02"
    assert name_hub_dataset("hf://datasets/ashraq/esc50") == "ashraq/esc50"
    for path in ("sounds", "./a/b", "../a", "~/a", "/a/b", "a/b/c", "mine/cats", "a/clips.csv", "a/b.wav", "我/猫"):
        assert name_hub_dataset(path) is None
    with pytest.raises(ClipsError, match="names no Hub dataset: write hf://owner/name"):
        name_hub_dataset("hf://esc50")


def test_offline_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert fault_of("nobody/nothing") == (
        "There is no folder nobody/nothing here, and HF_HUB_OFFLINE forbids to fetch a dataset of that name; "
        "check it, or unset HF_HUB_OFFLINE."
    )


@pytest.fixture
def hub(monkeypatch):
    """The Hub at the boundary: what its listings and downloads answer is set by each test."""
    import huggingface_hub

    stand_in = SimpleNamespace(files={}, loaded=[], fetched=[], snapshot=None, load_dataset=datasets.load_dataset)

    def list_repo_files(self, repo_id, *, repo_type, revision="main"):
        if revision not in stand_in.files:
            raise huggingface_hub.errors.RevisionNotFoundError("no", response=Answer(404))
        return stand_in.files[revision]

    def snapshot_download(repo_id, **options):
        stand_in.fetched.append((repo_id, options))
        return str(stand_in.snapshot)

    def load_dataset(*arguments):
        stand_in.loaded.append(arguments)
        return datasets.DatasetDict({"train": make_dataset([0, 1], ["cat", "dog"])})

    monkeypatch.setattr(hub_dataset, "offline_if_unreachable", lambda: contextlib.nullcontext(True))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", list_repo_files)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return stand_in


class Answer:
    """As much of an HTTP answer as the errors of huggingface_hub look at."""

    def __init__(self, status_code: int) -> None:
        self.status_code, self.headers, self.request = status_code, {}, None


def test_parquet_on_the_hub_is_loaded_with_its_configuration(hub):
    hub.files["main"] = ["README.md", "data/train-00000-of-00001.parquet"]
    clips = read_clips("hf://owner/name/v0.02")
    assert (clips.source, clips.labels, levels(clips)) == ("hf://owner/name/v0.02", ("cat", "dog"), [0, 1])
    assert hub.loaded == [("owner/name", "v0.02")]
    read_clips("owner/name")
    assert hub.loaded[1] == ("owner/name", None)


def test_sound_files_on_the_hub_are_a_folder_like_any_other(hub, tmp_path, monkeypatch):
    hub.files["main"] = ["README.md", "cat/1.wav", "dog/2.wav"]
    for name in ("cat/1.wav", "dog/2.wav"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    hub.snapshot = tmp_path
    clips = read_clips("owner/name")
    assert (clips.layout, clips.labels, clips.source) == ("folder of classes", ("cat", "dog"), "hf://owner/name")
    (repo_id, options) = hub.fetched[0]
    assert (repo_id, options["repo_type"], options["revision"]) == ("owner/name", "dataset", None)
    assert {"*.wav", "*.ogg", "*.csv"} < set(options["allow_patterns"])
    # Once it is here whole, no connection is needed; another one still is.
    monkeypatch.setattr(hub_dataset, "offline_if_unreachable", lambda: contextlib.nullcontext(False))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: (_ for _ in ()).throw(ConnectionError("no route")))
    assert read_clips("hf://owner/name").table.equals(clips.table)
    assert len(hub.fetched) == 1
    assert "cannot be reached for a dataset of that name; check the name and the connection" in fault_of("owner/other")


def test_a_dataset_made_by_a_script_is_read_from_the_hubs_parquet(hub, tmp_path, monkeypatch):
    hub.files["main"] = ["README.md", "name.py", "data/genres.tar.gz"]
    hub.files["refs/convert/parquet"] = ["all/train/0000.parquet", "large/partial-train/0000.parquet"]
    (tmp_path / "all" / "train").mkdir(parents=True)
    make_dataset([0, 1], ["cat", "dog"]).to_parquet(tmp_path / "all" / "train" / "0000.parquet")
    hub.snapshot = tmp_path
    monkeypatch.setattr(datasets, "load_dataset", hub.load_dataset)
    clips = read_clips("owner/name")
    assert (clips.layout, clips.labels, clips.source) == ("Hugging Face dataset", ("cat", "dog"), "hf://owner/name")
    (repo_id, options) = hub.fetched[0]
    assert (repo_id, options["revision"]) == ("owner/name", "refs/convert/parquet")
    assert options["allow_patterns"] == ["all/*.parquet"]
    # A copy of the first gigabytes only is no copy, and of several somebody has to choose.
    assert "owner/name has no configuration large." in fault_of("hf://owner/name/large")
    hub.files["refs/convert/parquet"] += ["small/train/0000.parquet"]
    fault = fault_of("owner/name")
    assert fault == "owner/name has 2 configurations (all, small): name one, as in hf://owner/name/all."
    assert len(read_clips("hf://owner/name/all")) == 2


def test_a_script_without_parquet_says_what_to_do(hub):
    hub.files["main"] = ["README.md", "gtzan.py", "data/genres.tar.gz"]
    fault = fault_of("marsyas/gtzan")
    assert "marsyas/gtzan is made by a script" in fault
    assert "download and unpack its sounds (GTZAN: `earmark data download gtzan FOLDER`), and give" in fault


def test_a_hub_dataset_of_something_else(hub):
    hub.files["main"] = ["README.md", "data/genres.tar.gz", ".gitattributes"]
    assert fault_of("owner/name") == (
        "owner/name on the Hub holds neither Parquet nor sound files (found: 1 .md, 1 .gz): if its sounds are packed, "
        "download and unpack them, and give their folder."
    )


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            ValueError("Config name is missing.\nPlease pick one among the available configs: ['de', 'en']\nExample"),
            "owner/name has 2 configurations (de, en): name one, as in hf://owner/name/de.",
        ),
        (
            ValueError("BuilderConfig 'fr' not found. Available: ['de', 'en']"),
            "owner/name has 2 configurations (de, en): name one, as in hf://owner/name/de.",
        ),
        (OSError(28, "No space left on device"), "owner/name could not be fetched from the Hub ([Errno 28] No space"),
    ],
)
def test_what_the_hub_or_the_package_refuses(hub, monkeypatch, error, sentence):
    hub.files["main"] = ["data/train.parquet"]

    def load_dataset(*arguments):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert fault_of("owner/name").startswith(sentence)
