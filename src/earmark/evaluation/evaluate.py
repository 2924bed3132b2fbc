"""A model asked about labelled clips: its answers, and the figures they make."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from earmark.data.clips import LABEL_SEPARATOR, Clips, split_labels
from earmark.data.waveforms import ClipWaveforms
from earmark.errors import ModelError
from earmark.evaluation.metrics import score_predictions
from earmark.evaluation.multi_label import THRESHOLD, score_multi_label
from earmark.inference.classifier import Classifier
from earmark.sound.decode import decode
from earmark.sound.level import measure_level_db

PROBABILITY_PREFIX = "p:"
CLIPS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model said about clips.

    Args:
        table: One row a clip: ``path``, ``label`` (the truth), ``predicted``, ``score`` (the probability of what was
            predicted), what the clips table knows of folds, groups and times, and ``p:<class>`` for each class.
        labels: The classes, in the model's order.
        multi_label: A clip may have several labels: ``label`` and ``predicted`` hold them separated by ``;``.
            Predicted are all with a probability of at least 0.5, which may be none; ``score`` is the highest of all.
        uncalibrated: (clips, classes), the probabilities without the model's temperature, if it has one.
        levels_db: (clips,), the loudest frame of each clip, dB of full scale, if they were heard here.
    """

    table: pd.DataFrame
    labels: tuple[str, ...]
    multi_label: bool = False
    uncalibrated: np.ndarray | None = None
    levels_db: np.ndarray | None = None

    def probabilities(self) -> np.ndarray:
        """(clips, classes)."""
        return self.table[[f"{PROBABILITY_PREFIX}{label}" for label in self.labels]].to_numpy()

    def truth(self) -> np.ndarray:
        """(clips, classes), bool: the labels that the clips have."""
        position = {label: i for i, label in enumerate(self.labels)}
        truth = np.zeros((len(self.table), len(self.labels)), dtype=bool)
        for row, cell in enumerate(self.table["label"]):
            truth[row, [position[label] for label in split_labels(cell, multi_label=self.multi_label)]] = True
        return truth

    def measure(
        self, *, majority_label: str | None = None, prior: np.ndarray | None = None, seed: int = 0
    ) -> dict[str, Any]:
        """The figures of the answers, with intervals over groups where known.

        Args:
            majority_label: What a majority guess names; see `earmark.evaluation.metrics.score_predictions`.
            prior: (classes,), the class shares of the training clips where a clip may have several labels; see
                `earmark.evaluation.multi_label.score_multi_label`.
            seed: Of the bootstrap.
        """
        groups = self.table["group"].to_numpy() if "group" in self.table else None
        probabilities = self.probabilities()
        if self.multi_label:
            return score_multi_label(self.labels, self.truth(), probabilities, groups=groups, prior=prior, seed=seed)
        truth = self.truth().argmax(axis=1)
        return score_predictions(
            self.labels, truth, probabilities, groups=groups, majority_label=majority_label, seed=seed
        )


def ask_model(
    classifier: Classifier,
    waveforms: ClipWaveforms,
    rows: np.ndarray,
    on_progress: Callable[[int, int], None] | None = None,
) -> Answers:
    """Ask a model about clips, exactly as `Classifier.classify` would answer for their files.

    Raises:
        ModelError: the clips have labels that the model does not know, or several each where the model names one, or
            the other way round.
    """
    multi_label = waveforms.clips.multi_label
    table = waveforms.clips.table.iloc[rows]
    _check_question(classifier, table["label"], multi_label=multi_label)
    parts, uncalibrated, levels_db = [], [], []
    temperature = classifier.decision.temperature
    for begin in range(0, len(rows), CLIPS_AT_ONCE):
        chosen = rows[begin : begin + CLIPS_AT_ONCE]
        sounds = [waveforms.read(int(row)) for row in chosen]
        heard = classifier.hear(sounds)
        parts.append(heard.average())
        if temperature is not None:
            uncalibrated.append(heard.average(1 / temperature))
        levels_db += [measure_level_db(sound) for sound in sounds]
        if on_progress is not None:
            on_progress(begin + len(chosen), len(rows))
    probabilities = np.concatenate(parts)
    return Answers(
        arrange_answers(waveforms.clips, rows, probabilities, classifier.labels),
        classifier.labels,
        multi_label,
        np.concatenate(uncalibrated) if uncalibrated else None,
        np.array(levels_db),
    )


def arrange_answers(clips: Clips, rows: np.ndarray, probabilities: np.ndarray, labels: tuple[str, ...]) -> pd.DataFrame:
    """The table of `Answers` about some clips.

    Args:
        clips: The clips, with their truth.
        rows: (answers,), which of them were asked about.
        probabilities: (answers, classes).
        labels: The classes, in the model's order.
    """
    table = clips.table.iloc[rows]
    known = [name for name in ("path", "label", "start_s", "end_s", "fold", "group") if name in table]
    answers = table[known].reset_index(drop=True)
    answers["predicted"] = _name_predicted(probabilities, labels, multi_label=clips.multi_label)
    answers["score"] = probabilities.max(1)
    named = pd.DataFrame(probabilities, columns=[f"{PROBABILITY_PREFIX}{label}" for label in labels])
    return pd.concat([answers, named], axis=1)


def _check_question(classifier: Classifier, cells: Iterable[str], *, multi_label: bool) -> None:
    if multi_label and not classifier.multi_label:
        raise ModelError(
            "The clips have several labels each (a `labels` column), but this model names one label a clip; "
            "evaluate a model trained on such clips, or give each clip one in a `label` column."
        )
    if classifier.multi_label and not multi_label:
        raise ModelError(
            "This model says for each label whether a clip has it, but the clips name one label each; "
            "if a clip's other labels are truly absent, call the CSV's column `labels` instead of `label`."
        )
    asked = {label for cell in cells for label in split_labels(cell, multi_label=multi_label)}
    unknown = sorted(asked - set(classifier.labels))
    if unknown:
        raise ModelError(
            f"The clips have labels the model does not know ({', '.join(unknown[:5])}); "
            f"it knows {', '.join(classifier.labels[:12])}{'…' if len(classifier.labels) > 12 else ''}. "
            "Rename them in the CSV, or evaluate a model trained on them."
        )


def _name_predicted(probabilities: np.ndarray, labels: tuple[str, ...], *, multi_label: bool) -> list[str]:
    if not multi_label:
        return [labels[i] for i in probabilities.argmax(1)]
    return [LABEL_SEPARATOR.join(labels[i] for i in np.flatnonzero(row >= THRESHOLD)) for row in probabilities]


def load_sound(row: dict[str, Any]) -> tuple[np.ndarray, int]:
    """The sound of one row of answers at its own rate, for a page: (samples,), float32, and Hz."""
    start_s, end_s = row.get("start_s"), row.get("end_s")
    start_s = 0.0 if start_s is None or pd.isna(start_s) else float(start_s)
    duration_s = None if end_s is None or pd.isna(end_s) else float(end_s) - start_s
    return decode(row["path"], start_s=start_s, duration_s=duration_s)
