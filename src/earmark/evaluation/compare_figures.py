"""Pictures of a comparison: scores and differences as dots with whiskers, and what changed class by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from earmark.evaluation.metrics import SCORE_NAMES
from earmark.pages.figure import ACCENT, FONT_PX, INK, add_panel, estimate_width_px, make_figure, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_PX = 420
LEFT_PX, RIGHT_PX = 8, 62
TOP_PX, AXIS_PX = 46, 26
ROW_PX = 44
CLASS_ROW_PX = 22
NAME_LETTERS, LABEL_LETTERS = 46, 20
UNSURE = 0.4  # how strong what may be chance is drawn


def draw_scores(runs: Sequence[dict[str, Any]], primary: str) -> str:
    """The primary score of each run as a dot, its 95 % interval as whiskers.

    Args:
        runs: ``name`` and the score with ``value``, ``low`` and ``high``, as `compare_answers` gives them.
        primary: ``"accuracy"`` or ``"map"``.

    Returns:
        An ``<svg>`` element in the page's colours, 420 pixels wide by nature.

    Example:
        >>> run = {"name": "cnn", "accuracy": {"value": 0.8, "low": 0.7, "high": 0.9}}
        >>> "cnn 80.0 % (70.0 to 90.0)" in draw_scores([run], "accuracy")
        True
    """
    name = SCORE_NAMES[primary][primary]
    figures = [run[primary] for run in runs]
    low, high = min(figure["low"] for figure in figures), max(figure["high"] for figure in figures)
    margin = max(0.02, 0.08 * (high - low))
    limits = max(0.0, low - margin), min(1.0, high + margin)
    rows = [(run["name"], run[primary], f"{100 * run[primary]['value']:.1f} %", 1.0) for run in runs]
    said = [f"{run['name']} {_say_interval(run[primary], '.1f', ' %')}" for run in runs]
    return _draw_whiskers(f"{name}, 95 % intervals", rows, limits, None, f"{name}: {'; '.join(said)}.")


def draw_differences(differences: Sequence[dict[str, Any]], primary: str) -> str:
    """How much more each run scores than the first, on a scale around 0; pale where chance may be all there is.

    Args:
        differences: ``name``, ``first``, ``verdict`` and the score, as `compare_answers` gives them.
        primary: ``"accuracy"`` or ``"map"``.

    Example:
        >>> figure = {"value": 0.02, "low": -0.01, "high": 0.05}
        >>> difference = {"name": "vit", "first": "cnn", "verdict": "undecided", "accuracy": figure}
        >>> "vit +2.0 points (-1.0 to +5.0)" in draw_differences([difference], "accuracy")
        True
    """
    first = differences[0]["first"]
    figures = [difference[primary] for difference in differences]
    low, high = min(0.0, *(figure["low"] for figure in figures)), max(0.0, *(figure["high"] for figure in figures))
    margin = max(0.01, 0.08 * (high - low))
    rows = [
        (
            difference["name"],
            difference[primary],
            f"{100 * difference[primary]['value']:+.1f}",
            1.0 if difference["verdict"] in ("better", "worse") else UNSURE,
        )
        for difference in differences
    ]
    said = [
        f"{difference['name']} {_say_interval(difference[primary], '+.1f', ' points')}" for difference in differences
    ]
    title = f"Points more than {_shorten(first, 28)}, 95 % intervals"
    return _draw_whiskers(
        title, rows, (low - margin, high + margin), 0.0, f"Difference from {first}: {'; '.join(said)}."
    )


def draw_class_differences(difference: dict[str, Any], measure: str) -> str:
    """What a run gains and loses on each class against the first, the largest gain first.

    Args:
        difference: ``name``, ``first`` and ``per_class``, as `compare_answers` gives them.
        measure: What is compared, ``"F1"`` or ``"average precision"``.

    Returns:
        An ``<svg>`` element; a bar is pale where its whiskers reach 0.

    Example:
        >>> rows = [{"label": "dog", "support": 9, "value": 0.2, "low": 0.1, "high": 0.3}]
        >>> svg = draw_class_differences({"name": "vit", "first": "cnn", "per_class": rows}, "F1")
        >>> "dog +20.0" in svg
        True
    """
    rows = sorted((row for row in difference["per_class"] if row["support"]), key=lambda row: -row["value"])
    names = [_shorten(row["label"], LABEL_LETTERS) for row in rows]
    left_px = max(estimate_width_px(name, FONT_PX + 1) for name in names) + 14
    width_px, height_px = WIDTH_PX - left_px - RIGHT_PX + 8, CLASS_ROW_PX * len(rows)
    figure = make_figure(WIDTH_PX, TOP_PX + height_px + AXIS_PX)
    panel = add_panel(figure, left_px, TOP_PX, width_px, height_px)
    reach = 1.05 * max(0.02, *(abs(row[key]) for row in rows for key in ("low", "high")))
    _set_scale(panel, (-reach, reach), len(rows), points=True)
    panel.plot([0, 0], [0, len(rows)], color=INK, alpha=0.6, linewidth=0.8, clip_on=False)
    for index, (name, row) in enumerate(zip(names, rows, strict=True)):
        middle, sure = index + 0.5, row["low"] > 0 or row["high"] < 0
        bar: dict[str, Any] = {"height": 0.56, "linewidth": 0, "clip_on": False}
        panel.barh(middle, row["value"], color=ACCENT, alpha=1.0 if sure else UNSURE, **bar)
        panel.plot([row["low"], row["high"]], [middle, middle], color=INK, linewidth=1.1, alpha=0.75, clip_on=False)
        words: dict[str, Any] = {"color": INK, "va": "center_baseline", "transform": panel.get_yaxis_transform()}
        panel.text(-10 / width_px, middle, name, size=FONT_PX + 1, ha="right", **words)
        panel.text(
            1 + (RIGHT_PX - 12) / width_px, middle, f"{100 * row['value']:+.1f}", size=FONT_PX, ha="right", **words
        )
    _write_title(panel, f"{_shorten(difference['name'], 30)}: points of {measure} more", left_px, width_px)
    said = [f"{row['label']} {100 * row['value']:+.1f}" for row in rows]
    return to_svg(
        figure,
        f"Points of {measure} that {difference['name']} has more than {difference['first']}: {', '.join(said)}.",
    )


def _draw_whiskers(
    title: str,
    rows: Sequence[tuple[str, dict[str, float], str, float]],
    limits: tuple[float, float],
    line: float | None,
    description: str,
) -> str:
    """Rows of (name, figure, figure in words, strength): a dot with whiskers under the name of each."""
    width_px, height_px = WIDTH_PX - LEFT_PX - RIGHT_PX, ROW_PX * len(rows)
    figure = make_figure(WIDTH_PX, TOP_PX + height_px + AXIS_PX)
    panel = add_panel(figure, LEFT_PX, TOP_PX, width_px, height_px)
    _set_scale(panel, limits, len(rows), points=line is not None)
    for index, (name, score, words, strength) in enumerate(rows):
        middle = index + 0.66
        if line is not None:
            panel.plot([line, line], [middle - 0.2, middle + 0.2], color=INK, alpha=0.8, linewidth=1.2, clip_on=False)
        how: dict[str, Any] = {"color": ACCENT, "alpha": strength, "clip_on": False}
        panel.plot([score["low"], score["high"]], [middle, middle], linewidth=2.4, solid_capstyle="round", **how)
        panel.plot([score["value"]], [middle], marker="o", markersize=9, markeredgewidth=0, linestyle="none", **how)
        text: dict[str, Any] = {"color": INK, "va": "center_baseline", "transform": panel.get_yaxis_transform()}
        panel.text(0, index + 0.26, _shorten(name, NAME_LETTERS), size=FONT_PX + 1, ha="left", **text)
        panel.text(1 + (RIGHT_PX - 6) / width_px, middle, words, size=FONT_PX + 1, ha="right", **text)
    _write_title(panel, title, LEFT_PX, width_px)
    return to_svg(figure, description)


def _set_scale(panel: Axes, limits: tuple[float, float], n_rows: int, *, points: bool) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    panel.set_xlim(*limits)
    panel.set_ylim(n_rows, 0)
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)
    panel.spines["bottom"].set_visible(False)
    panel.tick_params(axis="x", length=0)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    panel.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{100 * value:+g}" if points and round(value, 6) else f"{100 * value:g}")
    )
    panel.grid(axis="x", color=INK, alpha=0.12, linewidth=0.8, clip_on=False)


def _write_title(panel: Axes, title: str, left_px: float, width_px: float) -> None:
    panel.set_title(title, loc="left", color=INK, size=FONT_PX + 2, x=-(left_px - LEFT_PX) / width_px, pad=16)


def _say_interval(figure: dict[str, float], digits: str, unit: str) -> str:
    value, low, high = (f"{100 * figure[key]:{digits}}" for key in ("value", "low", "high"))
    return f"{value}{unit} ({low} to {high})"


def _shorten(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"
