"""Why a model answered as it did: which parts of a sound spoke for a label, and whether that bears a test."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.errors import ModelError
from earmark.inference.class_activation import map_activation
from earmark.inference.classifier import Classifier
from earmark.inference.occlusion import BANDS, Patches, average_over_patches, map_occlusion, score_hidden
from earmark.inference.torch_network import reach_torch
from earmark.models import EarmarkForAudioClassification
from earmark.pages.layout import NARROW_SPACE, percent
from earmark.sound.heat import HeatMap

SHARE = 0.1  # of the patches, hidden for the test
DRAWS = 8  # of as many others, to compare with
CLEARLY = 0.02  # by how much hiding what is marked must lower the score more than hiding other parts


@dataclass(frozen=True)
class Fidelity:
    """What became of the score when parts were hidden.

    Args:
        marked: The score with the tenth of the sound hidden that is marked strongest.
        elsewhere: With as much hidden elsewhere: the mean over random draws.
        holds: Whether hiding what is marked lowers the score clearly more than hiding as much elsewhere.
        sentence: All of that in words.
    """

    marked: float
    elsewhere: float
    holds: bool
    sentence: str


@dataclass(frozen=True, eq=False)
class Explanation:
    """What spoke for a label.

    Args:
        label: The label.
        score: Its probability, 0 to 1.
        heat: What spoke for it, over bands and time; one band of all frequencies where only time was examined.
        method: ``"class activation"`` or ``"occlusion"``.
        fidelity: The test of it; ``None`` for a sound too short to hide parts of.
    """

    label: str
    score: float
    heat: HeatMap
    method: str
    fidelity: Fidelity | None

    @property
    def sentence(self) -> str:
        """What a reader must know beside the picture."""
        how = {
            "class activation": f"In colour: where the network found “{self.label}”.",
            "occlusion": f"In colour: what “{self.label}” hangs on, part by part.",
        }[self.method]
        how = how if self.heat.values.any() else f"No part alone spoke for “{self.label}”."
        return f"{how} {self.fidelity.sentence}" if self.fidelity else how


def explain(classifier: Classifier, waveform: NDArray[np.floating], label: str | None = None) -> Explanation:
    """Which parts of a sound spoke for a label.

    A convolutional network on log-mel bands shows it in its last feature map (`map_activation`). Of any other model
    parts of the sound are hidden, one after the other (`map_occlusion`): patches of time and frequency for models with
    a front end of ours, stretches of time for all others. Either map is then put to the test: the parts that it marks
    are hidden, and as many others.

    Args:
        classifier: Any.
        waveform: (samples,), float32, mono, at the classifier's ``sample_rate``.
        label: The label to be explained; the most probable one if not given.

    Raises:
        ModelError: the model does not know the label, or the waveform is not one row of finite samples.

    Example:
        >>> explanation = explain(classifier, waveform)                 # doctest: +SKIP
        >>> explanation.label, explanation.heat.highest()               # doctest: +SKIP
        ('Dog bark', (1.62, 840.0))
    """
    if waveform.ndim != 1 or waveform.size == 0 or not np.isfinite(waveform).all():
        raise ModelError(f"Only one row of finite samples can be explained; this waveform has shape {waveform.shape}.")
    waveform = np.ascontiguousarray(waveform, dtype=np.float32)
    scores = classifier.score([waveform])[0]
    index = int(scores.argmax()) if label is None else _find_label(classifier, label)
    score = float(scores[index])
    ours = isinstance(reach_torch(classifier).model, EarmarkForAudioClassification)
    patches = Patches(waveform, classifier.sample_rate, bands=BANDS if ours else 1)
    heat, method = map_activation(classifier, waveform, index), "class activation"
    if heat is None:
        heat, method = map_occlusion(classifier, patches, index, score), "occlusion"
    fidelity = _test(classifier, patches, heat, index, score)
    return Explanation(classifier.labels[index], score, heat, method, fidelity)


def _find_label(classifier: Classifier, label: str) -> int:
    if label not in classifier.labels:
        known = ", ".join(classifier.labels[:12]) + ("…" if len(classifier.labels) > 12 else "")
        raise ModelError(f"The model does not know {label!r}, so it cannot be explained; it knows {known}.")
    return classifier.labels.index(label)


def _test(classifier: Classifier, patches: Patches, heat: HeatMap, index: int, score: float) -> Fidelity | None:
    """Hide what is marked strongest, and as much elsewhere."""
    count = patches.shape[0] * patches.shape[1]
    n_hidden = max(1, round(SHARE * count))
    if count < 2 * n_hidden or not heat.values.any():
        return None
    order = np.argsort(-average_over_patches(heat, patches), axis=None, kind="stable")
    random = np.random.default_rng(0)
    chosen = [order[:n_hidden], *(random.choice(order[n_hidden:], n_hidden, replace=False) for _ in range(DRAWS))]
    masks = np.zeros((len(chosen), count), dtype=bool)
    for mask, hidden in zip(masks, chosen, strict=True):
        mask[hidden] = True
    scores = score_hidden(classifier, patches, masks.reshape(-1, *patches.shape), index)
    marked, elsewhere = float(scores[0]), float(scores[1:].mean())
    holds = min(elsewhere, score) - marked > CLEARLY
    return Fidelity(marked, elsewhere, holds, _say(score, marked, elsewhere, holds=holds))


def _say(score: float, marked: float, elsewhere: float, *, holds: bool) -> str:
    before, without, other = (f"{percent(share)}{NARROW_SPACE}%" for share in (score, marked, elsewhere))
    if holds:
        return (
            f"With the tenth marked strongest hidden, the score goes from {before} to {without}; "
            f"with as much hidden elsewhere, to {other}."
        )
    return (
        f"Do not lean on this map: the score is {before}, with the tenth marked strongest hidden {without}, "
        f"with as much hidden elsewhere {other}."
    )
