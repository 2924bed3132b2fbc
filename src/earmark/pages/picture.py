"""Figures as files of their own, outside any page: PNG with its colours and fonts set, SVG that brings its own."""

from __future__ import annotations

import io
import logging
import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.pages.figure import PAPER, Raster

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PIXELS_PER_POINT = 2  # sharp on today's screens and in print
LETTERS = "DejaVu Sans"  # comes with matplotlib
SVG_FONTS = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', Arial, 'PingFang SC', "
    "'Microsoft YaHei', 'Noto Sans CJK SC', 'Noto Sans SC', sans-serif"
)
# Among fonts that have the letters that are missing, those that were made for reading come first.
_PREFERRED = ("notosanscjk", "sourcehan", "pingfang", "msyh", "wqy", "hiragino", "malgun", "notosans", "arialuni")
_FALLBACK_LETTER = "?"


class PictureWarning(UserWarning):
    """A picture that lacks something: letters for which no font is installed."""


def to_picture(figure: Figure, rasters: tuple[Raster, ...] = ()) -> bytes:
    """The figure as a PNG on white paper, two pixels to a point.

    Letters that matplotlib's own font lacks are taken from a font of this computer.

    Args:
        figure: From `make_figure`; it is changed: draw it once.
        rasters: Laid under the line art.

    Returns:
        PNG.

    Warns:
        PictureWarning: no installed font has some of the letters; question marks stand in their place.

    Example:
        >>> from earmark.pages.figure import add_panel, make_figure
        >>> figure = make_figure(100, 50)
        >>> _ = add_panel(figure, 20, 10, 70, 30)
        >>> to_picture(figure)[:4]
        b'\\x89PNG'
    """
    width, height = figure.get_size_inches() * figure.dpi
    for raster in rasters:
        _lay_under(figure, raster, width, height)
    _choose_fonts(figure)
    file = io.BytesIO()
    # That a fallback font has no bold letters is of no consequence.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    figure.savefig(file, format="png", dpi=figure.dpi * PIXELS_PER_POINT, facecolor=PAPER)
    return file.getvalue()


def to_lone_svg(svg: str) -> str:
    """An ``<svg>`` element of `to_svg` as a file of its own: with fonts, ink on white, and an XML header.

    Example:
        >>> to_lone_svg('<svg xmlns="http://www.w3.org/2000/svg" style="a: b"></svg>').splitlines()[0]
        '<?xml version="1.0" encoding="UTF-8"?>'
    """
    style = f"background: #fff; color: #1c1a1f; font-family: {SVG_FONTS}; "
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + svg.replace('style="', f'style="{style}', 1) + "\n"


def _lay_under(figure: Figure, raster: Raster, width: float, height: float) -> None:
    import numpy as np
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(raster.png)).convert("RGB"))
    bottom = height - raster.top - raster.height
    place = (raster.left / width, bottom / height, raster.width / width, raster.height / height)
    axes = figure.add_axes(place, zorder=-1)
    axes.set_axis_off()
    axes.imshow(pixels, aspect="auto", interpolation="antialiased")


def _choose_fonts(figure: Figure) -> None:
    from matplotlib.text import Text

    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]
    missing = _missing_letters("".join(text.get_text() for text in texts), _font_path(LETTERS))
    if not missing:
        return
    families = [LETTERS]
    for path in _other_fonts():
        if missing and (found := missing - _missing_letters("".join(missing), path)):
            families.append(_add_font(path))
            missing -= found
    if missing:
        letters = "".join(sorted(missing))
        warnings.warn(
            f"No font on this computer has {letters}: question marks stand there. Install one, such as Noto Sans CJK, "
            "or write the sheet as .svg or .html, which take the reader's fonts.",
            PictureWarning,
            stacklevel=3,
        )
    for text in texts:
        text.set_fontfamily(families)
        text.set_text("".join(_FALLBACK_LETTER if letter in missing else letter for letter in text.get_text()))


def _font_path(family: str) -> str:
    from matplotlib.font_manager import findfont

    return findfont(family)


def _other_fonts() -> list[str]:
    """All fonts of this computer, the preferred ones first; those installed since matplotlib last looked, too."""
    from matplotlib.font_manager import findSystemFonts

    def rank(path: str) -> tuple[int, str]:
        name = Path(path).name.lower().replace("-", "").replace("_", "")
        plain = "bold" not in name and "italic" not in name
        place = next((index for index, word in enumerate(_PREFERRED) if word in name), len(_PREFERRED))
        return place + (0 if plain else len(_PREFERRED) + 1), path

    return sorted(findSystemFonts(), key=rank)


def _missing_letters(text: str, font_path: str) -> set[str]:
    return {letter for letter in text if not letter.isspace() and ord(letter) not in _letters_of(font_path)}


@lru_cache(maxsize=64)
def _letters_of(font_path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(font_path).get_charmap())
    except (OSError, RuntimeError):  # not a font that FreeType can read
        return frozenset()


def _add_font(path: str) -> str:
    from matplotlib.font_manager import fontManager
    from matplotlib.ft2font import FT2Font

    fontManager.addfont(path)
    return FT2Font(path).family_name
