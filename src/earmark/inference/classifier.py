"""A model at work: sounds in, labels with probabilities out."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from earmark.errors import EarmarkError, ModelError
from earmark.inference.device import choose_device
from earmark.inference.prediction import Prediction
from earmark.models import EarmarkConfig  # this import makes our models known to the Auto classes, too
from earmark.models.hub import fetch_model, is_hub_id
from earmark.models.pretrained import SHORTEST_S, ignores_padding, load_quietly, longest_window, prepare_inputs
from earmark.sound.decode import decode, stream
from earmark.sound.resample import resample
from earmark.sound.windows import average_pieces, cut_pieces, group_by_length

Source = str | os.PathLike[str] | bytes | np.ndarray

WINDOWS_AT_ONCE = 16
FILES_AT_ONCE = 64
WHOLE_FILE_BYTES = 16 << 20  # larger files are read block by block


@dataclass(frozen=True)
class FileAnswer:
    """What became of one file: its prediction, or the reason why there is none."""

    path: str
    prediction: Prediction | None
    reason: str = ""


class Classifier:
    """Any audio-classification model of Transformers, ours or not, on any sound.

    Sounds of any rate are resampled to the model's; longer ones than it hears at once are cut into consecutive
    windows, whose probabilities are averaged by how much sound each holds.

    Args:
        model: A model whose forward gives ``logits``.
        extractor: Its feature extractor.
        device: Where to run; chosen by itself if not given.

    Example:
        >>> classifier = Classifier.from_pretrained("runs/latest/model")   # doctest: +SKIP
        >>> classifier.classify("dog.ogg")                                 # doctest: +SKIP
        [{'label': 'Dog bark', 'score': 0.98}, {'label': 'Rooster', 'score': 0.01}]
    """

    def __init__(self, model: Any, extractor: Any, device: str | torch.device | None = None) -> None:
        self.device = torch.device(device) if device is not None else choose_device()
        self.model = model.to(self.device).eval()
        self.extractor = extractor
        self.sample_rate: int = extractor.sampling_rate
        self.labels: tuple[str, ...] = tuple(model.config.id2label[i] for i in range(model.config.num_labels))
        # A native model trained by us says how long its windows were; ours always does.
        self.window: int = getattr(model.config, "window", None) or longest_window(extractor)
        ours = model.config.model_type == EarmarkConfig.model_type
        self.shortest = 1 if ours else round(SHORTEST_S * self.sample_rate)
        self.ignores_padding = ours or ignores_padding(model.config, extractor)
        self.multi_label = model.config.problem_type == "multi_label_classification"

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], device: str | None = None) -> "Classifier":
        """Load a model directory (or the run that holds one), or a model of the Hugging Face Hub by its id.

        Raises:
            ModelError: nothing there, not an audio-classification model, or the Hub cannot be reached.
        """
        from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

        place = find_model(name)
        try:
            with load_quietly():
                model, loading = AutoModelForAudioClassification.from_pretrained(
                    place,
                    output_loading_info=True,
                    dtype=torch.float32,  # some are stored in half precision, which takes no sound as it comes
                )
                extractor = AutoFeatureExtractor.from_pretrained(place)
        except EarmarkError:
            raise
        except Exception as error:  # a damaged directory or an unknown id fails in many ways, all the user's to mend
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelError(f"{name} cannot be loaded as an audio-classification model: {reason}") from error
        if loading["missing_keys"]:
            raise ModelError(
                f"{name} holds no trained classifier (its weights lack {sorted(loading['missing_keys'])[0]}); "
                "fine-tune it first, or give a model that was."
            )
        if not Path(name).exists():
            model.name_or_path = str(name)  # the Hub's name for it, not that of the folder in the cache
        return cls(model, extractor, device)

    def classify(
        self, source: Source | list[Source], *, sample_rate: int | None = None, top_k: int | None = None
    ) -> Any:
        """Labels with probabilities, highest first, for one sound, or a list of them for several.

        Args:
            source: A path, the bytes of a file, or a waveform (samples,) at ``sample_rate``; or a list of these.
            sample_rate: Rate of waveforms, Hz; the model's own if not given.
            top_k: How many labels; all if not given.

        Raises:
            SoundError: a file that cannot be read.

        Returns:
            ``[{"label": str, "score": float}, …]``, or a list of such lists.
        """
        if isinstance(source, list):
            waveforms = [self._load(item, sample_rate) for item in source]
            return [self.name_scores(row, top_k) for row in self.score(waveforms)]
        return self.name_scores(self.score([self._load(source, sample_rate)])[0], top_k)

    def classify_files(self, paths: Iterable[str], *, top_k: int | None = None) -> Iterator[FileAnswer]:
        """Answer file by file, in order, in bounded memory; a file that cannot be read becomes an answer with a reason.

        Files are decoded by other threads while the model is at work.
        """
        remaining = iter(paths)
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            following = [pool.submit(self._try_load, path) for path in islice(remaining, FILES_AT_ONCE)]
            while following:
                loaded = [future.result() for future in following]
                following = [pool.submit(self._try_load, path) for path in islice(remaining, FILES_AT_ONCE)]
                heard = [waveform for _, waveform, _ in loaded if waveform is not None]
                scores = iter(self.score(heard))
                for path, waveform, reason in loaded:
                    if waveform is not None:
                        yield FileAnswer(path, self.name_scores(next(scores), top_k))
                    else:
                        yield self._answer_long(path, top_k) if not reason else FileAnswer(path, None, reason)

    def name_scores(self, probabilities: np.ndarray, top_k: int | None = None) -> Prediction:
        """(classes,) -> ``[{"label", "score"}, …]``, highest first."""
        order = np.argsort(-probabilities, kind="stable")[:top_k]
        return Prediction({"label": self.labels[i], "score": float(probabilities[i])} for i in order)

    @torch.inference_mode()
    def score(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities (clips, classes) of waveforms at the model's sample rate, whatever their lengths."""
        pieces = [(clip, *span) for clip, wave in enumerate(waveforms) for span in cut_pieces(len(wave), self.window)]
        lengths = np.array([stop - start for _, start, stop in pieces], dtype=np.int64)
        scores = np.zeros((len(pieces), len(self.labels)))
        limit = WINDOWS_AT_ONCE * self.window
        for chosen in group_by_length(
            np.maximum(lengths, self.shortest),
            max_items=WINDOWS_AT_ONCE,
            max_samples=limit,
            only_equal=not self.ignores_padding,
        ):
            spans = [pieces[i] for i in chosen]
            scores[chosen] = self._score_batch([waveforms[clip][start:stop] for clip, start, stop in spans])
        owners = np.array([clip for clip, _, _ in pieces], dtype=np.int64)
        answers = np.zeros((len(waveforms), len(self.labels)))
        for clip in range(len(waveforms)):
            mine = owners == clip
            answers[clip] = average_pieces(scores[mine], lengths[mine])
        return answers

    def _score_batch(self, waveforms: list[np.ndarray]) -> np.ndarray:
        inputs = prepare_inputs(self.extractor, waveforms, sample_rate=self.sample_rate, shortest=self.shortest)
        logits = self.model(**{key: value.to(self.device) for key, value in inputs.items()}).logits.float()
        return (logits.sigmoid() if self.multi_label else logits.softmax(-1)).cpu().numpy()

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

    def _try_load(self, path: str) -> tuple[str, np.ndarray | None, str]:
        """(path, waveform, reason); neither waveform nor reason for a file so long that it is read in blocks later."""
        try:
            if os.path.isfile(path) and os.path.getsize(path) > WHOLE_FILE_BYTES:
                return path, None, ""
            return path, self._load(path, None), ""
        except EarmarkError as error:
            return path, None, str(error)

    def _answer_long(self, path: str, top_k: int | None) -> FileAnswer:
        scores, lengths = [], []
        try:
            # Blocks of whole windows: the same windows as if the file had been read at once.
            for block in stream(
                path, sample_rate=self.sample_rate, block_s=WINDOWS_AT_ONCE * self.window / self.sample_rate
            ):
                scores.append(self.score([block])[0])
                lengths.append(len(block))
        except EarmarkError as error:
            return FileAnswer(path, None, str(error))
        return FileAnswer(path, self.name_scores(average_pieces(np.array(scores), np.array(lengths)), top_k))


def find_model(name: str | os.PathLike[str]) -> str:
    """The model directory ``name`` means: itself, the ``model`` inside a run, or what the Hub has by that id.

    Raises:
        ModelError: a folder without a model, a path that does not exist, or a Hub that does not give the model out.
    """
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
