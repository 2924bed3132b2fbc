"""Windows of long sounds, and back."""

import numpy as np
import pytest

from earmark.sound.windows import average_pieces, cut_pieces, group_by_length


@pytest.mark.parametrize(("length", "piece"), [(1, 4), (4, 4), (5, 4), (8, 4), (1_000, 7), (3, 1)])
def test_pieces_cover_a_sound_once(length, piece):
    spans = cut_pieces(length, piece)
    assert np.array_equal(np.concatenate([np.arange(*span) for span in spans]), np.arange(length))
    assert all(stop - start == piece for start, stop in spans[:-1])
    assert 0 < spans[-1][1] - spans[-1][0] <= piece


def test_pieces_count_as_long_as_they_last():
    probabilities = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    np.testing.assert_allclose(average_pieces(probabilities, np.array([10, 10, 5])), [0.6, 0.4])
    np.testing.assert_allclose(average_pieces(probabilities[:1], np.array([3])), [1.0, 0.0])


@pytest.mark.parametrize("only_equal", [False, True])
def test_batches_hold_every_position_once_within_their_bounds(only_equal):
    lengths = np.random.default_rng(0).choice([3, 5, 40, 90], size=57)
    batches = list(group_by_length(lengths, max_items=8, max_samples=200, only_equal=only_equal))
    assert sorted(np.concatenate(batches).tolist()) == list(range(57))
    for batch in batches:
        assert len(batch) <= 8
        assert len(batch) * lengths[batch].max() <= 200, "what is held includes the padding"
        assert not only_equal or len(set(lengths[batch].tolist())) == 1
    ordered = lengths[np.concatenate(batches)]
    assert (np.diff(ordered) <= 0).all(), "longest first"


def test_only_equal_lengths_share_a_batch_where_asked():
    batches = group_by_length(np.array([5, 9, 5, 9, 9, 1]), max_items=2, max_samples=100, only_equal=True)
    assert [batch.tolist() for batch in batches] == [[1, 3], [4], [0, 2], [5]]


def test_a_sound_larger_than_the_bound_still_gets_a_batch():
    assert [batch.tolist() for batch in group_by_length(np.array([50, 1_000]), max_items=4, max_samples=100)] == [
        [1],
        [0],
    ]
    assert list(group_by_length(np.array([], dtype=np.int64), max_items=4, max_samples=100)) == []
