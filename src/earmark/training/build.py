"""From recipe and clips to what can be trained, and from a trained model to its directory."""

import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from earmark.data.clips import Clips
from earmark.data.overview import describe_clips
from earmark.data.waveforms import ClipWaveforms
from earmark.errors import RecipeError
from earmark.evaluation.drift import MEMORY_FILE
from earmark.evaluation.sound_sample import pack_sample, sample_clips
from earmark.files import write_text_whole
from earmark.inference.classifier import Classifier
from earmark.inference.golden import write_golden
from earmark.models.hub import hide_progress
from earmark.models.pretrained import load_pretrained_audio
from earmark.progress import show_progress
from earmark.sound.level import measure_level_db
from earmark.sound.waveform_changes import build_changes
from earmark.training.augmentation import check_disturbance
from earmark.training.learners import Learner, build_model
from earmark.training.memory import remember_clips
from earmark.training.recipe import Recipe

HIGHEST_RATE_HZ = 32_000  # what "auto" takes at most: hardly a sound is told from others by what lies above 16 kHz
SHORTEST_WINDOW_S = 1.0
LONGEST_WINDOW_S = 10.0  # of a spectrogram seen as it is
LONGEST_WHOLE_S = 30.0  # of what sums a clip up, or shrinks it into a square


def settle_rate(recipe: Recipe, clips: Clips) -> Recipe:
    """The recipe with its sample rate in Hz: as given, the pretrained model's own, or the one most files have.

    ``"auto"`` takes no more than 32 kHz of the latter, and never more than there is: bands without sound teach nothing.

    Raises:
        RecipeError: a rate that the pretrained model does not take.
        ModelError: no such pretrained model.
    """
    asked = recipe.audio.sample_rate
    if recipe.brings_features:
        # Loading it shows every fault there may be before anything is decoded.
        tuning = recipe.model.tuning
        rate = load_pretrained_audio(recipe.model.name, ("a", "b"), multi_label=False, tuning=tuning).sample_rate
        if asked not in ("auto", rate):
            raise RecipeError(
                f"{recipe.model.name} hears {rate} Hz, not audio.sample_rate = {asked}; leave that setting out, "
                "and sound of any rate is converted."
            )
    elif isinstance(asked, int):
        rate = asked
    else:
        rate = find_usual_rate(clips)
        rate = min(rate, HIGHEST_RATE_HZ) if asked == "auto" else rate
    return replace(recipe, audio=replace(recipe.audio, sample_rate=rate))


def find_usual_rate(clips: Clips) -> int:
    """The sample rate most of the clips' files have, Hz; the highest of equally frequent ones."""
    with show_progress("Looking at files") as advance:
        rates = describe_clips(clips, advance).sample_rates
    return max(rates, key=lambda rate: (rates[rate], rate), default=HIGHEST_RATE_HZ)


def fit_window(recipe: Recipe, waveforms: ClipWaveforms) -> Recipe:
    """The recipe with its window in seconds: as given, or such that it holds the clips.

    A summary over time, or a picture of fixed size, takes each clip whole, up to half a minute. Any other network pays
    for every second of window even where clips are shorter, so its window holds 95 % of the clips, up to ten seconds.
    A model of Transformers pays for what there is, and says itself how much it can hear.
    """
    if recipe.audio.window_s != "auto" or recipe.brings_features:
        return recipe
    whole = recipe.front_end.kind != "log_mel" or recipe.model.picture != "mel"
    share, longest_s = (100, LONGEST_WHOLE_S) if whole else (95, LONGEST_WINDOW_S)
    usual_s = float(np.percentile(waveforms.lengths, share)) / waveforms.store.sample_rate
    window_s = min(max(np.ceil(usual_s * 10) / 10, SHORTEST_WINDOW_S), longest_s)
    return replace(recipe, audio=replace(recipe.audio, window_s=float(window_s)))


def check_recipe(recipe: Recipe, *, multi_label: bool = False) -> None:
    """Ask the recipe's model once about silence, so that what cannot work is refused before anything is done.

    Raises:
        RecipeError: band edges beyond half the sample rate, a network that does not exist or does not fit…
    """
    check_disturbance(recipe)
    if recipe.augment.waveform:
        build_changes(recipe.augment.waveform)
    if recipe.brings_features:
        return
    window_s = SHORTEST_WINDOW_S if recipe.audio.window_s == "auto" else recipe.audio.window_s
    settled = replace(recipe, audio=replace(recipe.audio, window_s=window_s))
    model = build_model(settled, ("a", "b"), multi_label=multi_label).eval()
    try:
        with torch.inference_mode():
            model(torch.zeros(1, model.config.window))
    except Exception as error:  # every network fails in its own way on a picture it cannot take
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RecipeError(
            f"The network {recipe.model.name} cannot take a spectrogram of {window_s:g} s with "
            f"{recipe.front_end.n_mels} bands ({reason}); try another network, window_s, n_mels or hop_length."
        ) from error


def save_model(
    learner: Learner,
    folder: Path,
    *,
    card: str,
    waveforms: ClipWaveforms,
    rows: np.ndarray,
    excused: Mapping[str, Collection[int]] | None = None,
) -> Classifier:
    """Write a model directory, whole or not at all, and return the model as loaded back from it.

    Args:
        learner: Trained.
        folder: The directory; an earlier one there is replaced.
        card: The text of its ``README.md``.
        waveforms: The clips and their sound.
        rows: Clips it learned from, to be remembered by hash and group.
        excused: Clips that a published protocol has on two sides; see `earmark.training.memory.remember_clips`.
    """
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    with hide_progress():
        learner.model.float().cpu().save_pretrained(part)
    learner.extractor.save_pretrained(part)
    write_text_whole(part / "README.md", card)
    memory = json.dumps(_remember_data(waveforms, rows, excused), ensure_ascii=False, indent=1)
    write_text_whole(part / MEMORY_FILE, memory)
    write_golden(Classifier.from_pretrained(part), part)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return Classifier.from_pretrained(folder)


def _remember_data(
    waveforms: ClipWaveforms, rows: np.ndarray, excused: Mapping[str, Collection[int]] | None
) -> dict[str, Any]:
    """What later checks for leaks and drift need: no sound, no file names."""
    rate = waveforms.store.sample_rate
    levels_db = np.array([measure_level_db(waveforms.read(int(row))) for row in rows])
    durations_s = waveforms.lengths[rows] / rate
    quantiles = (0.0, 0.1, 0.5, 0.9, 1.0)
    with show_progress("Remembering sounds") as advance:
        sample = sample_clips(waveforms.clips, rows, on_progress=advance)
    return {
        "clips": remember_clips(waveforms, rows, excused),
        "quantiles": list(quantiles),
        "duration_s": np.quantile(durations_s, quantiles).round(4).tolist(),
        "peak_level_db": np.quantile(levels_db, quantiles).round(2).tolist(),
        "sound": pack_sample(sample),
    }
