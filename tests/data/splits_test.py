"""Splits: whole groups on one side, every class everywhere, published folds and splits as they stand."""

from dataclasses import replace

import numpy as np
import pytest

from earmark.data.clips import Clips, build_clips
from earmark.data.splits import deal_folds, drop_unused, name_groups, split_clips
from earmark.errors import ClipsError


def make_clips(counts: dict[str, int], **columns: list) -> Clips:
    """``counts`` clips of each class, one class after the other; further columns by clip."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    return build_clips(
        [
            {"path": f"/{i}.wav", "label": label, **{name: values[i] for name, values in columns.items()}}
            for i, label in enumerate(labels)
        ]
    )


def count_labels(clips: Clips, rows: np.ndarray) -> dict[str, int]:
    return clips.table["label"].iloc[rows].value_counts().to_dict()


def test_a_fifth_of_each_class_is_tested_and_a_sixth_of_the_rest_chooses() -> None:
    clips = make_clips({"cat": 30, "dog": 60})
    split = split_clips(clips, validation=True)
    assert count_labels(clips, split.rows("test")) == {"cat": 6, "dog": 12}
    assert count_labels(clips, split.rows("validation")) == {"cat": 4, "dog": 8}
    assert count_labels(clips, split.rows("train")) == {"cat": 20, "dog": 40}
    assert "random fifth" in split.protocol
    assert "validation" in split.protocol
    assert "no clip is spent on validation" in split_clips(clips, validation=False).protocol


def test_every_class_has_a_test_clip_however_rare() -> None:
    clips = make_clips({"cat": 50, "dog": 2})
    split = split_clips(clips, validation=False)
    assert count_labels(clips, split.rows("test"))["dog"] == 1
    assert count_labels(clips, split.rows("train"))["dog"] == 1


def test_the_same_seed_gives_the_same_split_and_another_another() -> None:
    clips = make_clips({"cat": 30, "dog": 30})
    first, again, other = (split_clips(clips, validation=True, seed=seed).parts for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_class_too_small_to_divide_is_named() -> None:
    with pytest.raises(ClipsError, match="Class 'owl' has too few clips to set any aside for test"):
        split_clips(make_clips({"cat": 9, "owl": 1}), validation=False)
    with pytest.raises(ClipsError, match="Class 'owl' has too few clips to set any aside for validation"):
        split_clips(make_clips({"cat": 9, "owl": 2}), validation=True)


@pytest.mark.parametrize("seed", range(60))
def test_groups_are_never_on_two_sides(seed: int) -> None:
    """Random tables: groups across classes, within them, and half of the clips without any."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, int(random.integers(2, 5)), int(random.integers(20, 80)))
    groups = random.integers(0, 12, len(labels)) + (100 * labels if seed % 3 == 1 else 0)
    named = [None if seed % 3 == 2 and random.random() < 0.5 else f"recording {group}" for group in groups]
    rows = [{"path": f"/{i}.wav", "label": f"class {labels[i]}", "group": named[i]} for i in range(len(labels))]
    clips = build_clips(rows)
    split = split_clips(clips, validation=True, seed=seed)
    fold_of, _ = deal_folds(clips, seed=seed)
    for group in set(named) - {None}:
        mine = [i for i, name in enumerate(named) if name == group]
        assert len(set(split.parts[mine])) == 1
        assert len(set(fold_of[mine])) == 1
    assert {"train", "validation", "test"} == set(split.parts)
    assert set(clips.table["label"].iloc[split.rows("train")]) == set(clips.table["label"])


def test_clips_without_a_group_are_groups_of_their_own() -> None:
    clips = make_clips({"cat": 4, "dog": 4}, group=["a", "a", None, None, "a", None, None, "b"])
    names = name_groups(clips.table)
    assert len(set(names)) == 6
    assert names[0] == names[1] == names[4] == "a"
    # A table in which nearly nobody has a group is still divided clip by clip.
    clips = make_clips({"cat": 20, "dog": 20}, group=["a", "a", *[None] * 38])
    assert count_labels(clips, split_clips(clips, validation=False).rows("test")) == {"cat": 4, "dog": 4}


def test_groups_too_few_to_divide_are_one_sentence() -> None:
    with pytest.raises(ClipsError, match="All clips are of one group"):
        split_clips(make_clips({"cat": 3, "dog": 3}, group=["a"] * 6), validation=False)
    # Without its only recording the class could not be learned at all.
    with pytest.raises(ClipsError, match="Class 'cat' has too few groups to set any aside for test"):
        split_clips(make_clips({"cat": 3, "dog": 3}, group=["a"] * 3 + ["b"] * 3), validation=False)
    with pytest.raises(ClipsError, match="No class has two clips"):
        split_clips(make_clips({"cat": 1, "dog": 1}, group=["a", "b"]), validation=False)


def test_few_clips_in_groups_are_dealt_into_fewer_folds() -> None:
    clips = make_clips({"cat": 3, "dog": 3}, group=list("abcdef"))
    split = split_clips(clips, validation=False)
    assert set(split.parts) == {"train", "test"}
    fold_of, origin = deal_folds(clips, folds=5)
    assert origin.startswith("3 folds")
    assert set(fold_of) == {1, 2, 3}


def test_published_folds_test_one_and_choose_on_the_next() -> None:
    clips = make_clips({"cat": 10, "dog": 10}, fold=[1, 2, 3, 4, 7] * 4)
    fold = clips.table["fold"].to_numpy(dtype=int)
    for test_fold, chooser in ((2, 3), (4, 7), (7, 1)):
        split = split_clips(clips, validation=True, test_fold=test_fold)
        assert set(fold[split.rows("test")]) == {test_fold}
        assert set(fold[split.rows("validation")]) == {chooser}
        assert set(fold[split.rows("train")]) == {1, 2, 3, 4, 7} - {test_fold, chooser}
        assert f"fold {test_fold} is the test set, fold {chooser} validates" in split.protocol
    plain = split_clips(clips, validation=False)
    assert set(fold[plain.rows("test")]) == {1}
    assert len(plain.rows("train")) == 16


def test_folds_stand_above_groups_and_splits() -> None:
    clips = make_clips({"cat": 4, "dog": 4}, fold=[1, 2] * 4, group=["a"] * 8, split=["train"] * 8)
    assert split_clips(clips, validation=False, test_fold=2).parts.tolist() == ["train", "test"] * 4


def test_a_fold_that_is_not_there_is_answered_with_those_that_are() -> None:
    clips = make_clips({"cat": 6, "dog": 6}, fold=[1, 2, 3] * 4)
    with pytest.raises(ClipsError, match="There is no fold 9; the folds are 1, 2, 3"):
        split_clips(clips, validation=False, test_fold=9)
    with pytest.raises(ClipsError, match="--test-fold needs clips with folds"):
        split_clips(make_clips({"cat": 6, "dog": 6}), validation=False, test_fold=1)
    two = make_clips({"cat": 6, "dog": 6}, fold=[1, 2] * 6)
    with pytest.raises(ClipsError, match=r"holds 2 fold\(s\); 3 are needed"):
        split_clips(two, validation=True)


def test_folds_that_only_some_clips_have_are_refused() -> None:
    """Neither can they be used, nor may a random split quietly stand in for a published protocol."""
    clips = make_clips({"cat": 4, "dog": 4}, fold=[1, 2, None, 2, 1, 2, 1, None])
    for divide in (
        lambda: split_clips(clips, validation=False),
        lambda: split_clips(clips, validation=False, test_fold=1),
        lambda: deal_folds(clips),
    ):
        with pytest.raises(ClipsError, match="2 of 8 clips have no fold; fill in the rest of the fold column"):
            divide()


def test_a_split_that_only_some_clips_have_is_refused() -> None:
    clips = make_clips({"cat": 4, "dog": 4}, split=["test", None, "train", "train"] * 2)
    with pytest.raises(ClipsError, match="2 of 8 clips have no split"):
        split_clips(clips, validation=False)


def test_a_published_split_stands() -> None:
    published = ["train", "train", "validation", "test"] * 4
    clips = make_clips({"cat": 8, "dog": 8}, split=published)
    assert split_clips(clips, validation=True).parts.tolist() == published
    spared = split_clips(clips, validation=False)
    assert spared.parts.tolist() == ["train", "train", "train", "test"] * 4
    assert "its validation part trains too" in spared.protocol


def test_a_published_split_without_validation_spends_training_clips_on_it() -> None:
    published = ["train", "train", "train", "test"] * 6
    clips = make_clips({"cat": 12, "dog": 12}, split=published)
    split = split_clips(clips, validation=True)
    assert [part == "test" for part in split.parts] == [part == "test" for part in published]
    assert count_labels(clips, split.rows("validation")) == {"cat": 2, "dog": 2}
    with pytest.raises(ClipsError, match="names no clip for training"):
        split_clips(make_clips({"cat": 2, "dog": 2}, split=["test"] * 4), validation=False)


def test_of_a_split_in_two_parts_the_one_set_aside_is_the_test() -> None:
    published = ["train", "train", "train", "validation"] * 6
    clips = make_clips({"cat": 12, "dog": 12}, split=published)
    split = split_clips(clips, validation=True)
    assert [part == "test" for part in split.parts] == [part == "validation" for part in published]
    assert count_labels(clips, split.rows("validation")) == {"cat": 2, "dog": 2}
    assert "what it calls validation is the test set" in split.protocol


def test_folds_are_dealt_by_class() -> None:
    clips = make_clips({"cat": 10, "dog": 23})
    fold_of, origin = deal_folds(clips, folds=5, seed=3)
    assert origin == "5 folds dealt by class (seed 3)"
    for fold in range(1, 6):
        counts = count_labels(clips, np.flatnonzero(fold_of == fold))
        assert counts["cat"] == 2
        assert counts["dog"] in (4, 5)
    np.testing.assert_array_equal(fold_of, deal_folds(clips, folds=5, seed=3)[0])
    assert (fold_of != deal_folds(clips, folds=5, seed=4)[0]).any()
    with pytest.raises(ClipsError, match="Class 'cat' has 10 clips, fewer than the 11 folds"):
        deal_folds(clips, folds=11)


def test_published_folds_are_used_for_cross_validation() -> None:
    fold_of, origin = deal_folds(make_clips({"cat": 3, "dog": 3}, fold=[4, 5, 6] * 2), folds=2)
    assert fold_of.tolist() == [4, 5, 6] * 2
    assert origin == "The 3 published folds"
    with pytest.raises(ClipsError, match="a single fold"):
        deal_folds(make_clips({"cat": 3, "dog": 3}, fold=[1] * 6))


def test_published_folds_of_a_known_dataset_are_called_by_its_name() -> None:
    clips = replace(make_clips({"cat": 3, "dog": 3}, fold=[4, 5, 6] * 2), layout="ESC-50")
    assert split_clips(clips, validation=True).protocol.startswith("ESC-50's published folds: fold 4 is the test set")
    assert deal_folds(clips)[1] == "The 3 published folds of ESC-50"


def test_unused_clips_take_no_part() -> None:
    published = ["train", "train", "validation", "test", "unused"] * 4
    clips = make_clips({"cat": 10, "dog": 10}, split=published)
    split = split_clips(clips, validation=True)
    assert split.parts.tolist() == published
    assert split.protocol == "Published split (4 clips unused)."
    # Nor where validation is carved out, nothing is published, or folds are.
    carved = split_clips(
        make_clips({"cat": 10, "dog": 10}, split=["train", "train", "test", "unused"] * 5), validation=True
    )
    assert (carved.parts == "unused").sum() == 5
    assert count_labels(clips, carved.rows("validation")) == {"cat": 1, "dog": 1}
    dealt = split_clips(make_clips({"cat": 10, "dog": 10}, split=["train", "unused"] * 10), validation=False)
    assert [(dealt.parts == part).sum() for part in ("train", "test", "unused")] == [8, 2, 10]
    folds = make_clips({"cat": 4, "dog": 4}, fold=[1, 2] * 4, split=["train", "train", "unused", "unused"] * 2)
    assert split_clips(folds, validation=False).parts.tolist() == ["test", "train", "unused", "unused"] * 2


def test_unused_clips_are_dropped_before_a_cross_validation() -> None:
    clips = make_clips({"cat": 4, "dog": 3, "owl": 1}, split=["train"] * 6 + ["unused"] * 2)
    used = drop_unused(clips)
    assert used.labels == ("cat", "dog")
    assert used.table["path"].tolist() == [f"/{i}.wav" for i in range(6)]
    assert drop_unused(used) is used
    with pytest.raises(ClipsError, match="are marked unused"):
        drop_unused(make_clips({"cat": 2}, split=["unused"] * 2))


def test_folds_of_gtzan_say_that_they_know_no_artists() -> None:
    clips = replace(make_clips({"pop": 5, "rock": 5}), layout="GTZAN")
    assert deal_folds(clips)[1] == "5 folds dealt by class (seed 0), blind to its artists, who may be on two sides"


def test_a_random_split_deals_all_clips_whatever_is_published() -> None:
    known = {"group": ["a", "b"] * 45, "fold": [1, 2, 3] * 30, "split": ["train", "unused", "test"] * 30}
    clips = make_clips({"cat": 30, "dog": 60}, **known)
    split = split_clips(clips, validation=True, how="random", seed=3)
    assert count_labels(clips, split.rows("test")) == {"cat": 6, "dog": 12}
    assert count_labels(clips, split.rows("validation")) == {"cat": 4, "dog": 8}
    assert count_labels(clips, split.rows("train")) == {"cat": 20, "dog": 40}
    plain = split_clips(make_clips({"cat": 30, "dog": 60}), validation=True, seed=3)
    np.testing.assert_array_equal(split.parts, plain.parts)
    assert split.protocol == (
        "Split at random, as tutorials do: a random fifth of each class is the test set, a sixth of the rest the "
        "validation set (seed 3). "
        "Groups, folds and published splits are ignored, so the figure may owe much to leakage."
    )
    with pytest.raises(ClipsError, match="A random split knows no folds"):
        split_clips(clips, validation=False, how="random", test_fold=1)
    with pytest.raises(ClipsError, match="There is no split 'rnd'; choose official or random"):
        split_clips(clips, validation=False, how="rnd")


def make_multi_label(cells: list[str], **columns: list) -> Clips:
    rows = [
        {"path": f"/{i}.wav", "label": cell, **{name: values[i] for name, values in columns.items()}}
        for i, cell in enumerate(cells)
    ]
    return build_clips(rows, multi_label=True)


def draw_cells(seed: int, clips: int = 200) -> list[str]:
    """Clips with one to three of eight labels, some of which are rare and come together."""
    random = np.random.default_rng(seed)
    cells = []
    for _ in range(clips):
        count = int(random.integers(1, 4))
        drawn = random.choice(8, size=count, replace=False, p=np.array([40, 20, 15, 10, 6, 4, 3, 2]) / 100)
        cells.append(";".join(sorted(f"label {label}" for label in drawn)))
    return cells


def share_of_labels(clips: Clips, rows: np.ndarray) -> np.ndarray:
    has = np.array([[label in cell.split(";") for label in clips.labels] for cell in clips.table["label"]])
    return has[rows].sum(axis=0) / has.sum(axis=0)


def test_several_labels_are_each_divided_in_the_same_shares() -> None:
    clips = make_multi_label(draw_cells(0))
    for how in ("official", "random"):
        split = split_clips(clips, validation=True, how=how)
        assert [len(split.rows(part)) for part in ("train", "validation", "test")] == pytest.approx(
            [133, 27, 40], abs=3
        )
        np.testing.assert_allclose(share_of_labels(clips, split.rows("test")), 0.2, atol=0.1)
        np.testing.assert_array_less(0, share_of_labels(clips, split.rows("validation")))
    fold_of, origin = deal_folds(clips, folds=4)
    assert origin == "4 folds dealt by class (seed 0)"
    for fold in range(1, 5):
        np.testing.assert_allclose(share_of_labels(clips, fold_of == fold), 0.25, atol=0.1)
    np.testing.assert_array_equal(fold_of, deal_folds(clips, folds=4)[0])
    assert (fold_of != deal_folds(clips, folds=4, seed=1)[0]).any()


@pytest.mark.parametrize("seed", range(20))
def test_several_labels_and_whole_groups(seed: int) -> None:
    cells = draw_cells(seed, clips=120)
    groups = [f"recording {i // 4}" if i % 5 else None for i in range(120)]
    clips = make_multi_label(cells, group=groups)
    split = split_clips(clips, validation=False, seed=seed)
    fold_of, origin = deal_folds(clips, seed=seed)
    assert origin == f"5 folds dealt by class with whole groups together (seed {seed})"
    for group in set(groups) - {None}:
        mine = [i for i, name in enumerate(groups) if name == group]
        assert len(set(split.parts[mine])) == 1
        assert len(set(fold_of[mine])) == 1
    assert set(split.parts) == {"train", "test"}
    for part in ("train", "test"):
        assert (share_of_labels(clips, split.rows(part)) > 0).all()


def test_a_label_of_two_clips_is_taught_and_tested() -> None:
    clips = make_multi_label(["cat;dog"] * 10 + ["dog"] * 10 + ["dog;owl", "cat;owl"])
    split = split_clips(clips, validation=False)
    assert set(split.parts[-2:]) == {"train", "test"}


def test_several_labels_with_one_too_rare_to_divide() -> None:
    with pytest.raises(ClipsError, match="Class 'owl' has too few clips to set any aside for test"):
        split_clips(make_multi_label(["cat;dog"] * 9 + ["dog;owl"]), validation=False)
    with pytest.raises(ClipsError, match="Class 'owl' has 2 clips, fewer than the 5 folds"):
        deal_folds(make_multi_label(["cat;dog"] * 9 + ["dog;owl", "owl"]))
    grouped = make_multi_label(["cat;dog"] * 9 + ["dog;owl", "owl"], group=[*"abcdefghi", "z", "z"])
    with pytest.raises(ClipsError, match="Class 'owl' has too few groups to set any aside for test"):
        split_clips(grouped, validation=False)
    with pytest.raises(ClipsError, match="All clips are of one group"):
        deal_folds(make_multi_label(["cat", "dog"], group=["a", "a"]))
