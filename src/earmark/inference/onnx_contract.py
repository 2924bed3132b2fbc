"""What an exported file says about itself: everything but the graph that an answer needs, in its metadata."""

import base64
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from earmark import __version__
from earmark.errors import ModelError
from earmark.inference.decision import Decision

FORMAT = "1"  # of the metadata; changed when what was written can no longer be read
FULL_SCALE = 32767  # golden waveforms are kept in 16 bits
WAVEFORM, LENGTHS, PROBABILITIES, LOGITS = "waveform", "lengths", "probabilities", "logits"

Precision = Literal["float32", "int8"]


class GoldenSound(NamedTuple):
    """A waveform in 16 bits, (samples,), and the logits, (classes,), that the model in torch gave it."""

    samples: np.ndarray
    logits: np.ndarray

    def waveform(self) -> np.ndarray:
        """(samples,), float32."""
        return self.samples.astype(np.float32) / FULL_SCALE


@dataclass(frozen=True)
class OnnxContract:
    """The metadata of an exported file.

    Args:
        model: What was exported, for people.
        labels: Class names, in the order of the logits.
        sample_rate: Hz.
        window: Samples the network hears at once.
        shortest: Samples; a shorter waveform is filled up with zeros to this.
        ignores_padding: Waveforms of several lengths may share a batch.
        multi_label: Classes stand on their own.
        decision: When its scores are an answer.
        precision: Of the weights.
        tolerance: How far its answers to the golden waveforms may lie from torch's: logits, or probabilities for int8.
        golden: The golden waveforms packed by `pack_golden`.
    """

    model: str
    labels: tuple[str, ...]
    sample_rate: int
    window: int
    shortest: int
    ignores_padding: bool
    multi_label: bool
    decision: Decision
    precision: Precision
    tolerance: float
    golden: str

    def to_metadata(self) -> dict[str, str]:
        """Key and value of each entry of ``metadata_props``; those that are no plain text are JSON."""
        entries = {
            "labels": list(self.labels),
            "sample_rate": self.sample_rate,
            "window": self.window,
            "shortest": self.shortest,
            "ignores_padding": self.ignores_padding,
            "multi_label": self.multi_label,
            "decision": self.decision.to_config(),
            "tolerance": self.tolerance,
        }
        texts = {key: json.dumps(value, ensure_ascii=False) for key, value in entries.items()}
        versions = {"earmark_format": FORMAT, "earmark_version": __version__}
        return versions | {"model": self.model, "precision": self.precision, **texts, "golden": self.golden}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], name: str) -> "OnnxContract":
        """What the metadata of the file ``name`` says.

        Raises:
            ModelError: no file of ours, one of another format, or a damaged one; the message says which.

        Example:
            >>> OnnxContract.from_metadata({}, "other.onnx")
            Traceback (most recent call last):
            earmark.errors.ModelError: other.onnx was not written by `earmark export` (its metadata has no \
earmark_format); export the model with it.
        """
        if "earmark_format" not in metadata:
            raise ModelError(
                f"{name} was not written by `earmark export` (its metadata has no earmark_format); export the model "
                "with it."
            )
        if metadata["earmark_format"] != FORMAT:
            raise ModelError(
                f"{name} has format {metadata['earmark_format']}, and this Earmark ({__version__}) reads {FORMAT}; "
                "export the model again with the Earmark you use."
            )
        try:
            return cls._read(metadata)
        except (KeyError, ValueError, TypeError) as error:
            reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
            raise ModelError(f"{name} has damaged metadata ({reason}); export the model again.") from error

    @classmethod
    def _read(cls, metadata: Mapping[str, str]) -> "OnnxContract":
        labels = json.loads(metadata["labels"])
        sizes = {key: json.loads(metadata[key]) for key in ("sample_rate", "window", "shortest")}
        wrong = [key for key, size in sizes.items() if type(size) is not int or size < 1]
        if wrong:
            raise ValueError(f"{wrong[0]} is {sizes[wrong[0]]!r}, no number of samples")
        if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
            raise ValueError("labels is no list of names")
        if metadata["precision"] not in ("float32", "int8"):
            raise ValueError(f"precision is {metadata['precision']!r}")
        return cls(
            model=metadata["model"],
            labels=tuple(labels),
            **sizes,
            ignores_padding=bool(json.loads(metadata["ignores_padding"])),
            multi_label=bool(json.loads(metadata["multi_label"])),
            decision=Decision(**json.loads(metadata["decision"])),
            precision="int8" if metadata["precision"] == "int8" else "float32",
            tolerance=float(json.loads(metadata["tolerance"])),
            golden=metadata["golden"],
        )


def pack_golden(sounds: Sequence[GoldenSound]) -> str:
    """Golden sounds as text: a compressed ``.npz`` in base 64.

    Example:
        >>> sound = GoldenSound(np.arange(3, dtype=np.int16), np.zeros(2, np.float32))
        >>> unpack_golden(pack_golden([sound]))[0].samples.tolist()
        [0, 1, 2]
    """
    arrays = {f"waveform_{i}": sound.samples for i, sound in enumerate(sounds)}
    arrays |= {f"logits_{i}": sound.logits for i, sound in enumerate(sounds)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def unpack_golden(text: str) -> list[GoldenSound]:
    """What `pack_golden` packed.

    Raises:
        ValueError: it is damaged.
    """
    try:
        with np.load(io.BytesIO(base64.b64decode(text, validate=True)), allow_pickle=False) as arrays:
            count = sum(name.startswith("waveform_") for name in arrays)
            return [GoldenSound(arrays[f"waveform_{i}"], arrays[f"logits_{i}"]) for i in range(count)]
    except (
        KeyError,
        ValueError,
        EOFError,
        zipfile.BadZipFile,
    ) as error:  # NumPy's words are on pickles that it refuses
        raise ValueError("the golden waveforms cannot be read") from error
