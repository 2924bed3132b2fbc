"""Groups read from file names: where a naming is known, or a recording was cut; never where files are only counted."""

import pytest

from earmark.data.clips import Clips, build_clips
from earmark.data.groups import hash_group, infer_groups


def make_clips(*names: str, **columns: list) -> Clips:
    """Clips of files ``class/name`` below one folder; the class may be another with ``label``."""
    rows = [{"path": f"/s/{name}.wav", "label": name.split("/")[0]} for name in names]
    for column, values in columns.items():
        rows = [row | {column: value} for row, value in zip(rows, values, strict=True)]
    return build_clips(rows)


def read_groups(clips: Clips, **settings: bool) -> list[str | None]:
    inferred = infer_groups(clips, **settings)
    return inferred.table["group"].tolist() if "group" in inferred.table else []


def test_urbansounds_recordings_are_known_without_its_table() -> None:
    names = [f"{label}/{recording}-{number}-{i}-0" for label, number in (("siren", 8), ("dog_bark", 3)) for recording in
             (100 + number, 200 + number, 300 + number) for i in (0, 1)]  # fmt: skip
    clips = infer_groups(make_clips(*names))
    assert clips.table["group"].tolist() == [
        "108",
        "108",
        "208",
        "208",
        "308",
        "308",
        "103",
        "103",
        "203",
        "203",
        "303",
        "303",
    ]
    assert "6 recordings, by the names of UrbanSound8K such as 108-8-0-0" in clips.grouping


def test_four_numbers_that_do_not_go_with_the_class_are_not_urbansounds() -> None:
    names = [f"{label}/{100 + take}-{take % 3}-0-{take}" for label in "ab" for take in range(6)]
    assert read_groups(make_clips(*names)) == []


def test_escs_recordings_are_known() -> None:
    names = [f"{label}/{fold}-{number}{recording}-{take}-{number}" for label, number in (("dog", 0), ("rain", 10)) for
             fold, recording in ((1, 111), (2, 222), (3, 333)) for take in "AB"]  # fmt: skip
    clips = infer_groups(make_clips(*names))
    assert clips.table["group"].tolist()[:4] == ["0111", "0111", "0222", "0222"]
    assert "6 recordings, by the names of ESC-50" in clips.grouping


def test_speakers_of_speech_commands_are_known_without_its_lists() -> None:
    names = [f"{word}/{speaker}_nohash_{take}" for word in ("yes", "no") for speaker in "abc" for take in (0, 1)]
    clips = infer_groups(make_clips(*names))
    assert clips.table["group"].tolist() == ["a", "a", "b", "b", "c", "c"] * 2
    assert "3 speakers, by the names of Speech Commands" in clips.grouping


def test_fsdds_speakers_are_known_in_class_folders_too() -> None:
    speakers = ("jackson", "theo", "lucas")
    digits = (("one", 1), ("two", 2))
    names = [f"{word}/{digit}_{who}_{take}" for word, digit in digits for who in speakers for take in (0, 1)]
    clips = infer_groups(make_clips(*names))
    assert clips.table["group"].tolist()[::2] == ["jackson", "theo", "lucas"] * 2
    assert "3 speakers, by the names of FSDD" in clips.grouping
    # The same look where the number does not go with the class is no digit.
    mixed = [f"{word}/{i % 3}_{who}_{i}" for word in "ab" for i, who in enumerate(("x", "y", "z", "x", "y", "z"))]
    assert "FSDD" not in infer_groups(make_clips(*mixed)).grouping


PLACES = ("kitchen", "street", "park")


@pytest.mark.parametrize(
    "ends",
    [
        ("_001", "_002"),
        ("-3", "-4"),
        ("_12.5_17.5", "_17.5_22.5"),
        ("_0-5", "_5-10"),
        ("_10s_20s", "_20s_30s"),
        ("_chunk1", "_chunk2"),
        (" part 1", " part 2"),
        (".0001", ".0002"),
    ],
)
def test_chunks_of_a_recording_stay_together(ends: tuple[str, str]) -> None:
    names = [f"{label}/{label} in {place}{end}" for label in ("dog", "cat") for place in PLACES for end in ends]
    clips = infer_groups(make_clips(*names))
    expected = [f"{label}/{label} in {place}" for label in ("dog", "cat") for place in PLACES for _ in ends]
    assert clips.table["group"].tolist() == expected
    assert (
        f"6 recordings in 12 of 12 clips, chunks of one recording such as dog in kitchen{ends[0]}.wav" in clips.grouping
    )
    assert "add a `group` column" in clips.grouping


def test_a_chunk_that_is_alone_is_a_group_of_its_own() -> None:
    names = [f"{label}/{place}_{i}" for label in ("dog", "cat") for place in PLACES for i in (1, 2)]
    assert read_groups(make_clips(*names, "cat/beach_1", "cat/whatever"))[-2:] == [None, None]


@pytest.mark.parametrize(
    "names",
    [
        [f"{label}/{label}_{i}" for label in ("dog", "cat") for i in range(1, 41)],
        [f"{label}/{label.title()} {i:03d}" for label in ("dog", "cat") for i in range(1, 41)],
        [f"{label}/{i:03d}" for label in ("dog", "cat") for i in range(40)],
        [f"{label}/audio_{i}" for label in ("dog", "cat") for i in range(40)],
        [f"{label}/my recording {i}" for label in ("dog", "cat") for i in range(40)],
        [f"{label}/{word}_{i}" for label in ("dog", "cat") for word in ("audio", "clip", "录音") for i in range(9)],
        [
            f"{label}/03-01-0{i}-0{j}-{k:02d}"
            for label in ("dog", "cat")
            for i in range(3)
            for j in range(3)
            for k in range(9)
        ],
        [f"{label}/{word}-2023-05-{i:02d}" for label in ("dog", "cat") for word in "abc" for i in range(1, 9)],
        [f"{label}/{word}_20230501_{i:06d}" for label in ("dog", "cat") for word in "abc" for i in range(1, 9)],
        [f"blues/blues.{i:05d}" for i in range(20)] + [f"rock/rock.{i:05d}" for i in range(20)],
    ],
    ids=lambda names: names[0],
)
def test_numbering_is_not_taken_for_chunks(names: list[str]) -> None:
    clips = make_clips(*names)
    assert infer_groups(clips) is clips


def test_in_one_folder_the_class_in_the_name_is_no_recording() -> None:
    classes = (("d", "dog"), ("c", "cat"), ("r", "rain"))
    rows = [{"path": f"/s/all/{name}_{i}.wav", "label": label} for name, label in classes for i in range(9)]
    clips = build_clips(rows)
    assert infer_groups(clips) is clips


def test_whole_numbers_are_times_only_where_all_chunks_last_equally() -> None:
    names = [
        f"{label}/{place}_{start}_{start + 5}" for label in ("dog", "cat") for place in PLACES for start in (0, 5, 10)
    ]
    assert read_groups(make_clips(*names))[:4] == ["dog/kitchen"] * 3 + ["dog/street"]
    takes = [f"{label}/site_{site}_{take}" for label in ("dog", "cat") for site in (3, 4, 5) for take in (11, 12, 14)]
    assert read_groups(make_clips(*takes))[:4] == ["dog/site_3"] * 3 + ["dog/site_4"]


def test_chunks_that_were_sorted_by_class_are_one_recording_and_equal_numbers_are_two() -> None:
    sorted_by_class = [
        f"{label}/night{n}_{i}" for n in (1, 2, 3, 4) for i, label in enumerate(("owl", "fox", "owl", "fox"))
    ]
    assert set(read_groups(make_clips(*sorted_by_class))) == {"night1", "night2", "night3", "night4"}
    counted_twice = [f"{label}/night{n}_{i}" for label in ("owl", "fox") for n in (1, 2, 3) for i in (1, 2)]
    assert set(read_groups(make_clips(*counted_twice))) == {
        f"{label}/night{n}" for label in ("owl", "fox") for n in (1, 2, 3)
    }


def test_clips_cut_from_one_file_are_one_recording() -> None:
    rows = [
        {"path": f"/s/{file}.wav", "label": label, "start_s": float(start), "end_s": start + 1.0}
        for file in "abc"
        for start, label in enumerate(("owl", "fox", "owl"))
    ]
    clips = infer_groups(build_clips(rows))
    assert clips.table["group"].tolist() == ["a.wav"] * 3 + ["b.wav"] * 3 + ["c.wav"] * 3
    assert "3 recordings in 9 of 9 clips, clips of one file by their times such as a.wav" in clips.grouping


def test_too_few_groups_to_deal_are_named_and_not_used() -> None:
    names = [f"{label}/{place}_{i}" for label in ("dog", "cat") for place in PLACES for i in (1, 2)]
    few = make_clips(*names[2:])
    clips = infer_groups(few)
    assert "group" not in clips.table
    assert "class 'dog' has only 2, too few to keep them apart; they were not used" in clips.grouping
    # Where nothing is dealt by them they tell what stands on two sides.
    assert read_groups(few, to_deal=False)[:2] == ["dog/street", "dog/street"]
    assert read_groups(make_clips(*names[2:], fold=[1, 2] * 5))[:2] == ["dog/street", "dog/street"]
    # A class that is small anyway is not the groups' fault.
    assert len(read_groups(make_clips(*names, "rain/x", "rain/y"))) == 14


def test_what_was_told_stands() -> None:
    clips = make_clips(
        *[f"{label}/{place}_{i}" for label in ("dog", "cat") for place in PLACES for i in (1, 2)], group=["x"] * 12
    )
    assert infer_groups(clips) is clips
    once = infer_groups(make_clips(*[f"{label}/{p}_{i}" for label in ("dog", "cat") for p in PLACES for i in (1, 2)]))
    assert infer_groups(once) is once


def test_a_hashed_group_is_known_again_and_not_hashed_twice() -> None:
    assert hash_group("theo") == hash_group(hash_group("theo")) != hash_group("lucas")
