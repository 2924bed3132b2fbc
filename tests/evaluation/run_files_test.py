"""A run read back is what was written, whatever its classes are called; what is no run says so."""

import json

import pandas as pd
import pytest

from earmark.errors import RunError
from earmark.evaluation.run_files import name_runs, read_run, weigh_model

LABELS = ("01", "NA", "nan")


def write_run(folder, *, primary="accuracy"):
    folder.mkdir(parents=True)
    table = pd.DataFrame(
        {
            "path": ["/s/1.wav", "/s/2.wav"],
            "label": ["01", "NA"],
            "start_s": [0.5, None],
            "group": ["007", None],
            "predicted": ["NA", "nan"],
            "score": [0.5, 0.25],
            **{f"p:{label}": [0.25, 0.5] for label in LABELS},
        }
    )
    table.to_csv(folder / "predictions.csv", index=False)
    (folder / "report.json").write_text(json.dumps({"kind": "train", "metrics": {"primary": primary}}))
    return folder


def test_answers_come_back_as_they_were(tmp_path):
    run = read_run(write_run(tmp_path / "run"))

    assert run.answers.labels == LABELS
    assert run.answers.table["label"].tolist() == ["01", "NA"]
    assert run.answers.table["predicted"].tolist() == ["NA", "nan"]
    assert run.answers.table["start_s"].isna().tolist() == [False, True]
    assert run.answers.table["group"].tolist()[0] == "007"
    assert run.answers.table["group"].isna().tolist() == [False, True]
    assert (run.report["kind"], run.model_folder, run.answers.multi_label) == ("train", None, False)


def test_answers_that_name_nothing_stay_empty(tmp_path):
    folder = write_run(tmp_path / "run", primary="map")
    table = read_run(folder).answers.table.assign(predicted="")
    table.to_csv(folder / "predictions.csv", index=False)
    run = read_run(folder)
    assert (run.answers.multi_label, run.answers.table["predicted"].tolist()) == (True, ["", ""])


def test_what_is_no_finished_run_says_what_to_do(tmp_path):
    with pytest.raises(RunError, match=r"holds no run \(no report.json\)"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RunError, match="is not finished; continue it with --resume"):
        read_run(tmp_path)


@pytest.mark.parametrize("fault", ["no predictions", "half a report", "another table"])
def test_a_damaged_run_is_named(tmp_path, fault):
    folder = write_run(tmp_path / "run")
    if fault == "no predictions":
        (folder / "predictions.csv").unlink()
    elif fault == "half a report":
        (folder / "report.json").write_text('{"kind": "tr')
    else:
        (folder / "predictions.csv").write_text("a,b\n1,2\n")
    with pytest.raises(RunError, match=r"cannot be read .*; make it anew"):
        read_run(folder)


def test_runs_are_named_by_as_much_of_their_path_as_tells_them_apart(tmp_path):
    folders = [tmp_path / "monday" / "cnn", tmp_path / "tuesday" / "cnn", tmp_path / "tuesday" / "quick"]
    assert name_runs(folders) == ["monday/cnn", "tuesday/cnn", "tuesday/quick"]
    assert name_runs(folders[1:]) == ["cnn", "quick"]
    with pytest.raises(RunError, match="is given twice"):
        name_runs([folders[0], tmp_path / "tuesday" / ".." / "monday" / "cnn"])


def test_weights_weigh_without_the_sounds_to_check_them_with(tmp_path):
    for name, size in (("model.safetensors", 1000), ("golden.safetensors", 500), ("config.json", 10)):
        (tmp_path / name).write_bytes(bytes(size))
    assert weigh_model(tmp_path) == 1000
