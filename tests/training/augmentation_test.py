"""One clip's augmentation: in one order, with the draws it always had, and in the spectrogram's own unit."""

import numpy as np
import pytest

from earmark.errors import RecipeError
from earmark.sound.augment import change_gain, roll
from earmark.sound.waveform_changes import build_changes
from earmark.training.augmentation import build_disturbance, change_waveform
from earmark.training.recipe import AugmentSection, load_recipe

CLIP = np.random.default_rng(0).normal(scale=0.1, size=4_000).astype(np.float32)


def test_a_clip_is_rolled_then_amplified_with_the_draws_it_always_had():
    generator = np.random.default_rng((1, 2, 3))
    expected = change_gain(roll(CLIP, generator), generator, max_db=6.0)
    after = generator.random()
    generator = np.random.default_rng((1, 2, 3))
    changed = change_waveform(CLIP, AugmentSection(roll=True, gain_db=6.0), None, 8_000, generator)
    assert changed.tobytes() == expected.tobytes()
    assert generator.random() == after


def test_changes_by_name_come_last():
    augment = AugmentSection(gain_db=6.0, waveform=({"name": "Gain", "p": 1.0, "min_gain_db": -3.0},))
    changes = build_changes([{"name": "AddGaussianNoise", "p": 1.0, "min_amplitude": 0.5, "max_amplitude": 0.5}])
    generator = np.random.default_rng(5)
    louder = change_gain(CLIP, generator, max_db=6.0)
    expected = changes(louder, 8_000, generator)
    changed = change_waveform(CLIP, augment, changes, 8_000, np.random.default_rng(5))
    assert changed.tobytes() == expected.tobytes()
    assert np.std(changed - louder) == pytest.approx(0.5, rel=0.05), "noise that no gain has touched"


def test_what_is_not_asked_for_changes_and_draws_nothing():
    generator = np.random.default_rng(5)
    assert change_waveform(CLIP, AugmentSection(), None, 8_000, generator) is CLIP
    assert generator.random() == np.random.default_rng(5).random()


def test_masks_are_as_long_as_the_recipe_says_in_frames_and_only_a_power_has_a_floor():
    disturb = build_disturbance(load_recipe("tutorial-resnext101"), 22_050)
    assert disturb is not None
    assert (disturb.max_frames, disturb.max_mels, disturb.noise, disturb.gain, disturb.lowest) == (
        20,
        20,
        0.01,
        0.2,
        0.0,
    )
    decibels = build_disturbance(load_recipe("cnn", ["augment.spectrogram_noise=0.1"]), 32_000)
    assert decibels is not None
    assert (decibels.max_frames, decibels.noise, decibels.lowest) == (10, 0.1, None)
    assert build_disturbance(load_recipe("quick"), 32_000) is None


@pytest.mark.parametrize(
    "key", ["mask_time_s", "mask_mels", "spectrogram_noise", "spectrogram_filter", "spectrogram_gain"]
)
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("quick", "the mel_statistics front end"),
        ("mfcc-mlp", "the mfcc_mean front end"),
        ("distilhubert", "ntu-spml/distilhubert"),
    ],
)
def test_spectrograms_that_nobody_takes_are_not_disturbed_in_silence(key, name, what):
    recipe = load_recipe(name, [f"augment.{key}=1"])
    with pytest.raises(RecipeError, match=f"augment.{key} changes mel spectrograms, and {what} has none to change"):
        build_disturbance(recipe, 16_000)
