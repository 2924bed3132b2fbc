"""A set of clips to look at and listen to: how many of each class there are, and one example of each."""

from __future__ import annotations

import math
import os
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from earmark.data.clips import Clips, split_labels
from earmark.errors import SoundError
from earmark.files import write_text_whole
from earmark.pages.layout import render_fragment, render_page
from earmark.sound.decode import SoundWarning, decode, probe

if TYPE_CHECKING:
    from markupsafe import Markup

    from earmark.data.overview import Overview
    from earmark.pages.player import PlayableSound

EXAMPLES = 30  # at most: with more classes the page would grow beyond what a mail or a browser likes
UNREADABLE_SHOWN = 200
NOTEBOOK_CLASSES = 20

Row = dict[str, Any]


class Example(NamedTuple):
    """A clip of a class, as the page shows it."""

    label: str
    others: list[str]
    """The clip's other labels."""
    name: str
    place: str
    remark: str
    sound: PlayableSound | None = None
    waveform: Markup | None = None
    spectrogram: Markup | None = None
    fault: str | None = None


def write_gallery(
    clips: Clips,
    overview: Overview,
    path: str | os.PathLike[str],
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a page with the class counts and one example a class, whole or not at all.

    The example is the first clip of the class that can be read, of clips with several labels one with few; where none
    can be read, the reason stands in its place. Of more than 30 classes the first 30 have one.

    Args:
        clips: The clips.
        overview: What `describe_clips` says of them.
        path: The page; one file that opens from disk and asks nothing of any network.
        on_progress: Called with (examples drawn, examples in all).

    Returns:
        The path.

    Example:
        >>> import tempfile
        >>> from earmark.data.layouts import read_clips
        >>> from earmark.data.overview import describe_clips
        >>> from earmark.sound.synthesis import write_sounds
        >>> folder = write_sounds(tempfile.mkdtemp() + "/sounds", clips_per_class=1, duration_s=0.5)
        >>> clips = read_clips(folder)
        >>> write_gallery(clips, describe_clips(clips), folder.parent / "sounds.html").name
        'sounds.html'
    """
    from earmark import __version__

    rows: list[Any] = overview.classes.to_dict("records")
    chosen = choose_examples(clips, unreadable={path for path, _ in overview.unreadable})
    examples = []
    for label in clips.labels[:EXAMPLES]:
        examples.append(_draw_example(label, chosen[label], multi_label=clips.multi_label))
        if on_progress is not None:
            on_progress(len(examples), min(EXAMPLES, len(clips.labels)))
    page = render_page(
        "gallery.html.j2",
        title=Path(clips.source).name or "Clips",
        version=__version__,
        clips=clips,
        overview=overview,
        rows=rows,
        largest=max(row["clips"] for row in rows),
        same_length=_is_same_length(rows),
        examples=examples,
        unreadable=overview.unreadable[:UNREADABLE_SHOWN],
    )
    return write_text_whole(path, page)


def choose_examples(clips: Clips, unreadable: set[str]) -> dict[str, Row]:
    """For each class a clip of it: the first with the fewest labels that can be read, else the first.

    Args:
        clips: The clips.
        unreadable: Paths to pass over while there are others.

    Example:
        >>> from earmark.data.clips import build_clips
        >>> clips = build_clips([{"path": "/a", "label": "x;y"}, {"path": "/b", "label": "y"}], multi_label=True)
        >>> {label: row["path"] for label, row in choose_examples(clips, set()).items()}
        {'x': '/a', 'y': '/b'}
    """
    best: dict[str, tuple[tuple[bool, int], Row]] = {}
    for row in clips.table.to_dict("records"):
        labels = split_labels(row["label"], multi_label=clips.multi_label)
        rank = (row["path"] in unreadable, len(labels))
        for label in labels:
            if label not in best or rank < best[label][0]:
                best[label] = (rank, {str(column): value for column, value in row.items()})
    return {label: row for label, (_, row) in best.items()}


def render_counts(clips: Clips) -> str:
    """The classes with their counts as a fragment of HTML: how clips show themselves in a notebook.

    Args:
        clips: The clips; of many classes the 20 with the most clips are shown.

    Returns:
        HTML that needs nothing around it.

    Example:
        >>> from earmark.data.clips import build_clips
        >>> clips = build_clips([{"path": "/a.wav", "label": "cat"}, {"path": "/b.wav", "label": "ant"}])
        >>> "2 clips in 2 classes" in render_counts(clips)
        True
    """
    counts: Counter[str] = Counter(dict.fromkeys(clips.labels, 0))
    for cell in clips.table["label"]:
        counts.update(split_labels(cell, multi_label=clips.multi_label))
    return render_fragment(
        "notebook.html.j2",
        "clips",
        title=Path(clips.source).name,
        layout=clips.layout,
        n_clips=len(clips),
        n_classes=len(clips.labels),
        counts=counts.most_common(NOTEBOOK_CLASSES),
        largest=max(counts.values(), default=1),
        passed_over=clips.passed_over,
    )


def _is_same_length(rows: list[Row]) -> bool:
    """Whether shortest and longest clip tell nothing, for all are equally long, as far as a page shows it."""
    shortest, longest = (min(row["shortest_s"] for row in rows), max(row["longest_s"] for row in rows))
    return longest - shortest < 0.05


def _draw_example(label: str, row: Row, *, multi_label: bool) -> Example:
    from markupsafe import Markup

    from earmark.pages.player import MAX_S, encode_sound
    from earmark.sound.figures import draw_mel_spectrogram, draw_waveform

    others = [other for other in split_labels(row["label"], multi_label=multi_label) if other != label]
    start_s, duration_s = _find_part(row)
    example = Example(label, others, Path(row["path"]).name, _name_place(start_s, duration_s), "")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", SoundWarning)
            whole_s = probe(row["path"]).duration_s - start_s if duration_s is None else duration_s
            # Of an hour only as much is decoded as can be heard.
            shown_s = whole_s if 0 < whole_s < MAX_S else MAX_S
            waveform, sample_rate = decode(row["path"], start_s=start_s, duration_s=shown_s)
            pictures = draw_waveform(waveform, sample_rate), draw_mel_spectrogram(waveform, sample_rate)
    except SoundError as error:
        return example._replace(fault=str(error))
    sound = encode_sound(waveform, sample_rate)
    return example._replace(
        remark=" ".join(str(warning.message) for warning in caught if issubclass(warning.category, SoundWarning)),
        sound=sound._replace(duration_s=whole_s) if whole_s > MAX_S else sound,
        waveform=Markup(pictures[0]),
        spectrogram=Markup(pictures[1]),
    )


def _find_part(row: Row) -> tuple[float, float | None]:
    """Start and length of a clip in its file, seconds; no length means to the file's end."""
    start_s, end_s = (row.get(name) for name in ("start_s", "end_s"))
    begin_s = 0.0 if start_s is None or math.isnan(start_s) else float(start_s)
    return begin_s, None if end_s is None or math.isnan(end_s) else float(end_s) - begin_s


def _name_place(start_s: float, duration_s: float | None) -> str:
    if start_s == 0 and duration_s is None:
        return ""
    return f"from {start_s:g} s" if duration_s is None else f"{start_s:g}–{start_s + duration_s:g} s"
