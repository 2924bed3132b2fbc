"""How an image network gets to see a spectrogram: as it is, as three equal channels, or drawn in colour."""

import numpy as np
import torch
from torch import Tensor, nn

from earmark.models.front_ends import Encoded, mark_frames

PATCHES = 32  # a picture's sides are filled up to a multiple of this, which every usual patch size divides
# Image networks halve a picture five times. A narrower one is a single column before the last halving, whose gradient
# oneDNN 3 computes in bf16 (AVX-512, PyTorch 2.15) from memory past the tensor's end: not a number, now and then.
NARROWEST = 32
COLOURS = 256


class MelPicture(nn.Module):
    """One channel, a band a row and a frame a column, filled up with zeros to what the network needs.

    That is 32 pixels a side, or whole patches.

    Args:
        n_mels: Mel bands.
        frames: Frames of a window.

    Example:
        >>> MelPicture(64, 100)(Encoded(torch.zeros(2, 64, 100), torch.tensor([100, 50]))).shape
        torch.Size([2, 1, 64, 100])
    """

    channels = 1

    def __init__(self, n_mels: int, frames: int) -> None:
        super().__init__()
        self.n_mels = n_mels
        self.frames = frames
        self.margin = (0, max(0, NARROWEST - frames), 0, max(0, NARROWEST - n_mels))

    def fill_patches(self) -> tuple[int, int]:
        """Fill both sides up to whole patches from now on; (height, width) in pixels."""
        self.margin = (0, -self.frames % PATCHES, 0, -self.n_mels % PATCHES)
        return self.n_mels + self.margin[3], self.frames + self.margin[1]

    def forward(self, encoded: Encoded) -> Tensor:
        return nn.functional.pad(encoded.features.unsqueeze(1), self.margin)


class RepeatedPicture(nn.Module):
    """The spectrogram averaged into a square and shown three times, as a network for photographs expects.

    Args:
        size_px: Side of the square, pixels.

    Example:
        >>> RepeatedPicture(224)(Encoded(torch.zeros(2, 128, 300), torch.tensor([300, 300]))).shape
        torch.Size([2, 3, 224, 224])
    """

    channels = 3

    def __init__(self, size_px: int) -> None:
        super().__init__()
        self.size_px = size_px

    def forward(self, encoded: Encoded) -> Tensor:
        square = nn.functional.adaptive_avg_pool2d(encoded.features.unsqueeze(1), (self.size_px, self.size_px))
        return square.expand(-1, 3, -1, -1)


class ColouredPicture(nn.Module):
    """The spectrogram as people see it: low bands below, magma from its lowest to its highest value, a square.

    Args:
        size_px: Side of the square, pixels.

    Returns:
        (rows, 3, size_px, size_px), from -1 to 1.

    Example:
        >>> ColouredPicture(64)(Encoded(torch.rand(2, 16, 30), torch.tensor([30, 30]))).shape
        torch.Size([2, 3, 64, 64])
    """

    channels = 3
    palette: Tensor

    def __init__(self, size_px: int) -> None:
        super().__init__()
        from matplotlib import colormaps

        self.size_px = size_px
        colours = torch.from_numpy(colormaps["magma"](np.arange(COLOURS))[:, :3].astype(np.float32))
        self.register_buffer("palette", colours)

    def forward(self, encoded: Encoded) -> Tensor:
        levels, frames = encoded
        valid = mark_frames(frames, levels.shape[-1]).unsqueeze(1)
        lowest = levels.masked_fill(~valid, torch.inf).amin((1, 2), keepdim=True)
        highest = levels.masked_fill(~valid, -torch.inf).amax((1, 2), keepdim=True)
        shares = (levels - lowest) / (highest - lowest).clamp_min(1e-6)
        steps = (shares.clamp(0.0, 1.0) * COLOURS).long().clamp_max(COLOURS - 1)
        drawn = self.palette[steps.flip(1)].permute(0, 3, 1, 2)
        size = (self.size_px, self.size_px)
        return nn.functional.interpolate(drawn, size, mode="bilinear", antialias=True) * 2.0 - 1.0


def build_picture(kind: str, size_px: int, n_mels: int, frames: int) -> MelPicture | RepeatedPicture | ColouredPicture:
    """The picture a recipe's ``model.picture`` names: ``"mel"``, ``"repeated"`` or ``"coloured"``."""
    if kind == "repeated":
        return RepeatedPicture(size_px)
    return ColouredPicture(size_px) if kind == "coloured" else MelPicture(n_mels, frames)
