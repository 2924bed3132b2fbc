"""The report of a run: ``report.json`` for programs and ``report.html`` for people, with the sounds it got wrong."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.evaluation.metrics import SCORE_NAMES, list_weakest_first
from earmark.evaluation.report_clips import LoadSound, choose_clips, choose_multi_label_clips, make_card
from earmark.files import write_text_whole

if TYPE_CHECKING:
    from pandas import DataFrame

LEFT_OUT_SHOWN = 200


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
            ``seed``, ``timing``, ``versions``, ``commit``, ``metrics`` (of `score_predictions` or
            `score_multi_label`), ``history``, ``chosen_epoch``, and ``folds`` for a cross-validation (rows of ``fold``,
            ``clips``, ``macro_f1`` and the primary score). Only ``title`` and ``metrics`` must be there.
        predictions: A row a clip of the test set, the table of `Answers`: ``path``, ``label`` (the truth),
            ``predicted``, ``score`` (the probability of the prediction), where known ``start_s`` and ``end_s``, and
            where a clip may have several labels the probability of each.
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

    from earmark.evaluation.report_figures import draw_answers, draw_learning_curves
    from earmark.pages.layout import render_page

    metrics = report["metrics"]
    multi_label = metrics["primary"] == "map"
    rows = [{str(column): value for column, value in row.items()} for row in predictions.to_dict("records")]
    choice = (choose_multi_label_clips if multi_label else choose_clips)(rows, metrics["per_class"])
    history, chosen_epoch = report.get("history") or [], report.get("chosen_epoch")
    curves = draw_learning_curves(history, chosen_epoch=chosen_epoch, multi_label=multi_label)
    data = report.get("data") or {}
    shown = [*choice.mistakes, *choice.examples]
    cards = []
    for done, row in enumerate(shown, start=1):
        cards.append(make_card(row, load_sound, with_waveform=done > len(choice.mistakes)))
        if on_progress is not None:
            on_progress(done, len(shown))
    return render_page(
        "multi_label_report.html.j2" if multi_label else "report.html.j2",
        title=report["title"],
        version=report.get("earmark", ""),
        report=_Gaps(report),
        data=_Gaps(data),
        metrics=metrics,
        scores=SCORE_NAMES[metrics["primary"]],
        weakest_first=list_weakest_first(metrics),
        confusion=Markup(draw_answers(metrics)),
        curves=[Markup(curve) for curve in curves],
        labels=[row["label"] for row in metrics["per_class"]],
        folds=_Gaps(_summarise_folds(report.get("folds") or [], metrics["primary"])),
        n_mistakes=choice.n_mistakes,
        mistakes=cards[: len(choice.mistakes)],
        examples=cards[len(choice.mistakes) :],
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


def _summarise_folds(folds: list[dict[str, Any]], primary: str) -> dict[str, Any]:
    if not folds:
        return {}
    from statistics import fmean, stdev

    columns = {key: [fold[key] for fold in folds] for key in (primary, "macro_f1")}
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
