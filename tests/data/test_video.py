"""Frames of real H.264 videos, which show their own numbers."""

import itertools
import tracemalloc

import pytest
from made_releases import HEIGHT, NTSC, PAL, WIDTH, make_video, read_number

from mg_vtc.data.crops import Box
from mg_vtc.data.video import VideoError, count_frames, read_frames

UNEVEN = list(itertools.accumulate([0] + [40, 17, 100, 33, 7] * 10))  # milliseconds


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("videos") / "plain.mp4", 50)


@pytest.mark.parametrize("rate", [PAL, NTSC], ids=["25", "29.97"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_frames_are_those_of_their_numbers_and_times(tmp_path, rate, suffix):
    video = make_video(tmp_path / f"video{suffix}", 60, rate)
    wanted = [0, 1, 2, 3, 11, 12, 13, 37, 58, 59]
    frames = list(read_frames(video, wanted))
    assert [frame.number for frame in frames] == wanted
    assert [read_number(frame.picture) for frame in frames] == wanted
    exact = 1e-6 if suffix == ".mp4" else 1e-3  # Matroska counts milliseconds
    assert [frame.time for frame in frames] == pytest.approx([index / float(rate) for index in wanted], abs=exact)


def test_avi_gives_the_same_frames(tmp_path):
    video = make_video(tmp_path / "video.avi", 30)
    assert [read_number(frame.picture) for frame in read_frames(video, range(30))] == list(range(30))


def test_variable_rate_counts_frames_and_tells_their_times(tmp_path):
    video = make_video(tmp_path / "video.mp4", len(UNEVEN), times=[time + 80 for time in UNEVEN])
    frames = list(read_frames(video, range(0, len(UNEVEN), 3)))
    assert [read_number(frame.picture) for frame in frames] == list(range(0, len(UNEVEN), 3))
    assert [round(frame.time * 1000) for frame in frames] == UNEVEN[::3]


def test_box_is_cut_out_of_the_frame_as_it_is_shown(tmp_path):
    video = make_video(tmp_path / "video.mp4", 3, rotation=90)
    (whole,), (part,) = read_frames(video, [1]), read_frames(video, [1], Box(40, 60, 8, 4))
    assert whole.picture.size == (HEIGHT, WIDTH)
    assert part.picture.tobytes() == whole.picture.crop((40, 60, 48, 64)).tobytes()
    assert part[:2] == whole[:2]


def test_box_may_be_the_whole_frame_and_not_more(video):
    (frame,) = read_frames(video, [0], Box(0, 0, WIDTH, HEIGHT))
    assert frame.picture.size == (WIDTH, HEIGHT)
    for box in (Box(1, 0, WIDTH, HEIGHT), Box(0, 40, 8, 9)):
        with pytest.raises(VideoError, match=rf"{', '.join(map(str, box))} reaches out of .*64 x 48"):
            next(read_frames(video, [0], box))


def test_numbers_may_be_without_end(video):
    frames = read_frames(video, itertools.count(3, 20))
    assert [read_number(frame.picture) for frame in frames] == [3, 23, 43]


def test_there_are_no_frames_past_the_end(video):
    assert [frame.number for frame in read_frames(video, [48, 49, 50, 51])] == [48, 49]
    assert count_frames(video) == 50


def test_no_wanted_frame_opens_no_file(tmp_path):
    assert list(read_frames(tmp_path / "absent.mp4", [])) == []


def test_nothing_is_decoded_past_the_last_wanted_frame(tmp_path):
    video = make_video(tmp_path / "video.mp4", 200, index_first=True)
    data = video.read_bytes()
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
    video.write_bytes(data[:middle] + bytes(300) + data[middle + 300 :])
    assert [read_number(frame.picture) for frame in read_frames(video, [0, 5])] == [0, 5]
    with pytest.raises(VideoError, match=str(video)):
        count_frames(video)


def test_memory_does_not_grow_with_the_length(tmp_path):
    def peak(num_frames):
        frames = read_frames(make_video(tmp_path / f"{num_frames}.mp4", num_frames), range(num_frames))
        tracemalloc.start()
        for _ in frames:
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(20)  # what is imported at first use
    assert peak(300) < 1.5 * peak(100)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_pictures_are_turned_as_the_file_says(tmp_path, rotation):
    video = make_video(tmp_path / "video.mp4", 5, rotation=rotation)
    (frame,) = read_frames(video, [3])
    assert frame.picture.size == ((WIDTH, HEIGHT) if rotation == 180 else (HEIGHT, WIDTH))
    assert read_number(frame.picture.rotate(-rotation, expand=True)) == 3


@pytest.mark.parametrize("numbers", [[2, 2], [5, 3], [-1]])
def test_numbers_that_do_not_ascend_from_0_are_refused(video, numbers):
    with pytest.raises(ValueError, match=str(numbers[-1])):
        list(read_frames(video, numbers))


def test_cut_off_video_is_refused_at_once(tmp_path):
    video = make_video(tmp_path / "video.mp4", 50, index_first=True)
    video.write_bytes(video.read_bytes()[:-600])
    with pytest.raises(VideoError, match=rf"{video} is cut off: \d+ of its 50 frames"):
        next(read_frames(video, [0]))


def test_video_without_its_index_is_refused(video, tmp_path):
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(video.read_bytes()[:1000])
    with pytest.raises(VideoError, match=str(cut)):
        count_frames(cut)


def test_text_is_no_video(tmp_path):
    path = tmp_path / "notes.mp4"
    path.write_text("no video")
    with pytest.raises(VideoError, match=f"{path} can not be decoded"):
        count_frames(path)


def test_missing_video_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.mp4"):
        list(read_frames(tmp_path / "absent.mp4", [0]))
