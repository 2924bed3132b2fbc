"""Ten ways to lay out sounds that are read, and what is said about those that cannot be."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.data.layouts import read_clips
from earmark.errors import ClipsError


def lay_out(root: Path, *names: str) -> Path:
    """Short sounds for names with a sound's suffix, text for others, folders for names that end in a slash."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        elif path.suffix.lower() in (".wav", ".flac", ".ogg"):
            soundfile.write(path, np.zeros(80), 8000, format=path.suffix[1:].upper())
        else:
            path.write_text("text")
    return root


def pairs(root: Path, path: Path | None = None) -> list[tuple[str, str]]:
    """Each clip's path below the root with its label, in order."""
    table = read_clips(path or root).table
    return [
        (Path(p).relative_to(root).as_posix(), label) for p, label in zip(table["path"], table["label"], strict=True)
    ]


def fault_of(path: Path) -> str:
    with pytest.raises(ClipsError) as caught:
        read_clips(path)
    return str(caught.value)


def test_1_class_folders(tmp_path):
    root = lay_out(tmp_path, "dog/2.wav", "cat/b.flac", "cat/a.wav", "cat/C.WAV")
    clips = read_clips(root)
    assert pairs(root) == [("cat/C.WAV", "cat"), ("cat/a.wav", "cat"), ("cat/b.flac", "cat"), ("dog/2.wav", "dog")]
    assert list(clips.table.columns) == ["path", "label"]
    assert (clips.labels, clips.layout, clips.source) == (("cat", "dog"), "folder of classes", str(root))
    assert (clips.multi_label, clips.passed_over) == (False, {})


def test_2_sounds_at_any_depth_belong_to_the_first_folder(tmp_path):
    root = lay_out(tmp_path, "cat/2024/may/a.wav", "cat/b.wav", "dog/x/c.wav", "dog/y/c.wav")
    assert [label for _, label in pairs(root)] == ["cat", "cat", "dog", "dog"]


def test_3_a_folder_around_it_as_archives_unpack(tmp_path):
    root = lay_out(
        tmp_path, "sounds-1.0/sounds/cat/a.wav", "sounds-1.0/sounds/dog/b.wav", "__MACOSX/._a.wav", "README.md"
    )
    clips = read_clips(root)
    assert pairs(root) == [("sounds-1.0/sounds/cat/a.wav", "cat"), ("sounds-1.0/sounds/dog/b.wav", "dog")]
    assert clips.passed_over == {"hidden": 1, "not audio": 1}


def test_4_splits_above_classes(tmp_path):
    root = lay_out(
        tmp_path, "train/cat/a.wav", "train/dog/b.wav", "Valid/cat/c.wav", "test/dog/deep/d.wav", "docs/x.txt"
    )
    table = read_clips(root).table
    assert list(table.columns) == ["path", "label", "split"]
    found = {Path(path).name: (label, split) for path, label, split in table.itertuples(index=False)}
    assert found == {
        "a.wav": ("cat", "train"),
        "b.wav": ("dog", "train"),
        "c.wav": ("cat", "validation"),
        "d.wav": ("dog", "test"),
    }


def test_5_splits_in_an_archives_folder(tmp_path):
    root = lay_out(tmp_path, "data/training/cat/a.wav", "data/training/dog/b.wav", "data/eval/cat/c.wav")
    assert read_clips(root).table["split"].tolist() == ["test", "train", "train"]


def test_6_one_split_alone_divides_nothing(tmp_path):
    root = lay_out(tmp_path, "train/cat/a.wav", "train/dog/b.wav")
    assert pairs(root) == [("train/cat/a.wav", "cat"), ("train/dog/b.wav", "dog")]
    assert "split" not in read_clips(root).table


def test_7_a_class_may_be_named_like_a_split(tmp_path):
    root = lay_out(tmp_path, "train/a.wav", "tram/b.wav")
    assert read_clips(root).labels == ("train", "tram")


def test_8_spaces_cjk_and_emoji(tmp_path):
    root = lay_out(tmp_path, "sea gull/a b.wav", "狗/录音 一.wav", "ねこ/1.wav", "🐸 frog/🎵.wav")
    assert read_clips(root).labels == ("sea gull", "ねこ", "狗", "🐸 frog")
    assert len(read_clips(root)) == 4


def test_9_decomposed_names_are_one_class_with_composed_ones(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "été") for form in ("NFC", "NFD"))
    root = lay_out(tmp_path, f"{decomposed}/a.wav", "hiver/c.wav")
    assert read_clips(root).labels == ("hiver", composed)


def test_10_a_manifest(tmp_path):
    root = lay_out(tmp_path, "audio/1.wav", "audio/2.wav")
    (root / "clips.CSV").write_text("path,label,fold\naudio/2.wav,dog,1\naudio/1.wav,cat,2\n")
    assert pairs(root, root / "clips.CSV") == [("audio/2.wav", "dog"), ("audio/1.wav", "cat")]
    assert read_clips(root / "clips.CSV").layout == "CSV manifest"


def test_11_a_manifest_with_tabs(tmp_path):
    root = lay_out(tmp_path, "1.wav", "2.wav")
    (root / "clips.tsv").write_text("path\tlabel\n1.wav\tcat\n2.wav\tdog\n")
    assert pairs(root, root / "clips.tsv") == [("1.wav", "cat"), ("2.wav", "dog")]


def test_12_links_are_followed_but_never_round_in_circles(tmp_path):
    lay_out(tmp_path / "elsewhere", "a.wav")
    root = lay_out(tmp_path / "root", "dog/b.wav", "dog/inner/c.wav")
    try:
        (root / "cat").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
        (root / "dog" / "inner" / "again").symlink_to(root, target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    assert [label for _, label in pairs(root)] == ["cat", "dog", "dog"]
    assert read_clips(root).passed_over == {"link to a folder around it": 1}


def test_what_is_passed_over_is_counted(tmp_path):
    root = lay_out(
        tmp_path,
        *("cat/a.wav", "dog/b.wav", "loose.wav", "README.md", "cat/notes.txt", "empty/", "only text/x.txt"),
        *("cat/.hidden.wav", ".git/x.wav", "cat/Thumbs.db", "dog/desktop.ini", "__MACOSX/cat/a.wav", ".DS_Store"),
    )
    assert pairs(root) == [("cat/a.wav", "cat"), ("dog/b.wav", "dog")]
    assert read_clips(root).passed_over == {
        "hidden": 6,
        "not audio": 3,
        "outside any class folder": 1,
        "folder without sound": 2,
    }


def test_sounds_beside_the_classes_of_a_split_are_outside(tmp_path):
    root = lay_out(tmp_path, "train/cat/a.wav", "train/dog/b.wav", "train/loose.wav", "test/cat/c.wav", "top.wav")
    clips = read_clips(root)
    assert len(clips) == 3
    assert clips.passed_over == {"outside any class folder": 2}


def test_the_order_is_the_same_again(tmp_path):
    root = lay_out(tmp_path, *(f"{label}/{take}.wav" for label in "cab" for take in (10, 2, 1)))
    assert pairs(root) == [(f"{label}/{take}.wav", label) for label in "abc" for take in (1, 10, 2)]
    assert read_clips(root).table.equals(read_clips(str(root) + os.sep).table)


def test_relative_paths_become_absolute(tmp_path, monkeypatch):
    lay_out(tmp_path, "sounds/cat/a.wav", "sounds/dog/b.wav")
    monkeypatch.chdir(tmp_path)
    assert read_clips("sounds").table["path"][0] == str(tmp_path / "sounds" / "cat" / "a.wav")


# What cannot be read.


def test_nothing_there(tmp_path):
    assert "nowhere does not exist: check its name." in fault_of(tmp_path / "nowhere")


def test_a_file_that_is_no_csv(tmp_path):
    lay_out(tmp_path, "one.wav", "clips.xlsx")
    for name in ("one.wav", "clips.xlsx"):
        fault = fault_of(tmp_path / name)
        assert f"{name} is neither a folder nor a CSV. Make one folder a class" in fault


def test_an_empty_folder(tmp_path):
    lay_out(tmp_path, "cat/", "dog/", ".hidden")
    assert "holds no sound and no other file. Make one folder a class" in fault_of(tmp_path)


def test_no_sound_says_what_was_found(tmp_path):
    lay_out(tmp_path, "a.txt", "cat/b.txt", "cat/c.jpg", "LICENSE", "clips.csv")
    fault = fault_of(tmp_path)
    assert "holds no sound: found 2 .txt, " in fault
    assert "1 no suffix" in fault
    assert "(if clips.csv says which is which, give that file)" in fault
    assert " .flac " in fault


def test_sounds_without_class_folders(tmp_path):
    lay_out(tmp_path, "a.wav", "b.wav", "empty/")
    fault = fault_of(tmp_path)
    assert "holds 2 sounds but no class folders. Make one folder a class with its sounds in it, or write a CSV" in fault
    lay_out(tmp_path, "meta/list.csv")
    assert "(if meta/list.csv says which is which, give that file)" in fault_of(tmp_path)


def test_splits_without_class_folders(tmp_path):
    lay_out(tmp_path, "train/a.wav", "test/b.wav")
    assert "holds 2 sounds but no class folders" in fault_of(tmp_path)


def test_a_single_class(tmp_path):
    lay_out(tmp_path, "cat/a.wav", "cat/b.wav")
    assert "holds a single class, 'cat', with 2 sounds: a classifier needs at least two" in fault_of(tmp_path)


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="names there are always Unicode")
def test_names_in_another_encoding(tmp_path):
    lay_out(tmp_path, "dog/a.wav")
    folder = os.fsencode(tmp_path) + b"/" + "狗".encode("gbk")
    os.mkdir(folder)
    os.rename(os.fsencode(tmp_path / "dog" / "a.wav"), folder + b"/a.wav")
    lay_out(tmp_path, "dog/a.wav")
    fault = fault_of(tmp_path)
    assert "names that are not valid UTF-8 (of 1 sound), such as b'\\xb9\\xb7/a.wav'" in fault
    assert "unzip -O gb18030" in fault


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="every folder can be read here")
def test_a_folder_that_may_not_be_read(tmp_path):
    lay_out(tmp_path, "cat/a.wav", "dog/b.wav")
    (tmp_path / "dog").chmod(0)
    try:
        assert "dog cannot be read: Permission denied" in fault_of(tmp_path)
    finally:
        (tmp_path / "dog").chmod(0o755)
