"""The same clips are known again wherever they lie; others, and what only looks the same, are refused."""

import numpy as np
import pandas as pd
import pytest

from earmark.errors import RunError
from earmark.evaluation.evaluate import Answers
from earmark.evaluation.shared_clips import Marks, align_answers

LABELS = ("cat", "dog")
UNMARKED = [Marks(), Marks()]


def make_answers(paths, labels=None, *, multi_label=False, **columns):
    labels = ["cat" if i % 2 else "dog" for i in range(len(paths))] if labels is None else labels
    table = pd.DataFrame({"path": [str(path) for path in paths], "label": labels, **columns})
    return Answers(table.assign(predicted="dog", score=0.9), LABELS, multi_label)


def write_clips(folder, contents):
    paths = []
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        paths.append(path)
    return paths


def align(first, this, marks=UNMARKED):
    return align_answers(["A", "B"], [first, this], marks)


def test_the_order_of_the_first_run_stands_for_all():
    first = make_answers(["/s/1.wav", "/s/2.wav", "/s/3.wav"])
    this = Answers(first.table.iloc[[2, 0, 1]].assign(score=[3.0, 1.0, 2.0]), LABELS)

    (_, aligned), remarks = align(first, this)

    assert aligned.table["path"].tolist() == first.table["path"].tolist()
    assert aligned.table["score"].tolist() == [1.0, 2.0, 3.0]
    assert aligned.table["clip"].tolist() == [0, 1, 2]
    assert remarks == []


def test_other_clips_are_refused_with_how_many_differ():
    first = make_answers([f"/s/{i}.wav" for i in range(5)])
    this = make_answers([f"/s/{i}.wav" for i in range(3, 6)])
    with pytest.raises(RunError) as refusal:
        align(first, this)
    assert str(refusal.value) == (
        "A and B were not tested on the same clips (3 of 5 clips are only in A, 1 of 3 clips are only in B): measure "
        "each model on the same clips with `earmark evaluate`, and compare those runs."
    )


def test_parts_of_one_file_are_clips_of_their_own():
    first = make_answers(["/s/1.wav"] * 2, start_s=[0.0, 5.0], end_s=[5.0, np.nan])
    swapped = make_answers(["/s/1.wav"] * 2, ["cat", "dog"], start_s=[5.0, 0.0], end_s=[np.nan, 5.0])
    assert align(first, swapped)[0][1].table["start_s"].tolist() == [0.0, 5.0]
    other = make_answers(["/s/1.wav"] * 2, start_s=[0.0, 4.0], end_s=[5.0, np.nan])
    with pytest.raises(RunError, match="1 of 2 clips are only in A, 1 of 2 clips are only in B"):
        align(first, other)


def test_clips_that_moved_are_known_by_their_content(tmp_path):
    contents = {"dog/1.wav": b"bow", "cat/1.wav": b"mew"}
    here, there = (write_clips(tmp_path / name / "sounds", contents) for name in ("here", "there"))

    (_, aligned), remarks = align(make_answers(here), make_answers(there))

    assert aligned.table["path"].tolist() == [str(path) for path in there]
    assert remarks == []


def test_clips_of_the_same_names_and_another_content_are_refused(tmp_path):
    clean = write_clips(tmp_path / "clean", {"dog/1.wav": b"bow", "cat/1.wav": b"mew"})
    noisy = write_clips(tmp_path / "noisy", {"dog/1.wav": b"bow", "cat/1.wav": b"mow"})
    # Names and sizes agree, and with them the hash of names.
    marks = [Marks(names="same"), Marks(names="same")]
    with pytest.raises(RunError, match="of the same names in two folders, but their content differs"):
        align(make_answers(clean), make_answers(noisy), marks)


def test_clips_that_are_gone_need_another_proof(tmp_path):
    here = write_clips(tmp_path, {"dog/1.wav": b"bow", "cat/1.wav": b"mew"})
    gone = ["C:\\sounds\\dog\\1.wav", "C:\\sounds\\cat\\1.wav"]
    pair = make_answers(here), make_answers(gone)

    with pytest.raises(RunError, match="2 of 2 pairs of files are no longer there"):
        align(*pair)
    with pytest.raises(RunError, match="no longer there"):
        align(*pair, [Marks("one", "one"), Marks("other", "other")])
    assert align(*pair, [Marks(content="read"), Marks(content="read")])[1] == []
    assert align(*pair, [Marks(names="same"), Marks(names="same")])[1] == [
        "A and B were tested in two folders. 2 of 2 pairs of files are no longer there; names, sizes, labels and times "
        "agree."
    ]


def test_the_same_clips_with_other_labels_are_refused():
    paths = ["/s/1.wav", "/s/2.wav"]
    with pytest.raises(RunError, match=r"1 of 2 clips have another one \(1.wav is 'dog' in the one and 'cat'"):
        align(make_answers(paths, ["dog", "cat"]), make_answers(paths, ["cat", "cat"]))


def test_several_labels_may_stand_in_another_order():
    paths = ["/s/1.wav", "/s/2.wav"]
    first = make_answers(paths, ["cat;dog", "cat"], multi_label=True)
    (_, aligned), _ = align(first, make_answers(paths, ["dog;cat", "cat"], multi_label=True))
    assert aligned.table["label"].tolist() == ["cat;dog", "cat"]


def test_one_label_a_clip_does_not_compare_with_several():
    paths = ["/s/1.wav"]
    several = make_answers(paths, ["dog"], multi_label=True)
    with pytest.raises(RunError, match="A names several labels a clip and B a single one"):
        align(several, make_answers(paths, ["dog"]))


def test_accents_in_two_letters_are_the_same_name():
    first, this = make_answers(["/s/caf\u00e9.wav"]), make_answers(["/s/cafe\u0301.wav"])
    assert align(first, this)[1] == []


def test_several_answers_a_clip_keep_together_and_must_be_as_many_for_each():
    first = make_answers(["/s/1.wav", "/s/2.wav"])
    twice = make_answers(["/s/2.wav", "/s/1.wav"] * 2, ["cat", "dog"] * 2, seed=[0, 0, 1, 1])
    (_, aligned), _ = align(first, twice)
    assert aligned.table[["clip", "seed"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    uneven = make_answers(["/s/1.wav", "/s/2.wav", "/s/2.wav"], ["dog", "cat", "cat"])
    with pytest.raises(RunError, match="The predictions of B hold some clips more often than others"):
        align(first, uneven)
