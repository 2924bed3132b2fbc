"""What a tracker is told and shown: figures under the names people expect, pictures, tables, a few clips to hear."""

from __future__ import annotations

import io
import json
import warnings
import wave
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import SoundError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from pandas import DataFrame

EXAMPLES = 6
CLASSES_NAMED = 60  # in a caption; beyond, nobody reads them


@dataclass(frozen=True, eq=False)
class Example:
    """A test clip: its mel spectrogram, and at most ten seconds of its sound."""

    caption: str
    png: bytes
    waveform: NDArray[Any]
    """(samples,), float32, mono, in [-1, 1]."""
    sample_rate: int

    def to_pcm(self) -> NDArray[Any]:
        """(samples,), 16-bit."""
        return (self.waveform * 32767).round().astype("<i2")

    def to_wav(self) -> bytes:
        """A WAV file."""
        file = io.BytesIO()
        with wave.open(file, "wb") as sound:
            sound.setparams((1, 2, self.sample_rate, 0, "NONE", ""))
            sound.writeframes(self.to_pcm().tobytes())
        return file.getvalue()


@dataclass(frozen=True)
class Guesses:
    """Single-label answers as class numbers, for trackers that draw a confusion matrix of their own."""

    labels: list[str]
    truth: list[int]
    guess: list[int]


@dataclass(frozen=True)
class Exhibits:
    """What the end of a run has to show.

    Args:
        words: The protocol and what the intervals are.
        figures: ``test/accuracy``, ``test/accuracy_low``…
        matrix_name: ``test/confusion``, or ``test/found_and_missed`` where clips have several labels each.
        matrix: PNG.
        matrix_caption: How to read it.
        tables: Name -> rows.
        examples: The worst mistakes first, then clips that went right.
        guesses: Only where each clip has one label.
    """

    words: str
    figures: dict[str, float]
    matrix_name: str
    matrix: bytes
    matrix_caption: str
    tables: dict[str, list[dict[str, Any]]]
    examples: list[Example] = field(default_factory=list)
    guesses: Guesses | None = None


def name_epoch_figures(record: Mapping[str, Any]) -> dict[str, float]:
    """An epoch's record under the names that trackers group by.

    Args:
        record: ``epoch``, ``loss``, ``accuracy``, ``learning_rate``, ``validation_loss``…; ``fold`` where several
            models are trained under one title. What is ``None`` is left out.

    Example:
        >>> name_epoch_figures({"epoch": 1, "loss": 0.5, "validation_accuracy": 0.25, "learning_rate": None})
        {'train/loss': 0.5, 'validation/accuracy': 0.25}
        >>> name_epoch_figures({"epoch": 1, "fold": 2, "loss": 0.5})
        {'fold_2/train/loss': 0.5}
    """
    place = f"fold_{record['fold']}/" if "fold" in record else ""
    figures = {}
    for key, value in record.items():
        if key in ("epoch", "fold") or value is None:
            continue
        part, name = (
            ("validation", key.removeprefix("validation_")) if key.startswith("validation_") else ("train", key)
        )
        figures[f"{place}{part}/{name}"] = float(value)
    return figures


def flatten_recipe(tables: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """The tables of `earmark.training.recipe.to_tables` as one level: what ``--set`` would take, lists as JSON.

    Example:
        >>> flatten_recipe({"name": "quick", "train": {"epochs": 3}, "model": {"hidden": [16, 8]}})
        {'name': 'quick', 'train.epochs': 3, 'model.hidden': '[16, 8]'}
    """
    flat: dict[str, str | int | float | bool] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{inner}": kept for inner, kept in flatten_recipe(value).items()}
        elif isinstance(value, str | int | float | bool):
            flat[key] = value
        elif value is not None:
            flat[key] = json.dumps(value, ensure_ascii=False)
    return flat


def collect_exhibits(report: Mapping[str, Any], answers: DataFrame) -> Exhibits:
    """What a finished run has to show.

    Args:
        report: As `earmark.evaluation.report.write_report` takes it.
        answers: The table of `earmark.evaluation.evaluate.Answers`.
    """
    metrics = report["metrics"]
    multi_label = metrics.get("primary") == "map"
    rows = [{str(column): value for column, value in row.items()} for row in answers.to_dict("records")]
    figure, caption = _plot_matrix(metrics, multi_label=multi_label)
    tables = {"test/per_class": metrics["per_class"]}
    if report.get("folds"):
        tables["test/folds"] = report["folds"]
    return Exhibits(
        words=f"{report.get('protocol', '')} {metrics['interval']}; {metrics['clips']} test clips.".strip(),
        figures=_name_test_figures(metrics),
        matrix_name="test/found_and_missed" if multi_label else "test/confusion",
        matrix=_to_png(figure),
        matrix_caption=caption,
        tables=tables,
        examples=_make_examples(rows, metrics["per_class"], multi_label=multi_label),
        guesses=None if multi_label else _number_answers(rows, metrics["per_class"]),
    )


def open_picture(png: bytes) -> Any:
    """A PNG as a PIL image, RGB."""
    from PIL import Image

    return Image.open(io.BytesIO(png)).convert("RGB")


def to_markdown(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table, for trackers that have no tables of their own.

    Example:
        >>> print(to_markdown([{"label": "dog", "f1": 0.51234}]))
        | label | f1 |
        |---|---|
        | dog | 0.512 |
    """
    rows = list(rows)
    columns = list(rows[0])
    lines = [columns, *([_write_cell(row[column]) for column in columns] for row in rows)]
    head, *body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([head, "|" + "---|" * len(columns), *body])


def _write_cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value).replace("|", "\\|")


def _name_test_figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    figures = {"test/clips": float(metrics["clips"])}
    for name, figure in metrics.items():
        if isinstance(figure, Mapping) and {"value", "low", "high"} <= figure.keys():
            figures[f"test/{name}"] = figure["value"]
            figures[f"test/{name}_low"] = figure["low"]
            figures[f"test/{name}_high"] = figure["high"]
    return figures


def _plot_matrix(metrics: Mapping[str, Any], *, multi_label: bool) -> tuple[Figure, str]:
    from earmark.evaluation.report_figures import plot_confusion_matrix, plot_findings

    labels = [row["label"] for row in metrics["per_class"]]
    if multi_label:
        figure, description = plot_findings(metrics["per_class"])
    else:
        figure, description = plot_confusion_matrix(labels, metrics["confusion"])
    # A picture may lack the letters of a name; the words beside it do not.
    named = f" The classes in order: {', '.join(labels)}." if len(labels) <= CLASSES_NAMED else ""
    return figure, description + named


def _to_png(figure: Figure, rasters: tuple[Any, ...] = ()) -> bytes:
    from earmark.pages.picture import PictureWarning, to_picture

    with warnings.catch_warnings():
        # Question marks stand where no font has the letters; the caption says them.
        warnings.simplefilter("ignore", PictureWarning)
        return to_picture(figure, rasters)


def _number_answers(rows: list[dict[str, Any]], per_class: list[dict[str, Any]]) -> Guesses:
    labels = [row["label"] for row in per_class]
    position = {label: number for number, label in enumerate(labels)}
    return Guesses(labels, [position[row["label"]] for row in rows], [position[row["predicted"]] for row in rows])


def _make_examples(rows: list[dict[str, Any]], per_class: list[dict[str, Any]], *, multi_label: bool) -> list[Example]:
    from earmark.evaluation.report_clips import choose_clips, choose_multi_label_clips

    choice = (choose_multi_label_clips if multi_label else choose_clips)(rows, per_class)
    examples: list[Example] = []
    seen = set()
    for row in [*choice.mistakes, *choice.examples]:
        place = (row["path"], str(row.get("start_s")))
        if len(examples) < EXAMPLES and place not in seen and (example := _make_example(row)) is not None:
            examples.append(example)
        seen.add(place)
    return examples


def _make_example(row: dict[str, Any]) -> Example | None:
    import numpy as np

    from earmark.evaluation.evaluate import load_sound
    from earmark.pages.player import cut
    from earmark.sound.figures import plot_mel_spectrogram

    try:
        waveform, sample_rate = load_sound(row)
        shown = cut(waveform, sample_rate)
        figure, _, rasters = plot_mel_spectrogram(shown, sample_rate)
    except SoundError:
        return None
    several = "missed" in row
    right = not (row["missed"] or row["added"]) if several else row["label"] == row["predicted"]
    answer = f"{row['label']}, rightly" if right else f"{row['label']}, taken for {row['predicted'] or 'nothing'}"
    caption = f"{answer} ({row['score']:.0%}): {Path(str(row['path'])).name}"
    peak = max(1.0, float(np.abs(shown).max()))
    return Example(caption, _to_png(figure, rasters), (shown / peak).astype(np.float32), sample_rate)
