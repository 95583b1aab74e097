"""Lines of the table."""

import pytest

from mg_vtc.inference.console import format_header, format_prediction
from mg_vtc.inference.predictor import Prediction

LABELS = ["Buckle button, pulling shirt collar, adjusting tie", "Rubbing eyes", "Head up", "Arms akimbo"]
SCORES = [0.871, 0.1, 0.0204, 0.004]


def make_prediction(file="a.png", clip=None, time=None, num_frames=1, labels=LABELS, scores=SCORES):
    return Prediction(file, clip, None, time, num_frames, labels, scores, None)


@pytest.mark.parametrize("width", [60, 80, 132])
def test_lines_fit_the_terminal_and_their_columns_stand_below_each_other(width):
    header = format_header(width, voted=False)
    lines = [
        format_prediction(make_prediction(file), width)
        for file in ("a.png", "training/00031/a_very_long_name_of_a_clip_0000.12.jpg" * 2)
    ]
    assert all(len(line) <= width for line in lines)
    assert {line.index("Buckle") for line in lines} == {header.index("prediction")}
    assert {line.index(" %") + 2 for line in lines} == {header.index("score") + len("score")}
    assert all("87.1 %" in line for line in lines)


@pytest.mark.parametrize(
    "name", ["映像/手を動かす人の長い名前の映像.12.jpg", "映" * 9, "e\u0301" * 60, "\uff21b" * 40]
)
def test_letters_of_two_columns_and_of_none_keep_the_columns(name):
    def measure(text):
        return len(text) + sum(char in "腕映像手動人長名前をかすのい\uff21" for char in text) - text.count("\u0301")

    plain = format_prediction(make_prediction(), 80)
    line = format_prediction(make_prediction(name, labels=["腕" * 40, "映" * 40], scores=SCORES[:2]), 80)
    before = line[: line.index("腕")]
    assert measure(before) == plain.index("Buckle")
    assert measure(line[: line.index("87.1 %")]) == plain.index("87.1 %")
    assert 76 <= measure(line) <= 80


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a\nb.png", r"a\nb.png"), ("\x1b[31mred.png", r"\x1b[31mred.png"), ("\u202egnp", r"\u202egnp")],
)
def test_what_could_command_the_terminal_is_shown_escaped(name, shown):
    line = format_prediction(make_prediction(name, labels=[name, name], scores=SCORES[:2]), 120)
    assert line.count(shown) == 3
    assert line.isprintable()


def test_long_names_keep_both_ends():
    line = format_prediction(make_prediction("training/00031/a_very_long_name_of_a_clip_0000.12.jpg"), 80)
    assert line.startswith("trainin…_0000.12.jpg ")


def test_wide_terminals_show_more_of_the_next_predictions():
    assert format_prediction(make_prediction(), 80).endswith("  Rubbing eyes 10 %")
    assert format_prediction(make_prediction(), 160).endswith("Rubbing eyes 10 %, Head up 2 %, Arms akimbo 0 %")


def test_clips_tell_their_frames_and_frames_their_time():
    assert format_prediction(make_prediction(None, clip="12/0003", num_frames=4), 80).startswith("12/0003 (4) ")
    assert format_prediction(make_prediction("v.mp4", time=1.5), 80).startswith("v.mp4 1.50 s ")
    assert format_header(80, voted=True).startswith("clip (frames) ")


def test_certain_prediction_of_a_single_class_fits():
    line = format_prediction(make_prediction(labels=["Rubbing eyes"], scores=[1.0]), 80)
    assert line.endswith("100.0 %")
