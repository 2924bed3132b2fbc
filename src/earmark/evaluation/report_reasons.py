"""What spoke for the wrong answer, for the mistakes that a report shows, where the model is at hand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from earmark.inference.classifier import Classifier
    from earmark.inference.explanation import Explanation

ExplainMistake = Callable[[dict[str, Any], "NDArray[np.floating]", int], "Explanation | None"]


def explain_mistakes(classifier: Classifier, *, most: int | None = None) -> ExplainMistake:
    """What `write_report` asks about the mistakes it shows.

    Args:
        classifier: The model whose mistakes they are.
        most: How many are explained, of those asked about first; all if not given.

    Returns:
        A function of a row of the predictions, its waveform (samples,) and the sample rate in Hz, which gives the
        explanation of the wrong label: what was predicted, or of several labels the wrong one with the highest
        probability. ``None`` where labels were only missed, so that nothing wrong was said, and after the ``most``.
    """
    from earmark.inference.explanation import explain
    from earmark.sound.resample import resample

    left = count() if most is None else iter(range(most))

    def explain_mistake(row: dict[str, Any], waveform: NDArray[np.floating], sample_rate: int) -> Explanation | None:
        label = next(iter(row["added"]), None) if "added" in row else row["predicted"]
        heard = resample(waveform, sample_rate, classifier.sample_rate)
        if label is None or not len(heard) or next(left, None) is None:
            return None
        try:
            return explain(classifier, heard, label)
        except RuntimeError:  # torch's own, such as no memory left: the report of a long training is not lost to that
            return None

    return explain_mistake
