"""What the verbs' tests share: a small folder of sounds."""

import wave
from pathlib import Path

import numpy as np
import pytest

RATE = 8000


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of half a second, ten clips each."""
    folder = tmp_path_factory.mktemp("sounds")
    for number, label in enumerate(("hiss", "hum")):
        (folder / label).mkdir()
        for take in range(10):
            random = np.random.default_rng((number, take))
            tone = np.sin(2 * np.pi * random.uniform(200, 400) * np.arange(4000) / RATE) * number
            with wave.open(str(folder / label / f"{take}.wav"), "wb") as file:
                file.setparams((1, 2, RATE, 0, "NONE", ""))
                file.writeframes((1000 * tone + 500 * random.normal(0, 1, 4000)).astype("<i2").tobytes())
    return folder
