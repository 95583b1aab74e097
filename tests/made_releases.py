"""Small releases of iMiGUE, SMG and Micro-Action-52, and cut clips.

The videos show the number of each frame as black and white blocks.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from mg_vtc.data.class_lists import MA52_CLASS_NAMES

WIDTH, HEIGHT = 64, 48
COLUMNS, ROWS = 8, 4  # of blocks, a bit each, the least first
NUM_BITS = 16  # of the number; the other blocks tell the video
PAL, NTSC = Fraction(25), Fraction(30000, 1001)


def make_video(
    path: Path,
    num_frames: int,
    rate: Fraction = PAL,
    *,
    times: Sequence[int] | None = None,
    video: int = 0,
    labels: Sequence[int] = (0,),
    rotation: int = 0,
    index_first: bool = False,
    codec: str = "libx264",
) -> Path:
    """Write H.264 with B-frames, or another format.

    Args:
        path: MP4, AVI or MKV, by its ending.
        num_frames: Their numbers are from 0.
        rate: Frames a second.
        times: Milliseconds at which each frame is shown, for a variable rate.
        video: Which pattern it shows.
        labels: Classes whose tints it has in turn, in parts of equal length.
        rotation: Degrees that players turn it counter-clockwise.
        index_first: Whether an MP4 begins with its index, as those for the web do, so that it opens when cut off.
        codec: Name of FFmpeg's encoder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "faststart"} if index_first else {}) as container:
        stream = container.add_stream(codec, rate=rate, options={"bf": "2", "g": "12", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.thread_count = 1
        if rotation:
            stream.set_display_rotation(rotation)
        time_base = 1 / rate if times is None else Fraction(1, 1000)
        stream.codec_context.time_base = time_base
        for number in range(num_frames):
            label = labels[min(number // (num_frames // len(labels)), len(labels) - 1)]
            frame = av.VideoFrame.from_image(draw_number(number, video, label))
            frame.pts, frame.time_base = number if times is None else times[number], time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def draw_number(number: int, video: int = 0, label: int = 0) -> Image.Image:
    """Draw a number below 2 ** 16; the first block of the image is its last bit.

    Below it is a pattern that tells videos apart, so that no frame is a near duplicate of one of another video. What
    is dark has a tint of the class.
    """
    bits = [number >> bit & 1 for bit in range(NUM_BITS)]
    pattern = np.random.default_rng(video).integers(2, size=(COLUMNS * ROWS - NUM_BITS))
    blocks = np.array([*bits, *pattern]).reshape(ROWS, COLUMNS)
    tint = np.array([label & 1, label >> 1 & 1, label >> 2 & 1]) * 80
    pixels = np.where(blocks[..., None], 255, tint).astype(np.uint8)  # (ROWS, COLUMNS, 3)
    return Image.fromarray(pixels).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)


def read_number(image: Image.Image) -> int:
    """Read the number that an image shows, whatever its size."""
    blocks = np.asarray(image.convert("L").resize((COLUMNS, ROWS), Image.Resampling.BOX))  # (ROWS, COLUMNS)
    return sum(1 << int(bit) for bit in np.flatnonzero(blocks.ravel()[:NUM_BITS] > 127))


def make_miga_release(folder: Path, *, num_frames: int = 40, classes: Sequence[int] = (1, 2, 99)) -> Path:
    """Write the MiGA release of iMiGUE: two videos to train on, and one each to validate and test on.

    Every video shows each of `classes` in turn, in segments of equal length. The test video has its labels with the
    skeletons, as in the release.
    """
    for split, videos in (("train", (1, 2)), ("validate", (3,)), ("test", (4,))):
        for video in videos:
            name = f"{video:04}"
            path = folder / f"imigue_rgb_{split}" / name / f"{name}.mp4"
            make_video(path, num_frames, video=video, labels=classes)
            of_labels = folder / f"imigue_{'skeleton' if split == 'test' else 'rgb'}_{split}" / name
            of_labels.mkdir(parents=True, exist_ok=True)
            lines = [f"{label},{start},{end}" for label, start, end in divide(num_frames, classes)]
            (of_labels / f"{name}_label.csv").write_text("\n".join(lines) + "\n")
    return folder


def make_skeleton(
    path: Path,
    frames: Sequence[tuple[int, int, int, int] | None],
    *,
    num_keypoints: int = 35,
    has_header: bool = True,
    has_index: bool = True,
) -> Path:
    """Write the skeletons of a video as the MiGA release has them, `<id>_light_hand.csv`.

    Args:
        path: CSV file.
        frames: For each frame, left, top, right and bottom of the person, on whose border the keypoints are; None
            for nobody. Another keypoint of low confidence is far off.
        num_keypoints: 35 in this release, 137 in full.
        has_header: Whether the first line has the numbers of the columns.
        has_index: Whether the first column has the number of the frame.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(map(str, range(3 * num_keypoints + has_index)))] if has_header else []
    for number, person in enumerate(frames):
        if person is None:
            cells = [0.0] * 3 * num_keypoints
        else:
            left, top, right, bottom = person
            corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
            points = [(*corners[place % 4], 0.3) for place in range(num_keypoints - 1)]
            cells = [cell for point in [*points, (1000, 1000, 0.2)] for cell in point]
        lines.append(",".join(map(str, [number, *cells] if has_index else cells)))
    path.write_text("\n".join(lines) + "\n")
    return path


def make_original_release(folder: Path, *, num_frames: int = 40, classes: Sequence[int] = (1, 2, 99)) -> Path:
    """Write the original release of iMiGUE: the videos, and one table of all labels, which tells the subjects."""
    lines = ["video_id,class,start_frame,end_frame,subject_id,win_or_lose"]
    for video, subject in ((1, 11), (2, 12), (3, 13)):
        make_video(folder / "videos" / f"{video:04}.mp4", num_frames, video=video, labels=classes)
        lines += [f"{video},{label},{start},{end},{subject},Win" for label, start, end in divide(num_frames, classes)]
    (folder / "Label").mkdir()
    (folder / "Label" / "labels_20200831.csv").write_text("\n".join(lines) + "\n")
    return folder


def make_smg_release(folder: Path, *, num_frames: int = 40, classes: Sequence[int] = (1, 2, 17)) -> Path:
    """Write SMG: subjects 1 and 2 to train on, 31 to validate on, and 36, outside of a split's folder, to test on."""
    for place, subjects in (("smg_rgb_train", (1, 2)), ("smg_rgb_validate", (31,)), ("more", (36,))):
        for subject in subjects:
            sample = f"Sample{subject:04}"
            path = folder / place / sample / f"{sample}_color.mp4"
            make_video(path, num_frames, video=subject, labels=classes)
            lines = [f"{label},{start},{end}" for label, start, end in divide(num_frames, classes)]
            (folder / place / sample / f"{sample}_finelabels.csv").write_text("\n".join(lines) + "\n")
    return folder


def make_image_release(folder: Path, *, classes: Sequence[int] = (1, 2, 10, 32), num_clips: int = 4) -> Path:
    """Write the image-level set of iMiGUE, whose clip numbers repeat in classes, and a flat folder to test on."""
    for label in classes:
        (folder / "training" / str(label)).mkdir(parents=True)
        for clip in range(num_clips):
            for frame in range(clip + 1):
                image = draw_number(label * 1000 + clip * 10 + frame, 100 * label + clip, label)
                image.save(folder / "training" / str(label) / f"{clip:04}.{frame}.jpg", quality=90)
    (folder / "test").mkdir()
    draw_number(7).save(folder / "test" / "G10_0000.0.jpg", quality=90)
    return folder


def make_ma52_release(folder: Path, *, classes: Sequence[int] = (0, 9, 51), num_frames: int = 10) -> Path:
    """Write Micro-Action-52: four people, two recordings of each, of which the third clip is for validation.

    Clips of a recording look alike but for the tint of the class, as the clips of the release do. As there, some
    names have no suffix, and the lists have no final newline. The test video has no label.
    """
    lines: dict[str, list[str]] = {"train": [], "val": []}
    for person in (1, 2, 3, 4):
        for recording in (1, 2):
            for index in (1, 2, 3):
                split = "val" if index == 3 else "train"
                name, label = f"{person:04}_{recording:02}_{index:04}", classes[(person + index) % len(classes)]
                path = folder / f"videos_{split}" / f"{name}.mp4"
                make_video(path, num_frames, video=10 * person + recording, labels=[classes.index(label)])
                lines[split].append(f"{name if index == 2 else path.name} {label}")
    for split in lines:
        (folder / f"{split}_list_videos.txt").write_text("\n".join(lines[split]))
    make_video(folder / "videos_test" / "test0000.mp4", num_frames)
    (folder / "test_list_videos.txt").write_text("test0000.mp4 0")
    names = (f"{label_id}\t{name}" for label_id, name in enumerate(MA52_CLASS_NAMES))
    (folder / "label_name.txt").write_text("\n".join(names))
    return folder


def make_cut_clips(
    folder: Path, *, classes: Sequence[str] = ("1", "2", "99"), people: Sequence[int] = (1, 2, 3), num_frames: int = 10
) -> Path:
    """Write a clip of each person and class, `{train,val,test}/<class>/P<person>_<recording>.mp4`."""
    for split, others in (("train", 0), ("val", 10), ("test", 20)):
        for place, label in enumerate(classes):
            for person in people:
                name = f"P{person + others}_{place}"
                video = 100 * (person + others) + place
                make_video(folder / split / label / f"{name}.mp4", num_frames, video=video, labels=[place])
    return folder


def divide(num_frames: int, classes: Sequence[int]) -> list[tuple[int, int, int]]:
    """Divide a video into a segment for each class: class, first and last frame, counted from 1."""
    length = num_frames // len(classes)
    return [(label, place * length + 1, (place + 1) * length) for place, label in enumerate(classes)]
