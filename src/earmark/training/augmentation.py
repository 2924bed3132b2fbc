"""What a recipe's ``[augment]`` does to one clip, in the order in which it is done: for training and for listening."""

import numpy as np

from earmark.errors import RecipeError
from earmark.sound.augment import DisturbSpectrogram, change_gain, roll
from earmark.sound.waveform_changes import WaveformChanges
from earmark.training.recipe import Recipe
from earmark.training.sections import AugmentSection

DISTURBANCES = ("mask_time_s", "mask_mels", "spectrogram_noise", "spectrogram_filter", "spectrogram_gain")


def change_waveform(
    waveform: np.ndarray,
    augment: AugmentSection,
    changes: WaveformChanges | None,
    sample_rate: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Roll, then gain, then the changes by name; what the recipe does not ask for draws nothing.

    Args:
        waveform: (samples,), float32; may be read-only.
        augment: What to do.
        changes: ``augment.waveform`` as `earmark.sound.waveform_changes.build_changes` made it; ``None`` without any.
        sample_rate: Hz.
        generator: Decides all that is random.

    Returns:
        (samples,), float32.

    Example:
        >>> louder = change_waveform(np.ones(2), AugmentSection(gain_db=6.0), None, 16_000, np.random.default_rng(0))
        >>> bool(abs(louder[0]) <= 2.0)
        True
    """
    if augment.roll:
        waveform = roll(waveform, generator)
    if augment.gain_db > 0:
        waveform = change_gain(waveform, generator, max_db=augment.gain_db)
    return waveform if changes is None else changes(waveform, sample_rate, generator)


def check_disturbance(recipe: Recipe) -> None:
    """Refuse to disturb spectrograms where the network takes none.

    Raises:
        RecipeError: a setting that could do nothing; the message names it.

    Example:
        >>> from earmark.training.recipe import load_recipe
        >>> check_disturbance(load_recipe("cnn"))
    """
    asked = [key for key in DISTURBANCES if getattr(recipe.augment, key)]
    if asked and (recipe.brings_features or recipe.front_end.kind != "log_mel"):
        what = recipe.model.name if recipe.brings_features else f"the {recipe.front_end.kind} front end"
        raise RecipeError(
            f"augment.{asked[0]} changes mel spectrograms, and {what} has none to change; leave it out, or take a "
            "recipe whose front_end.kind is log_mel."
        )


def build_disturbance(recipe: Recipe, sample_rate: int) -> DisturbSpectrogram | None:
    """What happens to the spectrograms of this recipe in training; ``None`` if nothing does.

    Args:
        recipe: Its ``[augment]`` says what, its ``[front_end]`` in which unit.
        sample_rate: Hz, of the sound that the model hears.

    Raises:
        RecipeError: there are no spectrograms to disturb (`check_disturbance`).

    Example:
        >>> from earmark.training.recipe import load_recipe
        >>> build_disturbance(load_recipe("cnn"), 32_000).max_frames
        10
    """
    check_disturbance(recipe)
    augment, front_end = recipe.augment, recipe.front_end
    if not any(getattr(augment, key) for key in DISTURBANCES):
        return None
    return DisturbSpectrogram(
        max_frames=round(augment.mask_time_s * sample_rate / front_end.hop_length),
        max_mels=augment.mask_mels,
        noise=augment.spectrogram_noise,
        gain=augment.spectrogram_gain,
        filtering=augment.spectrogram_filter,
        lowest=None if front_end.decibels or recipe.model.standardise else 0.0,
    )
