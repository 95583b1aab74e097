"""Frames of video files by their number: one pass, decoded in the order in which they are shown."""

import heapq
import math
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av
import PIL.Image
from PIL.Image import Transpose

from .crops import Box

MAX_SLANT = math.tan(math.radians(1))  # FFmpeg, too, takes one degree for none
# By whether axes are exchanged, then mirrored left-right, then up-down; it moves pixels and makes no new ones
TRANSPOSES = {
    (False, True, False): Transpose.FLIP_LEFT_RIGHT,
    (False, False, True): Transpose.FLIP_TOP_BOTTOM,
    (False, True, True): Transpose.ROTATE_180,
    (True, False, False): Transpose.TRANSPOSE,
    (True, True, False): Transpose.ROTATE_270,
    (True, False, True): Transpose.ROTATE_90,
    (True, True, True): Transpose.TRANSVERSE,
}


class VideoError(ValueError):
    """A file is no video, or it is damaged; the message has its path."""


class VideoFrame(NamedTuple):
    """A frame of a video.

    Attributes:
        number: How many frames are shown before it.
        time: Seconds from the first frame to this one. AVI does not tell when frames are shown, so of AVI with
            B-frames this is off by a few frames, and the number is right.
        picture: In RGB, turned and mirrored as the file says; what was to be cut out of it.
    """

    number: int
    time: float
    picture: PIL.Image.Image


def read_frames(path: str | Path, numbers: Iterable[int], crop: Box | None = None) -> Iterator[VideoFrame]:
    """Read frames of a video in one pass from its beginning to the last wanted frame.

    A frame's number is the count of the frames that are shown before it, at constant and variable frame rates, with
    B-frames and without. There is no seeking, which finds frames by time or by key frame and may miss by some. One
    decoded frame is in memory at a time, besides those that the decoder needs itself.

    Damage is found where the decoder meets what can not be, or where a frame does not come that the file announces by
    its time (not in AVI and VP8, nor in interlaced video). It is not found where the damaged bytes spell another
    picture that could be: most video formats have no checksums. Of copies, compare a checksum of the files.

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
    first_time, turner = None, _Turner()
    for number, frame in enumerate(_decode(Path(path))):
        if frame.time is None:
            raise VideoError(f"{path} does not tell when a frame is shown: put it into a container, such as MP4.")
        first_time = frame.time if first_time is None else first_time
        if number < target:
            continue
        yield VideoFrame(number, frame.time - first_time, _cut_out(turner.to_picture(frame), crop, Path(path)))
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
    num_frames, is_cut = 0, None
    try:
        with av.open(str(path)) as container:
            stream = container.streams.best("video")  # and not the cover
            if not isinstance(stream, av.VideoStream):
                raise VideoError(f"{path} has no pictures in it, only {container.format.long_name}.")
            stream.thread_type = "AUTO"
            stream.codec_context.options = {"err_detect": "explode"}  # what is damaged is made up otherwise
            _refuse_cut_off(stream, path)
            times = _AnnouncedTimes(container, stream)
            for packet in container.demux(stream):
                times.announce(packet)
                if is_cut is None:  # MP4 and MOV begin with a key frame, whatever damaged bytes say
                    is_cut = not packet.is_keyframe and "mp4" not in container.format.name
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    if num_frames or not is_cut:
                        raise
                    continue  # what was cut from another stream begins with frames that need earlier ones
                if packet.is_corrupt or any(frame.is_corrupt for frame in frames):
                    raise VideoError(f"{path} is damaged at frame {num_frames} or soon after.")
                for frame in frames:
                    if times.find_lost(frame):
                        raise VideoError(f"Frame {num_frames} of {path} is lost: it is in the file, but damaged.")
                    yield frame
                    num_frames += 1
    except av.FFmpegError as error:
        where = f"after frame {num_frames - 1}" if num_frames else "from its beginning"
        raise VideoError(f"{path} can not be decoded {where}: {error.strerror}.") from error
    if num_frames == 0:
        raise VideoError(f"{path} holds no frame that can be decoded.")
    if times.waiting:
        raise VideoError(
            f"The last frames of {path} are lost, {len(times.waiting)}: they are in the file, but damaged."
        )


class _AnnouncedTimes:
    """When frames are to be shown, by the packets that hold them, to notice a frame that does not come.

    Attributes:
        waiting: Heap of the times of the frames that have not come. It stays empty where times are no promise: AVI has
            none, VP8 has packets of frames that are never shown, and a field of an interlaced frame may be a packet.
    """

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        self.waiting: list[int] = []
        self._begun, self._last = False, -math.inf
        self._told = (
            container.format.name != "avi"
            and stream.codec_context.name != "vp8"
            and stream.codec_context.field_order in (0, 1)  # unknown, progressive
        )

    def announce(self, packet: av.Packet) -> None:
        if packet.size == 0:  # after the last one
            return
        # Some MPEG files tell the times of some frames, and those of joined files begin anew.
        if packet.pts is None or packet.dts is None or packet.dts < self._last:
            self._told = False
            self.waiting.clear()
            return
        self._last = packet.dts
        if self._told and not packet.is_discard:  # what an edit list cuts is
            heapq.heappush(self.waiting, packet.pts)

    def find_lost(self, frame: av.VideoFrame) -> bool:
        """Return whether a frame was to come before this one, which has come now.

        Those before the first one are not meant: a stream that was cut from another begins with frames that need
        earlier ones.
        """
        while self.waiting and frame.pts is not None and self.waiting[0] <= frame.pts:
            if heapq.heappop(self.waiting) < frame.pts and self._begun:
                return True
        self._begun = True
        return False


def _refuse_cut_off(stream: av.VideoStream, path: Path) -> None:
    """Raise where the file ends before frames that its index names: decoders take that for the end of the video."""
    num_bytes = path.stat().st_size
    missing = sum(entry.pos + entry.size > num_bytes for entry in stream.index_entries)
    if missing:
        raise VideoError(
            f"{path} is cut off: {missing} of its {len(stream.index_entries)} frames lie past its end at "
            f"{num_bytes:,} bytes. Download or copy it again."
        )


class _Turner:
    """Shows frames as players do: turned and mirrored by their display matrix.

    The matrix is looked up once for each angle: the side data of PyAV keep their frame in memory, as a cycle.
    """

    def __init__(self) -> None:
        self._transposes: dict[int, Transpose | None] = {}  # by the angle of frames

    def to_picture(self, frame: av.VideoFrame) -> PIL.Image.Image:
        if frame.rotation not in self._transposes:
            self._transposes[frame.rotation] = self._find_transpose(frame)
        picture, transpose = frame.to_image(), self._transposes[frame.rotation]
        if transpose is not None:
            return picture.transpose(transpose)
        # a slant makes new pixels; both count counter-clockwise
        return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture

    def _find_transpose(self, frame: av.VideoFrame) -> Transpose | None:
        """Return what moves the pixels to their places, None where they stay or are turned by a slant."""
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")  # which the annotations of PyAV do not know
        if matrix is None:
            return None
        # x' = a x + c y, y' = b x + d y, from the decoded place to the shown one; y counts downwards
        a, b, _, c, d = struct.unpack_from("=5i", matrix)
        if max(abs(b), abs(c)) <= MAX_SLANT * min(abs(a), abs(d)):
            return TRANSPOSES.get((False, a < 0, d < 0))
        if max(abs(a), abs(d)) <= MAX_SLANT * min(abs(b), abs(c)):
            return TRANSPOSES[True, c < 0, b < 0]
        return None


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
