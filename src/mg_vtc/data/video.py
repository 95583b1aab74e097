"""Frames of video files by their number: one pass, decoded in the order in which they are shown."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import av
import PIL.Image

from .crops import Box


class VideoError(ValueError):
    """A file is no video, or it is damaged; the message has its path."""


class VideoFrame(NamedTuple):
    """A frame of a video.

    Attributes:
        number: How many frames are shown before it.
        time: Seconds from the first frame to this one.
        picture: In RGB, turned as the file says; what was to be cut out of it.
    """

    number: int
    time: float
    picture: PIL.Image.Image


def read_frames(path: str | Path, numbers: Iterable[int], crop: Box | None = None) -> Iterator[VideoFrame]:
    """Read frames of a video in one pass from its beginning to the last wanted frame.

    A frame's number is the count of the frames that are shown before it, at constant and variable frame rates, with
    B-frames and without. There is no seeking, which finds frames by time or by key frame and may miss by some. One
    decoded frame is in memory at a time, besides those that the decoder needs itself.

    Args:
        path: A file that FFmpeg can decode.
        numbers: Those of the wanted frames, from 0, ascending. They may be without end, as those of
            `itertools.count(0, 5)`.
        crop: What to cut out of each frame, as it is shown; by default all of it.

    Yields:
        The frames in their order. There are none of the numbers past the end of the video.

    Raises:
        FileNotFoundError: There is no such file.
        VideoError: The file is no video, has no frame, or a frame before the last wanted one is damaged; or it is an
            MP4 that is cut off. AVI and Matroska have their index at the end, so these merely end early. Or the box
            reaches out of the frames.
        ValueError: The numbers do not ascend.
    """
    wanted = iter(numbers)
    target = next(wanted, None)
    if target is None:
        return
    if target < 0:
        raise ValueError(f"Frames are numbered from 0; there is no frame {target}.")
    first_time = None
    for number, frame in enumerate(_decode(Path(path))):
        if frame.time is None:
            raise VideoError(f"{path} does not tell when a frame is shown: put it into a container, such as MP4.")
        first_time = frame.time if first_time is None else first_time
        if number < target:
            continue
        yield VideoFrame(number, frame.time - first_time, _cut_out(_to_picture(frame), crop, Path(path)))
        following = next(wanted, None)
        if following is None:
            return
        if following <= target:
            raise ValueError(f"The numbers of frames must ascend, but {following} follows {target}.")
        target = following


def count_frames(path: str | Path) -> int:
    """Count the frames of a video by decoding it, as what files say of their length is no promise.

    Raises:
        FileNotFoundError: There is no such file.
        VideoError: As for `read_frames`.
    """
    return sum(1 for _ in _decode(Path(path)))


def _decode(path: Path) -> Iterator[av.VideoFrame]:
    """Yield all frames in the order in which they are shown."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no video {path}.")
    num_frames = 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.best("video")  # and not the cover
            if not isinstance(stream, av.VideoStream):
                raise VideoError(f"{path} has no pictures in it, only {container.format.long_name}.")
            stream.thread_type = "AUTO"
            _refuse_cut_off(stream, path)
            for packet in container.demux(stream):
                for frame in packet.decode():
                    if frame.is_corrupt or packet.is_corrupt:
                        raise VideoError(f"Frame {num_frames} of {path} is damaged.")
                    yield frame
                    num_frames += 1
    except av.FFmpegError as error:
        where = f"after frame {num_frames - 1}" if num_frames else "from its beginning"
        raise VideoError(f"{path} can not be decoded {where}: {error.strerror}.") from error
    if num_frames == 0:
        raise VideoError(f"{path} holds no frame that can be decoded.")


def _refuse_cut_off(stream: av.VideoStream, path: Path) -> None:
    """Raise where the file ends before frames that its index names: decoders take that for the end of the video."""
    num_bytes = path.stat().st_size
    missing = sum(entry.pos + entry.size > num_bytes for entry in stream.index_entries)
    if missing:
        raise VideoError(
            f"{path} is cut off: {missing} of its {len(stream.index_entries)} frames lie past its end at "
            f"{num_bytes:,} bytes. Download or copy it again."
        )


def _to_picture(frame: av.VideoFrame) -> PIL.Image.Image:
    picture = frame.to_image()
    # both count counter-clockwise; a quarter turn moves pixels and makes no new ones
    return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture


def _cut_out(picture: PIL.Image.Image, box: Box | None, path: Path) -> PIL.Image.Image:
    if box is None:
        return picture
    right, lower = box.x + box.width, box.y + box.height
    if right > picture.width or lower > picture.height:
        raise VideoError(
            f"The box x, y, width, height = {', '.join(map(str, box))} reaches out of {path}, whose frames are "
            f"{picture.width} x {picture.height}."
        )
    return picture.crop((box.x, box.y, right, lower))
