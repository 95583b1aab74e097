"""Claims about the colours, and about a figure as a part of a page."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_hex, to_rgb

from mg_vtc.evaluation.report.charts import draw_confusion
from mg_vtc.evaluation.report.palette import PALETTE, RIGHT, drawing, new_figure, to_svg


def luminance(colour):
    """Relative luminance as WCAG 2.2 defines it."""
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """Contrast ratio as WCAG 2.2 defines it."""
    dark, light = sorted(luminance(colour) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


@drawing()
def draw():
    figure = new_figure(200, 100)
    axes = figure.add_axes((0.2, 0.2, 0.7, 0.7))
    axes.plot([1, 2], [3, 4], "o-", color=RIGHT)
    axes.text(1, 3, "<b>1.23456</b> & $x_1$ 手")
    return figure


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["ink", "muted", "right", "wrong"])
@pytest.mark.parametrize("ground", ["page", "panel"])
def test_text_can_be_read_in_every_colour(name, ground, mode):
    assert contrast(PALETTE[name][mode], PALETTE[ground][mode]) >= 4.5


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_numbers_can_be_read_on_cells_of_every_share(mode):
    names = [f"class {number}" for number in range(2)]
    modes = {colours[0]: colours[mode] for colours in PALETTE.values()}
    page = np.array(to_rgb(PALETTE["page"][mode]))
    for share in range(2, 100, 4):
        (axes,) = draw_confusion(np.array([[share, 100 - share], [0, 0]]), names).axes
        (cells,) = [one for one in axes.collections if isinstance(one, PatchCollection)]
        for text, cell in zip(axes.texts, cells.get_facecolor(), strict=True):
            colour, alpha = np.array(to_rgb(modes[to_hex(cell[:3])])), cell[3]
            assert contrast(modes[text.get_color()], to_hex(alpha * colour + (1 - alpha) * page)) >= 3.5


def test_colours_of_a_figure_are_those_of_the_page():
    svg = to_svg(draw(), "one", "a line")
    assert "var(--right)" in svg
    assert not re.search(r"#[0-9a-f]{6}\b", svg)


def test_texts_stay_texts_and_are_escaped():
    svg = to_svg(draw(), "one", 'a "line" & more')
    assert "&lt;b&gt;1.23456&lt;/b&gt; &amp; $x_1$ 手</text>" in svg
    assert ElementTree.fromstring(svg).get("aria-label") == 'a "line" & more'


def test_two_figures_share_no_id_and_refer_to_their_own():
    ids = []
    for name in ("one", "two"):
        svg = to_svg(draw(), name, "a line")
        ids.append(set(re.findall(r'\bid="([^"]+)"', svg)))
        references = set(re.findall(r'href="#([^"]+)"', svg)) | set(re.findall(r"url\(#([^)]+)\)", svg))
        assert references
        assert references <= ids[-1]
        assert not re.search(r"https?:|<style|<!DOCTYPE", svg)
    assert not ids[0] & ids[1]


def test_figure_is_written_the_same_every_time():
    assert to_svg(draw(), "one", "a line") == to_svg(draw(), "one", "a line")
