"""Golden waveforms: a few sounds kept beside a model with the logits it must give, so that any copy can be checked."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from earmark.errors import ModelError
from earmark.files import replace_whole
from earmark.inference.classifier import Classifier
from earmark.inference.torch_network import reach_torch
from earmark.sound.synthesis import SOUND_NAMES, synthesise

GOLDEN_FILE = "golden.safetensors"
GOLDEN_SOUNDS = 3
TOLERANCE = 1e-3  # logits; another processor's rounding stays far below, another feature or weight far above


@dataclass(frozen=True)
class Verdict:
    """How far a model's logits lie from the golden ones.

    Args:
        differences: The largest absolute difference for each golden waveform.
        tolerance: What still counts as the same model.
    """

    differences: list[float]
    tolerance: float = TOLERANCE

    @property
    def holds(self) -> bool:
        """Whether every waveform got the answer it got when the model was saved."""
        return all(difference <= self.tolerance for difference in self.differences)  # false for NaN, which max hides


def write_golden(classifier: Classifier, folder: Path) -> None:
    """Write ``golden.safetensors`` into a model directory: synthetic sounds (nobody's recordings) and their logits."""
    from safetensors.numpy import save_file

    tensors = {}
    for i, name in enumerate(SOUND_NAMES[:GOLDEN_SOUNDS]):
        # The last one is longer than a window, so that averaging over windows is checked too.
        duration_s = 1.0 + i if i + 1 < GOLDEN_SOUNDS else 1.25 * classifier.window / classifier.sample_rate
        waveform = synthesise(name, seed=i, duration_s=min(duration_s, 30.0), sample_rate=classifier.sample_rate)
        # Kept in 16 bits: a third of the size, and what is replayed is exactly what was measured.
        samples = np.round(np.clip(waveform, -1, 1) * 32767).astype(np.int16)
        tensors[f"waveform_{i}"] = samples
        tensors[f"logits_{i}"] = _compute_logits(classifier, samples)
    with replace_whole(folder / GOLDEN_FILE) as part:
        save_file(tensors, part, metadata={"labels": json.dumps(classifier.labels, ensure_ascii=False)})


def verify_model(classifier: Classifier, folder: str | Path) -> Verdict:
    """Replay the golden waveforms of a model directory.

    Args:
        classifier: The model as loaded here.
        folder: Its directory.

    Raises:
        ModelError: the directory holds no golden waveforms, or they cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = Path(folder) / GOLDEN_FILE
    if not path.is_file():
        raise ModelError(f"{folder} holds no {GOLDEN_FILE}; only models written by `earmark train` can be verified.")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ModelError(f"{path} is damaged ({error}); copy it again from where the model came from.") from error
    count = sum(name.startswith("waveform_") for name in tensors)
    return Verdict(
        [
            float(np.abs(_compute_logits(classifier, tensors[f"waveform_{i}"]) - tensors[f"logits_{i}"]).max())
            for i in range(count)
        ]
    )


@torch.inference_mode()
def _compute_logits(classifier: Classifier, samples: np.ndarray) -> np.ndarray:
    waveform = samples.astype(np.float32) / 32767
    network = reach_torch(classifier)
    inputs = network.extractor(waveform, sampling_rate=classifier.sample_rate, return_tensors="pt")
    outputs = network.model(**{key: value.to(network.device) for key, value in inputs.items()})
    return outputs.logits[0].float().cpu().numpy()
