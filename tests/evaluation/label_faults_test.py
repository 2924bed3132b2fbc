"""Wrong labels are found, the likeliest first; copies do not confirm each other; what cannot be judged is said."""

import numpy as np
import pytest

from earmark.evaluation import label_faults
from earmark.evaluation.label_faults import find_label_faults


def draw(labels, seed=0, apart=4.0, size=16):
    """Vectors around a centre of each class."""
    generator = np.random.default_rng(seed)
    centres = {label: generator.normal(0, apart, size) for label in sorted(set(labels))}
    return [centres[label] + generator.normal(0, 1, size) for label in labels]


@pytest.fixture
def labels():
    return ["cat"] * 40 + ["dog"] * 40 + ["owl"] * 40


def test_flipped_labels_are_the_suspects_and_their_class_is_suggested(labels):
    features = draw(labels)
    flipped = {3: "dog", 50: "owl", 100: "cat", 77: "cat"}
    given = [flipped.get(row, label) for row, label in enumerate(labels)]
    found = find_label_faults(features, given)
    assert {suspect.row for suspect in found.suspects} == set(flipped)
    assert all(suspect.suggested == labels[suspect.row] for suspect in found.suspects)
    assert all(suspect.label == given[suspect.row] for suspect in found.suspects)
    confidences = [suspect.confidence for suspect in found.suspects]
    assert confidences == sorted(confidences)
    assert found.checked == 120
    assert found.accuracy == pytest.approx(116 / 120)


def test_labels_that_are_right_are_left_alone(labels):
    found = find_label_faults(draw(labels), labels)
    assert found.suspects == []
    assert found.accuracy == 1.0


def test_copies_with_the_same_wrong_label_do_not_confirm_it(labels):
    features = draw(labels)
    features[1] = features[2] = features[3] = features[4] = features[0]
    given = ["dog"] * 5 + labels[5:]
    together = [0] * 5 + list(range(5, 120))
    rows = {suspect.row for suspect in find_label_faults(features, given, groups=together).suspects}
    assert rows >= set(range(5))


def test_the_same_seed_gives_the_same_suspects_and_blank_groups_are_groups_of_their_own(labels):
    given = ["dog", *labels[1:]]
    features = draw(labels)
    blank = [None, float("nan")] * 60
    first, second = find_label_faults(features, given, seed=3), find_label_faults(features, given, groups=blank, seed=3)
    assert first.suspects == second.suspects != []


def test_what_cannot_be_heard_and_classes_too_small_are_left_out_and_said(labels):
    features = [*draw(labels), np.zeros(16), np.zeros(16)]
    features[5] = None
    found = find_label_faults(features, [*labels, "rare", "rare"])
    assert found.checked == 119
    assert "left out: rare" in found.sentence
    assert not {5, 120, 121} & {suspect.row for suspect in found.suspects}


def test_nothing_to_compare_is_a_sentence():
    found = find_label_faults(draw(["cat"] * 3 + ["dog"]), ["cat"] * 3 + ["dog"])
    assert (found.suspects, found.checked) == ([], 0)
    assert "needs two classes" in found.sentence
    one_group = find_label_faults(draw(["cat"] * 4 + ["dog"] * 4), ["cat"] * 4 + ["dog"] * 4, groups=["x"] * 8)
    assert one_group.checked == 0


def test_without_cleanlab_the_extra_is_named(labels, monkeypatch):
    monkeypatch.setattr(label_faults, "find_spec", lambda name: None)
    found = find_label_faults(draw(labels), labels)
    assert found.suspects == []
    assert 'pip install "earmark[audit]"' in found.sentence
