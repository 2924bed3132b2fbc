"""Examples and batches: random, yet decided by seed, epoch and clip alone; untouched where nothing is learned."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from earmark.data.waveforms import ClipWaveforms
from earmark.models.front_ends import Encoded
from earmark.sound.augment import mix_loudness_aware
from earmark.training.batches import (
    BalancedSampler,
    EncodedClips,
    EncodedExamples,
    WaveformExamples,
    class_weights,
    collate_waveforms,
)
from earmark.training.learners import average_logits
from earmark.training.recipe import AugmentSection

STILL = AugmentSection()
LIVELY = AugmentSection(mix=0.5, roll=True, gain_db=6.0)
WINDOW = 3000  # shorter than the clips' 4000 samples, so that a window is drawn


def make_examples(
    waveforms: ClipWaveforms, augment: AugmentSection | None, *, seed: int = 1, epoch: int = 0, window: int = WINDOW
) -> WaveformExamples:
    examples = WaveformExamples(waveforms, np.arange(len(waveforms)), window=window, augment=augment, seed=seed)
    examples.epoch = epoch
    return examples


def same(first: dict, second: dict) -> bool:
    return np.array_equal(first["waveform"], second["waveform"]) and np.array_equal(first["target"], second["target"])


def test_seed_epoch_and_clip_decide_an_example_whatever_the_order(waveforms: ClipWaveforms) -> None:
    forwards, backwards = make_examples(waveforms, LIVELY), make_examples(waveforms, LIVELY)
    ahead = [forwards[item] for item in range(len(forwards))]
    back = [backwards[item] for item in reversed(range(len(backwards)))][::-1]
    assert all(same(one, other) for one, other in zip(ahead, back, strict=True))


def test_another_epoch_and_another_seed_are_other_examples(waveforms: ClipWaveforms) -> None:
    base = make_examples(waveforms, LIVELY)
    for other in (make_examples(waveforms, LIVELY, epoch=1), make_examples(waveforms, LIVELY, seed=2)):
        assert not any(same(base[item], other[item]) for item in range(len(base)))


def test_a_clip_is_the_same_example_in_another_part(waveforms: ClipWaveforms) -> None:
    """The row in the table counts, not the position among the training clips."""
    augment = replace(LIVELY, mix=0.0)
    whole = make_examples(waveforms, augment)
    part = WaveformExamples(waveforms, np.array([5, 20]), window=WINDOW, augment=augment, seed=1)
    assert same(part[0], whole[5])
    assert same(part[1], whole[20])


def test_evaluation_hears_the_whole_clip_untouched(waveforms: ClipWaveforms) -> None:
    examples = make_examples(waveforms, None)
    for item in (0, 17, 35):
        np.testing.assert_array_equal(examples[item]["waveform"], waveforms.read(item))
        np.testing.assert_array_equal(examples[item]["target"], waveforms.targets()[item])


def test_training_draws_a_window_of_the_clip(waveforms: ClipWaveforms) -> None:
    starts = set()
    clip = waveforms.read(3)
    for epoch in range(30):
        drawn = make_examples(waveforms, STILL, epoch=epoch)[3]["waveform"]
        assert len(drawn) == WINDOW
        (start,) = [at for at in range(len(clip) - WINDOW + 1) if np.array_equal(clip[at : at + WINDOW], drawn)]
        starts.add(start)
    assert len(starts) > 20
    assert max(starts) - min(starts) > 500
    np.testing.assert_array_equal(make_examples(waveforms, STILL, window=9999)[3]["waveform"], clip)


def test_roll_and_gain_keep_the_samples(waveforms: ClipWaveforms) -> None:
    clip = waveforms.read(0)
    rolled = make_examples(waveforms, AugmentSection(roll=True), window=9999)[0]["waveform"]
    assert not np.array_equal(rolled, clip)
    np.testing.assert_array_equal(np.sort(rolled), np.sort(clip))
    gains = []
    for epoch in range(40):
        louder = make_examples(waveforms, AugmentSection(gain_db=6.0), window=9999, epoch=epoch)[0]["waveform"]
        gain = np.dot(louder, clip) / np.dot(clip, clip)
        np.testing.assert_allclose(louder, gain * clip, atol=1e-6)
        gains.append(20 * np.log10(gain))
    assert -6.001 <= min(gains) < -3
    assert 3 < max(gains) <= 6.001


def test_a_clip_played_faster_or_slower_still_fills_no_more_than_the_window(waveforms: ClipWaveforms) -> None:
    lengths = []
    for epoch in range(60):
        drawn = make_examples(waveforms, AugmentSection(speed=0.25), epoch=epoch)[3]["waveform"]
        whole = make_examples(waveforms, AugmentSection(speed=0.25), window=4000, epoch=epoch)[3]["waveform"]
        assert len(drawn) <= WINDOW
        assert len(drawn) >= WINDOW - 2, "the clip has enough to fill the window at any speed"
        lengths.append(len(whole))
    assert max(lengths) <= 4000, "slower: a part of the clip that fills the window"
    assert 3200 <= min(lengths) < 3300, "faster: the whole clip, shorter"


def test_mixing_takes_another_class_and_its_share_of_the_target(waveforms: ClipWaveforms) -> None:
    targets = waveforms.targets()
    partners = []
    for epoch in range(20):
        examples = make_examples(waveforms, AugmentSection(mix=1.0), window=9999, epoch=epoch)
        for item in (0, 12, 30):
            example = examples[item]
            assert example["target"].sum() == pytest.approx(1.0, abs=1e-6)
            own = int(targets[item].argmax())
            (other,) = set(np.flatnonzero(example["target"])) - {own}
            partners.append(other)
            # The sound is the mixture that the target tells of, with some clip of that class.
            ratio = float(example["target"][own])
            mixtures = [
                mix_loudness_aware(waveforms.read(item), waveforms.read(int(row)), ratio=ratio)
                for row in np.flatnonzero(targets[:, other])
            ]
            assert min(np.abs(mixture - example["waveform"]).max() for mixture in mixtures) < 1e-5
    assert set(partners) == {0, 1, 2}


def test_a_share_of_the_clips_is_mixed(waveforms: ClipWaveforms) -> None:
    mixed = [
        (make_examples(waveforms, AugmentSection(mix=0.25), epoch=epoch)[item]["target"] > 0).sum() > 1
        for epoch in range(10)
        for item in range(len(waveforms))
    ]
    assert 0.15 < np.mean(mixed) < 0.35


def test_mixing_with_nobody_of_another_class_is_no_error(waveforms: ClipWaveforms) -> None:
    one_class = np.flatnonzero(waveforms.targets()[:, 0])
    examples = WaveformExamples(waveforms, one_class, window=WINDOW, augment=AugmentSection(mix=1.0), seed=0)
    assert examples[0]["target"].tolist() == pytest.approx([1.0, 0.0, 0.0])


def test_collating_pads_with_zeros_that_the_mask_leaves_out() -> None:
    examples = [{"waveform": np.ones(n, np.float32), "target": np.float32([n == 2, n != 2])} for n in (2, 3)]
    batch = collate_waveforms(examples)
    assert batch["input_values"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch["attention_mask"].tolist() == [[True, True, False], [True, True, True]]
    assert batch["targets"].tolist() == [[1, 0], [0, 1]]
    assert "attention_mask" not in collate_waveforms([examples[1], examples[1]])


def make_encoded(waveforms: ClipWaveforms) -> EncodedClips:
    """Clip ``i`` has ``1 + i % 3`` windows; the feature is the window's number."""
    counts = 1 + np.arange(len(waveforms)) % 3
    first = np.concatenate([[0], np.cumsum(counts)])
    windows = torch.arange(first[-1])
    encoded = Encoded(windows[:, None].float(), torch.ones_like(windows))
    return EncodedClips(encoded, first, torch.ones(len(windows)))


def test_encoded_examples_are_windows_of_their_clip(waveforms: ClipWaveforms) -> None:
    encoded = make_encoded(waveforms)
    rows = np.array([4, 2, 9])
    examples = EncodedExamples(waveforms, encoded, rows, training=True, seed=0)
    seen: dict[int, set[int]] = {item: set() for item in range(3)}
    for epoch in range(30):
        examples.epoch = epoch
        batch = examples.collate([0, 1, 2])
        assert batch["features"].tolist() == examples.collate([0, 1, 2])["features"].tolist()
        for item in range(3):
            assert examples.collate([item])["features"].tolist() == batch["features"][[item]].tolist()
            seen[item].add(int(batch["features"][item, 0]))
        np.testing.assert_array_equal(batch["targets"], waveforms.targets()[rows])
    for item, row in enumerate(rows):
        assert seen[item] == set(encoded.windows_of(np.array([row])).tolist())
    assert encoded.windows_of(np.array([1, 2])).tolist() == [1, 2, 3, 4, 5]


def test_outside_training_a_clips_windows_are_all_there_with_what_they_count():
    features = torch.arange(6.0)[:, None]
    encoded = EncodedClips(Encoded(features, torch.ones(6)), np.array([0, 1, 3, 6]), torch.tensor([9, 9, 3, 9, 9, 1]))
    waveforms = SimpleNamespace(targets=lambda: np.eye(3, dtype=np.float32))
    examples = EncodedExamples(waveforms, encoded, np.array([1, 2]), training=False)
    batch = examples.collate([0, 1])
    assert batch["features"][:, 0].tolist() == [1, 2, 3, 4, 5]
    assert batch["owners"].tolist() == [0, 0, 1, 1, 1]
    assert batch["weights"].tolist() == [9, 3, 9, 9, 1]


def test_the_balanced_sampler_draws_classes_equally_and_anew_each_epoch() -> None:
    labels = np.array([0] * 90 + [1] * 9 + [2])
    sampler = BalancedSampler(np.eye(3, dtype=np.float32)[labels], seed=0)
    drawn: Counter[int] = Counter()
    epochs = []
    for epoch in range(60):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
        assert list(sampler) == epochs[-1]
        assert len(epochs[-1]) == len(sampler) == 100
        drawn.update(labels[epochs[-1]].tolist())
    assert epochs[0] != epochs[1]
    assert all(count == pytest.approx(2000, rel=0.1) for count in drawn.values())


def test_class_weights_level_the_classes_and_keep_the_mean() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights = class_weights(np.eye(3, dtype=np.float32)[labels])
    assert weights.tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])
    assert weights[labels].mean().item() == pytest.approx(1.0)


def test_a_clip_of_several_windows_is_judged_by_their_mean_probability():
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    owners, weights = torch.tensor([0, 0, 1]), torch.tensor([1.0, 3.0, 5.0])
    logits = average_logits(probabilities.log(), owners, weights, multi_label=False)
    torch.testing.assert_close(logits.softmax(-1), torch.tensor([[0.375, 0.625], [0.6, 0.4]]))
    apart = average_logits(probabilities.logit(), owners, weights, multi_label=True)
    torch.testing.assert_close(apart.sigmoid(), torch.tensor([[0.375, 0.625], [0.6, 0.4]]))
