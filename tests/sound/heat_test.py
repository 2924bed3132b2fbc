"""The heat map and its picture."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from earmark.pages.figure import to_svg
from earmark.sound.heat import HeatMap, plot_heat

RATE = 16_000


def make_heat(values: list[list[float]]) -> HeatMap:
    heat = np.array(values)
    return HeatMap(heat, np.linspace(0, 2, heat.shape[1] + 1), np.linspace(0, 8_000, heat.shape[0] + 1))


def make_noise() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32)


def test_every_point_has_the_value_of_its_cell_and_none_beyond_the_bands() -> None:
    heat = HeatMap(np.array([[0.1, 0.2], [0.3, 1.0]]), np.array([0.0, 1.0, 2.0]), np.array([100.0, 1000.0, 4000.0]))
    found = heat.at(np.array([0.0, 0.99, 1.0, 2.0]), np.array([50.0, 100.0, 999.0, 1000.0, 4000.0, 4001.0]))
    low, high, none = [0.1, 0.1, 0.2, 0.2], [0.3, 0.3, 1.0, 1.0], [0.0] * 4
    assert found.tolist() == [none, low, low, high, high, none]
    assert heat.highest() == (1.5, 2500.0)


def test_what_is_hot_is_in_colour_and_the_rest_is_grey() -> None:
    _, description, rasters = plot_heat(make_noise(), RATE, make_heat([[0.0, 0.0], [0.0, 1.0]]))
    pixels = np.asarray(Image.open(io.BytesIO(rasters[0].png)).convert("RGB")).astype(int)
    colourful = np.ptp(pixels, axis=2)
    height, width = colourful.shape
    # 4 to 8 kHz are the upper sixth of the mel scale here; the second half of the time is hot.
    hot, cold = colourful[: height // 8, width // 2 + 1 :], colourful[:, : width // 2 - 1]
    assert np.median(hot) > 60
    assert cold.max() <= 12
    assert colourful[height // 2 :].max() <= 12
    assert description.endswith("it is highest at 1.5 s, 6 kHz.")


def test_a_map_without_heat_is_all_grey_and_says_so() -> None:
    figure, description, rasters = plot_heat(make_noise(), RATE, make_heat([[0.0, 0.0]]))
    assert description.endswith("all grey: no part of it has any heat.")
    pixels = np.asarray(Image.open(io.BytesIO(rasters[0].png)).convert("RGB")).astype(int)
    assert np.ptp(pixels, axis=2).max() <= 12
    assert "<svg" in to_svg(figure, description, rasters)


def test_a_line_runs_round_what_has_half_of_the_highest_heat() -> None:
    hot = to_svg(*plot_heat(make_noise(), RATE, make_heat([[0.0, 1.0, 0.4]])))
    even = to_svg(*plot_heat(make_noise(), RATE, make_heat([[1.0, 1.0, 1.0]])))
    assert len(re.findall("stroke: #ffffff", hot)) == 1
    assert "stroke: #ffffff" not in even
    assert " id=" not in hot


@pytest.mark.parametrize("sample_rate", [8_000, 44_100])
def test_the_picture_reaches_up_to_half_of_the_sounds_own_rate(sample_rate: int) -> None:
    _, description, _ = plot_heat(make_noise(), sample_rate, make_heat([[1.0]]))
    assert f"up to {sample_rate / 2000:g} kHz" in description
