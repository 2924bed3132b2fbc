"""The report of a run: ``report.json`` for programs and ``report.html`` for people, with the sounds it got wrong."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.evaluation.fold_table import tabulate_folds
from earmark.evaluation.metrics import SCORE_NAMES, list_weakest_first
from earmark.evaluation.report_clips import LoadSound, choose_clips, choose_multi_label_clips, make_card
from earmark.files import write_text_whole

if TYPE_CHECKING:
    from pandas import DataFrame

    from earmark.evaluation.report_reasons import ExplainMistake

LEFT_OUT_SHOWN = 200


def write_report(
    directory: str | os.PathLike[str],
    report: dict[str, Any],
    predictions: DataFrame,
    load_sound: LoadSound,
    on_progress: Callable[[int, int], None] | None = None,
    explain_mistake: ExplainMistake | None = None,
) -> Path:
    """Write ``report.json`` and ``report.html`` into ``directory``, each whole or not at all.

    Args:
        directory: Made if need be.
        report: What the run knows of itself, ready for JSON: ``title``, ``kind`` (``"train"``, ``"evaluate"`` or
            ``"crossval"``), ``created``, ``earmark``, ``protocol``, ``notes``, ``data``, ``recipe``, ``model``,
            ``seed``, ``timing``, ``versions``, ``commit``, ``metrics`` (of `score_predictions` or
            `score_multi_label`), ``history``, ``chosen_epoch``, and for a cross-validation ``folds`` (rows of ``fold``,
            ``clips``, ``macro_f1`` and the primary score), ``fold_histories``, ``fold_mean`` and, of several seeds,
            ``seeds``. Only ``title`` and ``metrics`` must be there.
        predictions: A row a clip of the test set, the table of `Answers`: ``path``, ``label`` (the truth),
            ``predicted``, ``score`` (the probability of the prediction), where known ``start_s`` and ``end_s``, and
            where a clip may have several labels the probability of each.
        load_sound: Takes a row of ``predictions`` as a dict and gives (waveform: (samples,) float32 mono, sample rate
            in Hz). A SoundError that it raises is shown in the sound's place.
        on_progress: Called with (sounds drawn, sounds to draw).
        explain_mistake: Of `explain_mistakes`; without it the mistakes are shown and not explained.

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
    # Both are made before either is written, and the one that marks a run as finished last.
    html = render_report(report, predictions, load_sound, on_progress, explain_mistake)
    text = json.dumps(_finite(report), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    page = write_text_whole(directory / "report.html", html)
    write_text_whole(directory / "report.json", text)
    return page


def render_report(
    report: dict[str, Any],
    predictions: DataFrame,
    load_sound: LoadSound,
    on_progress: Callable[[int, int], None] | None = None,
    explain_mistake: ExplainMistake | None = None,
) -> str:
    """The page of `write_report` as a string."""
    from markupsafe import Markup

    from earmark.evaluation.reliability_figure import draw_reliability
    from earmark.evaluation.report_figures import draw_answers, draw_fold_curves, draw_learning_curves
    from earmark.evaluation.robustness_figure import draw_robustness
    from earmark.pages.layout import render_page

    metrics = report["metrics"]
    multi_label = metrics["primary"] == "map"
    rows = [{str(column): value for column, value in row.items()} for row in predictions.to_dict("records")]
    if seeds := report.get("seeds"):
        # A clip is heard once, with what the models of the first seed made of it.
        rows = [row for row in rows if row["seed"] == seeds[0]["seed"]]
    choice = (choose_multi_label_clips if multi_label else choose_clips)(rows, metrics["per_class"])
    history, chosen_epoch = report.get("history") or [], report.get("chosen_epoch")
    if histories := report.get("fold_histories"):
        curves = draw_fold_curves([entry["history"] for entry in histories], multi_label=multi_label)
    else:
        curves = draw_learning_curves(history, chosen_epoch=chosen_epoch, multi_label=multi_label)
    data = report.get("data") or {}
    shown = [*choice.mistakes, *choice.examples]
    cards = []
    for done, row in enumerate(shown, start=1):
        wrong = done <= len(choice.mistakes)
        reasons = explain_mistake if wrong else None
        cards.append(make_card(row, load_sound, with_waveform=not wrong, explain_mistake=reasons))
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
        reliability=Markup(draw_reliability(report["calibration"])) if report.get("calibration") else "",
        robustness=[Markup(panel) for panel in draw_robustness(report.get("robustness") or [], metrics)],
        labels=[row["label"] for row in metrics["per_class"]],
        folds=_Gaps(_tell_folds(report)),
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


def _tell_folds(report: dict[str, Any]) -> dict[str, Any]:
    if not report.get("folds"):
        return {}
    table = tabulate_folds(report["folds"], report["metrics"]["primary"], report.get("seeds"))
    return {**table, "spread": report.get("fold_mean"), "seeds": [row["seed"] for row in report.get("seeds") or []]}


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
