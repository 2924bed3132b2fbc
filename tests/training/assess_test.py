"""The verb evaluate: figures for any labelled clips, of a model that is only asked."""

import json
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from earmark.data.clips import Clips, build_clips
from earmark.errors import ClipsError, ModelError, RunError
from earmark.training.assess import evaluate
from earmark.training.run import Run


def label_again(clips: Clips, **names: str) -> Clips:
    """The same clips with some labels renamed."""
    return build_clips(
        [{"path": row.path, "label": names.get(row.label, row.label)} for row in clips.table.itertuples()]
    )


def test_the_figures_are_those_of_the_answers(quick_run: Run, sounds: Path, tmp_path: Path) -> None:
    run = evaluate(quick_run.folder, sounds, out=tmp_path / "run", allow_leak=True)
    answers = pd.read_csv(run.folder / "predictions.csv", encoding="utf-8")
    assert len(answers) == 36
    assert run.accuracy == pytest.approx(accuracy_score(answers["label"], answers["predicted"]))
    assert run.report["title"] == f"quick on {sounds.name}"
    assert run.report["data"]["split"] == {"test": 36}
    assert "nothing was trained or chosen on them here" in run.report["protocol"]
    assert {path.name for path in run.folder.iterdir()} == {"predictions.csv", "report.json", "report.html"}
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".lock"} == {"run", "ledger.jsonl"}
    assert json.loads((run.folder / "report.json").read_text(encoding="utf-8"))["kind"] == "evaluate"


def test_the_test_part_of_a_run_scores_what_the_run_scored(quick_run: Run, tmp_path: Path) -> None:
    run = evaluate(quick_run.load_classifier(), quick_run.folder / "clips.csv", split="test", out=tmp_path / "run")
    assert run.accuracy == quick_run.accuracy
    assert run.report["metrics"]["confusion"] == quick_run.report["metrics"]["confusion"]
    assert run.report["protocol"].startswith("The clips marked test were asked about")
    first, second = (pd.read_csv(folder / "predictions.csv") for folder in (quick_run.folder, run.folder))
    columns = [name for name in first if name.startswith("p:")]
    pd.testing.assert_frame_equal(first[columns], second[columns], rtol=1e-4)


def test_some_of_the_models_classes_are_enough(quick_run: Run, clips: Clips, tmp_path: Path) -> None:
    few = build_clips([row for row in clips.table.to_dict("records") if row["label"] != "hiss"])
    run = evaluate(quick_run.model_folder, few, out=tmp_path / "run", allow_leak=True)
    assert run.report["metrics"]["clips"] == 24
    assert run.report["data"]["labels"] == ["beep", "hum"]


def test_labels_the_model_does_not_know_are_named(quick_run: Run, clips: Clips, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"labels the model does not know \(buzz\); it knows beep, hiss, hum\."):
        evaluate(quick_run.folder, label_again(clips, hum="buzz"), out=tmp_path / "run", allow_leak=True)
    assert not (tmp_path / "run").exists()


def test_a_part_that_is_not_there_is_one_sentence(quick_run: Run, sounds: Path, tmp_path: Path) -> None:
    with pytest.raises(ClipsError, match="marks no clips as 'test'; leave --split out"):
        evaluate(quick_run.folder, sounds, split="test", out=tmp_path / "run")
    with pytest.raises(ClipsError, match="marks no clips as 'validation'"):
        evaluate(quick_run.folder, quick_run.folder / "clips.csv", split="validation", out=tmp_path / "run")
    with pytest.raises(RunError, match="holds something already"):
        evaluate(quick_run.folder, sounds, out=quick_run.folder)
    with pytest.raises(ModelError, match="holds no model"):
        evaluate(tmp_path, sounds, out=tmp_path / "run")


def test_clips_that_cannot_be_heard_are_left_out_or_refused(quick_run: Run, clips: Clips, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.touch()
    rows = [*clips.table.to_dict("records"), {"path": str(broken), "label": "hum"}]
    run = evaluate(quick_run.folder, build_clips(rows), out=tmp_path / "run", allow_leak=True)
    assert [entry["path"] for entry in run.report["data"]["left_out"]] == [str(broken)]
    assert run.report["metrics"]["clips"] == 36
    with pytest.raises(ClipsError, match="--strict allows none"):
        evaluate(quick_run.folder, build_clips(rows), out=tmp_path / "strict", strict=True)
