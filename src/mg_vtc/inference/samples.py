"""Pictures, frames of videos and of webcams, read one at a time in the order in which they are answered."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import PIL.Image

from ..data.pixels import decode, resize
from .inputs import Inputs, Source, list_sources
from .segment_files import Interval


class Sample(NamedTuple):
    """A picture or a frame to be answered.

    Attributes:
        file: Name of its source.
        clip: What it is a frame of; None where that is not known.
        frame: Its number: of a picture as its name tells, of a frame of a video from 0 on; None where not known.
        time: Seconds since the beginning of a video; None for pictures.
    """

    file: str
    clip: str | None
    frame: int | None
    time: float | None


ReadPixels = Callable[[], np.ndarray]  # uint8 (image_size, image_size, 3)


def read_samples(inputs: Inputs, image_size: int, *, jpeg_draft: bool = False) -> Iterator[tuple[Sample, ReadPixels]]:
    """Give pictures and frames in the order of `list_sources`, each with what gives its pixels.

    A picture is decoded when that is called, which raises errors of many types on damaged files. Of a video that can
    not be decoded to its end, is smaller than its box, or ends before a frame that is wanted, the last sample raises.
    Videos are decoded once, in their order; where segments overlap, the frames of the later one wait in memory, 3 *
    image_size ** 2 bytes each. So memory is flat for segments one after another, but a segment as long as the video
    keeps the frames of all segments within it until its end; `frames_per_clip` makes them few.

    Args:
        inputs: What is to be answered.
        image_size: Height and width, in pixels.
        jpeg_draft: As for `decode`.
    """
    for source in list_sources(inputs):
        if source.kind == "picture":
            image = {"path": str(source.path), "bytes": None}
            read = partial(decode, image, image_size, jpeg_draft=jpeg_draft)
            yield Sample(source.name, source.clip, source.frame, None), read
        elif source.kind == "webcam":
            yield Sample(source.name, None, None, None), partial(_read_webcam, source.path, image_size)
        elif source.kind == "video":
            yield from _read_video(source, inputs.frames_per_clip, image_size)


def _read_video(source: Source, frames_per_clip: int | None, image_size: int) -> Iterator[tuple[Sample, ReadPixels]]:
    from ..data.frames import choose_frames  # these need the extra "video"
    from ..data.video import VideoError, count_frames, read_frames

    try:
        if source.intervals is not None:
            yield from _read_segments(source, source.intervals, frames_per_clip, image_size)
            return
        numbers: Iterable[int] = count()
        if frames_per_clip is not None:
            numbers = choose_frames(0, count_frames(source.path) - 1, frames_per_clip)
        for number, time, picture in read_frames(source.path, numbers, source.crop):
            yield Sample(source.name, source.clip, number, time), partial(resize, picture, image_size)
    except VideoError as error:
        yield Sample(source.name, source.clip, None, None), partial(_fail, error)


def _read_segments(
    source: Source, intervals: Sequence[Interval], frames_per_clip: int | None, image_size: int
) -> Iterator[tuple[Sample, ReadPixels]]:
    """Yield the frames of intervals, one interval after another in the order of their beginnings, in one pass."""
    from ..data.frames import choose_frames
    from ..data.video import VideoError, read_frames

    in_order = sorted(intervals, key=lambda interval: (interval.start_frame, interval.number))
    left: list[set[int]] = []  # the frames of each interval that have not come
    owners = defaultdict(list)  # the intervals of each frame, by their place in the order
    for place, (_, start, end) in enumerate(in_order):
        left.append(set(choose_frames(start, end, frames_per_clip or end - start + 1)))
        for number in left[place]:
            owners[number].append(place)
    waiting: dict[int, list[tuple[Sample, ReadPixels]]] = defaultdict(list)  # for the intervals before them
    current, fault = 0, None
    try:
        for number, time, picture in read_frames(source.path, sorted(owners), source.crop):
            for place in owners[number]:
                left[place].discard(number)
                sample = Sample(source.name, source.name_clip(in_order[place]), number, time)
                if place == current:
                    yield sample, partial(resize, picture, image_size)
                else:
                    waiting[place].append((sample, partial(_give, resize(picture, image_size))))
            while current < len(in_order) and not left[current]:
                current += 1
                yield from waiting.pop(current, ())
    except VideoError as error:
        fault = error
    for place in range(current, len(in_order)):
        yield from waiting.pop(place, ())
        if left[place]:
            reason = fault or VideoError(f"{source.path} ends before frame {min(left[place])}.")
            yield Sample(source.name, source.name_clip(in_order[place]), None, None), partial(_fail, reason)


def _read_webcam(device: Path, image_size: int, form: str = "v4l2") -> np.ndarray:
    import av  # the extra "video"

    with av.open(str(device), format=form) as container:
        picture: PIL.Image.Image = next(container.decode(video=0)).to_image()
    return resize(picture, image_size)


def _give(pixels: np.ndarray) -> np.ndarray:
    return pixels


def _fail(error: Exception) -> NoReturn:
    raise error
