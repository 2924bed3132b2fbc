"""Figures for pages: matplotlib lays them out in pixels, the page gives them its ink, its accent and its fonts."""

from __future__ import annotations

import base64
import io
import re
import unicodedata
import warnings
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from PIL.Image import Image

# Colours that stand for the page's own: matplotlib draws with them, `to_svg` puts the page's in their place.
INK = "#010203"
PAPER = "#fdfefc"
ACCENT = "#a8306e"
_PAGE_COLOURS = {INK: "currentColor", PAPER: "var(--paper, #fff)", ACCENT: f"var(--accent, {ACCENT})"}

FONT_PX = 11
_PX_PER_INCH = 72  # matplotlib writes SVG in points: with 72 to the inch, a point is a pixel of the page
_SVG = "{http://www.w3.org/2000/svg}"
_XLINK_HREF = "{http://www.w3.org/1999/xlink}href"


class Raster(NamedTuple):
    """A picture made of pixels and its place in the figure, in pixels from the top left corner."""

    png: bytes
    left: float
    top: float
    width: float
    height: float


def make_figure(width_px: float, height_px: float) -> Figure:
    """An empty figure of ``width_px`` x ``height_px`` that belongs to nobody's global state.

    Example:
        >>> make_figure(360, 180).get_size_inches().tolist()
        [5.0, 2.5]
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width_px / _PX_PER_INCH, height_px / _PX_PER_INCH), dpi=_PX_PER_INCH)


def add_panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place given in pixels from the top left corner, with quiet ink and no box.

    Args:
        figure: From `make_figure`.
        left: Pixels from the figure's left edge to the data area.
        top: Pixels from the figure's upper edge to the data area.
        width: Of the data area, pixels.
        height: Of the data area, pixels.

    Example:
        >>> figure = make_figure(100, 100)
        >>> panel = add_panel(figure, 20, 10, 70, 60)
        >>> [round(float(edge), 3) for edge in panel.get_position().bounds]
        [0.2, 0.3, 0.7, 0.6]
    """
    total_width, total_height = figure.get_size_inches() * _PX_PER_INCH
    bottom = total_height - top - height
    axes = figure.add_axes((left / total_width, bottom / total_height, width / total_width, height / total_height))
    axes.tick_params(colors=INK, labelcolor=INK, labelsize=FONT_PX, length=3, width=0.8, pad=3)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_edgecolor(INK)
        spine.set_linewidth(0.8)
        spine.set_alpha(0.5)
    axes.set_facecolor("none")
    return axes


def to_png(levels: NDArray[np.floating], *, n_colours: int = 64, colours: str = "magma") -> bytes:
    """A PNG in magma, or another map of colours, of levels between 0 and 1, first row at the top.

    64 steps of colour cannot be told from 256 by eye, and halve the file.

    Args:
        levels: (rows, columns), in [0, 1]; what lies outside is cut off there.
        n_colours: Steps of colour.
        colours: Name of a colour map of matplotlib.

    Example:
        >>> import numpy as np
        >>> to_png(np.zeros((2, 3)))[:4]
        b'\\x89PNG'
    """
    import numpy as np
    from matplotlib import colormaps
    from PIL import Image

    steps = np.rint(np.clip(levels, 0, 1) * (n_colours - 1)).astype(np.uint8)
    palette = (colormaps[colours](np.linspace(0, 1, n_colours))[:, :3] * 255).round().astype(np.uint8)
    picture = Image.fromarray(steps, mode="P")
    picture.putpalette(palette.tobytes())
    return encode_png(picture)


def encode_png(picture: Image) -> bytes:
    """A picture as a PNG. The highest level of compression would take three times as long, for half a hundredth of it.

    Example:
        >>> from PIL import Image
        >>> encode_png(Image.new("L", (3, 2)))[:4]
        b'\\x89PNG'
    """
    file = io.BytesIO()
    picture.save(file, format="PNG", compress_level=4)
    return file.getvalue()


def to_svg(figure: Figure, description: str, rasters: tuple[Raster, ...] = ()) -> str:
    """The figure as an ``<svg>`` element to put into a page.

    Ink becomes ``currentColor`` and the accent ``var(--accent)``, so that one picture fits light and dark. Text stays
    text and takes the page's font, which has the Chinese glyphs that matplotlib's lacks. There is no id in it, so that
    many pictures in one page cannot meddle with each other: draw with ``clip_on=False``.

    Args:
        figure: From `make_figure`; only line art, pixels go into ``rasters``.
        description: What a screen reader says instead of the picture.
        rasters: Laid under the line art.

    Returns:
        One ``<svg role="img" aria-label=…>`` element without a fixed size: the page decides its width.

    Example:
        >>> figure = make_figure(100, 50)
        >>> _ = add_panel(figure, 20, 10, 70, 30).set_title("狗", color=INK)
        >>> to_svg(figure, "A dog")[:96]
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 50" role="img" aria-label="A dog" style'
    """
    drawn = ElementTree.fromstring(_draw(figure))
    shapes = {node.get("id"): node for node in drawn.iter() if node.get("id")}
    width, height = (_round(float(side)) for side in figure.get_size_inches() * _PX_PER_INCH)
    root = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width} {height}",
            "role": "img",
            "aria-label": description,
            "style": f"--width: {width}px; stroke-linejoin: round",
        },
    )
    for raster in rasters:
        root.append(_image(raster))
    for child in drawn.findall(f"{_SVG}g"):
        _copy_marks(child, root, shapes)
    return ElementTree.tostring(root, encoding="unicode")


def lay_under(svg: str, raster: Raster) -> str:
    """An ``<svg>`` element of `to_svg` with pixels beneath all that it shows: one drawing serves many pictures.

    Example:
        >>> figure = make_figure(100, 50)
        >>> _ = add_panel(figure, 20, 10, 70, 30)
        >>> raster = Raster(b"", 20, 10, 70, 30)
        >>> lay_under(to_svg(figure, "A dog"), raster) == to_svg(figure, "A dog", (raster,))
        True
    """
    opening, marks = svg.split(">", 1)  # inside an attribute it would be &gt;
    return f"{opening}>{ElementTree.tostring(_image(raster), encoding='unicode')}{marks}"


def estimate_width_px(text: str, font_px: float = FONT_PX) -> float:
    """About how wide ``text`` will be in the reader's font, which is not known here.

    Example:
        >>> estimate_width_px("狗狗", 10), estimate_width_px("dogs", 10)
        (20.0, 24.0)
    """
    return font_px * sum(1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.6 for letter in text)


def _draw(figure: Figure) -> str:
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}), warnings.catch_warnings():
        # The reader's font draws the text; that matplotlib's own lacks a glyph is of no consequence.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(file, format="svg", transparent=True)
    return file.getvalue()


def _copy_marks(node: ElementTree.Element, target: ElementTree.Element, shapes: dict) -> None:
    """Copy what leaves a mark, without groups, ids and definitions; a ``use`` becomes the shape that it uses."""
    for child in node:
        tag = child.tag.removeprefix(_SVG)
        if tag == "g":
            _copy_marks(child, target, shapes)
        elif tag == "use":
            shape = shapes[child.get(_XLINK_HREF, "").removeprefix("#")]
            mark = ElementTree.SubElement(target, "path", {"d": _shorten(shape.get("d", ""))})
            mark.set("transform", f"translate({_shorten(child.get('x', '0'))} {_shorten(child.get('y', '0'))})")
            mark.set("style", _restyle(child.get("style", "")))
        elif tag in ("path", "text") and child.get("style") != "fill: none":
            mark = ElementTree.SubElement(target, tag)
            mark.text = child.text
            for name in ("d", "x", "y", "transform"):
                value = _shorten(child.get(name, ""))
                if value and not value.startswith("rotate(0 ") and not value.startswith("rotate(-0 "):
                    mark.set(name, value)
            mark.set("style", _restyle(child.get("style", "")))


def _restyle(style: str) -> str:
    kept = [part.strip() for part in style.split(";") if "font-family" not in part]
    text = "; ".join(kept)
    for colour, of_the_page in _PAGE_COLOURS.items():
        text = text.replace(colour, of_the_page)
    return text


def _shorten(numbers: str) -> str:
    """A tenth of a pixel is as fine as an eye can see."""
    short = re.sub(r"-?\d+\.\d+", lambda match: _round(float(match.group())), numbers)
    return " ".join(short.split())


def _round(number: float) -> str:
    return f"{round(number, 1):g}"


def _image(raster: Raster) -> ElementTree.Element:
    uri = "data:image/png;base64," + base64.b64encode(raster.png).decode("ascii")
    place = {"x": raster.left, "y": raster.top, "width": raster.width, "height": raster.height}
    attributes = {name: _round(value) for name, value in place.items()}
    return ElementTree.Element("image", {**attributes, "preserveAspectRatio": "none", "href": uri})
