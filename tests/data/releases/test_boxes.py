"""Boxes of videos as users hold them."""

import pytest

from mg_vtc.data.releases.boxes import Box, read_crops


def test_boxes_are_read_by_video(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text("video,x,y,w,h\n1,0,10,300,400\nSample0002, 5, 6, 7, 8\n")
    assert read_crops(path) == {1: Box(0, 10, 300, 400), "Sample0002": Box(5, 6, 7, 8)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,0,0,9,9\n", "first line .*'1,0,0,9,9'"),
        ("video,x,y,w,h\n1,0,0,9\n", "Line 2 .*'1,0,0,9'.*four whole numbers"),
        ("video,x,y,w,h\n1,-1,0,9,9\n", "four whole numbers"),
        ("video,x,y,w,h\n1,0,0,0,9\n", "empty box"),
        ("video,x,y,w,h\n1,0,0,9,9\n0001,0,0,9,9\n", "second box"),
    ],
)
def test_bad_boxes_are_refused(tmp_path, text, said):
    path = tmp_path / "boxes.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        read_crops(path)


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no crop file"):
        read_crops(tmp_path / "absent.csv")
