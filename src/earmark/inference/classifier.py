"""A model at work: sounds in, labels with probabilities out.

Whatever runs the network, torch or ONNX Runtime, is behind `Network`; nothing here imports either.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from earmark.cores import count_cores
from earmark.errors import EarmarkError, ModelError
from earmark.inference.decision import UNKNOWN, Decision, WindowLogits
from earmark.inference.loading import Decoders, Loading, load_files, stream_file
from earmark.inference.onnx_network import OnnxNetwork, find_onnx, is_onnx
from earmark.inference.prediction import Prediction
from earmark.sound.decode import decode
from earmark.sound.level import measure_level_db
from earmark.sound.resample import resample
from earmark.sound.windows import average_pieces, cut_pieces, group_by_length

Source = str | os.PathLike[str] | bytes | np.ndarray

WINDOWS_AT_ONCE = 16
FILES_AT_ONCE = 32


@dataclass(frozen=True)
class FileAnswer:
    """What became of one file: its prediction, or the reason why there is none."""

    path: str
    prediction: Prediction | None
    reason: str = ""


class Network(Protocol):
    """What a classifier asks for the logits of windows; it says what it takes.

    One that can be asked by several threads at once may offer ``side_by_side()``, a context that gives their number.

    Args:
        sample_rate: Hz, of all it hears.
        labels: Class names, in the order of the logits.
        window: Samples it hears at once, at most.
        shortest: Samples; shorter windows are filled up to this, so they weigh the same in a batch.
        ignores_padding: A window's logits do not depend on the longer windows beside it.
        multi_label: Classes stand on their own.
        decision: When its scores are an answer.
    """

    sample_rate: int
    labels: tuple[str, ...]
    window: int
    shortest: int
    ignores_padding: bool
    multi_label: bool
    decision: Decision

    def run(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Logits (windows, classes), float32, of waveforms of at most ``window`` samples."""
        ...


class Classifier:
    """Any audio-classification model of Transformers, ours or not, on any sound.

    Sounds of any rate are resampled to the model's; longer ones than it hears at once are cut into consecutive
    windows, whose probabilities are averaged by how much sound each holds.

    Args:
        network: What gives the logits of windows.

    Example:
        >>> classifier = Classifier.from_pretrained("runs/latest/model")   # doctest: +SKIP
        >>> classifier.classify("dog.ogg")                                 # doctest: +SKIP
        [{'label': 'Dog bark', 'score': 0.98}, {'label': 'Rooster', 'score': 0.01}]
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.sample_rate = network.sample_rate
        self.labels = network.labels
        self.window = network.window
        self.multi_label = network.multi_label
        self.decision = network.decision

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], device: str | None = None) -> "Classifier":
        """Load a model directory (or the run that holds one), an exported file, or a model of the Hub by its id.

        Args:
            name: Which; what ends in ``.onnx`` is a file of `earmark export`, and needs no torch.
            device: Where torch runs; chosen by itself if not given. Exported files run on the CPU.

        Raises:
            ModelError: nothing there, not an audio-classification model, or the Hub cannot be reached.
        """
        if is_onnx(name):
            return cls(OnnxNetwork(name))
        from earmark.inference.torch_network import TorchNetwork

        return cls(TorchNetwork.from_pretrained(name, device))

    def classify(
        self,
        source: Source | list[Source],
        *,
        sample_rate: int | None = None,
        top_k: int | None = None,
        reject: bool = False,
    ) -> Any:
        """Labels with probabilities, highest first, for one sound, or a list of them for several.

        Args:
            source: A path, the bytes of a file, or a waveform (samples,) at ``sample_rate``; or a list of these.
            sample_rate: Rate of waveforms, Hz; the model's own if not given.
            top_k: How many labels; all if not given.
            reject: Put ``"unknown"`` first where the sound is silence, or no class is sure enough; its score is what
                the highest class leaves to 1. The thresholds are the model's own, see `earmark.inference.decision`.

        Raises:
            SoundError: a file that cannot be read.

        Returns:
            ``[{"label": str, "score": float}, …]``, or a list of such lists.
        """
        if isinstance(source, list):
            return self._answer([self._load(item, sample_rate) for item in source], top_k, reject=reject)
        return self._answer([self._load(source, sample_rate)], top_k, reject=reject)[0]

    def classify_files(
        self, paths: Iterable[str], *, top_k: int | None = None, reject: bool = False
    ) -> Iterator[FileAnswer]:
        """Answer file by file, in order, in bounded memory; a file that cannot be read becomes an answer with a reason.

        Files are decoded ahead by other threads; on a processor, each core asks the network on its own.
        """
        remaining = iter(paths)
        cores = count_cores()
        first = list(islice(remaining, FILES_AT_ONCE * cores))
        size = -(-len(first) // cores)  # few files are shared out, too
        with ThreadPoolExecutor(cores) as decoders:
            groups = cut_groups(chain(first, remaining), max(1, size))
            for answers in self.answer_groups(groups, decoders, top_k=top_k, reject=reject, alone=len(first) < 2):
                yield from answers

    def answer_groups(
        self,
        groups: Iterable[list[str]],
        decoders: Decoders,
        *,
        top_k: int | None = None,
        reject: bool = False,
        alone: bool = False,
    ) -> Iterator[list[FileAnswer]]:
        """Answer groups of files, in order; the same groups get the same answers to the last bit.

        Args:
            groups: Paths of files that are asked about together.
            decoders: Who decodes them, ahead of the network; it is given `load_files`.
            top_k: See `classify`.
            reject: See `classify`.
            alone: There is but one group, which may have all cores.
        """
        with self._open_side_by_side(alone=alone) as lanes, ThreadPoolExecutor(lanes) as asking:
            waiting: deque[Future[list[FileAnswer]]] = deque()
            try:
                for paths in groups:
                    loading = decoders.submit(load_files, paths, self.sample_rate)
                    waiting.append(asking.submit(self._answer_group, loading, top_k, reject=reject))
                    if len(waiting) > 2 * lanes:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                asking.shutdown(wait=True, cancel_futures=True)

    def _open_side_by_side(self, *, alone: bool) -> AbstractContextManager[int]:
        """How many threads may ask the network at a time, and whatever it needs for that."""
        offered = getattr(self.network, "side_by_side", None)
        return nullcontext(1) if alone or offered is None else offered()

    def _answer_group(self, loading: Loading, top_k: int | None, *, reject: bool) -> list[FileAnswer]:
        loaded = loading.result()
        heard = [waveform for _, waveform, _ in loaded if waveform is not None]
        answers = iter(self._answer(heard, top_k, reject=reject))
        return [
            FileAnswer(path, next(answers))
            if waveform is not None
            else FileAnswer(path, None, reason)
            if reason
            else self._answer_long(path, top_k, reject=reject)
            for path, waveform, reason in loaded
        ]

    def name_scores(self, probabilities: np.ndarray, top_k: int | None = None) -> Prediction:
        """(classes,) -> ``[{"label", "score"}, …]``, highest first."""
        order = np.argsort(-probabilities, kind="stable")[:top_k]
        return Prediction({"label": self.labels[i], "score": float(probabilities[i])} for i in order)

    def score(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities (clips, classes) of waveforms at the model's sample rate, whatever their lengths."""
        return self.hear(waveforms).average()

    def hear(self, waveforms: Sequence[np.ndarray]) -> WindowLogits:
        """The logits of every window of waveforms at the model's sample rate, whatever their lengths."""
        pieces = [(clip, *span) for clip, wave in enumerate(waveforms) for span in cut_pieces(len(wave), self.window)]
        lengths = np.array([stop - start for _, start, stop in pieces], dtype=np.int64)
        logits = np.zeros((len(pieces), len(self.labels)), dtype=np.float32)
        limit = WINDOWS_AT_ONCE * self.window
        for chosen in group_by_length(
            np.maximum(lengths, self.network.shortest),
            max_items=WINDOWS_AT_ONCE,
            max_samples=limit,
            only_equal=not self.network.ignores_padding,
        ):
            spans = [pieces[i] for i in chosen]
            logits[chosen] = self.network.run([waveforms[clip][start:stop] for clip, start, stop in spans])
        owners = np.array([clip for clip, _, _ in pieces], dtype=np.int64)
        return WindowLogits(logits, owners, lengths, len(waveforms), self.multi_label)

    def _answer(self, waveforms: list[np.ndarray], top_k: int | None, *, reject: bool) -> list[Prediction]:
        scores = self.score(waveforms)
        if not reject:
            return [self.name_scores(row, top_k) for row in scores]
        levels_db = np.array([measure_level_db(waveform) for waveform in waveforms])
        return self.name_or_reject(scores, levels_db, top_k)

    def name_or_reject(self, scores: np.ndarray, levels_db: np.ndarray, top_k: int | None) -> list[Prediction]:
        """What `name_scores` says of each row, with unknown before it where nothing is sure enough."""
        accepted = self.decision.accepts(self.labels, scores, levels_db, multi_label=self.multi_label)
        named = []
        for row, known in zip(scores, accepted, strict=True):
            prediction = self.name_scores(row, top_k)
            if not known:
                unknown = {"label": UNKNOWN, "score": 1.0 - float(row.max())}
                prediction = Prediction([unknown, *prediction][:top_k])
                prediction.rejected = True
            named.append(prediction)
        return named

    def _load(self, source: Source, sample_rate: int | None) -> np.ndarray:
        if isinstance(source, np.ndarray):
            return self._resample(source, sample_rate)
        return decode(source, sample_rate=self.sample_rate)[0]

    def _resample(self, waveform: np.ndarray, sample_rate: int | None) -> np.ndarray:
        """A waveform (samples,) at the model's rate."""
        if waveform.ndim != 1 or waveform.size == 0:
            raise ModelError(f"A waveform must be one row of samples; this one has shape {waveform.shape}.")
        if not np.isfinite(waveform).all():
            raise ModelError("A waveform must be finite; this one holds NaN or infinity.")
        resampled = resample(waveform, sample_rate or self.sample_rate, self.sample_rate)
        if not len(resampled):
            raise ModelError(f"{len(waveform)} samples at {sample_rate} Hz are less than one at {self.sample_rate} Hz.")
        return resampled

    def _answer_long(self, path: str, top_k: int | None, *, reject: bool) -> FileAnswer:
        scores, lengths, levels_db = [], [], []
        try:
            # Blocks of whole windows: the same windows as if the file had been read at once.
            for block in stream_file(path, self.sample_rate, WINDOWS_AT_ONCE * self.window / self.sample_rate):
                scores.append(self.score([block])[0])
                lengths.append(len(block))
                levels_db.append(measure_level_db(block))
        except EarmarkError as error:
            return FileAnswer(path, None, str(error))
        average = average_pieces(np.array(scores), np.array(lengths))
        if reject:
            return FileAnswer(path, self.name_or_reject(average[None], np.array([max(levels_db)]), top_k)[0])
        return FileAnswer(path, self.name_scores(average, top_k))


def cut_groups(paths: Iterable[str], size: int) -> Iterator[list[str]]:
    """Consecutive groups of ``size``, and a shorter rest.

    Example:
        >>> list(cut_groups(["a", "b", "c"], 2))
        [['a', 'b'], ['c']]
    """
    remaining = iter(paths)
    while group := list(islice(remaining, size)):
        yield group


def find_model(name: str | os.PathLike[str]) -> str:
    """The model directory ``name`` means: itself, the ``model`` inside a run, or what the Hub has by that id.

    An exported file is what it is.

    Raises:
        ModelError: a folder without a model, a path that does not exist, or a Hub that does not give the model out.
    """
    if is_onnx(name):
        return find_onnx(name)
    from earmark.models.hub import fetch_model, is_hub_id

    path = Path(name)
    for candidate in (path, path / "model"):
        if (candidate / "config.json").is_file():
            return str(candidate)
    if path.is_dir():
        raise ModelError(f"{name} holds no model (no config.json); give a run of `earmark train` or a model directory.")
    if path.exists():
        raise ModelError(f"{name} is a file; give the directory that `earmark train` wrote, or a Hub id.")
    if not is_hub_id(str(name)):
        raise ModelError(f"There is no {name}; give the directory of a model, a run, or a Hub id such as owner/name.")
    return str(fetch_model(str(name)))
