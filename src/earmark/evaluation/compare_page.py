"""The page of a comparison: figures with their intervals, what changed class by class, and the clips to listen to."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from earmark.data.clips import split_labels
from earmark.evaluation.compare_figures import draw_class_differences, draw_differences, draw_scores
from earmark.evaluation.metrics import SCORE_NAMES
from earmark.evaluation.paired_tests import word_p_value
from earmark.evaluation.report_clips import Card, LoadSound, make_card
from earmark.files import write_text_whole

if TYPE_CHECKING:
    from earmark.evaluation.evaluate import Answers

CLIPS_SHOWN = 12

Row = dict[str, Any]


class Disagreements(NamedTuple):
    """Clips of which the runs say different things, and how many there are of each kind; the surest first."""

    n_gained: int
    gained: list[Row]
    """The first run is wrong and another right; with several labels a clip: another is nearer to the truth."""
    n_lost: int
    lost: list[Row]
    """The other way round."""


def write_comparison(
    path: str | os.PathLike[str],
    comparison: dict[str, Any],
    answers: Sequence[Answers],
    load_sound: LoadSound,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the page, whole or not at all.

    Args:
        path: The page; one file that opens from disk and asks nothing of any network.
        comparison: What `earmark.compare` knows; see `earmark.training.comparison.Comparison`.
        answers: Of each run, about the same clips in the same order.
        load_sound: Takes a row of the answers as a dict and gives (waveform: (samples,) float32 mono, sample rate in
            Hz). A SoundError that it raises is shown in the sound's place.
        on_progress: Called with (sounds drawn, sounds to draw).

    Returns:
        The path.
    """
    return write_text_whole(path, render_comparison(comparison, answers, load_sound, on_progress))


def render_comparison(
    comparison: dict[str, Any],
    answers: Sequence[Answers],
    load_sound: LoadSound,
    on_progress: Callable[[int, int], None] | None = None,
) -> str:
    """The page of `write_comparison` as a string."""
    from markupsafe import Markup

    from earmark.pages.layout import render_page

    primary, names = comparison["primary"], [run["name"] for run in comparison["runs"]]
    measure = "average precision" if comparison["multi_label"] else "F1"
    found = find_disagreements(names, answers)
    shown = [*found.gained, *found.lost]
    cards: list[Card] = []
    for row in shown:
        cards.append(make_card(row, load_sound, with_waveform=False))
        if on_progress is not None:
            on_progress(len(cards), len(shown))
    changes = [difference for difference in comparison["differences"] if difference["verdict"] != "same"]
    return render_page(
        "compare.html.j2",
        title=_name_all(names),
        version=comparison["earmark"],
        comparison=comparison,
        primary=primary,
        scores=SCORE_NAMES[primary],
        measure=measure,
        names=names,
        others=names[1] if len(names) == 2 else "another run",
        scores_picture=Markup(draw_scores(comparison["runs"], primary)),
        differences_picture=Markup(draw_differences(comparison["differences"], primary)),
        class_pictures=[Markup(draw_class_differences(difference, measure)) for difference in changes],
        found=found,
        gained=cards[: len(found.gained)],
        lost=cards[len(found.gained) :],
        word_p_value=word_p_value,
    )


def find_disagreements(names: Sequence[str], answers: Sequence[Answers]) -> Disagreements:
    """The clips of which the first run and another say different things, one of the two being right, or nearer to it.

    Of each kind half of what a page shows, or more where the other kind has fewer. Where a clip was asked about several
    times (seeds), the first answer counts.

    Args:
        names: What the runs are called.
        answers: Of each, about the same clips in the same order.

    Returns:
        The clips as dicts: the first run's row, and ``says``: for each run ``name``, ``predicted``, ``score``,
        ``right``.

    Example:
        >>> import pandas as pd
        >>> from earmark.evaluation.evaluate import Answers
        >>> clips = {"path": ["1.wav", "2.wav"], "label": ["dog", "cat"], "score": 0.9, "clip": [0, 1]}
        >>> tables = [pd.DataFrame(clips | {"predicted": guess}) for guess in ("dog", "cat")]
        >>> found = find_disagreements(["A", "B"], [Answers(table, ("cat", "dog")) for table in tables])
        >>> found.n_gained, found.gained[0]["path"], found.n_lost, found.lost[0]["path"]
        (1, '2.wav', 1, '1.wav')
    """
    multi_label = answers[0].multi_label
    tables = [one.table.drop_duplicates("clip").to_dict("records") for one in answers]
    gained: list[Row] = []
    lost: list[Row] = []
    for rows in zip(*tables, strict=True):
        says = [_judge(name, row, multi_label=multi_label) for name, row in zip(names, rows, strict=True)]
        gain = _weigh(says, multi_label=multi_label)
        if gain:
            row = {str(key): value for key, value in rows[0].items()}
            labels = split_labels(row["label"], multi_label=multi_label)
            (gained if gain > 0 else lost).append({**row, "says": says, "labels": labels, "gain": abs(gain)})
    for rows in (gained, lost):
        rows.sort(key=lambda row: -row["gain"])
    half = CLIPS_SHOWN // 2
    n_gained = min(len(gained), max(half, CLIPS_SHOWN - len(lost)))
    return Disagreements(len(gained), gained[:n_gained], len(lost), lost[: CLIPS_SHOWN - n_gained])


def _judge(name: str, row: Row, *, multi_label: bool) -> Row:
    """What a run says of a clip, and how far it is from the truth: the distance of its probabilities, added up."""
    truth = set(split_labels(row["label"], multi_label=multi_label))
    named = set(split_labels(row["predicted"], multi_label=multi_label)) - {""}
    error = 0.0
    if multi_label:
        from earmark.evaluation.evaluate import PROBABILITY_PREFIX

        probabilities = {
            str(key).removeprefix(PROBABILITY_PREFIX): value
            for key, value in row.items()
            if str(key).startswith(PROBABILITY_PREFIX)
        }
        error = sum(abs((label in truth) - value) for label, value in probabilities.items())
    return {
        "name": name,
        "predicted": sorted(named),
        "score": row["score"],
        "right": named == truth,
        "error": error,
    }


def _weigh(says: list[Row], *, multi_label: bool) -> float:
    """How much another run gains on the first, or loses if below 0; 0 where they do not disagree."""
    first, others = says[0], [other for other in says[1:] if other["predicted"] != says[0]["predicted"]]
    if multi_label:
        return max((first["error"] - other["error"] for other in others), key=abs, default=0.0)
    # The surer both are, the more there is to learn.
    gains = [
        (other["right"] - first["right"]) * (first["score"] + other["score"])
        for other in others
        if other["right"] != first["right"]
    ]
    return max(gains, key=abs, default=0.0)


def _name_all(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) <= 4 else f"{names[0]} and {len(names) - 1} others"
