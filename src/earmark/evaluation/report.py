"""The report of a run: ``report.json`` for programs and ``report.html`` for people, with the sounds it got wrong."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from earmark.errors import SoundError
from earmark.files import write_text_whole

if TYPE_CHECKING:
    import numpy as np
    from markupsafe import Markup
    from numpy.typing import NDArray
    from pandas import DataFrame

    from earmark.pages.player import PlayableSound

LoadSound = Callable[[dict[str, Any]], "tuple[NDArray[np.floating], int]"]

MISTAKES = 12
EXAMPLES = 20  # at most: with more classes the page would grow beyond what a mail or a browser likes
LEFT_OUT_SHOWN = 200


class Card(NamedTuple):
    """A clip as the page shows it."""

    row: dict[str, Any]
    name: str
    place: str
    sound: PlayableSound | None
    waveform: Markup | None
    spectrogram: Markup | None
    fault: str | None


def write_report(
    directory: str | os.PathLike[str],
    report: dict[str, Any],
    predictions: DataFrame,
    load_sound: LoadSound,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write ``report.json`` and ``report.html`` into ``directory``, each whole or not at all.

    Args:
        directory: Made if need be.
        report: What the run knows of itself, ready for JSON: ``title``, ``kind`` (``"train"``, ``"evaluate"`` or
            ``"crossval"``), ``created``, ``earmark``, ``protocol``, ``notes``, ``data``, ``recipe``, ``model``,
            ``seed``, ``timing``, ``versions``, ``commit``, ``metrics`` (of `score_predictions`), ``history``,
            ``chosen_epoch``, and ``folds`` for a cross-validation. Only ``title`` and ``metrics`` must be there.
        predictions: A row a clip of the test set with ``path``, ``label`` (the truth), ``predicted``, ``score`` (the
            probability of the prediction), and where known ``start_s``, ``end_s``, ``fold``, ``group``.
        load_sound: Takes a row of ``predictions`` as a dict and gives (waveform: (samples,) float32 mono, sample rate
            in Hz). A SoundError that it raises is shown in the sound's place.
        on_progress: Called with (sounds drawn, sounds to draw).

    Returns:
        The path of ``report.html``: one file that opens from disk and asks nothing of any network.

    Example:
        >>> import tempfile, numpy as np, pandas as pd
        >>> from earmark.evaluation.metrics import score_predictions
        >>> scores = score_predictions(["dog", "rain"], np.array([0, 1]), np.array([[0.9, 0.1], [0.6, 0.4]]))
        >>> rows = {"path": ["a.wav", "b.wav"], "label": ["dog", "rain"], "predicted": "dog", "score": [0.9, 0.6]}
        >>> silence = lambda row: (np.zeros(8_000, dtype=np.float32), 8_000)
        >>> page = write_report(tempfile.mkdtemp(), {"title": "Two", "metrics": scores}, pd.DataFrame(rows), silence)
        >>> page.name, (page.parent / "report.json").exists()
        ('report.html', True)
    """
    directory = Path(directory)
    # Both are made before either is written: a fault leaves an older pair in place.
    html = render_report(report, predictions, load_sound, on_progress)
    text = json.dumps(_finite(report), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    write_text_whole(directory / "report.json", text)
    return write_text_whole(directory / "report.html", html)


def render_report(
    report: dict[str, Any],
    predictions: DataFrame,
    load_sound: LoadSound,
    on_progress: Callable[[int, int], None] | None = None,
) -> str:
    """The page of `write_report` as a string."""
    from markupsafe import Markup

    from earmark.evaluation.report_figures import draw_confusion_matrix, draw_learning_curves
    from earmark.pages.layout import render_page

    metrics = report["metrics"]
    labels = [row["label"] for row in metrics["per_class"]]
    history = report.get("history") or []
    curves = draw_learning_curves(history, chosen_epoch=report.get("chosen_epoch"))
    rows = [{str(column): value for column, value in row.items()} for row in predictions.to_dict("records")]
    mistakes = sorted((row for row in rows if row["label"] != row["predicted"]), key=lambda row: -row["score"])
    examples = _choose_examples(rows, metrics["per_class"])
    data = report.get("data") or {}
    shown = [*mistakes[:MISTAKES], *examples]
    cards = []
    for done, row in enumerate(shown, start=1):
        cards.append(_make_card(row, load_sound, with_waveform=done > len(shown) - len(examples)))
        if on_progress is not None:
            on_progress(done, len(shown))
    return render_page(
        "report.html.j2",
        title=report["title"],
        version=report.get("earmark", ""),
        report=_Gaps(report),
        data=_Gaps(data),
        metrics=metrics,
        weakest_first=sorted(metrics["per_class"], key=lambda row: row["f1"]),
        labels=labels,
        confusion=Markup(draw_confusion_matrix(labels, metrics["confusion"])),
        curves=[Markup(curve) for curve in curves],
        folds=_Gaps(_summarise_folds(report.get("folds") or [])),
        n_mistakes=len(mistakes),
        mistakes=cards[: len(cards) - len(examples)],
        examples=cards[len(cards) - len(examples) :],
        recipe=_write_recipe(report.get("recipe")),
        left_out=(data.get("left_out") or [])[:LEFT_OUT_SHOWN],
        n_left_out=len(data.get("left_out") or []),
    )


class _Gaps(dict):
    """A dict whose missing keys are None, for a template that asks before it shows."""

    def __missing__(self, key: str) -> None:
        return None


def _finite(value: Any) -> Any:
    """JSON has no word for infinity or NaN (the loss of a run that diverged): null stands for them."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _choose_examples(rows: list[dict[str, Any]], per_class: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A clip a class: the surest of the right ones, else the first; of many classes those that did worst."""
    surest: dict[str, dict[str, Any]] = {}
    for row in rows:
        best = surest.setdefault(row["label"], row)
        if row["predicted"] == row["label"] and (best["predicted"] != best["label"] or row["score"] > best["score"]):
            surest[row["label"]] = row
    worst_first = sorted((row for row in per_class if row["label"] in surest), key=lambda row: row["f1"])
    chosen = {row["label"] for row in worst_first[:EXAMPLES]}
    return [surest[row["label"]] for row in per_class if row["label"] in chosen]


def _make_card(row: dict[str, Any], load_sound: LoadSound, *, with_waveform: bool) -> Card:
    from markupsafe import Markup

    from earmark.pages.player import cut, encode_sound
    from earmark.sound.figures import draw_mel_spectrogram, draw_waveform

    name = Path(str(row["path"])).name
    place = _name_place(row.get("start_s"), row.get("end_s"))
    try:
        waveform, sample_rate = load_sound(row)
        shown = cut(waveform, sample_rate)
        spectrogram = Markup(draw_mel_spectrogram(shown, sample_rate))
        envelope = Markup(draw_waveform(shown, sample_rate)) if with_waveform else None
    except SoundError as error:
        return Card(row, name, place, None, None, None, str(error))
    return Card(row, name, place, encode_sound(waveform, sample_rate), envelope, spectrogram, None)


def _name_place(start_s: float | None, end_s: float | None) -> str:
    known = [value is not None and math.isfinite(value) for value in (start_s, end_s)]
    if not any(known):
        return ""
    start = f"{start_s:g}" if known[0] else "0"
    return f"{start}–{end_s:g} s" if known[1] else f"from {start} s"


def _summarise_folds(folds: list[dict[str, Any]]) -> dict[str, Any]:
    if not folds:
        return {}
    from statistics import fmean, stdev

    columns = {key: [fold[key] for fold in folds] for key in ("accuracy", "macro_f1")}
    return {
        "rows": folds,
        "mean": {key: fmean(values) for key, values in columns.items()},
        "spread": {key: stdev(values) if len(values) > 1 else 0.0 for key, values in columns.items()},
    }


def _write_recipe(recipe: dict[str, Any] | None) -> str:
    if not recipe:
        return ""
    import tomli_w

    # TOML has no null: what is None is left out, as in a recipe's own file.
    return tomli_w.dumps(_without_none(recipe))


def _without_none(table: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value is not None
    }
