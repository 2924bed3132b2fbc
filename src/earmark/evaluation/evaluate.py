"""A model asked about labelled clips: its answers, and the figures they make."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from earmark.data.waveforms import ClipWaveforms
from earmark.errors import ClipsError, ModelError
from earmark.evaluation.metrics import score_predictions
from earmark.inference.classifier import Classifier
from earmark.sound.decode import decode

PROBABILITY_PREFIX = "p:"
CLIPS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model said about clips.

    Args:
        table: One row a clip: ``path``, ``label`` (the truth), ``predicted``, ``score`` (the probability of what was
            predicted), what the clips table knows of folds, groups and times, and ``p:<class>`` for each class.
        labels: The classes, in the model's order.
    """

    table: pd.DataFrame
    labels: tuple[str, ...]

    def probabilities(self) -> np.ndarray:
        """(clips, classes)."""
        return self.table[[f"{PROBABILITY_PREFIX}{label}" for label in self.labels]].to_numpy()

    def measure(self, *, majority_label: str | None = None, seed: int = 0) -> dict[str, Any]:
        """The figures of `earmark.evaluation.metrics.score_predictions`, with intervals over groups where known."""
        position = {label: i for i, label in enumerate(self.labels)}
        truth = self.table["label"].map(position).to_numpy(dtype=int)
        groups = self.table["group"].to_numpy() if "group" in self.table else None
        return score_predictions(
            self.labels, truth, self.probabilities(), groups=groups, majority_label=majority_label, seed=seed
        )


def ask_model(
    classifier: Classifier,
    waveforms: ClipWaveforms,
    rows: np.ndarray,
    on_progress: Callable[[int, int], None] | None = None,
) -> Answers:
    """Ask a model about clips, exactly as `Classifier.classify` would answer for their files.

    Raises:
        ModelError: the clips have labels that the model does not know.
        ClipsError: the clips have several labels each.
    """
    if waveforms.clips.multi_label:
        raise ClipsError("Clips with several labels each can be read and shown, but not yet evaluated.")
    table = waveforms.clips.table.iloc[rows]
    unknown = sorted(set(table["label"]) - set(classifier.labels))
    if unknown:
        raise ModelError(
            f"The clips have labels the model does not know ({', '.join(unknown[:5])}); "
            f"it knows {', '.join(classifier.labels[:12])}{'…' if len(classifier.labels) > 12 else ''}. "
            "Rename them in the CSV, or evaluate a model trained on them."
        )
    parts = []
    for begin in range(0, len(rows), CLIPS_AT_ONCE):
        chosen = rows[begin : begin + CLIPS_AT_ONCE]
        parts.append(classifier.score([waveforms.read(int(row)) for row in chosen]))
        if on_progress is not None:
            on_progress(begin + len(chosen), len(rows))
    probabilities = np.concatenate(parts)
    best = probabilities.argmax(1)
    known = [name for name in ("path", "label", "start_s", "end_s", "fold", "group") if name in table]
    answers = table[known].reset_index(drop=True)
    answers["predicted"] = [classifier.labels[i] for i in best]
    answers["score"] = probabilities.max(1)
    named = pd.DataFrame(probabilities, columns=[f"{PROBABILITY_PREFIX}{label}" for label in classifier.labels])
    return Answers(pd.concat([answers, named], axis=1), classifier.labels)


def load_sound(row: dict[str, Any]) -> tuple[np.ndarray, int]:
    """The sound of one row of answers at its own rate, for a page: (samples,), float32, and Hz."""
    start_s, end_s = row.get("start_s"), row.get("end_s")
    start_s = 0.0 if start_s is None or pd.isna(start_s) else float(start_s)
    duration_s = None if end_s is None or pd.isna(end_s) else float(end_s) - start_s
    return decode(row["path"], start_s=start_s, duration_s=duration_s)
