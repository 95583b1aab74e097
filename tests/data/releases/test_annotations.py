"""Labelled intervals: those in the files of the releases, and impossible ones that are refused."""

import pytest

from mg_vtc.data.releases.annotations import (
    FirstFrameError,
    LabelError,
    Segment,
    find_overlaps,
    fit_segments,
    read_label_file,
    read_label_table,
)

LABEL_IDS = {number: number for number in range(1, 33)} | {99: 32}


@pytest.fixture
def read(tmp_path):
    def read(text, first_frame=1, **options):
        path = tmp_path / "0001_label.csv"
        path.write_text(text, encoding=options.pop("encoding", "utf-8"))
        return read_label_file(path, "0001", LABEL_IDS, first_frame=first_frame, **options)

    return read


@pytest.mark.parametrize("header", ["", "gestureID,startFrame,endFrame\n", "class, start_frame, end_frame\n"])
def test_frames_are_counted_from_0_and_99_is_class_32(read, header):
    segments, errors = read(f"{header}7,1,25\n99,26,26\n")
    assert segments == [Segment("0001", 7, 0, 24, 0), Segment("0001", 32, 25, 25, 1)]
    assert [segment.clip for segment in segments] == ["0001_0", "0001_1"]
    assert errors == []


def test_files_that_count_from_0_are_taken_as_they_are(read):
    assert read("7,0,24\n", first_frame=0) == ([Segment("0001", 7, 0, 24, 0)], [])


def test_frame_0_of_a_file_that_counts_from_1_is_reported_with_the_way_out(read):
    segments, (fault,) = read("8,30,40\n7,0,24\n9,50,60\n")
    assert [segment.index for segment in segments] == [0, 2]
    assert "line 2" in fault
    assert "'7,0,24'" in fault
    assert "`first_frame=0`" in fault


def test_file_that_begins_with_frame_0_is_refused(read):
    with pytest.raises(
        FirstFrameError, match=r"line 1 .*'7,0,24': there is no frame 0.*`first_frame=0`.*correct or remove it"
    ):
        read("7,0,24\n8,30,40\n")
    segments, errors = read("77,0,24\n8,30,40\n")  # which is wrong otherwise
    assert (len(segments), len(errors)) == (1, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1;2;3\n", "is separated by ';': separate the columns by commas"),
        ("class;start;end\n1;2;3\n", "is separated by ';'"),
        ("1\t2\t3\n", r"is separated by '\\t'"),
        ("1.0,1.0,10.0\n", "must be whole numbers"),
    ],
)
def test_other_separators_and_numbers_with_a_point_are_called_so(read, text, said):
    with pytest.raises(LabelError, match=said):
        read(text)


def test_byte_order_mark_and_empty_lines_are_no_rows(read):
    assert read("7,1,25\n\n8,30,40\n", encoding="utf-8-sig")[0][1] == Segment("0001", 8, 29, 39, 1)


def test_header_may_have_another_order(read):
    assert read("startFrame,endFrame,gestureID\n1,25,7\n") == ([Segment("0001", 7, 0, 24, 0)], [])


@pytest.mark.parametrize(
    "text",
    ["101,125,7\n226,240,99\n", "7,125,101\n8,240,226\n", "1,10,1\n40,50,2\n1,60,70\n", "3,8,12\n99,20,15\n77,1,2\n"],
)
def test_file_with_half_of_its_lines_invalid_is_refused_with_the_first(read, text):
    with pytest.raises(LabelError, match=r"2 of . lines are not class,start,end, such as line . of .*_label\.csv, '"):
        read(text)


@pytest.mark.parametrize("text", ["3,8,12\n40,8,12\n", "3,8,12\n4,8,12\n77,1,2\n", "40,1,10\n"])
def test_single_invalid_line_is_left_out(read, text):
    segments, errors = read(text)
    assert (len(segments), len(errors)) == (text.count("\n") - 1, 1)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("7,50,30", "frame 30 is before frame 50"),
        ("33,30,50", "there is no class 33"),
        ("7,30,x", "'x' is not a whole number"),
        ("7,-5,30", "there is no frame -5"),
    ],
)
def test_line_that_makes_no_sense_is_left_out_and_keeps_its_number(read, line, fault):
    segments, errors = read(f"7,100,125\n{line}\n8,230,240\n")
    assert [segment.clip for segment in segments] == ["0001_0", "0001_2"]
    assert len(errors) == 1
    assert f"'{line}': {fault}" in errors[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("7,100\n", r"line 1 .*'7,100', the column 'end' is missing"),
        ("class,begin,end\n", r"header 'class,begin,end', without .*'start'"),
    ],
)
def test_missing_column_is_refused(read, text, said):
    with pytest.raises(LabelError, match=said):
        read(text)


def test_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "0001_label.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LabelError, match="UTF-8"):
        read_label_file(path, "0001", LABEL_IDS, first_frame=1)


@pytest.mark.parametrize("header", ["", "video_id,class,start_frame,end_frame,subject_id,win_or_lose\n"])
def test_table_numbers_the_segments_of_each_video(tmp_path, header):
    path = tmp_path / "labels_20200831.csv"
    path.write_text(
        f"{header}1,7,1,25,60,Win\n2,8,1,10,61,Lose\n1,99,40,60,60,Win\n1,7,80,70,60,Win\n1,6,90,99,60,Win\n"
    )
    segments, errors = read_label_table(path, LABEL_IDS, first_frame=1)
    assert segments == {
        "0001": [
            Segment("0001", 7, 0, 24, 0, "60"),
            Segment("0001", 32, 39, 59, 1, "60"),
            Segment("0001", 6, 89, 98, 3, "60"),
        ],
        "0002": [Segment("0002", 8, 0, 9, 0, "61")],
    }
    assert len(errors) == 1
    assert "frame 70 is before frame 80" in errors[0]


def test_segments_that_share_a_frame_overlap():
    one, two, three = (Segment("0001", 1, *frames, 0) for frames in ((0, 10), (10, 20), (21, 30)))
    assert find_overlaps([three, one, two]) == [(one, two)]


def test_long_segment_overlaps_all_within():
    outer, one, two, after = (Segment("0001", 1, *frames, 0) for frames in ((0, 30), (5, 6), (20, 25), (31, 32)))
    assert find_overlaps([outer, one, two, after]) == [(outer, one), (outer, two)]


def test_segments_end_with_the_video():
    frames = enumerate([(0, 9), (5, 10), (10, 12)])
    whole, partly, past = (Segment("0001", 1, start, end, index) for index, (start, end) in frames)
    segments, notes = fit_segments([whole, partly, past], 10)
    assert segments == [whole, Segment("0001", 1, 5, 9, 1)]
    assert [note.partition(":")[0] for note in notes] == ["0001_1", "0001_2"]
    assert notes[0].endswith("cut there")
    assert notes[1].endswith("skipped")
