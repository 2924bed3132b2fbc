"""Folders, lists and addresses: which files are meant, in which order, and without a list of them all."""

import io
import sys
from pathlib import Path

import pytest

from earmark.errors import SoundError
from earmark.inference.listing import list_sounds, look_ahead


@pytest.fixture
def folder(tmp_path):
    for name in ("a/2.wav", "a/1.flac", "a.wav", "a-b/x.ogg", "b/c/d.mp3", "A.WAV", ".hidden.wav", "b/notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    return tmp_path / "in"


def test_a_folder_comes_in_the_order_of_its_sorted_paths(folder):
    expected = sorted(
        str(path) for path in folder.rglob("*") if path.suffix.lower() in (".wav", ".flac", ".ogg", ".mp3")
    )
    expected = [path for path in expected if not Path(path).name.startswith(".")]
    assert list(list_sounds([str(folder)])) == expected
    assert len(expected) == 6


def test_names_in_the_present_folder_stand_alone(folder, monkeypatch):
    monkeypatch.chdir(folder)
    expected = [str(Path(path).relative_to(folder)) for path in list_sounds([str(folder)])]
    assert list(list_sounds(["."])) == expected
    assert list(list_sounds(["./a/"])) == ["a/1.flac", "a/2.wav"]


def test_a_link_to_a_folder_is_not_followed(folder, tmp_path):
    (folder / "again").symlink_to(folder, target_is_directory=True)
    (folder / "z.wav").symlink_to(folder / "a.wav")
    names = [Path(path).name for path in list_sounds([str(folder)])]
    assert len(names) == 7
    assert names[-1] == "z.wav"


def test_names_are_told_as_they_are_even_of_files_that_are_not_there(folder):
    assert list(list_sounds(["gone.wav", str(folder / "a.wav")])) == ["gone.wav", str(folder / "a.wav")]


def test_a_list_is_relative_to_its_folder(folder, tmp_path):
    text = "\ufeffa.wav\r\n\na/2.wav\n" + str(folder / "A.WAV") + "\ns3://bucket/owl.wav\n"
    (folder / "list.txt").write_text(text, encoding="utf-8", newline="")
    assert list(list_sounds([str(folder / "list.txt")])) == [
        str(folder / "a.wav"),
        str(folder / "a/2.wav"),
        str(folder / "A.WAV"),
        "s3://bucket/owl.wav",
    ]


def test_standard_input_is_relative_to_the_present_folder(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("a.wav\n\nb c.wav\n"))
    assert list(list_sounds(["-"])) == ["a.wav", "b c.wav"]


def test_addresses_are_walked_like_folders(folder):
    pytest.importorskip("fsspec")
    expected = [f"file://{path}" for path in list_sounds([str(folder)])]
    assert list(list_sounds([f"file://{folder}"])) == expected
    assert list(list_sounds([expected[0]])) == expected[:1]


def test_addresses_without_fsspec_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(SoundError, match=r's3://birds is an address, .* `pip install "earmark\[ray\]"`'):
        list(list_sounds(["s3://birds"]))


def test_faults_show_before_anything_is_done(tmp_path):
    with pytest.raises(SoundError, match="holds no sound files; name files, or another folder"):
        look_ahead(list_sounds([str(tmp_path)]))
    with pytest.raises(SoundError, match=r"There is no list .*gone\.txt; give a text file with a path a line"):
        look_ahead(list_sounds([str(tmp_path / "gone.txt")]))
    assert list(look_ahead(list_sounds([]))) == []
    assert list(look_ahead(iter(["a", "b"]))) == ["a", "b"]


def test_files_are_found_as_they_are_asked_for(folder, monkeypatch):
    import os

    scanned = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: scanned.append(Path(path).name) or scan(path))
    paths = list_sounds([str(folder)])
    next(paths)
    assert scanned == ["in"]
    list(paths)
    assert scanned == ["in", "a-b", "a", "b", "c"]
