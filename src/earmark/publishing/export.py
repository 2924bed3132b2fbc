"""A model as one file for other runtimes: exported, compared with torch, and only then there."""

import importlib.util
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from earmark.errors import ModelError
from earmark.files import replace_whole
from earmark.inference.classifier import Classifier, find_model
from earmark.inference.golden import (
    GOLDEN_FILE,
    TOLERANCE,
    compute_logits,
    draw_golden,
    read_golden,
    to_probabilities,
    verify_model,
)
from earmark.inference.onnx_contract import (
    GoldenSound,
    OnnxContract,
    Precision,
    pack_golden,
)
from earmark.inference.onnx_network import SUFFIX, OnnxNetwork, is_onnx
from earmark.inference.torch_network import TorchNetwork, reach_torch
from earmark.models.pictures import ColouredPicture
from earmark.models.pretrained import load_quietly
from earmark.publishing.graph import draw_graph
from earmark.publishing.quantise import quantise
from earmark.sound.synthesis import SOUND_NAMES, synthesise

if TYPE_CHECKING:
    from onnx import ModelProto

PROBABILITY_TOLERANCE = 1e-4
COLOURED_FACTOR = 10  # of 256 colours a rounding can choose the next; all else is continuous
INT8_TOLERANCE = 0.1  # probabilities; eight bits round every weight to a 127th of the largest
LONGEST_CHECK_S = 5.0


@dataclass(frozen=True)
class Export:
    """An exported file and how it compares with the model in torch.

    Args:
        path: The file.
        sounds: How many sounds were compared: the golden waveforms, and others in batches.
        agreeing: Of how many the answer is the same: the highest class, or where there may be several, the set of them.
        logits_apart: The largest difference between logits.
        probabilities_apart: The largest difference between probabilities.
    """

    path: Path
    sounds: int
    agreeing: int
    logits_apart: float
    probabilities_apart: float


def export(model: str | os.PathLike[str], out: str | os.PathLike[str] | None = None, *, int8: bool = False) -> Export:
    """Write a model as one ONNX file: waveforms in, probabilities out, with its front end inside.

    `Classifier.from_pretrained` and the command line take the file as they take the model, and need no torch for it.
    Labels, sample rate and whatever else an answer needs are in its metadata, with the golden waveforms. It is compared
    with torch on these and on batches of several lengths; where it differs, no file is left.

    Args:
        model: A model directory, a run, or a Hub id.
        out: The file, ``….onnx``; ``NAME.onnx`` in the present folder if not given.
        int8: Round weights to 8 bits: a quarter of the size. Transformers and multilayer perceptrons round what flows
            through them as they go; in convolutional networks its ranges are measured on synthetic sounds beforehand.

    Raises:
        ModelError: no such model, one that cannot be exported, an exported file that differs, a package that is
            missing; the message says which.

    Example:
        >>> import earmark
        >>> earmark.export("runs/latest").path   # doctest: +SKIP
        PosixPath('20260101-120000-cnn.onnx')
    """
    _check_packages()
    target = _choose_target(model, out, int8=int8)
    folder = find_model(model)
    if is_onnx(folder):
        raise ModelError(f"{model} is exported already; give the model that it was exported from.")
    classifier = Classifier.from_pretrained(folder, device="cpu")
    golden = _recall_golden(classifier, folder)
    network = reach_torch(classifier)
    precision: Precision = "int8" if int8 else "float32"
    with _quietly():
        proto = draw_graph(network, str(model))
        if int8:
            proto = quantise(proto, network)
    contract = OnnxContract(
        model=target.stem,
        labels=network.labels,
        sample_rate=network.sample_rate,
        window=network.window,
        shortest=network.shortest,
        ignores_padding=network.ignores_padding,
        multi_label=network.multi_label,
        decision=network.decision,
        precision=precision,
        tolerance=INT8_TOLERANCE if int8 else TOLERANCE * _widen(network),
        golden=pack_golden(golden),
    )
    with replace_whole(target) as part:
        _write(proto, contract, part)
        return _check(network, golden, part, target)


def _check_packages() -> None:
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f'Exporting needs {", ".join(missing)}; run `pip install "earmark[onnx]"`.')


def _choose_target(model: str | os.PathLike[str], out: str | os.PathLike[str] | None, *, int8: bool) -> Path:
    if out is not None:
        if not is_onnx(out):
            raise ModelError(f"{out} does not end in {SUFFIX}, by which exported files are known; name it so.")
        return Path(out)
    place = Path(model).expanduser().resolve()
    name = place.parent.name if place.name == "model" else place.name
    return Path(f"{name}{'-int8' if int8 else ''}{SUFFIX}")


def _recall_golden(classifier: Classifier, folder: str) -> list[GoldenSound]:
    """The model's golden waveforms, or those it would have got, with what torch says of them here."""
    if (Path(folder) / GOLDEN_FILE).is_file():
        if not verify_model(classifier, folder).holds:
            raise ModelError(
                f"The model in {folder} does not give the answers it gave when it was saved, so it was not exported; "
                "copy it again from where it came from, or train it again."
            )
        waveforms = [sound.samples for sound in read_golden(folder)]
    else:
        waveforms = draw_golden(classifier)
    sounds = [GoldenSound(samples, np.empty(0)) for samples in waveforms]
    return [sound._replace(logits=compute_logits(classifier, sound.waveform())) for sound in sounds]


@contextmanager
def _quietly() -> Iterator[None]:
    """Not a word from the libraries on what they fold, rename and skip."""
    import logging

    before = {name: logging.getLogger(name).level for name in ("torch.onnx", "onnxscript", "onnx_ir", "root")}
    with load_quietly(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in before:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)


def _write(proto: "ModelProto", contract: OnnxContract, path: Path) -> None:
    import onnx

    # What the exporter notes of each node names the files and folders of this machine.
    for entry in [*proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.initializer, proto.graph]:
        del entry.metadata_props[:]
        entry.doc_string = ""
    del proto.graph.value_info[:]
    onnx.helper.set_model_props(proto, contract.to_metadata())
    proto.producer_name, proto.producer_version = "earmark", contract.to_metadata()["earmark_version"]
    onnx.save_model(proto, path)


def _check(network: TorchNetwork, golden: list[GoldenSound], part: Path, target: Path) -> Export:
    """How the file ``part`` compares with torch.

    Raises:
        ModelError: its answers are others.
    """
    exported = OnnxNetwork(part)
    pairs = [(sound.logits[None], exported.run([sound.waveform()])) for sound in golden]
    pairs += [(network.run(batch), exported.run(batch)) for batch in _draw_batches(network)]
    logits = np.stack([np.concatenate(side) for side in zip(*pairs, strict=True)])
    probabilities = np.stack([to_probabilities(side, multi_label=network.multi_label) for side in logits])
    answers = probabilities > 0.5 if network.multi_label else probabilities.argmax(-1)[..., None]
    export = Export(
        target,
        sounds=logits.shape[1],
        agreeing=int((answers[0] == answers[1]).all(-1).sum()),
        logits_apart=float(np.abs(logits[0] - logits[1]).max()),
        probabilities_apart=float(np.abs(probabilities[0] - probabilities[1]).max()),
    )
    if exported.contract.precision == "int8":
        limits = {"probabilities": (export.probabilities_apart, INT8_TOLERANCE)}
    else:
        limits = {
            "logits": (export.logits_apart, exported.contract.tolerance),
            "probabilities": (export.probabilities_apart, PROBABILITY_TOLERANCE * _widen(network)),
        }
    for measure, (apart, allowed) in limits.items():
        if not apart <= allowed:  # NaN is no agreement
            raise ModelError(
                f"What was exported answers differently from the model in torch ({measure} up to {apart:.2g} apart, "
                f"{allowed:g} allowed), so {target} was not written; "
                + ("export without int8." if exported.contract.precision == "int8" else "use the model itself.")
            )
    return export


def _widen(network: TorchNetwork) -> int:
    """How many times as far as usual a sound's answers may lie apart."""
    backbone = getattr(network.model, "backbone", None)
    return COLOURED_FACTOR if isinstance(getattr(backbone, "picture", None), ColouredPicture) else 1


def _draw_batches(network: TorchNetwork) -> list[list[np.ndarray]]:
    """Batches of several sizes, of sounds of several lengths where the network takes such together."""
    longest = min(network.window, round(LONGEST_CHECK_S * network.sample_rate))
    # Many, since a graph may fit the length it was drawn with and be wrong for one of another remainder.
    alone = [longest, network.shortest, *(max(network.shortest, longest // part) for part in (2, 5, 7))]
    lengths = [*([length] for length in alone), [longest // 3] * 2, [longest] * 3]
    if network.ignores_padding:
        lengths += [[longest, longest // 3, longest // 2 + 1], [network.shortest, longest]]
    takes = iter(range(100))
    return [[_draw_sound(next(takes), length, network.sample_rate) for length in batch] for batch in lengths]


def _draw_sound(take: int, length: int, sample_rate: int) -> np.ndarray:
    duration_s = max(length / sample_rate, 0.5)
    name = SOUND_NAMES[take % len(SOUND_NAMES)]
    return synthesise(name, seed=take, duration_s=duration_s, sample_rate=sample_rate)[:length]
