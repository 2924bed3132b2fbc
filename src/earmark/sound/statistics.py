"""What a clip's mel spectrogram is like over time, whatever its length: statistics a band."""

import numpy as np
import torch
from torch import Tensor

from earmark.sound.features import to_db

STATISTICS_PER_BAND = 7
PERCENTILES = (0.1, 0.5, 0.9)
CHANGE_FRAMES = (1, 8)


def _sort_frames(values: Tensor) -> Tensor:
    # On a CPU NumPy sorts floats thirty times as fast as torch (AVX-512); in a graph only torch's sort exists.
    if torch.compiler.is_compiling() or values.device.type != "cpu" or values.requires_grad:
        return values.sort(dim=-1).values
    return torch.from_numpy(np.sort(values.numpy(), axis=-1))


def mel_statistics(mel: Tensor, valid: Tensor, *, range_db: float = 60.0) -> Tensor:
    """What a mel spectrogram is like over time: seven statistics a band over the frames that sound.

    Mean, standard deviation, 10th, 50th and 90th percentile of the level in dB, and its mean absolute change over
    one and over eight frames, all over the frames whose total power lies within ``range_db`` of the loudest frame's.

    Args:
        mel: (batch, n_mels, frames), power.
        valid: (batch, frames), bool: false where a frame is padding. Every clip needs one valid frame.
        range_db: Quieter frames than this below the loudest are passed over, dB.

    Returns:
        (batch, 7 * n_mels), float32: all means, then all deviations, and so on.

    Example:
        >>> mel_statistics(torch.ones(2, 64, 10), torch.ones(2, 10, dtype=torch.bool)).shape
        torch.Size([2, 448])

    Source:
        The statistics are pooled as in openSMILE's functionals (Eyben et al., 2010).
    """
    level_db = to_db(mel)
    frame_power = mel.sum(1).masked_fill(~valid, 0.0)
    loudest = frame_power.amax(-1, keepdim=True)
    sounding = valid & (frame_power >= loudest * 10 ** (-range_db / 10))
    weight = sounding.unsqueeze(1).to(level_db.dtype)
    count = weight.sum(-1)

    mean = (level_db * weight).sum(-1) / count
    deviation = (((level_db - mean.unsqueeze(-1)).square() * weight).sum(-1) / count).sqrt()

    ordered = _sort_frames(level_db.masked_fill(~sounding.unsqueeze(1), torch.inf))
    statistics = [mean, deviation]
    for fraction in PERCENTILES:
        place = (fraction * (count - 1)).expand(-1, mel.shape[1]).unsqueeze(-1)
        below = ordered.gather(-1, place.floor().long()).squeeze(-1)
        above = ordered.gather(-1, place.ceil().long()).squeeze(-1)
        statistics.append(below + (above - below) * place.frac().squeeze(-1))
    for step in CHANGE_FRAMES:
        # Of a clip shorter than the step no pair is left; its change is zero.
        pairs = weight[..., step:] * weight[..., :-step]
        change = (level_db[..., step:] - level_db[..., :-step]).abs() * pairs
        statistics.append(change.sum(-1) / pairs.sum(-1).clamp_min(1.0))
    return torch.cat(statistics, dim=1)
