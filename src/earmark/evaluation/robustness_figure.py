"""The picture of a model under bad conditions: a small panel for each kind, all on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from earmark.pages.figure import ACCENT, FONT_PX, INK, add_panel, make_figure, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_PX, HEIGHT_PX = 250, 190
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 42, 16, 32, 26
NAMES = {"accuracy": "accuracy", "map": "mean average precision"}


def draw_robustness(rows: Sequence[dict[str, Any]], metrics: dict[str, Any]) -> list[str]:
    """What bad conditions leave of a score: a panel for each kind, from the clips as they are to the harshest.

    Args:
        rows: Of `measure_robustness`.
        metrics: Of the clips as they are.

    Returns:
        ``<svg>`` elements in the page's colours, 250 pixels wide by nature; intervals as lines, the score of the clips
        as they are as a dashed line.

    Example:
        >>> score = {"value": 0.9, "low": 0.8, "high": 0.95}
        >>> row = {"condition": "MP3", "strength": "32 kbit/s", "accuracy": 0.85, "low": 0.75, "high": 0.9}
        >>> "MP3: accuracy 90.0 % as it is, 85.0 % at 32 kbit/s." in draw_robustness(
        ...     [row], {"primary": "accuracy", "accuracy": score})[0]
        True
    """
    return [_draw_kind(name, list(kind), metrics) for name, kind in groupby(rows, key=lambda row: row["condition"])]


def _draw_kind(name: str, rows: list[dict[str, Any]], metrics: dict[str, Any]) -> str:
    primary = metrics["primary"]
    before = metrics[primary]
    figure = make_figure(WIDTH_PX, HEIGHT_PX)
    panel = add_panel(figure, LEFT_PX, TOP_PX, WIDTH_PX - LEFT_PX - RIGHT_PX, HEIGHT_PX - TOP_PX - BOTTOM_PX)
    scores = [before["value"], *(row[primary] for row in rows)]
    bounds = [(before["low"], before["high"]), *((row["low"], row["high"]) for row in rows)]
    _set_scales(panel, name[0].upper() + name[1:], [row["strength"] for row in rows])
    panel.axhline(before["value"], color=INK, alpha=0.5, linewidth=0.8, linestyle=(0, (2, 3)), clip_on=False)
    for place, (low, high) in enumerate(bounds):
        colour, strength = (ACCENT, 0.4) if place else (INK, 0.3)
        panel.plot([place, place], [low, high], color=colour, alpha=strength, linewidth=5, clip_on=False)
    panel.plot(range(len(scores)), scores, color=ACCENT, linewidth=1.6, clip_on=False)
    panel.plot(range(1, len(scores)), scores[1:], "o", color=ACCENT, markersize=5, clip_on=False)
    panel.plot([0], scores[:1], "o", color=INK, markersize=5, clip_on=False)
    described = ", ".join(
        f"{score:.1%} at {row['strength']}".replace("%", " %", 1) for row, score in zip(rows, scores[1:], strict=True)
    )
    return to_svg(figure, f"{name}: {NAMES[primary]} {100 * scores[0]:.1f} % as it is, {described}.")


def _set_scales(panel: Axes, title: str, strengths: list[str]) -> None:
    from matplotlib.ticker import FuncFormatter

    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="y", color=INK, alpha=0.12, linewidth=0.8, clip_on=False)
    panel.set_ylim(0, 1)
    panel.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    panel.set_xlim(-0.35, len(strengths) + 0.35)
    unit = _find_unit(strengths)
    names = [strength.removesuffix(unit).strip() for strength in strengths]
    panel.set_xticks(range(len(strengths) + 1), ["as is", *names[:-1], f"{names[-1]} {unit}".strip()])
    width_px = WIDTH_PX - LEFT_PX - RIGHT_PX
    panel.set_title(title, loc="left", color=INK, size=FONT_PX + 2, x=-LEFT_PX / width_px, pad=14)


def _find_unit(strengths: list[str]) -> str:
    """What all of them end in: ``dB`` of ``20 dB``."""
    units = {strength.partition(" ")[2] for strength in strengths}
    return units.pop() if len(units) == 1 else ""
