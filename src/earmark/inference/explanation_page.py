"""What `earmark predict --explain` writes: a page of sounds with what spoke for their labels, and a picture of each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from earmark.errors import RunError, SoundError
from earmark.files import replace_whole, write_text_whole
from earmark.inference.classifier import Classifier
from earmark.inference.explanation import explain
from earmark.inference.prediction import BARS, Prediction
from earmark.pages.figure import to_svg
from earmark.pages.layout import render_page, span
from earmark.pages.picture import to_lone_svg, to_picture
from earmark.pages.player import PlayableSound, encode_sound
from earmark.sound.decode import decode, probe
from earmark.sound.heat import plot_heat
from earmark.sound.resample import resample

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_FILES = 200  # the page holds every sound
LONGEST_S = 60.0
WIDTH_PX, HEIGHT_PX = 560, 250


class Reason(NamedTuple):
    """A sound as the page shows it, or the fault why it cannot."""

    name: str
    fault: str = ""
    entries: Prediction | None = None
    sentence: str = ""
    note: str = ""
    picture: Markup | None = None
    sound: PlayableSound | None = None
    files: tuple[str, ...] = ()


def write_explanations(
    classifier: Classifier,
    paths: Sequence[str],
    folder: str | os.PathLike[str],
    *,
    title: str,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Explain the most probable label of each sound file: ``index.html``, and a PNG and an SVG a file.

    The page holds its sounds and pictures; a file that cannot be read has its reason there. Of long files the first
    minute is scored and explained.

    Args:
        classifier: The model.
        paths: At most 200 sound files.
        folder: Made if need be; files of the same names are replaced, each whole.
        title: Of the page.
        on_progress: Called with (files explained, files in all).

    Returns:
        The path of ``index.html``.

    Raises:
        RunError: too many files, or ``folder`` is a file.

    Example:
        >>> write_explanations(classifier, ["dog.ogg"], "why/", title="quick").name   # doctest: +SKIP
        'index.html'
    """
    folder = Path(folder)
    if len(paths) > MOST_FILES:
        raise RunError(f"{len(paths)} files are too many for a page of reasons; explain at most {MOST_FILES} at once.")
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; name a folder for the page of reasons.")
    from earmark import __version__

    reasons: list[Reason] = []
    for done, (path, stem) in enumerate(zip(paths, _name_files(paths), strict=True), start=1):
        reasons.append(_explain_file(classifier, path, folder / stem))
        if on_progress is not None:
            on_progress(done, len(paths))
    page = render_page("explanations.html.j2", title=title, version=__version__, reasons=reasons)
    return write_text_whole(folder / "index.html", page)


def _name_files(paths: Sequence[str]) -> list[str]:
    """A name for each path's pictures, without suffix; files of one name in several folders are numbered."""
    names: list[str] = []
    taken: set[str] = set()
    for path in paths:
        name = stem = Path(path).name
        number = 2
        while name.casefold() in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return names


def _explain_file(classifier: Classifier, path: str, target: Path) -> Reason:
    from markupsafe import Markup

    name = Path(path).name
    try:
        waveform, sample_rate = decode(path, duration_s=LONGEST_S)
        whole_s = probe(path).duration_s
    except SoundError as error:
        return Reason(name, fault=str(error))
    heard = resample(waveform, sample_rate, classifier.sample_rate)
    if not len(heard):
        return Reason(name, fault=f"{name} is shorter than one sample at {classifier.sample_rate} Hz.")
    explanation = explain(classifier, heard)
    entries = classifier.name_scores(classifier.score([heard])[0], BARS)
    shown_s = len(waveform) / sample_rate
    note = f"Scored and explained are the first {span(shown_s)} of {span(whole_s)}." if whole_s > shown_s + 0.1 else ""
    size = {"width_px": WIDTH_PX, "height_px": HEIGHT_PX}
    svg = to_svg(*plot_heat(waveform, sample_rate, explanation.heat, **size))
    files = (f"{target.name}.png", f"{target.name}.svg")
    figure, _, rasters = plot_heat(waveform, sample_rate, explanation.heat, **size)
    with replace_whole(target.with_name(files[0])) as part:
        part.write_bytes(to_picture(figure, rasters))
    write_text_whole(target.with_name(files[1]), to_lone_svg(svg))
    sound = encode_sound(waveform, sample_rate, max_s=LONGEST_S)
    return Reason(name, "", entries, explanation.sentence, note, Markup(svg), sound, files)
