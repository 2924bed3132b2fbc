"""From logits to an answer: windows averaged, thresholds kept, silence and what nothing clears called unknown.

NumPy only, so that whatever runs a model decides alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

UNKNOWN = "unknown"
CONFIG_KEY = "earmark_decision"
QUIETEST_DB = -90.0  # about the last bit of 16; `earmark.sound.level.measure_level_db` gives -100 for digital silence


@dataclass(frozen=True, eq=False)
class WindowLogits:
    """What a model said of some sounds, window by window.

    Args:
        logits: (windows, classes).
        owners: (windows,), the sound that each belongs to.
        lengths: (windows,), samples of sound in each.
        n_sounds: How many sounds there are.
        multi_label: Classes stand on their own.
    """

    logits: np.ndarray
    owners: np.ndarray
    lengths: np.ndarray
    n_sounds: int
    multi_label: bool

    def average(self, temperature: float = 1.0) -> np.ndarray:
        """Probabilities (sounds, classes), with the logits divided by ``temperature`` first."""
        scaled = self.logits / temperature
        return average_windows(scaled, self.owners, self.lengths, n_sounds=self.n_sounds, multi_label=self.multi_label)


@dataclass(frozen=True)
class Decision:
    """When a model's scores are an answer; kept in its ``config.json`` as ``earmark_decision``.

    Args:
        thresholds: What the class with the highest score must reach to be the answer; a class that is missing always
            is. Where a sound may have several labels, what each must reach.
        silence_db: A sound whose loudest frame lies below is silence, dB of full scale.
        temperature: By what the logits were divided when the model was saved, for the record: its last layer has it
            inside. ``None`` if nothing was fitted.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    silence_db: float = QUIETEST_DB
    temperature: float | None = None

    @classmethod
    def from_config(cls, config: Any) -> "Decision":
        """What a model's configuration says; of a model without a word on it, that nothing but silence is unknown.

        Example:
            >>> Decision.from_config(object()).silence_db
            -90.0
        """
        kept = getattr(config, CONFIG_KEY, None) or {}
        return cls(**{entry.name: kept[entry.name] for entry in fields(cls) if entry.name in kept})

    def to_config(self) -> dict[str, Any]:
        """The value of ``earmark_decision``, ready for JSON."""
        return asdict(self) | {"thresholds": dict(self.thresholds)}

    def accepts(
        self, labels: Sequence[str], probabilities: np.ndarray, levels_db: np.ndarray, *, multi_label: bool = False
    ) -> np.ndarray:
        """Which sounds have an answer among ``labels``; the others are unknown.

        Args:
            labels: Class names.
            probabilities: (sounds, classes).
            levels_db: (sounds,), the loudest frame of each, dB of full scale.
            multi_label: Any label that reaches its threshold is an answer, not only the first.

        Returns:
            (sounds,), bool.

        Example:
            >>> decision = Decision({"dog": 0.8, "rain": 0.5})
            >>> scores = np.array([[0.7, 0.3], [0.3, 0.7], [0.3, 0.7]])
            >>> decision.accepts(("dog", "rain"), scores, np.array([-20.0, -20.0, -100.0])).tolist()
            [False, True, False]
        """
        needed = np.array([self.thresholds.get(label, 0.0) for label in labels])
        clears = probabilities >= needed
        heard = np.asarray(levels_db) >= self.silence_db
        if multi_label:
            return heard & clears.any(1)
        return heard & clears[np.arange(len(probabilities)), probabilities.argmax(1)]


def average_windows(
    logits: np.ndarray, owners: np.ndarray, lengths: np.ndarray, *, n_sounds: int, multi_label: bool = False
) -> np.ndarray:
    """Logits of windows -> probabilities of sounds: the mean over a sound's windows, each counting as long as it lasts.

    Args:
        logits: (windows, classes).
        owners: (windows,), the sound that each belongs to; each has one at least.
        lengths: (windows,), samples of sound in each.
        n_sounds: How many sounds there are.
        multi_label: Sigmoids instead of a softmax.

    Returns:
        (sounds, classes), float64.

    Example:
        >>> logits = np.log([[0.5, 0.5], [0.9, 0.1]])
        >>> average_windows(logits, np.array([0, 0]), np.array([3, 1]), n_sounds=1).round(3).tolist()
        [[0.6, 0.4]]
    """
    exact = np.asarray(logits, dtype=np.float64)
    if multi_label:
        with np.errstate(over="ignore"):  # what overflows is as good as zero
            probabilities = 1 / (1 + np.exp(-exact))
    else:
        probabilities = np.exp(exact - exact.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
    weights = lengths / np.bincount(owners, lengths, n_sounds)[owners]
    answers = np.zeros((n_sounds, exact.shape[1]))
    np.add.at(answers, owners, probabilities * weights[:, None])
    return answers
