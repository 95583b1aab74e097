"""Claims about the set of figures of a report."""

import re

import pytest
from made_predictions import make_predictions, make_results

from mg_vtc.data.class_lists import IMIGUE_CLASS_NAMES
from mg_vtc.evaluation.report.figures import draw_figures
from mg_vtc.runs.records import Training


@pytest.fixture(scope="module")
def predictions():
    return make_predictions(100, IMIGUE_CLASS_NAMES, num_absent=3)


@pytest.fixture(scope="module")
def figures(predictions):
    return draw_figures(predictions, make_results(predictions), Training([{"epoch": 1.0, "step": 10, "loss": 0.5}]))


def test_classes_are_ranked_by_recall_and_those_without_images_come_last(predictions, figures):
    recalls = {row["name"]: row["recall"] for row in make_results(predictions)["classes"]}
    written = [text for svg in figures["class_bars"] for text in re.findall(r">([^<]+)</text>", svg)]
    ranked = [recalls[text] for text in written if text in recalls]
    assert len(ranked) == 32
    assert ranked[:-3] == sorted(ranked[:-3])
    assert ranked[-3:] == [None, None, None]


def test_only_curves_that_were_logged_are_drawn(predictions, figures):
    assert [title for title, _ in figures["curves"]] == ["Loss"]
    assert draw_figures(predictions, make_results(predictions), None)["curves"] == []


def test_figures_of_one_page_share_no_id(figures):
    svgs = [*figures["class_bars"], *(figures[name] for name in ("confusion", "reliability", "map"))]
    svgs += [svg for _, svg in figures["curves"]]
    ids = [name for svg in svgs for name in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(ids) == len(set(ids))
