"""Pictures as files: their own colours, letters that no font has said so, SVG that opens alone."""

import io
import warnings
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from earmark.pages import picture
from earmark.pages.figure import ACCENT, INK, Raster, add_panel, make_figure, to_png, to_svg
from earmark.pages.picture import PictureWarning, to_lone_svg, to_picture


def make_titled(title):
    figure = make_figure(200, 60)
    add_panel(figure, 20, 30, 160, 20).set_title(title, color=INK)
    return figure


def read(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_a_picture_has_real_colours_and_two_pixels_a_point():
    figure = make_figure(100, 50)
    panel = add_panel(figure, 10, 10, 80, 30)
    panel.fill_between([0, 1], [0, 0], [1, 1], color=ACCENT)
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1)
    pixels = read(to_picture(figure))
    assert pixels.shape == (100, 200, 3)
    assert pixels[50, 100].tolist() == [0xA8, 0x30, 0x6E]
    assert pixels[2, 2].min() > 250


def test_rasters_lie_where_they_belong_under_the_lines():
    figure = make_figure(100, 50)
    panel = add_panel(figure, 10, 10, 80, 30)
    panel.set_axis_off()
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1)
    panel.plot([0.5, 0.5], [0, 1], color=ACCENT, linewidth=4)
    raster = Raster(to_png(np.array([[1.0], [0.0]])), 10, 10, 80, 30)
    pixels = read(to_picture(figure, (raster,)))
    assert pixels[30, 40].tolist() == [252, 253, 191]  # magma's brightest, above
    assert pixels[70, 40].tolist() == [0, 0, 4]  # its darkest, below
    assert pixels[50, 100].tolist() == [0xA8, 0x30, 0x6E]
    assert pixels[50, 190].min() > 250


def test_letters_that_no_font_has_become_question_marks_with_a_warning(monkeypatch):
    monkeypatch.setattr(picture, "_other_fonts", list)
    figure = make_titled("狗 dog")
    with pytest.warns(PictureWarning, match=r"No font on this computer has 狗: .* Noto Sans CJK"):
        pixels = read(to_picture(figure))
    assert (pixels == read(to_picture(make_titled("? dog")))).all()


def test_letters_are_taken_from_a_font_that_has_them(monkeypatch):
    """matplotlib's own DejaVu Sans Display has no 狗 either, but STIX has letters that DejaVu Sans lacks."""
    from matplotlib import get_data_path

    stix = f"{get_data_path()}/fonts/ttf/STIXNonUni.ttf"
    letter = chr(
        min(picture._letters_of(stix) - picture._letters_of(picture._font_path(picture.LETTERS)) - set(range(33)))
    )
    monkeypatch.setattr(picture, "_other_fonts", lambda: [stix])
    with warnings.catch_warnings():
        warnings.simplefilter("error", PictureWarning)
        pixels = read(to_picture(make_titled(f"{letter} dog")))
    assert (pixels != read(to_picture(make_titled("? dog")))).any()


def test_fonts_that_cannot_be_read_are_passed_over(tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    assert picture._letters_of(str(tmp_path / "broken.ttf")) == frozenset()


def test_an_svg_of_its_own_brings_fonts_and_ink():
    lone = to_lone_svg(to_svg(make_titled("狗"), "A dog"))
    root = ElementTree.fromstring(lone.encode("utf-8"))
    assert "font-family: system-ui" in root.get("style")
    assert "background: #fff" in root.get("style")
    assert "'PingFang SC'" in root.get("style")
    assert any(node.text == "狗" for node in root.iter())
