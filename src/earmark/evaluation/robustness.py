"""How a model does when its clips come badly: through telephones, codecs and overload, in noise and in rooms."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from earmark.cores import count_cores
from earmark.data.waveforms import ClipWaveforms
from earmark.evaluation.evaluate import PROBABILITY_PREFIX, Answers
from earmark.inference.classifier import Classifier
from earmark.sound.conditions import Condition, list_conditions

CLIPS_AT_ONCE = 32  # held in memory, changed


def measure_robustness(
    classifier: Classifier,
    waveforms: ClipWaveforms,
    answers: Answers,
    *,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Ask a model again about the clips of ``answers``, once under each of `list_conditions`.

    The clips are changed at the model's own rate. What is drawn, noise and rooms, depends on ``seed`` and the clip
    alone: 10 dB of noise is that of 20 dB, louder.

    Args:
        classifier: The model.
        waveforms: The clips' sounds, at its rate, in the order of ``answers``.
        answers: What it said of the clips as they are.
        seed: Of noise, rooms and bootstrap.
        on_progress: Called with (clips asked about, of all under all conditions).

    Returns:
        A dict a condition, ready for JSON: ``condition``, ``strength`` and ``accuracy`` (``map`` where clips may have
        several labels) with ``low`` and ``high``, its 95 % interval, over groups where there are any. Each kind of
        condition runs from mild to harsh.
    """
    n_clips = len(waveforms)
    conditions = list_conditions(classifier.sample_rate)
    columns = [f"{PROBABILITY_PREFIX}{label}" for label in answers.labels]
    results = []
    for number, condition in enumerate(conditions):

        def advance(done: int, before: int = number * n_clips) -> None:
            if on_progress is not None:
                on_progress(before + done, len(conditions) * n_clips)

        table = answers.table.copy()
        table[columns] = _ask(classifier, waveforms, condition, seed, advance)
        metrics = Answers(table, answers.labels, answers.multi_label).measure(seed=seed)
        figure = metrics[metrics["primary"]]
        results.append(
            {
                "condition": condition.name,
                "strength": condition.strength,
                metrics["primary"]: figure["value"],
                "low": figure["low"],
                "high": figure["high"],
            }
        )
    return results


def _ask(
    classifier: Classifier,
    waveforms: ClipWaveforms,
    condition: Condition,
    seed: int,
    advance: Callable[[int], None],
) -> np.ndarray:
    """(clips, classes): the probabilities under one condition; codecs are at work in other threads."""

    def change(row: int) -> np.ndarray:
        return condition.change(waveforms.read(row), classifier.sample_rate, np.random.default_rng((seed, row)))

    parts = []
    with ThreadPoolExecutor(max_workers=min(4, count_cores())) as pool:
        for begin in range(0, len(waveforms), CLIPS_AT_ONCE):
            chosen = range(begin, min(begin + CLIPS_AT_ONCE, len(waveforms)))
            parts.append(classifier.score(list(pool.map(change, chosen))))
            advance(chosen.stop)
    return np.concatenate(parts)
