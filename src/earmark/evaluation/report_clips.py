"""The clips that a report lets people hear: an example of each class, and what the model got most wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from earmark.data.clips import split_labels
from earmark.errors import SoundError
from earmark.evaluation.multi_label import THRESHOLD

if TYPE_CHECKING:
    import numpy as np
    from markupsafe import Markup
    from numpy.typing import NDArray

    from earmark.evaluation.report_reasons import ExplainMistake
    from earmark.pages.player import PlayableSound

Row = dict[str, Any]
LoadSound = Callable[[Row], "tuple[NDArray[np.floating], int]"]

MISTAKES = 12
EXPLAINED_S = 60.0  # of a mistake; only the first seconds can be heard
EXAMPLES = 20  # at most: with more classes the page would grow beyond what a mail or a browser likes


class Card(NamedTuple):
    """A clip as the page shows it."""

    row: Row
    name: str
    place: str
    sound: PlayableSound | None
    waveform: Markup | None
    spectrogram: Markup | None
    fault: str | None
    reason: str | None = None
    """What spoke for the wrong answer, where the spectrogram shows it."""


class Choice(NamedTuple):
    """The rows of the predictions that the page shows."""

    n_mistakes: int
    mistakes: list[Row]
    """The worst of them, the worst first."""
    examples: list[Row]
    """One a class, in the order of the classes."""


def choose_clips(rows: list[Row], per_class: list[Row]) -> Choice:
    """Of clips with one label each: the surest mistakes, and for each class the surest right answer, else the first.

    Args:
        rows: The predictions: ``label``, ``predicted`` and ``score``.
        per_class: The rows of `score_predictions`; of many classes, those that did worst have an example.
    """
    surest: dict[str, Row] = {}
    for row in rows:
        best = surest.setdefault(row["label"], row)
        if row["predicted"] == row["label"] and (best["predicted"] != best["label"] or row["score"] > best["score"]):
            surest[row["label"]] = row
    shown = _find_worst(per_class, surest.keys(), "f1")
    mistakes = sorted((row for row in rows if row["label"] != row["predicted"]), key=lambda row: -row["score"])
    return Choice(len(mistakes), mistakes[:MISTAKES], [surest[label] for label in shown])


def choose_multi_label_clips(rows: list[Row], per_class: list[Row]) -> Choice:
    """Of clips with several labels each: the largest errors, and for each class the clip of it with the highest score.

    A clip's error is the sum, over the labels it was wrong about, of how far the probability is from the truth.

    Args:
        rows: The predictions: ``label`` and the probabilities.
        per_class: The rows of `score_multi_label`; of many classes, those that did worst have an example.

    Returns:
        Rows that say more: ``labels``, ``named``, ``missed`` and ``added`` (label -> probability, the worst first),
        and of an example ``example_of`` and ``example_score``.
    """
    labels = [row["label"] for row in per_class]
    judged = [_judge(row, labels) for row in rows]
    surest: dict[str, Row] = {}
    for row in judged:
        for label in row["labels"]:
            score = row["probabilities"][label]
            if label not in surest or score > surest[label]["example_score"]:
                surest[label] = {**row, "example_of": label, "example_score": score}
    shown = _find_worst(per_class, surest.keys(), "average_precision")
    mistakes = sorted((row for row in judged if row["missed"] or row["added"]), key=lambda row: -row["error"])
    return Choice(len(mistakes), mistakes[:MISTAKES], [surest[label] for label in shown])


def make_card(
    row: Row, load_sound: LoadSound, *, with_waveform: bool, explain_mistake: ExplainMistake | None = None
) -> Card:
    """A row of the predictions with its sound and its pictures; a sound that cannot be read says why in their place.

    Where a mistake can be explained, the spectrogram is in colour where something spoke for it.
    """
    from markupsafe import Markup

    from earmark.pages.figure import to_svg
    from earmark.pages.player import cut, encode_sound
    from earmark.sound.figures import draw_mel_spectrogram, draw_waveform
    from earmark.sound.heat import plot_heat

    name = Path(str(row["path"])).name
    place = _name_place(row.get("start_s"), row.get("end_s"))
    try:
        waveform, sample_rate = load_sound(row)
        explained = cut(waveform, sample_rate, EXPLAINED_S)
        explanation = explain_mistake(row, explained, sample_rate) if explain_mistake else None
        if explanation is not None:
            heated = Markup(to_svg(*plot_heat(explained, sample_rate, explanation.heat)))
            sound = encode_sound(waveform, sample_rate)
            return Card(row, name, place, sound, None, heated, None, explanation.sentence)
        shown = cut(waveform, sample_rate)
        spectrogram = Markup(draw_mel_spectrogram(shown, sample_rate))
        envelope = Markup(draw_waveform(shown, sample_rate)) if with_waveform else None
    except SoundError as error:
        return Card(row, name, place, None, None, None, str(error))
    return Card(row, name, place, encode_sound(waveform, sample_rate), envelope, spectrogram, None)


def _find_worst(per_class: list[Row], known: Any, figure: str) -> list[str]:
    """The classes to show, in their own order."""
    worst_first = sorted((row for row in per_class if row["label"] in known), key=lambda row: row[figure])
    chosen = {row["label"] for row in worst_first[:EXAMPLES]}
    return [row["label"] for row in per_class if row["label"] in chosen]


def _judge(row: Row, labels: list[str]) -> Row:
    from earmark.evaluation.evaluate import PROBABILITY_PREFIX

    probabilities = {label: row[f"{PROBABILITY_PREFIX}{label}"] for label in labels}
    truth = split_labels(row["label"], multi_label=True)
    named = [label for label in labels if probabilities[label] >= THRESHOLD]
    missed = sorted((label for label in truth if label not in named), key=lambda label: probabilities[label])
    added = sorted((label for label in named if label not in truth), key=lambda label: -probabilities[label])
    return row | {
        "probabilities": probabilities,
        "labels": truth,
        "named": named,
        "missed": {label: probabilities[label] for label in missed},
        "added": {label: probabilities[label] for label in added},
        "error": sum(1 - probabilities[label] for label in missed) + sum(probabilities[label] for label in added),
    }


def _name_place(start_s: float | None, end_s: float | None) -> str:
    known = [value is not None and math.isfinite(value) for value in (start_s, end_s)]
    if not any(known):
        return ""
    start = f"{start_s:g}" if known[0] else "0"
    return f"{start}–{end_s:g} s" if known[1] else f"from {start} s"
