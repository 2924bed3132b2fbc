"""The spectrogram that a recipe's network gets of a clip, disturbed as in training, and its picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from earmark.models.front_ends import Encoded, LogMel, Standardise, build_front_end
from earmark.pages.figure import Raster, make_figure, to_png, to_svg
from earmark.sound.augment import DisturbSpectrogram
from earmark.sound.features import to_db
from earmark.sound.figures import (
    AXIS_PX,
    HEIGHT_PX,
    LEFT_PX,
    MIN_TICK_GAP_PX,
    PANEL_PX,
    RANGE_DB,
    RIGHT_PX,
    TOP_PX,
    WIDTH_PX,
    add_colour_bar,
    add_mel_panel,
    descend_octaves,
    name_frequency,
)
from earmark.training.augmentation import build_disturbance
from earmark.training.recipe import Recipe


@dataclass(frozen=True)
class NetworkView:
    """What a network is shown of a clip.

    Args:
        front_end: Waveform to mel spectrogram.
        standardise: Fitted; ``None`` where the recipe leaves features as they are.
        disturb: What happens to spectrograms in training; ``None`` if nothing does.
        window: Longest stretch that is seen at once, samples.
        sample_rate: Hz.
    """

    front_end: LogMel
    standardise: Standardise | None
    disturb: DisturbSpectrogram | None
    window: int
    sample_rate: int

    def show(self, waveform: np.ndarray, seed: tuple[int, ...] | None = None) -> Tensor:
        """(n_mels, frames), dB; disturbed if there is a seed to disturb it by."""
        encoded = self.encode(waveform)
        features = encoded.features if self.standardise is None else self.standardise(encoded).features
        if self.disturb is not None and seed is not None:
            # The disturbance draws from torch's own generator, as in training; it is left as it was.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
                features = self.disturb.train()(features)
        if self.standardise is not None:
            features = features * self.standardise.deviation[:, None] + self.standardise.mean[:, None]
        config = self.front_end.config
        if not config.decibels:
            features = to_db(features, power=config.power)
        return features[0, :, : int(encoded.frames[0])]

    @torch.no_grad()
    def encode(self, waveform: np.ndarray) -> Encoded:
        """The spectrogram of one clip before it is standardised and disturbed, and how many of its frames are sound."""
        heard = torch.from_numpy(np.array(waveform, dtype=np.float32))
        # As in the model: the network sees at least the width of a window.
        padded = torch.nn.functional.pad(heard, (0, max(0, self.window - len(heard))))
        return self.front_end(padded[None], torch.tensor([len(heard)]))


def build_view(recipe: Recipe, clips: list[np.ndarray], *, window: int, sample_rate: int) -> NetworkView:
    """What the network of a recipe is shown whose front end gives mel spectrograms.

    Args:
        recipe: With rate and window settled.
        clips: (samples,) each; mean and deviation of the features are theirs, as in training the training clips'.
        window: Longest stretch that is seen at once, samples.
        sample_rate: Hz.
    """
    front_end = build_front_end(recipe.front_end_settings(), sample_rate)
    assert isinstance(front_end, LogMel)
    disturb = build_disturbance(recipe, sample_rate)
    if not recipe.model.standardise:
        return NetworkView(front_end, None, disturb, window, sample_rate)
    plain = NetworkView(front_end, None, None, window, sample_rate)
    standardise = Standardise(front_end.size, over_time=True)
    standardise.fit([plain.encode(clip) for clip in clips])
    return NetworkView(front_end, standardise, disturb, window, sample_rate)


def draw_view(levels_db: Tensor, view: NetworkView, *, duration_s: float, highest_db: float) -> str:
    """A spectrogram of `NetworkView.show` in magma, on the front end's own mel axis.

    Args:
        levels_db: (n_mels, frames), dB.
        view: What showed it.
        duration_s: Of the sound, seconds.
        highest_db: What the brightest colour stands for, and 0 dB beside the picture; the darkest lies 80 dB below, or
            160 where the front end counts decibels twice.

    Returns:
        An ``<svg>`` element in the page's colours, 360 pixels wide by nature, with a dB colour bar.
    """
    config = view.front_end.config
    range_db = 2 * RANGE_DB if config.decibels and config.amplitude_db else RANGE_DB
    n_mels = len(levels_db)
    figure = make_figure(WIDTH_PX, HEIGHT_PX + AXIS_PX)
    add_mel_panel(figure, PANEL_PX, HEIGHT_PX, n_mels=n_mels, ticks=_place_octaves(view), duration_s=duration_s)
    levels = 1 + (levels_db.numpy() - highest_db) / range_db
    marks = {f"−{share * range_db:g}" if share else "0 dB": -share * range_db for share in (0, 0.25, 0.5, 0.75, 1)}
    bar = add_colour_bar(figure, WIDTH_PX - RIGHT_PX, TOP_PX, HEIGHT_PX, marks)
    description = f"Mel spectrogram as the network sees it, {duration_s:.1f} seconds, {n_mels} bands."
    return to_svg(figure, description, (Raster(to_png(levels[::-1]), LEFT_PX, TOP_PX, PANEL_PX, HEIGHT_PX), bar))


def _place_octaves(view: NetworkView) -> dict[str, float]:
    """Octaves of 125 Hz that keep their distance: name -> height on the axis of the front end's bands."""
    from transformers.audio_utils import hertz_to_mel

    config = view.front_end.config
    highest_hz = config.f_max or view.sample_rate / 2
    low, high = (hertz_to_mel(float(edge), mel_scale=config.mel_scale) for edge in (config.f_min, highest_hz))
    # The centres of the bands divide the mel scale into n_mels + 1 steps; band k is drawn from k to k + 1.
    mel_per_band = (high - low) / (config.n_mels + 1)
    ticks: dict[str, float] = {}
    for frequency_hz in descend_octaves(highest_hz, max(config.f_min, 125.0)):
        height = (hertz_to_mel(frequency_hz, mel_scale=config.mel_scale) - low) / mel_per_band - 0.5
        lowest = min(ticks.values(), default=math.inf)
        if 0 <= height <= config.n_mels and (lowest - height) * HEIGHT_PX / config.n_mels >= MIN_TICK_GAP_PX:
            ticks[name_frequency(frequency_hz)] = float(height)
    return ticks
