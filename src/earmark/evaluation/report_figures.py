"""Pictures of how a model does: its confusion matrix, what it finds and misses, its learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from earmark.evaluation.metrics import list_weakest_first
from earmark.pages.figure import ACCENT, FONT_PX, INK, PAPER, add_panel, estimate_width_px, make_figure, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERS_UP_TO = 20  # classes; beyond, a number no longer fits into its cell
LABEL_LETTERS = 22
FAINTEST, STRONGEST = 0.10, 0.95
PAPER_FROM = 0.55  # shade from which a number is legible in the paper's colour and not in the ink's

PANEL_WIDTH_PX, PANEL_HEIGHT_PX = 420, 240
LEFT_PX, RIGHT_PX = 44, 74  # room at the right for "validation"
LINES_WIDTH_PX, LINES_HEIGHT_PX = PANEL_WIDTH_PX - LEFT_PX - RIGHT_PX, PANEL_HEIGHT_PX - 72
LABEL_GAP_PX = 14
CURVES = (("train", INK, 0.7), ("validation", ACCENT, 1.0))

FALSE_PX, FOUND_PX = 64, 150  # what 100 % are wide
FALSE_COUNT_PX = 30
FALSE_SHADE, MISSED_SHADE = 0.45, 0.2

CORNER = "truth ↓   guess →"
WRONG, FOUND = "← wrong of its namings", "found of its clips →"


class LineEnd(NamedTuple):
    """Where a line starts and ends, for its label and for the words beside the picture."""

    name: str
    colour: str
    first_value: float
    epoch: float
    value: float


def draw_answers(metrics: dict[str, Any]) -> str:
    """The picture of an evaluation: the confusion matrix, or what is found and missed of several labels a clip."""
    if metrics["primary"] == "map":
        return draw_findings(list_weakest_first(metrics))
    return draw_confusion_matrix([row["label"] for row in metrics["per_class"]], metrics["confusion"])


def draw_confusion_matrix(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """The confusion matrix: a row for each true class, shaded by the share of its clips, with counts where they fit.

    Args:
        labels: Class names.
        counts: (classes, classes), rows: truth, columns: guess.

    Returns:
        An ``<svg>`` element in the page's colours, as wide by nature as its cells and labels need.

    Example:
        >>> draw_confusion_matrix(["dog", "rain"], [[9, 1], [2, 8]]).count("17 of 20 clips on the diagonal")
        1
    """
    return to_svg(*plot_confusion_matrix(labels, counts))


def plot_confusion_matrix(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> tuple[Figure, str]:
    """The figure of `draw_confusion_matrix` and what it shows, in words."""
    matrix = np.asarray(counts)
    names = [_shorten(label) for label in labels]
    n_classes = len(names)
    cell_px = _cell_px(n_classes)
    font_px = min(FONT_PX + 1, max(8, cell_px - 3))
    longest_px = max(estimate_width_px(name, font_px) for name in names)
    side_px = cell_px * n_classes
    left_px, top_px = max(longest_px, estimate_width_px(CORNER)) + 14, 0.72 * longest_px + 34
    figure = make_figure(left_px + side_px + 0.72 * longest_px + 6, top_px + side_px + 4)
    panel = add_panel(figure, left_px, top_px, side_px, side_px)
    panel.set_axis_off()
    panel.set_xlim(0, n_classes)
    panel.set_ylim(n_classes, 0)
    _shade_cells(panel, matrix, cell_px, font_px)
    for index, name in enumerate(names):
        middle, gap = index + 0.5, 8 / cell_px
        panel.text(-gap, middle, name, color=INK, size=font_px, ha="right", va="center_baseline")
        panel.text(
            middle, -gap, name, color=INK, size=font_px, rotation=45, rotation_mode="anchor", ha="left", va="baseline"
        )
    gap = 10 / cell_px
    panel.text(-gap, -gap, CORNER, color=INK, size=FONT_PX, ha="right", alpha=0.7)
    right, total = int(matrix.trace()), int(matrix.sum())
    return figure, f"Confusion matrix of {n_classes} classes: {right:,} of {total:,} clips on the diagonal."


def draw_findings(per_class: Sequence[dict[str, Any]]) -> str:
    """What a model with several labels a clip finds, misses and names wrongly: a row for each class.

    To the right the share of the class's clips that were found, the rest up to 100 % missed; to the left the share of
    its namings that were wrong. Beside the bars stand the counts.

    Args:
        per_class: ``label``, ``support``, ``found`` and ``false``, as `score_multi_label` gives them.

    Returns:
        An ``<svg>`` element in the page's colours, as high by nature as it has classes.

    Example:
        >>> svg = draw_findings([{"label": "dog", "support": 10, "found": 7, "false": 2}])
        >>> "of 10 labels 7 were found, and 2 others were named wrongly" in svg
        True
    """
    return to_svg(*plot_findings(per_class))


def plot_findings(per_class: Sequence[dict[str, Any]]) -> tuple[Figure, str]:
    """The figure of `draw_findings` and what it shows, in words."""
    row_px = 22 if len(per_class) <= NUMBERS_UP_TO else 17
    names = [_shorten(row["label"]) for row in per_class]
    width_px, height_px = FALSE_COUNT_PX + FALSE_PX + FOUND_PX, row_px * len(per_class)
    header_px = estimate_width_px(WRONG) + 8 - FALSE_COUNT_PX - FALSE_PX
    left_px, top_px = max(header_px, *(estimate_width_px(name, FONT_PX + 1) for name in names)) + 8, 38
    right_px = max(estimate_width_px(_count_found(row)) for row in per_class) + 12
    figure = make_figure(left_px + width_px + right_px, top_px + height_px + 6)
    panel = add_panel(figure, left_px, top_px, width_px, height_px)
    panel.set_axis_off()
    panel.set_xlim(-FALSE_COUNT_PX - FALSE_PX, FOUND_PX)
    panel.set_ylim(len(per_class), 0)
    for index, (name, row) in enumerate(zip(names, per_class, strict=True)):
        _draw_finding(panel, index + 0.5, name, row)
    panel.plot([0, 0], [0, len(per_class)], color=INK, alpha=0.5, linewidth=0.8, clip_on=False)
    for x_px, words, side in ((-8, WRONG, "right"), (0, FOUND, "left")):
        panel.text(x_px, -12 / row_px, words, color=INK, size=FONT_PX, ha=side, alpha=0.7)
    support, found, false = (sum(row[key] for row in per_class) for key in ("support", "found", "false"))
    return figure, (
        f"What is found and missed of {len(per_class)} classes: of {support:,} labels {found:,} were found, "
        f"and {false:,} others were named wrongly."
    )


def draw_learning_curves(
    history: Sequence[dict[str, Any]], *, chosen_epoch: int | None = None, multi_label: bool = False
) -> list[str]:
    """Loss, accuracy and mean average precision over the epochs, each a picture of its own that a narrow page stacks.

    Args:
        history: A dict an epoch with ``epoch`` and, where known, ``loss``, ``accuracy``, ``validation_loss``,
            ``validation_accuracy`` and ``validation_map``; what is missing or not finite leaves a gap.
        chosen_epoch: The epoch whose model was kept, marked.
        multi_label: The accuracy is that of a yes or no for each label, and is called so.

    Returns:
        ``<svg>`` elements in the page's colours, 420 pixels wide by nature, in this order; one that has no figures at
        all is left out.

    Example:
        >>> curves = draw_learning_curves([{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}])
        >>> len(curves), "Loss over 2 epochs: train from 2.00 to 1.00." in curves[0]
        (1, True)
    """
    epochs = np.array([row["epoch"] for row in history], dtype=float)
    pictures = []
    for title, keys in _name_panels(multi_label=multi_label):
        lines = [_collect(history, key) for key in keys]
        if any(np.isfinite(line).any() for line in lines):
            pictures.append(_draw_curves(title, epochs, lines, chosen_epoch))
    return pictures


def draw_fold_curves(histories: Sequence[Sequence[dict[str, Any]]], *, multi_label: bool = False) -> list[str]:
    """The pictures of `draw_learning_curves` for several trainings at once: a thin line for each.

    Args:
        histories: One a training; they may end after different numbers of epochs.
        multi_label: The accuracy is that of a yes or no for each label, and is called so.

    Returns:
        ``<svg>`` elements; one that has no figures at all is left out.

    Example:
        >>> history = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0}]
        >>> curves = draw_fold_curves([history, history[:1]])
        >>> "Loss of 2 trainings over up to 2 epochs: train ends at 1.00 to 2.00." in curves[0]
        True
    """
    n_epochs = max(len(history) for history in histories)
    padded = [[*history, *({} for _ in range(n_epochs - len(history)))] for history in histories]
    pictures = []
    for title, keys in _name_panels(multi_label=multi_label):
        lines = [np.stack([_collect(history, key) for history in padded]) for key in keys]
        if any(np.isfinite(of_key).any() for of_key in lines):
            pictures.append(_draw_many_curves(title, np.arange(1.0, n_epochs + 1), lines))
    return pictures


def _name_panels(*, multi_label: bool) -> tuple[tuple[str, tuple[str, str]], ...]:
    return (
        ("Loss", ("loss", "validation_loss")),
        ("Right yes/no answers" if multi_label else "Accuracy", ("accuracy", "validation_accuracy")),
        ("Mean average precision", ("map", "validation_map")),
    )


def _cell_px(n_classes: int) -> float:
    return 56 if n_classes <= 5 else max(12, min(44, 600 / n_classes))


def _shorten(label: str) -> str:
    return label if len(label) <= LABEL_LETTERS else label[: LABEL_LETTERS - 1] + "…"


def _shade_cells(panel: Axes, matrix: np.ndarray, cell_px: float, font_px: float) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    n_classes = len(matrix)
    panel.add_patch(Rectangle((0, 0), n_classes, n_classes, facecolor=to_rgba(INK, 0.045), linewidth=0, clip_on=False))
    rows, columns = np.nonzero(matrix)
    shades = FAINTEST + (STRONGEST - FAINTEST) * matrix[rows, columns] / matrix.sum(axis=1)[rows]
    corners = np.array([(0, 0), (0, 1), (1, 1), (1, 0)], dtype=float)
    cells = corners + np.stack([columns, rows], axis=1)[:, None, :]
    fills = [to_rgba(ACCENT, shade) for shade in shades]
    panel.add_collection(PolyCollection(list(cells), facecolors=fills, linewidths=0, clip_on=False), autolim=False)
    # A hair of paper between the cells.
    for line in range(1, n_classes):
        panel.plot([line, line], [0, n_classes], color=PAPER, linewidth=1.2, clip_on=False)
        panel.plot([0, n_classes], [line, line], color=PAPER, linewidth=1.2, clip_on=False)
    if n_classes > NUMBERS_UP_TO:
        return
    number_px = min(font_px, (cell_px - 4) / estimate_width_px(str(matrix.max()), 1))
    for row, column, shade in zip(rows, columns, shades, strict=True):
        colour = PAPER if shade >= PAPER_FROM else INK
        middle = (column + 0.5, row + 0.5)
        panel.text(*middle, str(matrix[row, column]), color=colour, size=number_px, ha="center", va="center_baseline")


def _draw_finding(panel: Axes, middle: float, name: str, row: dict[str, Any]) -> None:
    support, found, false = row["support"], row["found"], row["false"]
    found_px = FOUND_PX * found / max(support, 1)
    false_px = FALSE_PX * false / max(found + false, 1)
    bar: dict[str, Any] = {"height": 0.62, "linewidth": 0, "clip_on": False}
    panel.barh(middle, -false_px, color=INK, alpha=FALSE_SHADE, **bar)
    panel.barh(middle, found_px, color=ACCENT, **bar)
    if support:
        panel.barh(middle, FOUND_PX - found_px, left=found_px, color=ACCENT, alpha=MISSED_SHADE, **bar)
    words: dict[str, Any] = {"color": INK, "va": "center_baseline"}
    panel.text(-FALSE_COUNT_PX - FALSE_PX - 4, middle, name, size=FONT_PX + 1, ha="right", **words)
    panel.text(FOUND_PX + 8, middle, _count_found(row), size=FONT_PX, ha="left", **words)
    if false:
        panel.text(-false_px - 5, middle, f"{false:,}", size=FONT_PX, ha="right", **words)


def _count_found(row: dict[str, Any]) -> str:
    return f"{row['found']:,} of {row['support']:,}"


def _collect(history: Sequence[dict[str, Any]], key: str) -> np.ndarray:
    values = np.array([np.nan if row.get(key) is None else row[key] for row in history], dtype=float)
    return np.where(np.isfinite(values), values, np.nan)


def _draw_curves(title: str, epochs: np.ndarray, lines: list[np.ndarray], chosen_epoch: int | None) -> str:
    figure = make_figure(PANEL_WIDTH_PX, PANEL_HEIGHT_PX)
    panel = add_panel(figure, LEFT_PX, 36, LINES_WIDTH_PX, LINES_HEIGHT_PX)
    highest = 1.05 * float(np.nanmax(lines)) if title == "Loss" else 1.0
    _set_scales(panel, title, epochs, highest)
    ends = []
    for (name, colour, strength), line in zip(CURVES, lines, strict=True):
        known = np.flatnonzero(np.isfinite(line))
        if not len(known):
            continue
        marker = "o" if len(known) == 1 else None
        panel.plot(
            epochs, line, color=colour, alpha=strength, linewidth=1.8, marker=marker, markersize=5, clip_on=False
        )
        ends.append(LineEnd(name, colour, float(line[known[0]]), float(epochs[known[-1]]), float(line[known[-1]])))
    _label_ends(panel, ends)
    described = [f"{end.name} from {end.first_value:.2f} to {end.value:.2f}" for end in ends]
    description = f"{title} over {len(epochs)} epoch{'s' * (len(epochs) > 1)}: {'; '.join(described)}."
    if chosen_epoch is not None and chosen_epoch in epochs:
        _mark_epoch(panel, chosen_epoch)
        description += f" The model of epoch {chosen_epoch} was kept."
    return to_svg(figure, description)


def _draw_many_curves(title: str, epochs: np.ndarray, lines: list[np.ndarray]) -> str:
    """``lines``: for training and validation (trainings, epochs), NaN where there is nothing."""
    figure = make_figure(PANEL_WIDTH_PX, PANEL_HEIGHT_PX)
    panel = add_panel(figure, LEFT_PX, 36, LINES_WIDTH_PX, LINES_HEIGHT_PX)
    highest = 1.05 * max(float(np.nanmax(of_key)) for of_key in lines if np.isfinite(of_key).any())
    _set_scales(panel, title, epochs, highest if title == "Loss" else 1.0)
    ends, described = [], []
    for (name, colour, strength), of_key in zip(CURVES, lines, strict=True):
        last = []
        for line in of_key:
            known = np.flatnonzero(np.isfinite(line))
            if len(known):
                marker = "o" if len(known) == 1 else None
                style: dict[str, Any] = {"linewidth": 0.9, "marker": marker, "markersize": 3, "clip_on": False}
                panel.plot(epochs, line, color=colour, alpha=0.7 * strength, **style)
                last.append((float(epochs[known[-1]]), float(line[known[-1]])))
        if last:
            values = [value for _, value in last]
            ends.append(LineEnd(name, colour, 0.0, float(epochs[-1]), float(np.median(values))))
            described.append(f"{name} ends at {min(values):.2f} to {max(values):.2f}")
    _label_ends(panel, ends)
    many = f"{title} of {len(lines[0])} trainings over up to {len(epochs)} epochs"
    return to_svg(figure, f"{many}: {'; '.join(described)}.")


def _set_scales(panel: Axes, title: str, epochs: np.ndarray, highest: float) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="y", color=INK, alpha=0.12, linewidth=0.8, clip_on=False)
    panel.set_ylim(0, highest or 1.0)
    panel.yaxis.set_major_locator(MaxNLocator(nbins=5))
    if title != "Loss":
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    if len(epochs) == 1:
        panel.set_xlim(epochs[0] - 1, epochs[0] + 1)
        panel.set_xticks(epochs)
    else:
        panel.set_xlim(epochs.min(), epochs.max())
        panel.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    panel.set_title(title, loc="left", color=INK, size=FONT_PX + 2, x=-LEFT_PX / LINES_WIDTH_PX, pad=18)
    panel.set_xlabel("epoch", color=INK, size=FONT_PX, loc="right", labelpad=2)


def _mark_epoch(panel: Axes, epoch: int) -> None:
    panel.axvline(epoch, color=INK, alpha=0.5, linewidth=0.8, linestyle=(0, (2, 3)), clip_on=False)
    first, last = panel.get_xlim()
    panel.annotate(
        f"kept: epoch {epoch}",
        (epoch, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 5),
        textcoords="offset points",
        ha="right" if epoch > (first + last) / 2 else "left",
        color=INK,
        size=FONT_PX,
        annotation_clip=False,
    )


def _label_ends(panel: Axes, ends: list[LineEnd]) -> None:
    """Names at the ends of the lines, pushed apart where they would touch."""
    lowest, highest = panel.get_ylim()
    shifts_px = [0.0] * len(ends)
    if len(ends) == 2:
        gap_px = (ends[1].value - ends[0].value) / (highest - lowest) * LINES_HEIGHT_PX
        push_px = max(0.0, LABEL_GAP_PX - abs(gap_px)) / 2
        shifts_px = [-push_px, push_px] if gap_px >= 0 else [push_px, -push_px]
    for end, shift_px in zip(ends, shifts_px, strict=True):
        panel.annotate(
            end.name,
            (end.epoch, end.value),
            xytext=(7, shift_px),
            textcoords="offset points",
            va="center_baseline",
            color=end.colour,
            size=FONT_PX + 1,
            annotation_clip=False,
        )
