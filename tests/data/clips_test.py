"""Manifests: what they may say, and that everything wrong with one is told at once, by row."""

import dataclasses
import math
import os
import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from earmark.data.clips import Clips, build_clips, read_csv, write_csv
from earmark.data.fingerprint import hash_clips
from earmark.errors import ClipsError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def manifest(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "clips.csv"
    path.write_bytes(text.encode(encoding))
    return path


def fault_of(path: Path) -> str:
    with pytest.raises(ClipsError) as caught:
        read_csv(path)
    return str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    touch(tmp_path, "a.wav", "b.wav", "c.wav", "d.wav")
    return tmp_path


def test_reads_paths_and_labels(folder):
    path = manifest(folder, "path,label\nb.wav,dog\na.wav,cat\n")
    clips = read_csv(path)
    assert list(clips.table.columns) == ["path", "label"]
    assert list(clips.table["path"]) == [str(folder / "b.wav"), str(folder / "a.wav")]
    assert list(clips.table["label"]) == ["dog", "cat"]
    assert clips.labels == ("cat", "dog")
    assert (len(clips), clips.multi_label, clips.layout) == (2, False, "CSV manifest")
    assert (clips.source, clips.passed_over) == (str(path), {})


def test_clips_cannot_be_changed(folder):
    clips = read_csv(manifest(folder, "path,label\nb.wav,dog\na.wav,cat\n"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        clips.labels = ()


def test_reads_optional_columns_in_their_types(folder):
    text = "path,label,fold,group,split,start_s,end_s,extra\n"
    text += "a.wav,cat,1,007,train,0.5,2,x\nb.wav,dog,2.0,ben,VAL,,1.25,\nc.wav,dog,,,eval,1,,y\nd.wav,cat,3,,dev,,,\n"
    table = read_csv(manifest(folder, text)).table
    assert list(table.columns) == ["path", "label", "fold", "group", "split", "start_s", "end_s"]
    assert table["fold"].dtype == "Int64"
    assert table["fold"].dropna().tolist() == [1, 2, 3]
    assert table["group"].dropna().tolist() == ["007", "ben"]
    assert table["split"].tolist() == ["train", "validation", "test", "validation"]
    assert table["start_s"].dropna().tolist() == [0.5, 1.0]
    assert table["end_s"].dropna().tolist() == [2.0, 1.25]
    assert table["fold"].isna().tolist() == [False, False, True, False]


def test_a_column_that_is_blank_throughout_is_not_there(folder):
    table = read_csv(manifest(folder, "path,label,fold,split\na.wav,cat,,\nb.wav,dog,, \n")).table
    assert list(table.columns) == ["path", "label"]


def test_numbers_as_labels_stay_as_written(folder):
    clips = read_csv(manifest(folder, "path,label\na.wav,01\nb.wav,1\nc.wav,1.0\nd.wav,NA\n"))
    assert clips.table["label"].tolist() == ["01", "1", "1.0", "NA"]
    assert clips.labels == ("01", "1", "1.0", "NA")


def test_several_labels_a_clip(folder):
    clips = read_csv(manifest(folder, "path,labels\na.wav,dog; rain\nb.wav,rain;rain;\nc.wav,cat\n"))
    assert clips.multi_label
    assert clips.labels == ("cat", "dog", "rain")
    assert clips.table["label"].tolist() == ["dog;rain", "rain", "cat"]


def test_a_semicolon_in_a_single_label_stays(folder):
    assert read_csv(manifest(folder, "path,label\na.wav,a;b\nb.wav,c\n")).labels == ("a;b", "c")


@pytest.mark.parametrize(
    "name", ["two words.wav", "狗叫/录音 一.wav", "🐕/🐕‍🦺.wav", "café/naïve.wav", 'say "hi", twice.wav', " lead.wav"]
)
def test_any_name_can_be_written_and_read_back(tmp_path, name):
    touch(tmp_path, name, "b.wav")
    clips = build_clips(
        [{"path": str(tmp_path / name), "label": "狗 🐕"}, {"path": str(tmp_path / "b.wav"), "label": "b"}]
    )
    again = read_csv(write_csv(clips, tmp_path / "list" / ".." / "clips.csv"))
    pd.testing.assert_frame_equal(again.table, clips.table)
    assert again.labels == ("b", "狗 🐕")


def test_decomposed_names_are_found_and_labels_composed(tmp_path):
    touch(tmp_path, unicodedata.normalize("NFD", "é.wav"), "b.wav")
    clips = read_csv(manifest(tmp_path, f"path,label\n\u00e9.wav,{unicodedata.normalize('NFD', 'é')}\nb.wav,b\n"))
    assert clips.labels == ("b", "\u00e9")


def test_back_slashes_absolute_paths_and_parents(tmp_path):
    touch(tmp_path, "cats/1.wav", "dogs/2.wav", "meta/.keep", "3.wav")
    text = f"path,label\n..\\cats\\1.wav,cat\n../dogs/2.wav,dog\n{tmp_path / '3.wav'},dog\n"
    paths = read_csv(manifest(tmp_path / "meta", text)).table["path"].tolist()
    assert paths == [str(tmp_path / name) for name in ("cats/1.wav", "dogs/2.wav", "3.wav")]


@pytest.mark.skipif(os.name == "nt", reason="no back-slash in names there")
def test_a_back_slash_may_be_part_of_a_name(tmp_path):
    touch(tmp_path, "a\\b.wav", "a/b.wav", "c.wav")
    clips = read_csv(manifest(tmp_path, "path,label\na\\b.wav,x\nc.wav,y\n"))
    assert clips.table["path"][0] == str(tmp_path / "a\\b.wav")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk"])
def test_spreadsheets_encodings(tmp_path, encoding):
    touch(tmp_path, "狗.wav", "猫.wav")
    clips = read_csv(manifest(tmp_path, "path,label\r\n狗.wav,狗\r\n猫.wav,猫\r\n", encoding))
    assert clips.labels == ("狗", "猫")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_and_headers_as_spreadsheets_write_them(folder, separator):
    text = " Path ,LABEL,Fold\na.wav,cat,1\nb.wav,dog,2\n".replace(",", separator)
    assert read_csv(manifest(folder, text)).table["fold"].tolist() == [1, 2]


def test_blank_rows_are_passed_over_but_counted_in_row_numbers(folder):
    clips = read_csv(manifest(folder, "path,label\na.wav,cat\n\n,\nb.wav,dog\n"))
    assert (len(clips), clips.passed_over) == (2, {"blank row": 2})
    assert "no such file: row 5 (x.wav)" in fault_of(manifest(folder, "path,label\na.wav,cat\n\n,\nx.wav,dog\n"))


def test_row_numbers_count_rows_not_lines(tmp_path):
    touch(tmp_path, "a.wav")
    assert "row 3 (x.wav)" in fault_of(manifest(tmp_path, 'path,label\na.wav,"two\nlines"\nx.wav,dog\n'))


def test_segments_of_one_file_are_clips_of_their_own(folder):
    text = "path,label,start_s,end_s\na.wav,cat,0,1\na.wav,dog,1,2\n"
    assert len(read_csv(manifest(folder, text))) == 2


# What is wrong with a manifest.


def test_missing_files(folder):
    fault = fault_of(manifest(folder, "path,label\na.wav,cat\nx.wav,dog\ndeep/y.wav,dog\n"))
    assert "clips.csv cannot be used as it is (the header is row 1):" in fault
    assert "no such file: row 3 (x.wav), row 4 (deep/y.wav). Relative paths start from the folder of the CSV." in fault


def test_a_folder_is_no_sound(folder):
    (folder / "sub").mkdir()
    assert "no such file: row 2 (sub)" in fault_of(manifest(folder, "path,label\nsub,cat\nb.wav,dog\n"))


def test_blank_labels_and_paths(folder):
    fault = fault_of(manifest(folder, "path,label\na.wav,\n,dog\nb.wav,  \nc.wav,cat\n"))
    assert "no label: row 2, row 4. Fill in" in fault
    assert "no path: row 3. Fill in" in fault


def test_no_label_among_several(folder):
    assert "no label: row 3." in fault_of(manifest(folder, "path,labels\na.wav,x;y\nb.wav, ; \n"))


def test_a_single_class(folder):
    fault = fault_of(manifest(folder, "path,label\na.wav,cat\nb.wav,cat\n"))
    assert "a single class: the only label is 'cat'. A classifier needs at least two." in fault


def test_the_same_clip_twice(folder):
    fault = fault_of(manifest(folder, "path,label\na.wav,cat\nb.wav,dog\n./a.wav,dog\n"))
    assert "the same clip twice: row 4 as row 2 (a.wav). Delete one row" in fault
    text = "path,label,start_s,end_s\na.wav,cat,,1\na.wav,dog,0,1.0\n"
    assert "the same clip twice: row 3 as row 2 (a.wav)." in fault_of(manifest(folder, text))


def test_times_that_are_none(folder):
    text = "path,label,start_s,end_s\na.wav,cat,x,1\nb.wav,dog,-1,1\nc.wav,dog,3,2\nd.wav,dog,0,0\na.wav,dog,nan,inf\n"
    fault = fault_of(manifest(folder, text))
    wrong = "row 2 (start_s x), row 3 (start_s -1), row 6 (start_s nan), row 6 (end_s inf)"
    assert f"start_s or end_s is not a time: {wrong}. Write seconds" in fault
    assert "end_s is not after start_s: row 4 (3 to 2), row 5 (0 to 0)." in fault


def test_an_unknown_split(folder):
    fault = fault_of(manifest(folder, "path,label,split\na.wav,cat,train\nb.wav,dog,holdout\n"))
    assert "unknown split: row 3 (holdout). Write train, validation or test" in fault


@pytest.mark.parametrize("fold", ["a", "1.5", "inf", "nan"])
def test_a_fold_that_is_no_whole_number(folder, fold):
    fault = fault_of(manifest(folder, f"path,label,fold\na.wav,cat,1\nb.wav,dog,{fold}\n"))
    assert f"fold is not a whole number: row 3 ({fold})." in fault


def test_ragged_rows(folder):
    fault = fault_of(manifest(folder, "path,label\na.wav,cat\nb, c.wav,dog\nd.wav\nc.wav,dog,\n"))
    assert "another number of cells than the header: row 3 (3, not 2), row 4 (1, not 2). Put names" in fault


def test_everything_wrong_is_told_at_once_and_ten_rows_of_each(folder):
    rows = "".join(f"gone{row}.wav,cat,1\n" for row in range(2, 25))
    fault = fault_of(manifest(folder, f"path,label,fold\n{rows}a.wav,,x\n,dog,2\n"))
    assert "row 2 (gone2.wav), " in fault
    assert "row 11 (gone11.wav) and 13 more. Relative" in fault
    assert "gone12" not in fault
    kinds = [line.split(":")[0].strip() for line in fault.splitlines()[1:]]
    assert kinds == ["no path", "no such file", "no label", "fold is not a whole number"]


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (
            "filename,category",
            "no path column: rename 'filename' to path? Also it has no label column: rename 'category'",
        ),
        ("paths,label", "it has no path column: rename 'paths' to path? Columns found: paths, label."),
        ("path,x", "it has no label column: name one of its columns label. Columns found: path, x."),
        ("文件,标签", "rename '文件' to path? Also it has no label column: rename '标签' to label?"),
        ("path,label,labels", "it has a label and a labels column: keep one."),
        ("path,label,Label", "the column label stands there twice: delete one."),
        ("a.wav,cat", "Columns found: a.wav, cat."),
    ],
)
def test_columns_that_are_not_there(folder, header, sentence):
    assert sentence in fault_of(manifest(folder, f"{header}\na.wav,cat,cat\n"))


def test_an_empty_csv(folder):
    for text in ("", "\n\n", " , \n"):
        assert "clips.csv is empty: it needs a header (path,label)" in fault_of(manifest(folder, text))
    assert "holds a header but no rows" in fault_of(manifest(folder, "path,label\n"))


@pytest.mark.parametrize("content", [b"\xff\xfep\x00a\x00", b"PK\x03\x04\xff\xff\xff\x00\x80"])
def test_not_text(folder, content):
    path = folder / "clips.csv"
    path.write_bytes(content)
    assert "neither UTF-8 nor GB18030 text: save it from a spreadsheet as 'CSV UTF-8'" in fault_of(path)


def test_an_open_quote(folder):
    assert "not a well-formed CSV" in fault_of(manifest(folder, 'path,label\na.wav,"cat\nb.wav,dog\n'))


def test_a_csv_that_cannot_be_opened(folder):
    assert "nowhere.csv cannot be read: No such file" in fault_of(folder / "nowhere.csv")


# Writing, and fingerprints.


def test_paths_beneath_the_csv_are_written_relative(tmp_path):
    touch(tmp_path, "data/cat/1.wav", "other/2.wav")
    rows = [
        {"path": str(tmp_path / "data/cat/1.wav"), "label": "cat", "fold": 1, "start_s": 0.1, "end_s": None},
        {"path": str(tmp_path / "other/2.wav"), "label": "dog", "fold": None, "split": "test"},
    ]
    path = write_csv(build_clips(rows), tmp_path / "data" / "clips.csv")
    assert path.read_bytes().decode() == (
        f"path,label,fold,split,start_s\ncat/1.wav,cat,1,,0.1\n{(tmp_path / 'other/2.wav').as_posix()},dog,,test,\n"
    )
    pd.testing.assert_frame_equal(read_csv(path).table, build_clips(rows).table)


def test_several_labels_are_read_back_as_several(tmp_path):
    touch(tmp_path, "a.wav", "b.wav")
    rows = [{"path": str(tmp_path / "a.wav"), "label": "x;y"}, {"path": str(tmp_path / "b.wav"), "label": "y"}]
    clips = build_clips(rows, multi_label=True)
    again = read_csv(write_csv(clips, tmp_path / "clips.csv"))
    assert (again.multi_label, again.labels) == (True, ("x", "y"))
    pd.testing.assert_frame_equal(again.table, clips.table)


def test_spreadsheets_are_told_that_a_list_is_utf_8_only_where_it_matters(folder):
    plain = build_clips(
        [{"path": str(folder / "a.wav"), "label": "cat"}, {"path": str(folder / "b.wav"), "label": "dog"}]
    )
    assert write_csv(plain, folder / "plain.csv").read_bytes().startswith(b"path,")
    chinese = build_clips(
        [{"path": str(folder / "a.wav"), "label": "猫"}, {"path": str(folder / "b.wav"), "label": "狗"}]
    )
    assert write_csv(chinese, folder / "chinese.csv").read_bytes().startswith(b"\xef\xbb\xbfpath,")


def test_a_list_that_cannot_be_written_leaves_the_old_one(folder):
    path = manifest(folder, "path,label\nold\n")
    clips = build_clips([{"path": "/a.wav", "label": "\udce9"}, {"path": "/b.wav", "label": "b"}])
    with pytest.raises(UnicodeEncodeError):
        write_csv(clips, path)
    assert path.read_text() == "path,label\nold\n"
    assert not list(folder.glob("*.part")) + list(folder.glob(".*.part"))


def clips_in(folder: Path) -> Clips:
    touch(folder, "cat/1.wav", "dog/2.wav")
    return build_clips([{"path": str(folder / name), "label": name[:3]} for name in ("cat/1.wav", "dog/2.wav")])


def test_the_fingerprint_is_the_same_wherever_the_clips_lie(tmp_path):
    here, there = clips_in(tmp_path / "here"), clips_in(tmp_path / "deeper" / "there")
    assert hash_clips(here) == hash_clips(there)
    assert len(hash_clips(here)) == 64
    backwards = dataclasses.replace(there, table=there.table.iloc[::-1])
    assert hash_clips(backwards) == hash_clips(here)


def test_the_fingerprint_sees_labels_names_sizes_and_times(tmp_path):
    clips = clips_in(tmp_path)
    rows = clips.table.to_dict("records")
    prints = {hash_clips(clips)}
    prints.add(hash_clips(build_clips([rows[0] | {"label": "cow"}, rows[1]])))
    prints.add(hash_clips(build_clips([rows[0] | {"start_s": 1.0}, rows[1]])))
    prints.add(hash_clips(build_clips([rows[0] | {"start_s": math.nan, "end_s": 1.0}, rows[1]])))
    (tmp_path / "cat/1.wav").rename(tmp_path / "cat/3.wav")
    with pytest.raises(ClipsError, match=r"1\.wav cannot be read \(No such file"):
        hash_clips(clips)
    prints.add(hash_clips(build_clips([rows[0] | {"path": str(tmp_path / "cat/3.wav")}, rows[1]])))
    (tmp_path / "cat/1.wav").write_bytes(b"longer than it was before")
    prints.add(hash_clips(clips))
    assert len(prints) == 6
