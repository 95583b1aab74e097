"""Segments of videos as users hold them."""

import pytest

from mg_vtc.inference.segment_files import read_segments


@pytest.fixture
def read(tmp_path):
    def read(text, name="segments.csv", first_frame=0):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return read_segments(tmp_path / name, first_frame=first_frame)

    return read


def test_header_tells_the_columns_in_any_order(read):
    found = read("\ufeffsubject,End_Frame,video,START_FRAME\n7,9,0001,0\n7,20,b,10\n7,19,1,11\n")
    assert found == {1: [(0, 0, 9), (1, 11, 19)], "b": [(0, 10, 20)]}
    assert read("start,end\n0,0\n") == {None: [(0, 0, 0)]}


def test_file_without_header_is_a_label_file(read):
    assert read("99,5,10\n3,0,4\n") == {None: [(0, 5, 10), (1, 0, 4)]}
    assert read("99,5,10\n", name="0007_label.csv") == {7: [(0, 5, 10)]}


def test_folder_of_label_files_is_read_whole(read, tmp_path):
    for video in ("0001", "0002"):
        (tmp_path / "test" / video).mkdir(parents=True)
        (tmp_path / "test" / video / f"{video}_label.csv").write_text("1,0,4\n")
    assert read_segments(tmp_path / "test", first_frame=0) == {1: [(0, 0, 4)], 2: [(0, 0, 4)]}
    (tmp_path / "test" / "1_label.csv").write_text("1,0,4\n")
    with pytest.raises(ValueError, match="segments of the video 1: keep one"):
        read_segments(tmp_path / "test", first_frame=0)


def test_file_that_lies_in_two_folders_counts_once(tmp_path):
    for part in ("rgb", "skeleton"):
        (tmp_path / part / "0001").mkdir(parents=True)
        (tmp_path / part / "0001" / "0001_label.csv").write_text("1,0,4\n2,5,9\n")
    assert read_segments(tmp_path, first_frame=0) == {1: [(0, 0, 4), (1, 5, 9)]}
    (tmp_path / "skeleton" / "0001" / "0001_label.csv").write_text("1,0,4\n2,5,8\n")
    with pytest.raises(ValueError, match="segments of the video 1: keep one"):
        read_segments(tmp_path, first_frame=0)


def test_frames_are_numbered_from_one_unless_it_is_said(tmp_path, read):
    read("1,1,10\n", first_frame=0)
    assert read_segments(tmp_path / "segments.csv") == {None: [(0, 0, 9)]}
    with pytest.raises(ValueError, match=r"no frame 0, because the first frame is 1.*set `first_frame=0`"):
        read("1,0,10\n", first_frame=1)
    with pytest.raises(ValueError, match="first_frame must be 0 or 1, got 2"):
        read("1,0,10\n", first_frame=2)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("1,9,5", "frame 5 is before frame 9"),
        ("1,-3,5", "no frame -3"),
        ("1,a,5", "'a' is not a whole number"),
        ("1,0.5,5", "'0.5' is no"),
    ],
)
def test_line_that_tells_no_frames_is_refused(read, line, fault):
    with pytest.raises(ValueError, match=rf"In line 2 of .*segments.csv, '{line}': .*{fault}"):
        read(f"1,0,3\n{line}\n")


def test_short_lines_and_other_headers_are_refused(read):
    with pytest.raises(ValueError, match=r"line 1 of .*'1,2', the column 'end' is missing"):
        read("1,2\n")
    with pytest.raises(ValueError, match=r"line 2 of .*'1,2', the column 'video' is missing"):
        read("start,end,video\n1,2\n")
    with pytest.raises(ValueError, match=r"header 'video,from,to', without a column for 'start', 'end'"):
        read("video,from,to\n1,2,3\n")
    with pytest.raises(ValueError, match="No segments"):
        read("start,end\n")


def test_missing_file_is_refused(tmp_path):
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(FileNotFoundError, match="No file of segments"):
            read_segments(path)
