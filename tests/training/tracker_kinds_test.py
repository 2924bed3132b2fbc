"""Each tracker: what was told is what lies there, read back as its own page would, and nothing lies elsewhere."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.training.conftest import Told

from earmark.data.clips import Clips
from earmark.training import trackers as trackers_module
from earmark.training.recipe import Recipe
from earmark.training.run import Run, train
from earmark.training.tracker_exhibits import (
    Exhibits,
    open_picture,
)
from earmark.training.trackers import Trackers, open_trackers

RECORDS = [
    {
        "epoch": epoch,
        "loss": 1 / epoch,
        "accuracy": epoch / 4,
        "learning_rate": 1e-3,
        "validation_loss": 2 / epoch,
        "validation_accuracy": epoch / 8,
    }
    for epoch in (1, 2, 3)
]
FIGURES = {
    "train/loss": [1.0, 0.5, 1 / 3],
    "train/accuracy": [0.25, 0.5, 0.75],
    "train/learning_rate": [1e-3, 1e-3, 1e-3],
    "validation/loss": [2.0, 1.0, 2 / 3],
    "validation/accuracy": [0.125, 0.25, 0.375],
}
TITLE = "quick on 声音"
TABLES = {"name": "quick", "train": {"epochs": 3, "learning_rate": 1e-3}, "model": {"hidden": [16, 8]}}
SETTINGS = {"name": "quick", "train.epochs": 3, "train.learning_rate": 1e-3, "model.hidden": "[16, 8]"}
OF_TRACKERS = ("SWANLAB_", "WANDB_", "MLFLOW_", "TRACKIO_")


@pytest.fixture(autouse=True)
def _no_account(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home without accounts and settings, which is as empty afterwards."""
    for name in os.environ:
        if name.startswith(OF_TRACKERS) and name != "WANDB_SERVICE":
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    yield
    assert [path for path in home.rglob("*") if "matplotlib" not in str(path) and path.is_file()] == []


def read_variables() -> dict[str, str]:
    """The trackers' own, but for the one by which W&B finds its service as long as the process lives."""
    ours = {name: value for name, value in os.environ.items() if name.startswith(OF_TRACKERS)}
    return {name: value for name, value in ours.items() if name != "WANDB_SERVICE"}


def tell_all(name: str, folder: Path, exhibits: Exhibits) -> Trackers:
    before = read_variables()
    with (
        pytest.MonkeyPatch.context() as patch,
        open_trackers([name], folder=folder, title=TITLE, recipe_tables=TABLES) as trackers,
    ):
        for record in RECORDS:
            trackers.log_epoch(record)
        patch.setattr(trackers_module, "collect_exhibits", lambda *_: exhibits)
        trackers.log_report({}, pd.DataFrame())
    assert read_variables() == before
    return trackers


def count_samples(path: Path) -> int:
    with wave.open(str(path), "rb") as sound:
        assert sound.getframerate() == 8000
        return sound.getnframes()


def read_log(path: Path) -> Iterator[bytes]:
    """The records of a file in the LevelDB log format behind a header of 7 bytes, as SwanLab and W&B write it."""
    data, place, record = path.read_bytes(), 7, b""
    while place < len(data):
        left = 32768 - place % 32768
        if left < 7:  # too little for a record: the block ends here
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def read_swanlab(folder: Path) -> tuple[dict[str, Any], dict[str, list[tuple[int, Any]]]]:
    """What the page of `swanlab watch` is made of: the experiment, and for each name its (step, value)."""
    connection = sqlite3.connect(folder / "runs.swanlab")
    connection.row_factory = sqlite3.Row
    (experiment,) = connection.execute("select * from experiment").fetchall()
    logs = folder / experiment["run_id"] / "logs"
    curves = {}
    for tag in connection.execute("select name, folder from tag").fetchall():
        lines = (logs / tag["folder"] / "1000.log").read_text(encoding="utf-8").splitlines()
        curves[tag["name"]] = [(point["index"], point["data"]) for point in map(json.loads, lines)]
    connection.close()
    return dict(experiment), curves


def test_swanlab_follows_locally_with_no_account(
    told: Told, exhibits: Exhibits, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    yaml = pytest.importorskip("yaml")
    pytest.importorskip("swanboard")
    handlers = signal.getsignal(signal.SIGINT), sys.excepthook
    trackers = tell_all("swanlab", tmp_path, exhibits)
    assert (signal.getsignal(signal.SIGINT), sys.excepthook) == handlers
    assert "".join(capfd.readouterr()) == ""
    assert trackers.hints() == [f"SwanLab: look at it with `swanlab watch {tmp_path / 'swanlog'}`."]
    experiment, curves = read_swanlab(tmp_path / "swanlog")
    assert (experiment["name"], experiment["status"]) == (TITLE, 1)
    for name, values in FIGURES.items():
        assert curves[name] == list(zip((1, 2, 3), values, strict=True))
    accuracy = told[0]["metrics"]["accuracy"]
    assert curves["test/accuracy"] == [(3, accuracy["value"])]
    assert curves["test/accuracy_low"] == [(3, accuracy["low"])]
    assert curves["test/protocol"][0][1][0].startswith(told[0]["protocol"])
    run = tmp_path / "swanlog" / experiment["run_id"]
    config = yaml.safe_load((run / "files" / "config.yaml").read_text(encoding="utf-8"))
    assert {key: entry["value"] for key, entry in config.items()} == SETTINGS
    ((_, (picture,)),) = curves["test/confusion"]
    assert Image.open(run / "media" / "image" / picture).size == open_picture(exhibits.matrix).size
    ((_, sounds),) = curves["test/sounds"]
    assert len(sounds) == len(curves["test/examples"][0][1]) >= 3
    assert {count_samples(run / "media" / "audio" / sound) for sound in sounds} == {4000}


def test_swanlab_learns_nothing_of_the_machine_it_need_not_know(tmp_path: Path) -> None:
    pytest.importorskip("swanboard")
    open_trackers(["swanlab"], folder=tmp_path, title=TITLE, recipe_tables=TABLES).finish()
    files = {path.name: path for path in tmp_path.rglob("*") if path.is_file()}
    known = json.loads(files["swanlab-metadata.json"].read_text(encoding="utf-8"))
    assert (known["runtime"], known["git"]) == (None, None)
    assert "requirements.txt" not in files
    assert not list(tmp_path.rglob("console/*"))


def test_swanlab_keeps_two_runs_of_one_process_apart(tmp_path: Path) -> None:
    pytest.importorskip("swanboard")
    for name, record in zip(("first", "second"), RECORDS, strict=False):
        folder = tmp_path / name
        folder.mkdir()
        with open_trackers(["swanlab"], folder=folder, title=TITLE, recipe_tables=TABLES) as trackers:
            trackers.log_epoch(record)
        assert read_swanlab(folder / "swanlog")[1]["train/loss"] == [(record["epoch"], record["loss"])]


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, "aborted"), (ValueError, "failed")])
def test_swanlab_marks_what_broke_off(error: type[BaseException], status: str, tmp_path: Path) -> None:
    pytest.importorskip("swanboard")
    trackers = open_trackers(["swanlab"], folder=tmp_path, title=TITLE, recipe_tables=TABLES)
    trackers.log_epoch(RECORDS[0])
    with pytest.raises(error), trackers:
        raise error
    experiment, curves = read_swanlab(tmp_path / "swanlog")
    assert experiment["status"] == -1
    assert curves["train/loss"] == [(1, 1.0)]
    (log,) = tmp_path.rglob("error.log")
    assert status in log.read_text(encoding="utf-8")


def test_swanlab_writes_offline_what_its_sync_will_send(
    exhibits: Exhibits,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("swanlab")
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record

    monkeypatch.setenv("SWANLAB_MODE", "offline")
    (hint,) = tell_all("swanlab", tmp_path, exhibits).hints()
    assert "".join(capfd.readouterr()) == ""
    (file,) = tmp_path.rglob("*.swanlab")
    assert hint == f"SwanLab: `swanlab login`, then `swanlab sync {file.parent}` to look at it."
    records = [Record.FromString(data) for data in read_log(file)]
    starts = [record.start for record in records if record.HasField("start")]
    assert [(start.name, start.project, list(start.tags)) for start in starts] == [
        (TITLE, "earmark", ["earmark", "quick"])
    ]
    scalars = [record.scalar for record in records if record.HasField("scalar")]
    for name, values in FIGURES.items():
        points = [(point.step, point.value.number) for point in scalars if point.key == name]
        assert points == list(zip((1, 2, 3), values, strict=True))
    media = {record.media.key for record in records if record.HasField("media")}
    assert {"test/confusion", "test/confusion_matrix", "test/examples", "test/sounds", "test/per_class"} <= media
    assert [record.finish.state for record in records if record.HasField("finish")] == [1]


@pytest.mark.parametrize(
    ("variables", "mode"),
    [
        ({}, "local"),
        ({"SWANLAB_API_KEY": "x" * 20}, "online"),
        ({"SWANLAB_API_KEY": "x" * 20, "SWANLAB_MODE": "offline"}, "offline"),
        ({"SWANLAB_MODE": "disabled"}, "disabled"),
    ],
)
def test_swanlab_goes_online_only_with_an_account(
    variables: dict[str, str], mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swanlab = pytest.importorskip("swanlab")
    pytest.importorskip("swanboard")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    asked: dict[str, Any] = {}

    def note(**settings: Any) -> None:
        asked.update(settings)
        raise ConnectionError("noted")

    monkeypatch.setattr(swanlab, "init", note)
    open_trackers(["swanlab"], folder=tmp_path, title=TITLE, recipe_tables=TABLES).finish()
    assert asked["mode"] == mode
    assert asked["settings"].interactive is False


def read_events(folder: Path) -> Any:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "audio": 0})
    return events.Reload()


def test_tensorboard_reads_back_what_was_told(
    told: Told, exhibits: Exhibits, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    trackers = tell_all("tensorboard", tmp_path, exhibits)
    assert "".join(capfd.readouterr()) == ""
    assert trackers.hints() == [f"TensorBoard: look at it with `tensorboard --logdir {tmp_path / 'tensorboard'}`."]
    events = read_events(tmp_path / "tensorboard")
    for name, values in FIGURES.items():
        points = [(point.step, point.value) for point in events.Scalars(name)]
        assert points == [(step, pytest.approx(value)) for step, value in zip((1, 2, 3), values, strict=True)]
    accuracy = told[0]["metrics"]["accuracy"]
    assert events.Scalars("test/accuracy_high")[0].value == pytest.approx(accuracy["high"])
    (confusion,) = events.Images("test/confusion")
    assert (confusion.width, confusion.height) == open_picture(exhibits.matrix).size
    tags = events.Tags()
    assert len([tag for tag in tags["images"] if tag.startswith("test/examples/")]) == len(tags["audio"]) >= 3
    assert {events.Audio(tag)[0].length_frames for tag in tags["audio"]} == {4000}
    (recipe,) = events.Tensors("recipe/text_summary")[0].tensor_proto.string_val
    assert "| train.learning_rate | 0.001 |" in recipe.decode().replace("0.0010", "0.001")


def test_tensorboard_has_the_recipe_among_its_hyperparameters(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.plugins.hparams import metadata

    open_trackers(["tensorboard"], folder=tmp_path, title=TITLE, recipe_tables=TABLES).finish()
    events = read_events(tmp_path / "tensorboard")
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    session = metadata.parse_session_start_info_plugin_data(content)
    assert session.hparams["train.epochs"].number_value == 3
    assert session.hparams["model.hidden"].string_value == "[16, 8]"


def test_a_continued_run_does_not_stand_twice_in_tensorboard(tmp_path: Path) -> None:
    """Its journal tells the epochs before again."""
    pytest.importorskip("tensorboard")
    for epochs in (2, 3):
        with open_trackers(["tensorboard"], folder=tmp_path, title=TITLE, recipe_tables=TABLES) as trackers:
            for record in RECORDS[:epochs]:
                trackers.log_epoch(record)
    assert [point.step for point in read_events(tmp_path / "tensorboard").Scalars("train/loss")] == [1, 2, 3]


def test_following_draws_no_chance_and_leaves_no_thread_to_wait_for(tmp_path: Path) -> None:
    """The training's own chance is not touched, whatever a tracker draws for its names."""
    from importlib.util import find_spec

    names = [name for name in trackers_module.KINDS if find_spec(name)]
    with open_trackers(names, folder=tmp_path, title=TITLE, recipe_tables=TABLES) as trackers:
        before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
        for record in RECORDS:
            trackers.log_epoch(record)
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore[index]
    assert len(trackers.hints()) == len(names)
    assert [thread for thread in threading.enumerate() if not thread.daemon] == [threading.main_thread()]


def test_wandb_writes_offline_what_its_sync_will_send(
    told: Told, exhibits: Exhibits, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    (hint,) = tell_all("wandb", tmp_path, exhibits).hints()
    assert "".join(capfd.readouterr()) == ""
    (file,) = tmp_path.rglob("*.wandb")
    assert hint == f"W&B: `wandb login`, then `wandb sync {file.parent}` to look at it."
    records = [Record.FromString(data) for data in read_log(file)]
    (run,) = {record.run.display_name for record in records if record.HasField("run")}
    assert run == TITLE
    rows = [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    for name, values in FIGURES.items():
        assert [row[name] for row in rows if name in row] == values
    assert [row["epoch"] for row in rows] == [1, 2, 3, 3]
    assert rows[-1]["test/accuracy"] == told[0]["metrics"]["accuracy"]["value"]
    config = {}
    for record in records:
        if record.HasField("run"):
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
    assert config.items() >= SETTINGS.items()
    media = [path.name.split("_")[0] for path in file.parent.rglob("media/*/test/*")]
    assert media.count("sounds") == media.count("examples") >= 3
    assert {"confusion", "per"} <= set(media)
    assert [record.exit.exit_code for record in records if record.HasField("exit")] == [0]
    assert not list(tmp_path.rglob("requirements.txt"))
    assert not list(tmp_path.rglob("wandb-metadata.json"))


@pytest.mark.parametrize(
    ("variables", "mode"),
    [({}, "offline"), ({"WANDB_API_KEY": "x" * 40}, "online"), ({"WANDB_MODE": "disabled"}, "disabled")],
)
def test_wandb_goes_online_only_with_an_account(
    variables: dict[str, str], mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    asked: dict[str, Any] = {}

    def note(**settings: Any) -> None:
        asked.update(settings)
        raise ConnectionError("noted")

    monkeypatch.setattr(wandb, "init", note)
    open_trackers(["wandb"], folder=tmp_path, title=TITLE, recipe_tables=TABLES).finish()
    assert asked["mode"] == mode


def test_wandb_never_asks_for_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "online")
    assert open_trackers(["wandb"], folder=tmp_path, title=TITLE, recipe_tables=TABLES).hints() == []
    assert "WANDB_MODE is online, but no account is known here (`wandb login`)" in capsys.readouterr().err


def test_mlflow_keeps_a_database_in_the_run(
    told: Told, exhibits: Exhibits, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mlflow = pytest.importorskip("mlflow")
    folder = tmp_path / "运行 1"
    folder.mkdir()
    (hint,) = tell_all("mlflow", folder, exhibits).hints()
    assert "".join(capfd.readouterr()) == ""
    uri = f"sqlite:///{(folder / 'mlflow' / 'mlflow.db').as_posix()}"
    assert hint == f'MLflow: look at it with `mlflow ui --backend-store-uri "{uri}"`.'
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("earmark")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == (TITLE, "FINISHED")
    assert run.data.params == {key: str(value) for key, value in SETTINGS.items()}
    assert run.data.tags["mlflow.note.content"].startswith(told[0]["protocol"])
    assert not {"mlflow.user", "mlflow.source.name", "mlflow.source.git.commit"} & run.data.tags.keys()
    for name, values in FIGURES.items():
        history = client.get_metric_history(run.info.run_id, name)
        assert [(point.step, point.value) for point in history] == list(zip((1, 2, 3), values, strict=True))
    files = {entry.path for entry in client.list_artifacts(run.info.run_id, "test")}
    assert {"test/confusion.png", "test/per_class.json", "test/examples"} <= files
    (picture,) = folder.rglob("confusion.png")
    assert Image.open(picture).size == open_picture(exhibits.matrix).size
    assert {count_samples(sound) for sound in folder.rglob("*.wav")} == {4000}


def test_mlflow_marks_what_broke_off(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    with (
        pytest.raises(KeyboardInterrupt),
        open_trackers(["mlflow"], folder=tmp_path, title=TITLE, recipe_tables=TABLES),
    ):
        raise KeyboardInterrupt
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{(tmp_path / 'mlflow' / 'mlflow.db').as_posix()}")
    (run,) = client.search_runs([client.get_experiment_by_name("earmark").experiment_id])
    assert run.info.status == "KILLED"


TRACKIO = """
    import json, sys
    from pathlib import Path
    import pandas as pd
    from earmark.training.trackers import open_trackers

    folder, told = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    with open_trackers(["trackio"], folder=folder, title=told["title"], recipe_tables=told["tables"]) as trackers:
        for record in told["records"]:
            trackers.log_epoch(record)
        trackers.log_report(told["report"], pd.read_csv(told["answers"]))
"""


def test_trackio_keeps_its_database_in_the_run(quick_run: Run, tmp_path: Path) -> None:
    """In a process of its own, since Trackio decides once where it writes."""
    pytest.importorskip("trackio")
    told = {
        "title": "quick: a/b",
        "tables": TABLES,
        "records": RECORDS,
        "report": quick_run.report,
        "answers": str(quick_run.folder / "predictions.csv"),
    }
    (tmp_path / "told.json").write_text(json.dumps(told), encoding="utf-8")
    folder = tmp_path / "run"
    folder.mkdir()
    command = [sys.executable, "-c", textwrap.dedent(TRACKIO), str(folder), str(tmp_path / "told.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    connection = sqlite3.connect(folder / "trackio" / "earmark.db")
    rows = connection.execute("select run_name, step, metrics from metrics order by id").fetchall()
    (config,) = connection.execute("select config from configs").fetchall()
    connection.close()
    assert {row[0] for row in rows} == {"quick- a-b"}
    metrics = [json.loads(row[2]) for row in rows]
    for name, values in FIGURES.items():
        assert [(row[1], entry[name]) for row, entry in zip(rows, metrics, strict=True) if name in entry] == list(
            zip((1, 2, 3), values, strict=True)
        )
    assert json.loads(config[0]).items() >= SETTINGS.items()
    assert metrics[-1]["test/accuracy"] == quick_run.accuracy
    assert len(list(folder.rglob("*.wav"))) == len(list(folder.rglob("*.png"))) - 1 >= 3


def test_a_training_is_followed_and_stays_the_same(
    quick_run: Run, clips: Clips, tiny_quick: Recipe, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("swanboard")
    pytest.importorskip("tensorboard")
    run = train(clips, tiny_quick, out=tmp_path / "run", seed=5, track=["swanlab", "tensorboard"])
    lines = capfd.readouterr().err.splitlines()
    assert all(line.startswith("Training ") for line in lines)
    for name in ("metrics.jsonl", "predictions.csv", "model/model.safetensors"):
        assert (run.folder / name).read_bytes() == (quick_run.folder / name).read_bytes()
    losses = [record["loss"] for record in run.report["history"]]
    _, curves = read_swanlab(run.folder / "swanlog")
    assert curves["train/loss"] == list(enumerate(losses, start=1))
    assert curves["test/accuracy"] == [(4, run.accuracy)]
    points = read_events(run.folder / "tensorboard").Scalars("train/loss")
    assert [point.value for point in points] == pytest.approx(losses)
    assert len(run.report["trackers"]) == 2


ALONE = """
    import json, sys
    from pathlib import Path
    from earmark.training.trackers import open_trackers

    heavy = {"swanlab", "tensorboard", "torch", "matplotlib", "pandas", "wandb", "mlflow", "trackio"}
    loaded = heavy & set(sys.modules)
    where = {"folder": Path(sys.argv[1]), "title": "alone", "recipe_tables": {"name": "quick"}}
    with open_trackers(["swanlab"], **where) as trackers:
        trackers.log_epoch({"epoch": 1, "loss": 0.5})
    sys.exit(f"{loaded} was loaded early" if loaded else 0)
"""


def test_a_process_ends_in_silence_and_leaves_nothing_elsewhere(tmp_path: Path) -> None:
    """No thread keeps it, nothing stands on its terminal, and nothing lies at home or where it was started."""
    pytest.importorskip("swanboard")
    places = {name: tmp_path / name for name in ("run", "home", "here")}
    for place in places.values():
        place.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ALONE), str(places["run"])],
        cwd=places["here"],
        env={**os.environ, "HOME": str(places["home"]), "USERPROFILE": str(places["home"])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in places["run"].iterdir()] == ["swanlog"]
    assert [*places["home"].rglob("*"), *places["here"].rglob("*")] == []
