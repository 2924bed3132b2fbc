"""Pictures of a search: what each trial scored, and which settings mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from earmark.pages.figure import ACCENT, FONT_PX, INK, add_panel, estimate_width_px, make_figure, to_svg

WIDTH_PX, HISTORY_HEIGHT_PX = 420, 260
LEFT_PX, RIGHT_PX, TOP_PX, AXIS_PX = 44, 18, 40, 40
ROW_PX = 22
PALE = 0.35


def draw_search(trials: Sequence[Mapping[str, Any]], figure_name: str) -> str:
    """The figure of each trial as a dot, pale where it ended early, and the best so far as a line.

    Args:
        trials: ``number``, ``figure`` (0 to 1) and ``pruned`` of each, in their order; the first is not pruned.
        figure_name: Such as ``"validation accuracy"``.

    Returns:
        An ``<svg>`` element in the page's colours, 420 pixels wide by nature.

    Example:
        >>> trials = [{"number": 1, "figure": 0.5, "pruned": False}, {"number": 2, "figure": 0.8, "pruned": False}]
        >>> "best 80.0 % in trial 2" in draw_search(trials, "validation accuracy")
        True
    """
    figure = make_figure(WIDTH_PX, HISTORY_HEIGHT_PX)
    width_px, height_px = WIDTH_PX - LEFT_PX - RIGHT_PX, HISTORY_HEIGHT_PX - TOP_PX - AXIS_PX
    panel = add_panel(figure, LEFT_PX, TOP_PX, width_px, height_px)
    whole = [trial for trial in trials if not trial["pruned"]]
    ended = [trial for trial in trials if trial["pruned"]]
    _set_axes(panel, trials)
    best = list(accumulate((0.0 if t["pruned"] else t["figure"] for t in trials), max))
    panel.step([t["number"] for t in trials], best, where="post", color=ACCENT, linewidth=1.8, clip_on=False)
    for group, alpha in ((ended, PALE), (whole, 0.9)):
        places = [t["number"] for t in group], [t["figure"] for t in group]
        panel.plot(*places, "o", color=INK, alpha=alpha, markersize=5, markeredgewidth=0, clip_on=False)
    name = f"{figure_name[0].upper()}{figure_name[1:]} of each trial, %"
    panel.set_title(name, loc="left", color=INK, size=FONT_PX + 2, x=-(LEFT_PX - 8) / width_px, pad=16)
    panel.set_xlabel("trial", color=INK, size=FONT_PX)
    winner = max(whole, key=lambda t: (t["figure"], -t["number"]))
    return to_svg(
        figure,
        f"{name}: {len(trials)} trials, {len(ended)} ended early; the first {100 * trials[0]['figure']:.1f} %, "
        f"best {100 * winner['figure']:.1f} % in trial {winner['number']}.",
    )


def draw_importance(shares: Mapping[str, float]) -> str:
    """How much of what differs between trials each setting accounts for, the most important first.

    Args:
        shares: Setting -> share, 0 to 1.

    Example:
        >>> "train.learning_rate 80 %" in draw_importance({"train.learning_rate": 0.8, "augment.mix": 0.2})
        True
    """
    rows = sorted(shares.items(), key=lambda row: -row[1])
    left_px = max(estimate_width_px(name, FONT_PX + 1) for name, _ in rows) + 14
    width_px, height_px = WIDTH_PX - left_px - 48, ROW_PX * len(rows)
    figure = make_figure(WIDTH_PX, TOP_PX + height_px + 8)
    panel = add_panel(figure, left_px, TOP_PX, width_px, height_px)
    panel.set_axis_off()
    panel.set_xlim(0, max(0.01, rows[0][1]))
    panel.set_ylim(len(rows), 0)
    for index, (name, share) in enumerate(rows):
        words: dict[str, Any] = {"color": INK, "va": "center_baseline", "transform": panel.get_yaxis_transform()}
        panel.barh(index + 0.5, share, height=0.56, linewidth=0, color=ACCENT, clip_on=False)
        panel.text(-10 / width_px, index + 0.5, name, size=FONT_PX + 1, ha="right", **words)
        panel.text(1 + 40 / width_px, index + 0.5, f"{100 * share:.0f} %", size=FONT_PX, ha="right", **words)
    panel.text(
        -(left_px - 8) / width_px,
        -16 / ROW_PX,
        "What the settings account for",
        color=INK,
        size=FONT_PX + 2,
        transform=panel.get_yaxis_transform(),
    )
    said = ", ".join(f"{name} {100 * share:.0f} %" for name, share in rows)
    return to_svg(figure, f"Share of the differences between trials: {said}.")


def _set_axes(panel: Any, trials: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figures = [trial["figure"] for trial in trials]
    margin = max(0.01, 0.08 * (max(figures) - min(figures)))
    panel.set_ylim(max(0.0, min(figures) - margin), min(1.0, max(figures) + margin))
    panel.set_xlim(0.5, len(trials) + 0.5)
    panel.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    panel.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
    panel.grid(axis="y", color=INK, alpha=0.12, linewidth=0.8, clip_on=False)
