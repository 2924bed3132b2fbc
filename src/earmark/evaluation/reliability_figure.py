"""The reliability diagram: how often a model is right, over how sure it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from earmark.pages.figure import ACCENT, FONT_PX, INK, add_panel, make_figure, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE_PX = 240
COUNTS_PX = 44  # height of the bars that say how many answers a bin holds
LEFT_PX, TOP_PX, GAP_PX = 50, 30, 12
LARGEST_PX = 12  # across, of the dot of the fullest bin


def draw_reliability(calibration: dict[str, Any]) -> str:
    """A dot for each bin of confidence at its share of right answers, a line to where it should lie; counts below.

    Args:
        calibration: ``bins``, ``ece`` and ``multi_label`` as a report has them; ``before``, the same without the
            temperature, is drawn as rings.

    Returns:
        An ``<svg>`` element in the page's colours.

    Example:
        >>> bins = [{"low": 0.8, "high": 0.9, "confidence": 0.85, "accuracy": 0.6, "clips": 5}]
        >>> svg = draw_reliability({"bins": bins, "ece": 0.25, "multi_label": False})
        >>> "85 % sure, 60 % right (5)" in svg
        True
    """
    figure = make_figure(LEFT_PX + SIDE_PX + 20, TOP_PX + SIDE_PX + GAP_PX + COUNTS_PX + 40)
    panel = add_panel(figure, LEFT_PX, TOP_PX, SIDE_PX, SIDE_PX)
    before, bins = calibration.get("before"), calibration["bins"]
    multi_label = calibration["multi_label"]
    right = "a yes" if multi_label else "right"
    _set_scales(panel, right)
    if before:
        sure, accuracy = ([row[key] for row in before["bins"]] for key in ("confidence", "accuracy"))
        panel.plot(sure, accuracy, "o", markersize=5, markerfacecolor="none", color=INK, alpha=0.6, clip_on=False)
    _draw_gaps(panel, bins)
    counts = add_panel(figure, LEFT_PX, TOP_PX + SIDE_PX + GAP_PX, SIDE_PX, COUNTS_PX)
    _draw_counts(counts, bins, "probability of a yes" if multi_label else "probability of the answer")
    told = ", ".join(
        f"{100 * row['confidence']:.0f} % sure, {100 * row['accuracy']:.0f} % {right} ({row['clips']})" for row in bins
    )
    return to_svg(figure, f"Reliability diagram, expected calibration error {100 * calibration['ece']:.1f} %: {told}.")


def _set_scales(panel: Axes, right: str) -> None:
    from matplotlib.ticker import PercentFormatter

    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1)
    panel.set_xticks([])
    panel.set_yticks([0, 0.25, 0.5, 0.75, 1])
    panel.yaxis.set_major_formatter(PercentFormatter(1, 0, " %"))
    panel.plot([0, 1], [0, 1], color=INK, alpha=0.5, linewidth=0.8, linestyle=(0, (2, 3)), clip_on=False)
    panel.set_title(f"share that is {right}", loc="left", color=INK, size=FONT_PX, x=-LEFT_PX / SIDE_PX, pad=12)


def _draw_gaps(panel: Axes, bins: list[dict[str, Any]]) -> None:
    """A dot for each bin, as large as it has answers: a single one says little."""
    most = max(row["clips"] for row in bins)
    for row in bins:
        sure, accuracy = row["confidence"], row["accuracy"]
        size_px = LARGEST_PX * max(0.25, (row["clips"] / most) ** 0.5)
        panel.plot([sure] * 2, [sure, accuracy], color=ACCENT, alpha=0.45, linewidth=1.4, clip_on=False)
        panel.plot([sure], [accuracy], "o", markersize=size_px, color=ACCENT, markeredgewidth=0, clip_on=False)


def _draw_counts(panel: Axes, bins: list[dict[str, Any]], name: str) -> None:
    from matplotlib.ticker import PercentFormatter

    most = max(row["clips"] for row in bins)
    for row in bins:
        width = row["high"] - row["low"]
        middle = row["low"] + width / 2
        panel.bar(middle, row["clips"], 0.82 * width, color=INK, alpha=0.35, linewidth=0, clip_on=False)
    panel.set_xlim(0, 1)
    panel.set_ylim(most, 0)  # hanging, so that the scale of both panels stands between them
    panel.set_yticks([most])
    panel.set_xticks([0, 0.25, 0.5, 0.75, 1])
    panel.xaxis.set_major_formatter(PercentFormatter(1, 0, " %"))
    panel.set_xlabel(name, color=INK, size=FONT_PX, loc="right", labelpad=2)
