"""From recipe and clips to a model that can be trained, and from a trained model to its directory."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from earmark.data.waveforms import ClipWaveforms
from earmark.errors import ClipsError, RecipeError
from earmark.files import write_text_whole
from earmark.inference.classifier import Classifier
from earmark.inference.golden import write_golden
from earmark.models import EarmarkConfig, EarmarkFeatureExtractor, EarmarkForAudioClassification
from earmark.models.hub import hide_progress
from earmark.sound.augment import measure_level_db
from earmark.training.recipe import Recipe

SHORTEST_WINDOW_S = 1.0
LONGEST_WINDOW_S = {"log_mel": 10.0, "mel_statistics": 30.0, "mfcc_mean": 30.0}


def fit_window(recipe: Recipe, waveforms: ClipWaveforms) -> Recipe:
    """The recipe with its window in seconds: as given, or such that it holds the clips.

    A summary over time takes each clip whole, up to half a minute. A network pays for every second of window even
    where clips are shorter, so its window holds 95 % of the clips, up to ten seconds.
    """
    if recipe.audio.window_s != "auto":
        return recipe
    share = 95 if recipe.front_end.kind == "log_mel" else 100
    usual_s = float(np.percentile(waveforms.lengths, share)) / recipe.audio.sample_rate
    longest_s = LONGEST_WINDOW_S[recipe.front_end.kind]
    window_s = min(max(np.ceil(usual_s * 10) / 10, SHORTEST_WINDOW_S), longest_s)
    return replace(recipe, audio=replace(recipe.audio, window_s=float(window_s)))


def check_recipe(recipe: Recipe) -> None:
    """Ask the recipe's model once about silence, so that what cannot work is refused before anything is done.

    Raises:
        RecipeError: band edges beyond half the sample rate, a network that does not exist or does not fit…
    """
    window_s = SHORTEST_WINDOW_S if recipe.audio.window_s == "auto" else recipe.audio.window_s
    settled = replace(recipe, audio=replace(recipe.audio, window_s=window_s))
    model = build_model(settled, ("a", "b"), multi_label=False).eval()
    try:
        with torch.inference_mode():
            model(torch.zeros(1, model.config.window))
    except Exception as error:  # every network fails in its own way on a picture it cannot take
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RecipeError(
            f"The network {recipe.model.name} cannot take a spectrogram of {window_s:g} s with "
            f"{recipe.front_end.n_mels} bands ({reason}); try another network, window_s, n_mels or hop_length."
        ) from error


def build_model(recipe: Recipe, labels: tuple[str, ...], *, multi_label: bool) -> EarmarkForAudioClassification:
    """A model with fresh weights; `fit_window` must have settled the window."""
    if recipe.audio.window_s == "auto":
        raise ClipsError("The window is settled by the clips; call fit_window first.")
    backbone: dict[str, Any] = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(recipe.model).items()}
    config = EarmarkConfig(
        sampling_rate=recipe.audio.sample_rate,
        window=round(recipe.audio.window_s * recipe.audio.sample_rate),
        front_end=recipe.front_end_settings(),
        backbone=backbone,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        problem_type="multi_label_classification" if multi_label else "single_label_classification",
    )
    return EarmarkForAudioClassification(config)


def save_model(
    model: EarmarkForAudioClassification, folder: Path, *, card: str, waveforms: ClipWaveforms, rows: np.ndarray
) -> Classifier:
    """Write a model directory, whole or not at all, and return the model as loaded back from it.

    Args:
        model: Trained.
        folder: The directory; an earlier one there is replaced.
        card: The text of its ``README.md``.
        waveforms: The clips and their sound.
        rows: Clips it learned from, to be remembered by hash and group.
    """
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    with hide_progress():
        model.float().cpu().save_pretrained(part)
    EarmarkFeatureExtractor(sampling_rate=model.config.sampling_rate).save_pretrained(part)
    write_text_whole(part / "README.md", card)
    memory = json.dumps(_remember_clips(waveforms, rows), ensure_ascii=False, indent=1)
    write_text_whole(part / "training_data.json", memory)
    write_golden(Classifier.from_pretrained(part), part)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return Classifier.from_pretrained(folder)


def _remember_clips(waveforms: ClipWaveforms, rows: np.ndarray) -> dict[str, Any]:
    """What later checks for leaks and drift need: no sound, no file names."""
    table = waveforms.clips.table
    groups = table["group"].tolist() if "group" in table else [None] * len(table)
    rate = waveforms.store.sample_rate
    levels_db = np.array([measure_level_db(waveforms.read(int(row))) for row in rows])
    durations_s = waveforms.lengths[rows] / rate
    quantiles = (0.0, 0.1, 0.5, 0.9, 1.0)
    return {
        "clips": [{"hash": waveforms.content_keys[row], "group": groups[row]} for row in map(int, rows)],
        "quantiles": list(quantiles),
        "duration_s": np.quantile(durations_s, quantiles).round(4).tolist(),
        "peak_level_db": np.quantile(levels_db, quantiles).round(2).tolist(),
    }
