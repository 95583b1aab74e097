"""Claims about the geometry of the drawn figures."""

import cmath

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mg_vtc.data.demo.drawing import BONE, POLES, Pen, _reach, shade


@pytest.mark.parametrize("pole", POLES.values(), ids=POLES)
def test_wrist_within_reach_is_reached(pole):
    _, wrist = _reach(27 + 36j, 10 + 20j, 20.0, pole)
    assert wrist == pytest.approx(10 + 20j)


def test_wrist_out_of_reach_is_pulled_in_along_the_line():
    elbow, wrist = _reach(0j, 200j, 0.0, POLES["out"])
    assert wrist == pytest.approx(2 * 0.99 * BONE * 1j)
    assert elbow.real > 0


def test_bones_drawn_in_the_plane_keep_their_length():
    elbow, wrist = _reach(0j, 30 + 40j, 0.0, (1.0, -0.7, 0.0))
    assert (abs(elbow), abs(wrist - elbow)) == pytest.approx((BONE, BONE))


def test_pen_composes_shift_turn_and_zoom():
    pen = Pen(ImageDraw.Draw(Image.new("RGB", (8, 8))), 3 + 4j, 2 + 0j).at(1 + 1j, 90, zoom=0.5)
    assert pen.origin == pytest.approx(5 + 6j)
    assert pen.scale == pytest.approx(cmath.rect(1, np.pi / 2))


def test_shade_of_factor_one_is_the_colour():
    assert (shade("#30609f", 1.0), shade("#ffffff", 2.0), shade("#102030", 0.5)) == ("#30609f", "#ffffff", "#081018")
