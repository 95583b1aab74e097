"""Frames of real H.264 videos, which show their own numbers."""

import itertools
import random
import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
from made_releases import HEIGHT, NTSC, PAL, WIDTH, draw_number, make_video, read_number

from mg_vtc.data.releases.boxes import Box
from mg_vtc.data.releases.video import VideoError, count_frames, read_frames

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
    assert [read_number(frame.image) for frame in frames] == wanted
    exact = 1e-6 if suffix == ".mp4" else 1e-3  # Matroska counts milliseconds
    assert [frame.time for frame in frames] == pytest.approx([index / float(rate) for index in wanted], abs=exact)


def test_avi_gives_the_same_frames(tmp_path):
    video = make_video(tmp_path / "video.avi", 30)
    assert [read_number(frame.image) for frame in read_frames(video, range(30))] == list(range(30))


def test_variable_rate_counts_frames_and_tells_their_times(tmp_path):
    video = make_video(tmp_path / "video.mp4", len(UNEVEN), times=[time + 80 for time in UNEVEN])
    frames = list(read_frames(video, range(0, len(UNEVEN), 3)))
    assert [read_number(frame.image) for frame in frames] == list(range(0, len(UNEVEN), 3))
    assert [round(frame.time * 1000) for frame in frames] == UNEVEN[::3]


def test_box_is_cut_out_of_the_frame_as_it_is_shown(tmp_path):
    video = make_video(tmp_path / "video.mp4", 3, rotation=90)
    (whole,), (part,) = read_frames(video, [1]), read_frames(video, [1], Box(40, 60, 8, 4))
    assert whole.image.size == (HEIGHT, WIDTH)
    assert part.image.tobytes() == whole.image.crop((40, 60, 48, 64)).tobytes()
    assert part[:2] == whole[:2]


def test_box_may_be_the_whole_frame_and_not_more(video):
    (frame,) = read_frames(video, [0], Box(0, 0, WIDTH, HEIGHT))
    assert frame.image.size == (WIDTH, HEIGHT)
    for box in (Box(1, 0, WIDTH, HEIGHT), Box(0, 40, 8, 9)):
        with pytest.raises(VideoError, match=rf"{', '.join(map(str, box))} extends beyond .*64 x 48"):
            next(read_frames(video, [0], box))


def test_numbers_may_be_without_end(video):
    frames = read_frames(video, itertools.count(3, 20))
    assert [read_number(frame.image) for frame in frames] == [3, 23, 43]


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
    assert [read_number(frame.image) for frame in read_frames(video, [0, 5])] == [0, 5]
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


def list_numbers(path):
    return [read_number(frame.image) for frame in read_frames(path, itertools.count())]


def flip_bits(path):
    """Yield after each of some flips of one bit of the frames of an MP4, which is taken back then."""
    data = path.read_bytes()
    draw = random.Random(5)
    for _ in range(1000):
        place = draw.randrange(data.index(b"mdat") + 4, len(data))
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :])
        yield


def test_most_bits_that_flip_are_errors_and_no_frame_gets_the_number_of_another(tmp_path):
    video = make_video(tmp_path / "video.mp4", 40, index_first=True)
    num_errors = num_wrong = 0
    for _ in itertools.islice(flip_bits(video), 100):
        try:
            numbers = list_numbers(video)
        except VideoError:
            num_errors += 1
        else:
            assert len(numbers) == 40
            num_wrong += numbers != list(range(40))
    assert num_errors > 30
    assert num_wrong <= 3  # bits that spell another image, which no decoder can know


def test_frame_that_the_decoder_calls_corrupt_is_refused(tmp_path):
    video = make_video(tmp_path / "video.mp4", 24, index_first=True)
    for _ in flip_bits(video):
        with suppress(av.FFmpegError), av.open(str(video)) as container:
            context = container.streams.video[0].codec_context
            context.options, context.thread_type, context.thread_count = {"err_detect": "explode"}, "FRAME", 2
            if any(frame.is_corrupt for frame in container.decode(video=0)):
                break
    else:
        pytest.fail("none was met")
    with pytest.raises(VideoError, match=str(video)):
        list_numbers(video)


def hide_frame(path, codec, number, shown):
    """Write VP8 or VP9, and clear the bit which says that a frame is shown, in all that are as this one."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"lag-in-frames": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        frames = [av.VideoFrame.from_image(draw_number(number)) for number in range(30)]
        packets = [packet for frame in [*frames, None] for packet in stream.encode(frame)]
        hidden = bytes(packets[number])
        container.mux(packets)
    data = path.read_bytes()
    path.write_bytes(data.replace(hidden, bytes([hidden[0] & ~shown]) + hidden[1:]))
    return path


@pytest.mark.parametrize(
    ("number", "said"), [(15, "Frame 15 of .* is missing"), (29, "The last 1 frames of .* are missing")]
)
def test_frame_that_is_announced_and_does_not_come_is_reported(tmp_path, number, said):
    with pytest.raises(VideoError, match=said):
        count_frames(hide_frame(tmp_path / "video.webm", "libvpx-vp9", number, 0x02))


def test_frames_of_vp8_that_are_not_to_be_shown_are_no_loss(tmp_path):
    numbers = list_numbers(hide_frame(tmp_path / "video.webm", "libvpx", 15, 0x10))
    assert numbers == sorted(set(numbers) - {15})
    assert 20 < len(numbers) < 30


@pytest.mark.parametrize("suffix", [".ts", ".flv"])
def test_transport_streams_and_flash_give_the_same_frames(tmp_path, suffix):
    assert list_numbers(make_video(tmp_path / f"video{suffix}", 60)) == list(range(60))


def test_gap_in_a_transport_stream_is_an_error(tmp_path):
    video = make_video(tmp_path / "video.ts", 60)
    data = video.read_bytes()
    packets = [data[begin : begin + 188] for begin in range(0, len(data), 188)]
    of_video = [number for number, packet in enumerate(packets) if packet[1] & 0x1F == 1 and packet[2] == 0]
    for lost in of_video[len(of_video) // 2 :][:10]:
        video.write_bytes(b"".join(packets[:lost] + packets[lost + 1 :]))
        with pytest.raises(VideoError, match=str(video)):
            count_frames(video)


def test_frames_without_times_are_counted_and_not_read(tmp_path):
    video = make_video(tmp_path / "video.mpg", 60)
    assert count_frames(video) == 60
    with pytest.raises(VideoError, match="has no frame times"):
        list_numbers(video)


def copy_stream(source, target, *, skip=0, shift=0):
    """Copy a video without its first packets, or with times that begin earlier."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in itertools.islice(old.demux(video=0), skip, None):
            if packet.size:
                packet.stream = stream
                packet.pts += shift
                packet.dts += shift
                new.mux(packet)
    return target


def test_frames_that_an_edit_list_cuts_are_no_loss(video, tmp_path):
    per_frame = 12800 // 25
    assert list_numbers(copy_stream(video, tmp_path / "cut.mp4", shift=-5 * per_frame)) == list(range(5, 50))


def test_end_that_an_edit_list_cuts_is_no_loss(video, tmp_path):
    data = bytearray(video.read_bytes())
    duration = data.index(b"elst") + 12  # in milliseconds
    data[duration : duration + 4] = (1000).to_bytes(4, "big")
    (tmp_path / "cut.mp4").write_bytes(data)
    assert list_numbers(tmp_path / "cut.mp4") == list(range(25))


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_stream_cut_from_another_begins_with_its_first_key_frame(tmp_path, codec):
    video = make_video(tmp_path / "video.mkv", 50, codec=codec)
    numbers = list_numbers(copy_stream(video, tmp_path / "cut.mkv", skip=5))
    assert numbers == list(range(numbers[0], 50))
    assert 5 < numbers[0] <= 24


def test_damaged_first_key_frame_is_no_beginning_of_a_cut(tmp_path):
    video = make_video(tmp_path / "video.mp4", 40, index_first=True)
    data = bytearray(video.read_bytes())
    begin = data.index(b"mdat") + 700  # after the settings, within the first frame
    data[begin : begin + 60] = bytes(60)
    video.write_bytes(data)
    with pytest.raises(VideoError, match=str(video)):
        list_numbers(video)


def test_videos_that_were_joined_end_to_end_are_whole(tmp_path):
    parts = [make_video(tmp_path / f"{name}.mpg", 40, codec="mpeg2video") for name in "ab"]
    (tmp_path / "joined.mpg").write_bytes(b"".join(part.read_bytes() for part in parts))
    assert count_frames(tmp_path / "joined.mpg") == 80


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_images_are_turned_as_the_file_says(tmp_path, rotation):
    video = make_video(tmp_path / "video.mp4", 5, rotation=rotation)
    (frame,) = read_frames(video, [3])
    assert frame.image.size == ((WIDTH, HEIGHT) if rotation == 180 else (HEIGHT, WIDTH))
    assert read_number(frame.image.rotate(-rotation, expand=True)) == 3


def set_display_matrix(video: Path, a: float, b: float, c: float, d: float) -> None:
    """Write the matrix of ISO/IEC 14496-12 into an MP4: x' = a x + c y, y' = b x + d y, moved to begin at 0."""
    data = video.read_bytes()
    place = data.index(struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30), data.index(b"tkhd"))
    x, y = -min(0, a * WIDTH, c * HEIGHT), -min(0, b * WIDTH, d * HEIGHT)
    numbers = (a * 65536, b * 65536, 0, c * 65536, d * 65536, 0, x * 65536, y * 65536, 1 << 30)
    video.write_bytes(data[:place] + struct.pack(">9i", *map(round, numbers)) + data[place + 36 :])


@pytest.mark.parametrize("scale", [1, 2, 0.5])
@pytest.mark.parametrize("axes", [(1, 0, 0, 1), (0, 1, 1, 0)], ids=["upright", "axes exchanged"])
@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_each_pixel_is_shown_where_the_display_matrix_puts_it(tmp_path, axes, signs, scale):
    video = make_video(tmp_path / "video.mp4", 2)
    (frame,) = read_frames(video, [1])
    decoded = np.asarray(frame.image)  # (HEIGHT, WIDTH, 3)
    a, b, c, d = axes[0] * signs[0], axes[1] * signs[1], axes[2] * signs[0], axes[3] * signs[1]
    shown = np.zeros((HEIGHT, WIDTH, 3) if a else (WIDTH, HEIGHT, 3), np.uint8)
    for y, x in np.ndindex(HEIGHT, WIDTH):
        shown[b * x + d * y - (b + d < 0), a * x + c * y - (a + c < 0)] = decoded[y, x]  # -1 is the last one
    set_display_matrix(video, *(scale * value for value in (a, b, c, d)))
    (frame,) = read_frames(video, [1])
    np.testing.assert_array_equal(np.asarray(frame.image), shown)


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
    with pytest.raises(VideoError, match=f"{path} cannot be decoded"):
        count_frames(path)


def test_missing_video_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.mp4"):
        list(read_frames(tmp_path / "absent.mp4", [0]))
