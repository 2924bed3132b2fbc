"""Known datasets by their layout: what each is recognised as, its published folds and splits, and its faults."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.data.clips import Clips
from earmark.data.known import GTZAN_GENRES, find_gtzan_split
from earmark.data.layouts import read_clips
from earmark.data.splits import split_clips
from earmark.data.waveforms import load_waveforms
from earmark.errors import ClipsError


def touch(root: Path, *names: str) -> Path:
    """Empty files: a layout is known without a look into any sound."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def rows_of(clips: Clips, *columns: str) -> dict[str, tuple]:
    """Each clip's file name with what stands in its columns."""
    cells = zip(*(clips.table[column] for column in columns), strict=True)
    return {Path(path).name: row for path, row in zip(clips.table["path"], cells, strict=True)}


def fault_of(path: Path) -> str:
    with pytest.raises(ClipsError) as caught:
        read_clips(path)
    return str(caught.value)


# GTZAN.


def lay_out_gtzan(root: Path, suffix: str = ".wav") -> Path:
    return touch(root, *(f"{genre}/{genre}.{track:05d}{suffix}" for genre in GTZAN_GENRES for track in range(100)))


@pytest.mark.parametrize(
    ("folder", "suffix"), [("genres_original", ".wav"), ("genres", ".au"), ("Data/genres", ".wav")]
)
def test_gtzan_has_its_fault_filtered_split(tmp_path, folder, suffix):
    lay_out_gtzan(tmp_path / folder, suffix)
    clips = read_clips(tmp_path)
    assert (clips.layout, len(clips), clips.labels) == ("GTZAN", 1000, GTZAN_GENRES)
    assert list(clips.table.columns) == ["path", "label", "split"]
    assert clips.table["split"].value_counts().to_dict() == {"train": 443, "test": 290, "validation": 197, "unused": 70}
    split = split_clips(clips, validation=True)
    assert split.parts.tolist() == clips.table["split"].tolist()
    assert split.protocol == "GTZAN's published fault-filtered split (443/197/290, 70 clips unused)."
    spared = split_clips(clips, validation=False)
    assert [len(spared.rows(part)) for part in ("train", "validation", "test")] == [640, 0, 290]
    # As in the list of the paper, by track: blues 1 to 12 validate, 13 to 29 are tested, 30 trains.
    assert [find_gtzan_split(f"blues.000{track}.wav") for track in (11, 12, 28, 29)] == [
        "validation",
        "test",
        "test",
        "train",
    ]


def test_gtzan_beside_the_pictures_of_kaggles_copy(tmp_path):
    touch(tmp_path, "Data/features_30_sec.csv", "Data/images_original/blues/blues00000.png")
    lay_out_gtzan(tmp_path / "Data" / "genres_original")
    clips = read_clips(tmp_path)
    assert (clips.layout, len(clips), clips.passed_over) == ("GTZAN", 1000, {"not audio": 2})


def test_a_few_tracks_of_gtzan_keep_their_part(tmp_path):
    touch(tmp_path, "blues/blues.00000.wav", "blues/blues.00012.wav", "disco/disco.00038.wav", "jazz/jazz.00054.wav")
    clips = read_clips(tmp_path)
    assert clips.layout == "GTZAN"
    assert clips.table["split"].tolist() == ["validation", "test", "unused", "train"]


@pytest.mark.parametrize("other", ["blues/mine.wav", "ska/ska.00001.wav", "blues/rock.00001.wav", "blues/blues.1.wav"])
def test_one_sound_that_is_not_gtzans_makes_it_a_folder_of_classes(tmp_path, other):
    touch(tmp_path, "blues/blues.00000.wav", "disco/disco.00001.wav", other)
    clips = read_clips(tmp_path)
    assert clips.layout == "folder of classes"
    assert "split" not in clips.table


def test_somebodys_own_parts_of_gtzan_stand(tmp_path):
    touch(tmp_path, *(f"{part}/{genre}/{genre}.00001.wav" for part in ("train", "test") for genre in ("pop", "rock")))
    clips = read_clips(tmp_path)
    assert (clips.layout, clips.table["split"].tolist()) == ("folder of classes", ["test", "test", "train", "train"])


def test_a_damaged_track_is_left_out_by_name(tmp_path):
    """jazz.00054 of Kaggle's copy cannot be decoded; the rest of the set is used."""
    touch(tmp_path, "jazz/jazz.00054.wav")
    (tmp_path / "jazz" / "jazz.00054.wav").write_bytes(b"RIFF\x24\x00\x00\x00WAVE")
    for name in ("jazz/jazz.00012", "jazz/jazz.00000", "rock/rock.00000"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / f"{name}.wav", np.full(800, 0.1), 8000)
    waveforms = load_waveforms(read_clips(tmp_path), sample_rate=8000)
    assert len(waveforms) == 3
    assert [Path(entry["path"]).name for entry in waveforms.left_out] == ["jazz.00054.wav"]
    assert "jazz.00054.wav" in waveforms.left_out[0]["reason"]


# UrbanSound8K.

URBANSOUND = """slice_file_name,fsID,start,end,salience,fold,classID,class
100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark
100263-2-0-117.wav,100263,58.5,62.5,1,5,2,children_playing
100263-2-0-121.wav,100263,60.5,64.5,1,1,2,children_playing
"""


def lay_out_urbansound(root: Path, table: str = "metadata/UrbanSound8K.csv", audio: str = "audio/") -> Path:
    touch(root, *(f"{audio}fold{row.split(',')[5]}/{row.split(',')[0]}" for row in URBANSOUND.splitlines()[1:]))
    touch(root, table).joinpath(table).write_text(URBANSOUND)
    return root


@pytest.mark.parametrize("column", ["class", "class_name"])
def test_urbansound8k_with_folds_and_recordings(tmp_path, column):
    root = lay_out_urbansound(tmp_path / "UrbanSound8K")
    touch(root, "UrbanSound8K_README.txt", "audio/fold1/extra.wav")
    path = root / "metadata" / "UrbanSound8K.csv"
    path.write_text(URBANSOUND.replace("class\n", f"{column}\n"))
    clips = read_clips(tmp_path)
    assert (clips.layout, clips.source) == ("UrbanSound8K", str(tmp_path))
    assert rows_of(clips, "label", "fold", "group") == {
        "100032-3-0-0.wav": ("dog_bark", 5, "100032"),
        "100263-2-0-117.wav": ("children_playing", 5, "100263"),
        "100263-2-0-121.wav": ("children_playing", 1, "100263"),
    }
    assert "start_s" not in clips.table  # the times in the list are those of the recording, not of the clip
    assert clips.passed_over == {"not audio": 2, "not in UrbanSound8K.csv": 1}
    # An official fold stands, also where it divides a recording.
    split = split_clips(clips, validation=False, test_fold=5)
    assert split.parts.tolist() == ["test", "test", "train"]
    assert split.protocol.startswith("UrbanSound8K's published folds: fold 5 is the test set")
    assert read_clips(path).table.equals(clips.table)


@pytest.mark.parametrize(("table", "audio"), [("UrbanSound8K.csv", ""), ("UrbanSound8K.csv", "audio/")])
def test_urbansound8k_with_its_list_beside_the_folds(tmp_path, table, audio):
    assert len(read_clips(lay_out_urbansound(tmp_path, table, audio))) == 3


def test_urbansound8k_names_files_that_are_missing(tmp_path):
    root = lay_out_urbansound(tmp_path)
    (root / "audio/fold5/100032-3-0-0.wav").unlink()
    fault = fault_of(root)
    assert "UrbanSound8K.csv names 1 of 3 files that are not there: fold5/100032-3-0-0.wav. Unpack the whole" in fault
    lines = [f"{i}.wav,{i},0,4,1,2,3,dog_bark" for i in range(20)]
    (root / "metadata/UrbanSound8K.csv").write_text("\n".join([URBANSOUND.splitlines()[0], *lines]))
    fault = fault_of(root)
    assert "names 20 of 20 files that are not there: fold2/0.wav, fold2/1.wav, fold2/2.wav and 17 more." in fault
    assert "\n" not in fault


def test_faults_in_a_known_list(tmp_path):
    root = lay_out_urbansound(tmp_path)
    path = root / "metadata/UrbanSound8K.csv"
    path.write_text(URBANSOUND.splitlines()[0] + "\n")
    assert "holds a header but no rows" in fault_of(root)
    path.write_text(URBANSOUND.replace(",5,3,", ",,3,"))
    touch(root, "audio/fold/100032-3-0-0.wav")
    assert "UrbanSound8K.csv has '' for a fold" in fault_of(root)
    path.write_text("\n".join(URBANSOUND.splitlines()[::2]))
    assert "holds a single class, 'children_playing', with 1 sound: a classifier needs at least two." in fault_of(root)


def test_a_list_with_a_path_column_is_somebodys_manifest(tmp_path):
    touch(tmp_path, "a.wav", "b.wav")
    header, *_ = URBANSOUND.splitlines()
    (tmp_path / "mine.csv").write_text(f"path,label,{header}\na.wav,x,a,1,0,1,1,1,1,y\nb.wav,z,b,1,0,1,1,1,1,y\n")
    clips = read_clips(tmp_path / "mine.csv")
    assert (clips.layout, clips.labels) == ("CSV manifest", ("x", "z"))


# ESC-50 and ESC-10.

ESC = """filename,fold,target,category,esc10,src_file,take
1-100032-A-0.wav,1,0,dog,True,100032,A
2-100038-A-14.wav,2,14,chirping_birds,False,100038,A
3-100210-A-36.wav,3,36,vacuum_cleaner,False,100210,A
4-101296-A-1.wav,4,1,rooster,True,101296,A
"""


def lay_out_esc(root: Path) -> Path:
    touch(root, *(f"audio/{row.split(',')[0]}" for row in ESC.splitlines()[1:]), "tests/test_dataset.py", "README.md")
    touch(root, "meta/esc50.csv").joinpath("meta/esc50.csv").write_text(ESC)
    return root


def test_esc_50_with_folds_and_recordings(tmp_path):
    root = lay_out_esc(tmp_path / "ESC-50-master")
    clips = read_clips(tmp_path)
    assert clips.layout == "ESC-50"
    assert rows_of(clips, "label", "fold", "group") == {
        "1-100032-A-0.wav": ("dog", 1, "100032"),
        "2-100038-A-14.wav": ("chirping_birds", 2, "100038"),
        "3-100210-A-36.wav": ("vacuum_cleaner", 3, "100210"),
        "4-101296-A-1.wav": ("rooster", 4, "101296"),
    }
    assert read_clips(root / "meta" / "esc50.csv").table.equals(clips.table)


def test_esc_10_is_what_a_list_or_a_folder_has_of_nothing_else(tmp_path):
    root = lay_out_esc(tmp_path)
    header, *rows = ESC.splitlines()
    (root / "meta" / "esc10.csv").write_text("\n".join([header, *(row for row in rows if ",True," in row)]))
    of_list = read_clips(root / "meta" / "esc10.csv")
    assert (of_list.layout, of_list.labels) == ("ESC-10", ("dog", "rooster"))
    assert read_clips(root).layout == "ESC-50"
    (root / "meta" / "esc10.csv").unlink()
    for row in rows:
        if ",False," in row:
            (root / "audio" / row.split(",")[0]).unlink()
    of_folder = read_clips(root)
    assert (of_folder.layout, of_folder.labels) == ("ESC-10", ("dog", "rooster"))
    # With one file of ESC-10 missing it is an ESC-50 that was not unpacked whole.
    (root / "audio" / "1-100032-A-0.wav").unlink()
    assert "names 3 of 4 files that are not there" in fault_of(root)


def test_esc_10_in_its_older_folders(tmp_path):
    touch(tmp_path, "ATTRIBUTION.md", "001 - Dog bark/1-100032-A.ogg", "001 - Dog bark/2-122104-B.ogg")
    touch(tmp_path, "009 - Rooster/5-234879-A-1.wav")
    clips = read_clips(tmp_path)
    assert (clips.layout, clips.labels) == ("ESC-10", ("Dog bark", "Rooster"))
    assert rows_of(clips, "label", "fold", "group") == {
        "1-100032-A.ogg": ("Dog bark", 1, "100032"),
        "2-122104-B.ogg": ("Dog bark", 2, "122104"),
        "5-234879-A-1.wav": ("Rooster", 5, "234879"),
    }
    touch(tmp_path, "210 - Thunder storm/1-2-A.ogg")
    assert read_clips(tmp_path).layout == "ESC-50"
    touch(tmp_path, "009 - Rooster/mine.wav")
    assert read_clips(tmp_path).layout == "folder of classes"


def test_two_known_datasets_side_by_side_are_not_taken_for_one(tmp_path):
    lay_out_esc(tmp_path / "ESC-50")
    lay_out_urbansound(tmp_path / "UrbanSound8K")
    assert read_clips(tmp_path).layout == "folder of classes"


# Speech Commands and FSDD.


def lay_out_commands(root: Path) -> Path:
    touch(root, "bed/0c40e715_nohash_0.wav", "bed/0c40e715_nohash_1.wav", "bed/0d53e045_nohash_0.wav")
    touch(root, "cat/0c40e715_nohash_0.wav", "_background_noise_/running_tap.wav", "README.md")
    (root / "validation_list.txt").write_text("cat/0c40e715_nohash_0.wav\ndog/gone_nohash_0.wav\n")
    (root / "testing_list.txt").write_text("bed/0d53e045_nohash_0.wav\n")
    return root


def test_speech_commands_with_its_lists_and_speakers(tmp_path):
    lay_out_commands(tmp_path / "speech_commands_v0.02")
    clips = read_clips(tmp_path)
    assert (clips.layout, clips.labels) == ("Speech Commands", ("bed", "cat"))
    table = clips.table.assign(name=[os.path.relpath(path, tmp_path).split(os.sep, 1)[1] for path in clips.table.path])
    assert table[["name", "group", "split"]].to_numpy().tolist() == [
        [os.path.join("bed", "0c40e715_nohash_0.wav"), "0c40e715", "train"],
        [os.path.join("bed", "0c40e715_nohash_1.wav"), "0c40e715", "train"],
        [os.path.join("bed", "0d53e045_nohash_0.wav"), "0d53e045", "test"],
        [os.path.join("cat", "0c40e715_nohash_0.wav"), "0c40e715", "validation"],
    ]
    assert clips.passed_over == {"not audio": 3, "background noise, which is no class": 1}
    assert split_clips(clips, validation=True).protocol == "Speech Commands' published lists (2/1/1)."


def test_one_list_alone_is_not_speech_commands(tmp_path):
    root = lay_out_commands(tmp_path)
    (root / "testing_list.txt").unlink()
    assert read_clips(root).layout == "folder of classes"


def test_speech_commands_without_a_word(tmp_path):
    touch(tmp_path, "validation_list.txt", "testing_list.txt", "_background_noise_/running_tap.wav")
    assert "holds the lists of Speech Commands but no word: unpack it again." in fault_of(tmp_path)


def test_fsdd_keeps_speakers_apart(tmp_path):
    speakers = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
    names = [
        f"recordings/{digit}_{speaker}_{take}.wav" for digit in range(10) for speaker in speakers for take in (0, 9)
    ]
    touch(tmp_path, "README.md", *names)
    clips = read_clips(tmp_path)
    assert (clips.layout, clips.labels) == ("FSDD", tuple("0123456789"))
    assert rows_of(clips, "label", "group")["7_theo_9.wav"] == ("7", "theo")
    assert "split" not in clips.table
    split = split_clips(clips, validation=True)
    sides = clips.table.groupby("group")["path"].apply(lambda paths: set(split.parts[paths.index]))
    assert all(len(side) == 1 for side in sides)
    assert split.protocol.startswith("FSDD's speakers are kept apart, unlike in its own split: a random fifth")
    assert read_clips(tmp_path / "recordings").layout == "FSDD"
    touch(tmp_path, "recordings/notes of mine.wav")
    assert "holds 121 sounds but no class folders" in fault_of(tmp_path / "recordings")
