"""Which frames stand for a segment: closed forms, then real videos."""

import io
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_releases import NTSC, make_video, read_number
from PIL import Image

from mg_vtc.data.releases.annotations import Segment
from mg_vtc.data.releases.boxes import Box
from mg_vtc.data.releases.frames import Frame, PastEndError, choose_frames, extract_frames


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("videos") / "0001.mp4", 60, NTSC)


def open_image(frame):
    return Image.open(io.BytesIO(frame.data))


def test_one_frame_is_the_middle_one():
    assert choose_frames(10, 20, 1) == [15]


def test_frames_are_the_centres_of_equal_parts():
    assert choose_frames(100, 111, 4) == [101, 104, 107, 110]


def test_shorter_clip_gives_all_its_frames():
    assert choose_frames(5, 7, 3) == choose_frames(5, 7, 8) == [5, 6, 7]


@given(st.integers(0, 10**6), st.integers(1, 10**5), st.integers(1, 64))
def test_frames_are_within_and_evenly_spaced(start, num_frames, frames_per_clip):
    chosen = choose_frames(start, start + num_frames - 1, frames_per_clip)
    assert len(chosen) == min(num_frames, frames_per_clip)
    assert start <= chosen[0]
    assert chosen[-1] <= start + num_frames - 1
    for number, place in enumerate(chosen):  # within one frame of where they would be if frames were points
        centre = start + Fraction(2 * number + 1, 2 * len(chosen)) * num_frames
        assert 0 <= centre - place < 1


def test_frames_of_segments_are_those_of_the_video(video):
    segments = [Segment("0001", 3, 40, 55, 1, "7"), Segment("0001", 2, 0, 9, 0, "7")]
    frames = list(extract_frames(video, segments, 3))
    assert [(frame.clip, frame.label_id, frame.number) for frame in frames] == [
        *(("0001_0", 2, number) for number in (1, 5, 8)),
        *(("0001_1", 3, number) for number in (42, 48, 53)),
    ]
    assert [read_number(open_image(frame)) for frame in frames] == [frame.number for frame in frames]
    assert [frame.time * float(NTSC) for frame in frames] == pytest.approx([frame.number for frame in frames])
    assert {(frame.video, frame.subject) for frame in frames} == {("0001", "7")}


def test_frame_of_two_segments_comes_for_both(video):
    frames = list(extract_frames(video, [Segment("0001", 1, 5, 5, 0), Segment("0001", 2, 5, 5, 1)], 8))
    assert [frame.clip for frame in frames] == ["0001_0", "0001_1"]
    assert frames[0].data == frames[1].data


def test_box_is_cut_out(video):
    (frame,) = extract_frames(video, [Segment("0001", 1, 1, 1, 0)], 1, Box(0, 0, 8, 12))  # the first block
    assert open_image(frame).size == (8, 12)
    assert open_image(frame).convert("L").getextrema()[0] > 200  # as 1 is odd


def test_end_of_the_video_is_noticed(video):
    with pytest.raises(PastEndError, match="before frame 60"):
        list(extract_frames(video, [Segment("0001", 1, 55, 62, 0)], 8))


def test_name_is_clip_and_frame_without_the_class():
    assert Frame("12/0003", 12, 5, b"").name == "0003.5"
