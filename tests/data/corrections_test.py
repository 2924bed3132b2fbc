"""Corrections: written for a person, edited by one, applied; what does not fit is refused in a sentence."""

import csv

import pandas as pd
import pytest

from earmark.data.clips import build_clips, read_csv, write_csv
from earmark.data.corrections import COLUMNS, Correction, apply_corrections, write_corrections
from earmark.errors import ClipsError


@pytest.fixture
def clips(tmp_path):
    for name in ("a", "b", "c", "long"):
        (tmp_path / f"{name}.wav").touch()
    rows = [
        {"path": str(tmp_path / "a.wav"), "label": "cat", "fold": 1, "group": "x"},
        {"path": str(tmp_path / "b.wav"), "label": "dog", "fold": 2},
        {"path": str(tmp_path / "c.wav"), "label": "cat"},
        {"path": str(tmp_path / "long.wav"), "label": "owl", "start_s": 0.0, "end_s": 2.5},
        {"path": str(tmp_path / "long.wav"), "label": "dog", "start_s": 2.5, "end_s": 5.0},
    ]
    return build_clips(rows, source=str(tmp_path), layout="CSV manifest")


def correct(clips, row, action, suggested="", label=None):
    record = clips.table.iloc[row]
    times = [None if pd.isna(record[name]) else record[name] for name in ("start_s", "end_s")]
    return Correction(record["path"], *times, label or record["label"], suggested, action)


def write_rows(folder, *rows, header="path,start_s,end_s,label,suggested,action"):
    path = folder / "corrections.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def refuse(clips, path):
    with pytest.raises(ClipsError) as caught:
        apply_corrections(clips, path)
    return str(caught.value)


def test_keep_relabel_and_drop(clips, tmp_path):
    corrections = [
        correct(clips, 0, "relabel", "dog"),
        correct(clips, 1, "drop"),
        correct(clips, 2, "keep", "dog"),
        correct(clips, 4, "relabel", "owl"),
    ]
    corrected = apply_corrections(clips, write_corrections(corrections, tmp_path / "c.csv"))
    assert corrected.clips.table["label"].tolist() == ["dog", "cat", "owl", "owl"]
    assert (corrected.relabelled, corrected.dropped) == (2, 1)
    assert corrected.clips.labels == ("cat", "dog", "owl")
    assert corrected.clips.table["fold"].tolist()[0] == 1
    assert clips.table["label"].tolist() == ["cat", "dog", "cat", "owl", "dog"]


def test_the_new_clips_survive_a_manifest(clips, tmp_path):
    corrected = apply_corrections(clips, write_corrections([correct(clips, 3, "drop")], tmp_path / "c.csv"))
    again = read_csv(write_csv(corrected.clips, tmp_path / "new.csv"))
    assert again.labels == ("cat", "dog")
    assert len(again) == 4


def test_corrections_written_are_relative_to_their_folder_and_open_in_a_spreadsheet(clips, tmp_path):
    corrections = [Correction(str(tmp_path / "a.wav"), 0.5, None, "狗", "", "keep", "says, it barks")]
    path = write_corrections(corrections, tmp_path / "c.csv")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    header, row = csv.reader(path.read_text(encoding="utf-8-sig").splitlines())
    assert tuple(header) == COLUMNS
    assert row == ["a.wav", "0.5", "", "狗", "", "keep", "says, it barks"]


def test_what_a_spreadsheet_makes_of_the_file_is_understood(clips, tmp_path):
    rows = ["a.wav;;;cat;dog; Relabel ;because", ";;;;;;", "long.wav;2,5;5,0;dog;;DROP;", "b.wav;;;dog;;;"]
    path = write_rows(tmp_path, *rows, header="Path;Start_s;end_s;label;suggested;action;my column")
    corrected = apply_corrections(clips, path)
    assert corrected.clips.table["label"].tolist() == ["dog", "dog", "cat", "owl"]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("z.wav,,,cat,,keep", "Row 2: no clip is z.wav; relative paths start from the folder of the CSV."),
        (",,,cat,,keep", "Row 2: the path is blank: fill it in or delete the row."),
        ("long.wav,1,2,owl,,drop", "Row 2: no clip is long.wav, start_s 1, end_s 2; relative"),
        ("long.wav,,,owl,,drop", "Row 2: the clips of long.wav have times: write its start_s and end_s."),
        ("long.wav,soon,,owl,,drop", "Row 2: start_s or end_s is not a time"),
        ("a.wav,,,cat,,delete", "Row 2: the action 'delete' is unknown: write keep, relabel or drop."),
        ("a.wav,,,dog,,keep", "Row 2: the clip is labelled 'cat', not 'dog': audit the clips anew"),
        ("a.wav,,,cat,,relabel", "Row 2: it is to be relabelled, but suggested is blank"),
        ("a.wav,,,cat,dgo,relabel", "Row 2: no clip has the label 'dgo': did you mean 'dog'?"),
        ("a.wav,,,cat,xyz,relabel", "Row 2: no clip has the label 'xyz': the labels are cat, dog, owl."),
        ("a.wav,,,cat", "Row 2 has 4 cells, the header 6"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(clips, tmp_path, row, sentence):
    assert sentence in refuse(clips, write_rows(tmp_path, row))


def test_all_faults_are_told_at_once_and_a_clip_named_twice_is_one(clips, tmp_path):
    path = write_rows(tmp_path, "a.wav,,,cat,,keep", "a.wav,,,cat,,drop", "z.wav,,,cat,,keep")
    message = refuse(clips, path)
    assert "Row 3 names the same clip as row 2: delete one." in message
    assert "Row 4: no clip is z.wav" in message


def test_a_column_that_is_missing_is_named(clips, tmp_path):
    assert "has no column action" in refuse(clips, write_rows(tmp_path, "a.wav,cat", header="path,label"))


def test_a_single_class_is_refused(clips, tmp_path):
    corrections = [correct(clips, row, "drop") for row in (0, 2, 3)]
    message = refuse(clips, write_corrections(corrections, tmp_path / "c.csv"))
    assert "leave a single class, 'dog'" in message


def test_several_labels_are_compared_in_any_order_and_relabelled_together(tmp_path):
    rows = [{"path": f"/{name}.wav", "label": label} for name, label in (("a", "x;y"), ("b", "y"), ("c", "z"))]
    clips = build_clips(rows, multi_label=True)
    path = write_rows(tmp_path, "/a.wav,x;y,z; y,relabel", header="path,label,suggested,action")
    corrected = apply_corrections(clips, path)
    assert corrected.clips.table["label"].tolist() == ["z;y", "y", "z"]
    assert corrected.clips.labels == ("y", "z")
