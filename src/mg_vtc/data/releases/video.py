"""Read frames of video files by number, in one pass and in display order."""

import heapq
import math
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import av
import PIL.Image
from PIL.Image import Transpose

from .boxes import Box

MAX_SLANT = math.tan(math.radians(1))  # FFmpeg ignores one degree, too
# Key: swap axes, then mirror left-right, then up-down
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
    """A file is not a video, or it is damaged; the message contains its path."""


class VideoFrame(NamedTuple):
    """A frame of a video.

    Attributes:
        number: Number of frames displayed before it.
        time: Seconds from the first frame. AVI does not store display times, so for AVI with B-frames the time is off
            by a few frames; the number is correct.
        image: RGB image, rotated and mirrored as the file says, and cropped.
    """

    number: int
    time: float
    image: PIL.Image.Image


def read_frames(path: str | Path, numbers: Iterable[int], crop: Box | None = None) -> Iterator[VideoFrame]:
    """Read frames of a video in one pass, from its start to the last requested frame.

    The number of a frame is the count of frames displayed before it, at constant and variable frame rates, with or
    without B-frames. The file is not seeked: seeking finds frames by time or key frame and may miss by some. One
    decoded frame is in memory at a time, besides those that the decoder needs.

    Damage is detected if the decoder meets invalid data. Except in AVI, VP8 and interlaced video, a missing frame is
    also detected, by its announced time. Corruption that still decodes to a valid image is not detected, because most
    video formats have no checksums; to verify copies, compare checksums of the files.

    Args:
        path: File that FFmpeg can decode.
        numbers: Frame numbers, from 0, ascending; may be infinite, such as `itertools.count(0, 5)`.
        crop: Box to crop from each frame as displayed; by default the whole frame.

    Yields:
        The frames in order; numbers beyond the end of the video yield nothing.

    Raises:
        FileNotFoundError: The file does not exist.
        VideoError: The file is not a video or has no frame; a frame before the last requested one is damaged; an MP4
            is cut off; or the crop box extends beyond the frame. A cut AVI or Matroska file ends early without an
            error, because its index is at the end.
        ValueError: The numbers are not ascending.
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
            raise VideoError(f"{path} has no frame times: remux it into a container such as MP4.")
        first_time = frame.time if first_time is None else first_time
        if number < target:
            continue
        yield VideoFrame(number, frame.time - first_time, _cut_out(turner.to_image(frame), crop, Path(path)))
        following = next(wanted, None)
        if following is None:
            return
        if following <= target:
            raise ValueError(f"Frame numbers must be ascending, but {following} follows {target}.")
        target = following


def count_frames(path: str | Path) -> int:
    """Count the frames of a video by decoding it, because the length stored in a file is unreliable.

    Raises:
        FileNotFoundError: The file does not exist.
        VideoError: See `read_frames`.
    """
    return sum(1 for _ in _decode(Path(path)))


def count_packets(path: str | Path) -> int:
    """Count the packets of a video without decoding them: mostly, but not always, its frames.

    Raises:
        FileNotFoundError: The file does not exist.
        VideoError: The file is not a video, or it contains no packet.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no video {path}.")
    try:
        with av.open(str(path)) as container:
            stream = container.streams.best("video")
            packets = container.demux(stream) if isinstance(stream, av.VideoStream) else ()
            num_packets = sum(packet.size > 0 and not packet.is_discard for packet in packets)
    except av.FFmpegError as error:
        raise VideoError(f"{path} cannot be decoded from the start: {error.strerror}.") from error
    if num_packets == 0:
        raise VideoError(f"{path} contains no video frame.")
    return num_packets


def _decode(path: Path) -> Iterator[av.VideoFrame]:
    """Yield all frames in display order."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no video {path}.")
    num_frames, is_cut = 0, None
    try:
        with av.open(str(path)) as container:
            stream = container.streams.best("video")  # not the cover image
            if not isinstance(stream, av.VideoStream):
                raise VideoError(f"{path} has no video stream, only {container.format.long_name}.")
            stream.thread_type = "AUTO"
            stream.codec_context.options = {"err_detect": "explode"}  # otherwise FFmpeg invents damaged parts
            _refuse_cut_off(stream, path)
            times = _AnnouncedTimes(container, stream)
            for packet in container.demux(stream):
                times.announce(packet)
                if is_cut is None:  # MP4 and MOV always start with a key frame
                    is_cut = not packet.is_keyframe and "mp4" not in container.format.name
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    if num_frames or not is_cut:
                        raise
                    continue  # a cut stream starts with frames that need earlier ones
                if packet.is_corrupt or any(frame.is_corrupt for frame in frames):
                    raise VideoError(f"{path} is damaged at frame {num_frames} or soon after.")
                for frame in frames:
                    if times.find_lost(frame):
                        raise VideoError(f"Frame {num_frames} of {path} is missing: it is in the file, but damaged.")
                    yield frame
                    num_frames += 1
    except av.FFmpegError as error:
        where = f"after frame {num_frames - 1}" if num_frames else "from the start"
        raise VideoError(f"{path} cannot be decoded {where}: {error.strerror}.") from error
    if num_frames == 0:
        raise VideoError(f"{path} contains no decodable frame.")
    if times.waiting:
        raise VideoError(
            f"The last {len(times.waiting)} frames of {path} are missing: they are in the file, but damaged."
        )


class _AnnouncedTimes:
    """Display times announced by packets, used to detect missing frames."""

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        self.waiting: list[int] = []  # heap of the times of frames that have not appeared
        self._begun, self._last = False, -math.inf
        # AVI has no times, VP8 packets of frames that are never displayed, interlaced video packets of single fields.
        self._told = (
            container.format.name != "avi"
            and stream.codec_context.name != "vp8"
            and stream.codec_context.field_order in (0, 1)  # unknown, progressive
        )

    def announce(self, packet: av.Packet) -> None:
        if packet.size == 0:  # end of the stream
            return
        # Some MPEG files have times for some frames only, and times of joined files start again.
        if packet.pts is None or packet.dts is None or packet.dts < self._last:
            self._told = False
            self.waiting.clear()
            return
        self._last = packet.dts
        if self._told and not packet.is_discard:  # frames cut by an edit list is
            heapq.heappush(self.waiting, packet.pts)

    def find_lost(self, frame: av.VideoFrame) -> bool:
        """Return whether a frame before this one is missing, except before the first, as in cut streams."""
        while self.waiting and frame.pts is not None and self.waiting[0] <= frame.pts:
            if heapq.heappop(self.waiting) < frame.pts and self._begun:
                return True
        self._begun = True
        return False


def _refuse_cut_off(stream: av.VideoStream, path: Path) -> None:
    """Raise if the file ends before frames in its index: decoders take that for the end of the video."""
    num_bytes = path.stat().st_size
    missing = sum(entry.pos + entry.size > num_bytes for entry in stream.index_entries)
    if missing:
        raise VideoError(
            f"{path} is cut off: {missing} of its {len(stream.index_entries)} frames are beyond its end at "
            f"{num_bytes:,} bytes. Download or copy it again."
        )


class _Turner:
    """Rotate and mirror frames by their display matrix, as players do."""

    def __init__(self) -> None:
        # One lookup per rotation angle: the side data of PyAV keep their frame in memory by a cycle.
        self._transposes: dict[int, Transpose | None] = {}

    def to_image(self, frame: av.VideoFrame) -> PIL.Image.Image:
        if frame.rotation not in self._transposes:
            self._transposes[frame.rotation] = self._find_transpose(frame)
        image, transpose = frame.to_image(), self._transposes[frame.rotation]
        if transpose is not None:
            return image.transpose(transpose)
        # other angles interpolate; both angles are counter-clockwise
        return image.rotate(frame.rotation, expand=True) if frame.rotation else image

    def _find_transpose(self, frame: av.VideoFrame) -> Transpose | None:
        """Return the transposition of a frame; None for none or for other angles."""
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")  # missing in the type annotations of PyAV
        if matrix is None:
            return None
        # From decoded to displayed position: x' = a x + c y, y' = b x + d y; y points down
        a, b, _, c, d = struct.unpack_from("=5i", matrix)
        if max(abs(b), abs(c)) <= MAX_SLANT * min(abs(a), abs(d)):
            return TRANSPOSES.get((False, a < 0, d < 0))
        if max(abs(a), abs(d)) <= MAX_SLANT * min(abs(b), abs(c)):
            return TRANSPOSES[True, c < 0, b < 0]
        return None


def _cut_out(image: PIL.Image.Image, box: Box | None, path: Path) -> PIL.Image.Image:
    if box is None:
        return image
    right, lower = box.x + box.width, box.y + box.height
    if right > image.width or lower > image.height:
        raise VideoError(
            f"The box x, y, width, height = {', '.join(map(str, box))} extends beyond {path}, whose frames are "
            f"{image.width} x {image.height}."
        )
    return image.crop((box.x, box.y, right, lower))
