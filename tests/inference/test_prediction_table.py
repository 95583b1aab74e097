"""Lines of the table."""

import pytest

from mg_vtc.inference.predict import Prediction
from mg_vtc.inference.prediction_table import format_header, format_prediction

LABELS = ["Buckle button, pulling shirt collar, adjusting tie", "Rubbing eyes", "Head up", "Arms akimbo"]
SCORES = [0.871, 0.1, 0.0204, 0.004]


def answer(file="a.png", clip=None, time=None, num_frames=1, labels=LABELS, scores=SCORES):
    return Prediction(file, clip, None, time, num_frames, labels, scores, None)


@pytest.mark.parametrize("width", [60, 80, 132])
def test_lines_fit_the_terminal_and_their_columns_stand_below_each_other(width):
    header = format_header(width, voted=False)
    lines = [
        format_prediction(answer(file), width)
        for file in ("a.png", "training/00031/a_very_long_name_of_a_clip_0000.12.jpg" * 2)
    ]
    assert all(len(line) <= width for line in lines)
    assert {line.index("Buckle") for line in lines} == {header.index("answer")}
    assert {line.index(" %") + 2 for line in lines} == {header.index("score") + len("score")}
    assert all("87.1 %" in line for line in lines)


def test_long_names_keep_both_ends():
    line = format_prediction(answer("training/00031/a_very_long_name_of_a_clip_0000.12.jpg"), 80)
    assert line.startswith("trainin…_0000.12.jpg ")


def test_wide_terminals_show_more_of_the_next_answers():
    assert format_prediction(answer(), 80).endswith("  Rubbing eyes 10 %")
    assert format_prediction(answer(), 160).endswith("Rubbing eyes 10 %, Head up 2 %, Arms akimbo 0 %")


def test_clips_tell_their_frames_and_frames_their_time():
    assert format_prediction(answer(None, clip="12/0003", num_frames=4), 80).startswith("12/0003 (4) ")
    assert format_prediction(answer("v.mp4", time=1.5), 80).startswith("v.mp4 1.50 s ")
    assert format_header(80, voted=True).startswith("clip (frames) ")


def test_certain_answer_of_a_single_class_fits():
    line = format_prediction(answer(labels=["Rubbing eyes"], scores=[1.0]), 80)
    assert line.endswith("100.0 %")
