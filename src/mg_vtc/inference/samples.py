"""Images and frames of videos and webcams, read one at a time in the order of prediction."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import PIL.Image

from ..data.decoding import Resizing, decode, resize
from .inputs import Inputs, Source, list_sources
from .segment_files import Interval


class Sample(NamedTuple):
    """An image or a frame to predict.

    Attributes:
        file: Name of its source.
        clip: Clip of the frame; None if unknown.
        frame: Frame number from the name of an image, or from 0 in a video; None if unknown.
        time: Seconds since the start of the video; None for images.
    """

    file: str
    clip: str | None
    frame: int | None
    time: float | None


class Decoding(NamedTuple):
    """Way from a file to the pixels that a model takes.

    Attributes:
        resizing: Size of the pixels, and the way to it.
        jpeg_draft: See `decode`; videos and webcams ignore it.
    """

    resizing: Resizing | int
    jpeg_draft: bool = False


ReadPixels = Callable[[], list[np.ndarray]]  # for each decoding uint8 (image_size, image_size, 3)


def read_samples(inputs: Inputs, decodings: Sequence[Decoding]) -> Iterator[tuple[Sample, ReadPixels]]:
    """Yield images and frames in the order of `list_sources`, each with a function that returns its pixels.

    An image is decoded when its function is called, which raises errors of many types on damaged files. If a video
    cannot be decoded to its end, is smaller than its box, or lacks a requested frame, its last sample raises.

    Each video is decoded once. If segments overlap, frames of the later one are kept in memory, 3 * image_size ** 2
    bytes each. A segment as long as the video therefore keeps all frames of the segments inside it; use
    `frames_per_clip` to limit them.

    Args:
        inputs: Inputs of the prediction.
        decodings: One way to pixels, or several: models of an ensemble may have different image sizes.
    """
    for source in list_sources(inputs):
        if source.kind == "image":
            yield Sample(source.name, source.clip, source.frame, None), partial(_decode, source.path, decodings)
        elif source.kind == "webcam":
            yield Sample(source.name, None, None, None), partial(_read_webcam, source.path, decodings)
        elif source.kind == "video":
            yield from _read_video(source, inputs.frames_per_clip, decodings)


def _decode(path: Path, decodings: Sequence[Decoding]) -> list[np.ndarray]:
    image = {"path": str(path), "bytes": None}
    return [decode(image, resizing, jpeg_draft=jpeg_draft) for resizing, jpeg_draft in decodings]


def resize_all(image: PIL.Image.Image, decodings: Sequence[Decoding]) -> list[np.ndarray]:
    """Resize an RGB image for each decoding, uint8 (image_size, image_size, 3) each."""
    return [resize(image, resizing) for resizing, _ in decodings]


def _read_video(
    source: Source, frames_per_clip: int | None, decodings: Sequence[Decoding]
) -> Iterator[tuple[Sample, ReadPixels]]:
    from ..data.releases.frames import choose_frames  # these need the extra "video"
    from ..data.releases.video import VideoError, count_frames, read_frames

    try:
        if source.intervals is not None:
            yield from _read_segments(source, source.intervals, frames_per_clip, decodings)
            return
        numbers: Iterable[int] = count()
        if frames_per_clip is not None:
            numbers = choose_frames(0, count_frames(source.path) - 1, frames_per_clip)
        for number, time, image in read_frames(source.path, numbers, source.crop):
            yield Sample(source.name, source.clip, number, time), partial(resize_all, image, decodings)
    except VideoError as error:
        yield Sample(source.name, source.clip, None, None), partial(_fail, error)


def _read_segments(
    source: Source, intervals: Sequence[Interval], frames_per_clip: int | None, decodings: Sequence[Decoding]
) -> Iterator[tuple[Sample, ReadPixels]]:
    """Yield the frames of intervals, ordered by the start of the interval, in one pass over the video."""
    from ..data.releases.frames import choose_frames
    from ..data.releases.video import VideoError, read_frames

    in_order = sorted(intervals, key=lambda interval: (interval.start_frame, interval.number))
    left: list[set[int]] = []  # frames of each interval that are not decoded yet
    owners = defaultdict(list)  # intervals of each frame, as indices into in_order
    for place, (_, start, end) in enumerate(in_order):
        left.append(set(choose_frames(start, end, frames_per_clip or end - start + 1)))
        for number in left[place]:
            owners[number].append(place)
    waiting: dict[int, list[tuple[Sample, ReadPixels]]] = defaultdict(list)  # frames whose turn has not come
    current, fault = 0, None
    try:
        for number, time, image in read_frames(source.path, sorted(owners), source.crop):
            for place in owners[number]:
                left[place].discard(number)
                sample = Sample(source.name, source.name_clip(in_order[place]), number, time)
                if place == current:
                    yield sample, partial(resize_all, image, decodings)
                else:
                    waiting[place].append((sample, partial(_give, resize_all(image, decodings))))
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


def _read_webcam(device: Path, decodings: Sequence[Decoding], form: str = "v4l2") -> list[np.ndarray]:
    import av  # the extra "video"

    with av.open(str(device), format=form) as container:
        image: PIL.Image.Image = next(container.decode(video=0)).to_image()
    return resize_all(image, decodings)


def _give(pixels: list[np.ndarray]) -> list[np.ndarray]:
    return pixels


def _fail(error: Exception) -> NoReturn:
    raise error
