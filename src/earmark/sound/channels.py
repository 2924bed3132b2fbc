"""What becomes of the channels of a sound on reading: mixed to one, or kept."""

from collections.abc import Callable

import numpy as np

Mix = Callable[[np.ndarray], np.ndarray]
"""From (channels, samples) to what a reader gives: `mix_to_mono` or `keep_channels`."""


def mix_to_mono(channels: np.ndarray) -> np.ndarray:
    """The mean of (channels, samples): sum by sum, since numpy's mean along a short axis takes thirty times as long."""
    if len(channels) == 1:
        return channels[0]
    mono = channels[0] + channels[1]
    for channel in channels[2:]:
        mono += channel
    mono *= np.float32(1 / len(channels))
    return mono


def keep_channels(channels: np.ndarray) -> np.ndarray:
    """(channels, samples) -> (samples, channels), or (samples,) of a single one."""
    return channels[0] if len(channels) == 1 else channels.T
