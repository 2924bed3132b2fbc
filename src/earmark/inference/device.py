"""Where models compute."""

import torch


def choose_device() -> torch.device:
    """The fastest device there is: CUDA, Apple's MPS, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
