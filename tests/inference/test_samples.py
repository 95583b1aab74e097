"""The right images and frames, in the right order."""

import itertools

import numpy as np
import pytest
from made_releases import make_video, read_number
from PIL import Image

from mg_vtc.data.decoding import Resizing, resize
from mg_vtc.data.releases.frames import choose_frames
from mg_vtc.data.releases.video import VideoError, read_frames
from mg_vtc.inference.inputs import make_inputs
from mg_vtc.inference.samples import Decoding, _read_webcam, read_samples

SIZE = 64
DECODINGS = [Decoding(SIZE)]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("videos") / "0001.mp4", 30)


def read(*paths, **settings):
    """Return clip, frame, and the number that the pixels show, or the error."""
    rows = []
    for sample, read_pixels in read_samples(make_inputs(paths, first_frame=0, **settings), DECODINGS):
        try:
            shown = read_number(Image.fromarray(read_pixels()[0]))
        except VideoError as error:
            shown = str(error)
        rows.append((sample.clip, sample.frame, shown))
    return rows


def segments(tmp_path, *rows):
    (tmp_path / "segments.csv").write_text("video,start_frame,end_frame\n" + "\n".join(rows))
    return tmp_path / "segments.csv"


def boxes(tmp_path, *rows):
    (tmp_path / "boxes.csv").write_text("video,x,y,w,h\n" + "\n".join(rows))
    return tmp_path / "boxes.csv"


def test_whole_video_gives_every_frame_with_its_time(video):
    clip = str(video.with_suffix(""))
    assert read(video) == [(clip, number, number) for number in range(30)]
    times = [sample.time for sample, _ in read_samples(make_inputs(video), DECODINGS)]
    assert times == pytest.approx(np.arange(30) / 25)


@pytest.mark.parametrize("frames_per_clip", [1, 4, 50])
def test_frames_of_a_clip_are_chosen_as_for_training(video, frames_per_clip):
    shown = [number for *_, number in read(video, frames_per_clip=frames_per_clip)]
    assert shown == choose_frames(0, 29, frames_per_clip)


def test_segments_come_one_after_another_though_they_overlap(video, tmp_path):
    csv = segments(tmp_path, "1,10,20", "1,0,12", "1,11,13", "1,25,25")
    wanted = [("0001_1", range(13)), ("0001_0", range(10, 21)), ("0001_2", range(11, 14)), ("0001_3", [25])]
    assert read(video, segments=csv) == [(clip, number, number) for clip, numbers in wanted for number in numbers]


def test_segment_past_the_end_has_the_frames_that_are_there_and_is_reported(video, tmp_path):
    found = read(video, segments=segments(tmp_path, "1,28,31", "1,40,50"))
    assert found[:2] == [("0001_0", 28, 28), ("0001_0", 29, 29)]
    assert found[2:] == [
        ("0001_0", None, f"{video} ends before frame 30."),
        ("0001_1", None, f"{video} ends before frame 40."),
    ]


@pytest.mark.parametrize("settings", [{}, {"frames_per_clip": 2}, {"segments": "1,5,9"}])
def test_box_is_cut_out_of_the_frames_of_its_video(video, tmp_path, settings):
    other = make_video(tmp_path / "other.mp4", 10)
    crop = boxes(tmp_path, "0001,0,0,32,48")
    if "segments" in settings:
        settings = {"segments": segments(tmp_path, settings["segments"], "other,5,9")}
    whole = list(read_samples(make_inputs([video, other], **settings), DECODINGS))
    cropped = list(read_samples(make_inputs([video, other], crop=crop, **settings), DECODINGS))
    images = {frame.number: frame.image for frame in read_frames(video, range(30))}
    assert [sample for sample, _ in cropped] == [sample for sample, _ in whole]
    for (sample, read_cropped), (_, read_whole) in zip(cropped, whole, strict=True):
        (expected,) = read_whole()
        if sample.file == str(video):
            expected = resize(images[sample.frame].crop((0, 0, 32, 48)), SIZE)
        assert np.array_equal(read_cropped()[0], expected)


def test_box_that_reaches_out_is_reported_once_a_clip_and_others_go_on(video, tmp_path):
    other = make_video(tmp_path / "other.mp4", 3)
    crop = boxes(tmp_path, "1,40,0,25,8")
    (clip, frame, fault), *rest = read(video, other, crop=crop)
    assert (clip, frame) == (str(video.with_suffix("")), None)
    assert fault.startswith(f"The box x, y, width, height = 40, 0, 25, 8 extends beyond {video}")
    assert [number for *_, number in rest] == [0, 1, 2]
    found = read(video, crop=crop, segments=segments(tmp_path, "1,0,3", "1,2,5"))
    assert [(clip, number) for clip, number, _ in found] == [("0001_0", None), ("0001_1", None)]


def test_broken_video_is_reported_and_others_go_on(video, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(video.read_bytes()[:600])
    found = read(broken, video, frames_per_clip=2)
    assert [row[1] for row in found] == [None, *choose_frames(0, 29, 2)]
    assert str(broken) in found[0][2]
    found = read(broken, segments=segments(tmp_path, "broken,0,3", "broken,2,5"))
    assert [(clip, number) for clip, number, _ in found] == [("broken_0", None), ("broken_1", None)]


def test_images_are_read_when_they_are_asked_for(tmp_path):
    Image.new("RGB", (8, 8), (9, 9, 9)).save(tmp_path / "a.3.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    (sample, read_pixels), (_, read_bad) = read_samples(make_inputs(tmp_path), DECODINGS)
    assert sample == ("a.3.png", "a", 3, None)
    (pixels,) = read_pixels()
    assert (pixels == 9).all()
    assert pixels.shape == (SIZE, SIZE, 3)
    with pytest.raises(OSError, match="not an image"):
        read_bad()


def test_webcam_gives_one_frame():
    # FFmpeg's own test image, in the way that a camera is read: there is none where tests run
    (pixels,) = _read_webcam("testsrc=size=320x240", DECODINGS, form="lavfi")
    assert pixels.shape == (SIZE, SIZE, 3)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100


def test_a_long_list_is_not_read_ahead(tmp_path):
    for number in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / f"a.{number}.png")
    samples = read_samples(make_inputs(tmp_path), DECODINGS)
    next(samples)
    (tmp_path / "a.1.png").write_bytes(b"")  # changed before its turn
    (_, read_pixels), _ = itertools.islice(samples, 2)
    with pytest.raises(OSError, match="not an image"):
        read_pixels()


def test_each_decoding_has_its_own_pixels_of_images_and_frames(video, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.0.png")
    decodings = [Decoding(SIZE), Decoding(Resizing(32, "bicubic"))]
    for inputs in (make_inputs(tmp_path), make_inputs(video, frames_per_clip=2)):
        together = [read() for _, read in read_samples(inputs, decodings)]
        alone = [[read()[0] for _, read in read_samples(inputs, [one])] for one in decodings]
        for pixels, expected in zip(together, zip(*alone, strict=True), strict=True):
            assert [one.shape[0] for one in pixels] == [SIZE, 32]
            assert all(np.array_equal(*pair) for pair in zip(pixels, expected, strict=True))
