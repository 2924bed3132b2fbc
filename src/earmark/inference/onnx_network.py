"""A model exported by `earmark export`, as a classifier asks it: in ONNX Runtime, without torch."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.errors import ModelError
from earmark.inference.onnx_contract import (
    LENGTHS,
    LOGITS,
    PROBABILITIES,
    WAVEFORM,
    GoldenSound,
    OnnxContract,
    unpack_golden,
)

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SUFFIX = ".onnx"


class OnnxNetwork:
    """An exported file, as `earmark.inference.classifier.Network`.

    ``OMP_NUM_THREADS`` says how many threads it uses, as it does for torch; all cores if it is not set.

    Args:
        path: The ``.onnx`` file.

    Raises:
        ModelError: ONNX Runtime is not installed, nothing there, a damaged file, or one of another origin.

    Example:
        >>> classifier = Classifier(OnnxNetwork("birds.onnx"))   # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.session = _open(self.path)
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.contract = contract = OnnxContract.from_metadata(metadata, str(path))
        self.takes_lengths = _check_graph(self.session, contract, str(path))
        self.sample_rate = contract.sample_rate
        self.labels = contract.labels
        self.window = contract.window
        self.shortest = contract.shortest
        self.ignores_padding = contract.ignores_padding
        self.multi_label = contract.multi_label
        self.decision = contract.decision

    def run(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Logits (windows, classes), float32, of waveforms at the model's rate."""
        lengths = np.maximum([len(waveform) for waveform in waveforms], self.shortest).astype(np.int64)
        batch = np.zeros((len(waveforms), lengths.max()), dtype=np.float32)
        for row, waveform in zip(batch, waveforms, strict=True):
            row[: len(waveform)] = waveform
        inputs = {WAVEFORM: batch, LENGTHS: lengths} if self.takes_lengths else {WAVEFORM: batch}
        return np.asarray(self.session.run([LOGITS], inputs)[0])

    def read_golden(self) -> list[GoldenSound]:
        """The golden waveforms in the file, with the logits that torch gave them.

        Raises:
            ModelError: they are damaged.
        """
        try:
            return unpack_golden(self.contract.golden)
        except ValueError as error:
            raise ModelError(f"{self.path} has damaged metadata ({error}); export the model again.") from error


def is_onnx(name: str | os.PathLike[str]) -> bool:
    """Whether ``name`` means an exported file.

    Example:
        >>> is_onnx("birds.onnx"), is_onnx("runs/latest")
        (True, False)
    """
    return Path(name).suffix.lower() == SUFFIX


def find_onnx(name: str | os.PathLike[str]) -> str:
    """The exported file ``name``.

    Raises:
        ModelError: it is not there.
    """
    if not Path(name).is_file():
        raise ModelError(f"There is no file {name}; `earmark export MODEL --out {Path(name).name}` writes one.")
    return str(name)


def _open(path: Path) -> "InferenceSession":
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(
            f'{path.name} is run by ONNX Runtime, which is not installed; run `pip install "earmark[onnx]"`, or '
            "`pip install onnxruntime`."
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its errors are raised; told twice, they would be told once too often
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit():
        options.intra_op_num_threads = int(threads)
    try:
        return onnxruntime.InferenceSession(find_onnx(path), options, providers=["CPUExecutionProvider"])
    except ModelError:
        raise
    except Exception as error:  # it has a class for every way in which a file can be bad
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"{path} cannot be opened by ONNX Runtime ({reason}); copy it again, or export the model again."
        ) from error


def _check_graph(session: "InferenceSession", contract: OnnxContract, name: str) -> bool:
    """See that the graph is the one that the metadata speaks of; whether it asks for lengths."""
    inputs: dict[str, Any] = {entry.name: entry.shape for entry in session.get_inputs()}
    outputs: dict[str, Any] = {entry.name: entry.shape for entry in session.get_outputs()}
    if not {WAVEFORM} <= inputs.keys() <= {WAVEFORM, LENGTHS} or not {PROBABILITIES, LOGITS} <= outputs.keys():
        raise ModelError(
            f"{name} takes {', '.join(inputs)} and gives {', '.join(outputs)}, not what `earmark export` writes; "
            "export the model again."
        )
    classes = outputs[LOGITS][-1]
    if classes != len(contract.labels):
        raise ModelError(
            f"{name} gives {classes} logits and names {len(contract.labels)} labels; export the model again."
        )
    return LENGTHS in inputs
