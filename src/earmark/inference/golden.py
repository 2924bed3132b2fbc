"""Golden waveforms: a few sounds kept with a model and the logits it must give, so that any copy can be checked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from earmark.errors import ModelError
from earmark.files import replace_whole
from earmark.inference.classifier import Classifier
from earmark.inference.decision import average_windows
from earmark.inference.onnx_contract import FULL_SCALE, GoldenSound
from earmark.inference.onnx_network import OnnxNetwork
from earmark.sound.synthesis import SOUND_NAMES, synthesise

GOLDEN_FILE = "golden.safetensors"
GOLDEN_SOUNDS = 3
TOLERANCE = 1e-3  # logits; another processor's rounding stays far below, another feature or weight far above

Measure = Literal["logits", "probabilities"]


@dataclass(frozen=True)
class Verdict:
    """How far a model's answers lie from the golden ones.

    Args:
        differences: The largest absolute difference for each golden waveform.
        tolerance: What still counts as the same model.
        measure: Of what: logits, or probabilities where weights were rounded to 8 bits.
    """

    differences: list[float]
    tolerance: float = TOLERANCE
    measure: Measure = "logits"

    @property
    def holds(self) -> bool:
        """Whether every waveform got the answer it got when the model was saved."""
        return all(difference <= self.tolerance for difference in self.differences)  # false for NaN, which max hides


def write_golden(classifier: Classifier, folder: Path) -> None:
    """Write ``golden.safetensors`` into a model directory: synthetic sounds (nobody's recordings) and their logits."""
    from safetensors.numpy import save_file

    tensors = {}
    for i, samples in enumerate(draw_golden(classifier)):
        tensors[f"waveform_{i}"] = samples
        tensors[f"logits_{i}"] = compute_logits(classifier, GoldenSound(samples, np.empty(0)).waveform())
    with replace_whole(folder / GOLDEN_FILE) as part:
        save_file(tensors, part, metadata={"labels": json.dumps(classifier.labels, ensure_ascii=False)})


def draw_golden(classifier: Classifier) -> list[np.ndarray]:
    """The golden waveforms for a model, each (samples,), int16, at its rate."""
    waveforms = []
    for i, name in enumerate(SOUND_NAMES[:GOLDEN_SOUNDS]):
        # The last one is longer than a window, so that averaging over windows is checked too.
        duration_s = 1.0 + i if i + 1 < GOLDEN_SOUNDS else 1.25 * classifier.window / classifier.sample_rate
        waveform = synthesise(name, seed=i, duration_s=min(duration_s, 30.0), sample_rate=classifier.sample_rate)
        # Kept in 16 bits: a third of the size, and what is replayed is exactly what was measured.
        waveforms.append(np.round(np.clip(waveform, -1, 1) * FULL_SCALE).astype(np.int16))
    return waveforms


def read_golden(folder: str | Path) -> list[GoldenSound]:
    """The golden waveforms of a model directory.

    Raises:
        ModelError: it holds none, or they cannot be read.
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
    return [GoldenSound(tensors[f"waveform_{i}"], tensors[f"logits_{i}"]) for i in range(count)]


def verify_model(classifier: Classifier, place: str | Path) -> Verdict:
    """Replay the golden waveforms of a model directory, or those inside an exported file.

    Args:
        classifier: The model as loaded here.
        place: Its directory, or the file.

    Raises:
        ModelError: there are no golden waveforms, or they cannot be read.
    """
    network = classifier.network
    if not isinstance(network, OnnxNetwork):
        return compare_golden(classifier, read_golden(place))
    measure: Measure = "probabilities" if network.contract.precision == "int8" else "logits"
    return compare_golden(classifier, network.read_golden(), network.contract.tolerance, measure)


def compare_golden(
    classifier: Classifier, sounds: Sequence[GoldenSound], tolerance: float = TOLERANCE, measure: Measure = "logits"
) -> Verdict:
    """How far a model's answers to ``sounds`` lie from theirs."""
    differences = []
    for sound in sounds:
        answers = np.stack([compute_logits(classifier, sound.waveform()), sound.logits])
        if measure == "probabilities":
            answers = to_probabilities(answers, multi_label=classifier.multi_label)
        differences.append(float(np.abs(answers[0] - answers[1]).max()))
    return Verdict(differences, tolerance, measure)


def to_probabilities(logits: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """(rows, classes) -> the same shape."""
    rows = np.arange(len(logits))
    return average_windows(logits, rows, np.ones_like(rows), n_sounds=len(logits), multi_label=multi_label)


def compute_logits(classifier: Classifier, waveform: np.ndarray) -> np.ndarray:
    """Logits (classes,) of a waveform given to the model whole, however long it is."""
    if isinstance(classifier.network, OnnxNetwork):
        return classifier.network.run([waveform])[0]
    import torch

    from earmark.inference.torch_network import reach_torch

    network = reach_torch(classifier)
    with torch.inference_mode():
        inputs = network.extractor(waveform, sampling_rate=classifier.sample_rate, return_tensors="pt")
        outputs = network.model(**{key: value.to(network.device) for key, value in inputs.items()})
    return outputs.logits[0].float().cpu().numpy()
