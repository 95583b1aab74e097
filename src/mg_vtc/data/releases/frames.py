"""Choose the frames of a segment and encode them as JPEG."""

import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL.Image

from .annotations import Segment
from .boxes import Box
from .video import VideoError, count_frames, count_packets, read_frames

JPEG_QUALITY = 95


class PastEndError(VideoError):
    """A video ends before a requested frame."""


@dataclass(frozen=True)
class Clip:
    """A cut clip: a video that shows one gesture.

    Attributes:
        path: Video file.
        name: Key of the clip.
        label_id: Id of the class.
        video: Name of the recording. Like the following attribute, None if unknown.
        subject: Id of the person shown.
    """

    path: Path
    name: str
    label_id: int
    video: str | None = None
    subject: str | None = None


@dataclass(frozen=True)
class Frame:
    """An image of a clip.

    Attributes:
        clip: Key of the clip.
        label_id: Id of the class.
        number: Number of the frame within the video or clip.
        data: JPEG bytes.
        video: Name of the video. Like the following attributes, None if the release does not give it.
        subject: Id of the person shown.
        time: Seconds from the first frame of the video.
    """

    clip: str
    label_id: int
    number: int
    data: bytes
    video: str | None = None
    subject: str | None = None
    time: float | None = None

    @property
    def name(self) -> str:
        """`<clip>.<frame>`, unique within a class."""
        return f"{self.clip.rpartition('/')[2]}.{self.number}"


def choose_frames(start_frame: int, end_frame: int, frames_per_clip: int) -> list[int]:
    """Choose evenly spaced frames: the central frame of each of `frames_per_clip` equal parts.

    Of n frames starting at s, the k chosen frames are s + floor((2 i + 1) n / (2 k)) for i = 0, ..., k - 1.

    Args:
        start_frame: First frame.
        end_frame: Last frame, inclusive.
        frames_per_clip: Number of frames to choose; a shorter clip yields all its frames.

    Returns:
        Frame numbers, ascending.
    """
    num_frames = end_frame - start_frame + 1
    if num_frames <= frames_per_clip:
        return list(range(start_frame, end_frame + 1))
    return [start_frame + (2 * part + 1) * num_frames // (2 * frames_per_clip) for part in range(frames_per_clip)]


def extract_frames(
    path: Path,
    segments: Sequence[Segment],
    frames_per_clip: int,
    crop: Box | None = None,
    people: Mapping[Segment, Box] | None = None,
) -> Iterator[Frame]:
    """Read the frames of the segments of a video in one pass, in display order.

    A frame in overlapping segments is yielded once per segment.

    Args:
        path: Video file.
        segments: Segments of this video.
        frames_per_clip: See `choose_frames`.
        crop: Box to crop from each frame.
        people: Box to crop from the frames of a segment, as far as it is in the frame.

    Raises:
        PastEndError: The video ends before a chosen frame; raised after all other frames were yielded.
        VideoError: The video cannot be decoded, the crop box extends beyond the frame, or that of a person is outside.
    """
    owners = defaultdict(list)
    for segment in segments:
        for number in choose_frames(segment.start_frame, segment.end_frame, frames_per_clip):
            owners[number].append(segment)
    for number, time, image in read_frames(path, sorted(owners), crop):
        encoded: dict[Box | None, bytes] = {}  # overlapping segments share a frame
        for segment in owners.pop(number):
            box = None if people is None else people.get(segment)
            if box not in encoded:
                encoded[box] = _encode(image if box is None else _cut_person(image, box, path))
            yield Frame(segment.clip, segment.label_id, number, encoded[box], segment.video, segment.subject, time)
    if owners:
        raise PastEndError(f"{path} ends before frame {min(owners)}.")


def extract_clip(clip: Clip, frames_per_clip: int) -> list[Frame]:
    """Read evenly spaced frames of a whole video.

    Damage in any frame is detected. The number of frames is first taken from the packets of the file, so that a file
    is usually decoded once. If decoding contradicts it, the frames are counted and the file is decoded again.

    Args:
        clip: Clip to read.
        frames_per_clip: See `choose_frames`.

    Raises:
        VideoError: The video cannot be decoded.
    """
    num_frames = count_packets(clip.path)
    frames = _read_clip(clip, num_frames, frames_per_clip)
    if frames is None:
        frames = _read_clip(clip, count_frames(clip.path), frames_per_clip)
    assert frames is not None  # decoding is deterministic
    return frames


def _read_clip(clip: Clip, num_frames: int, frames_per_clip: int) -> list[Frame] | None:
    """Return the frames of a clip, or None if its number of frames is another."""
    chosen = choose_frames(0, num_frames - 1, frames_per_clip)
    frames, found = [], set()
    for number, time, image in read_frames(clip.path, sorted({*chosen, num_frames - 1, num_frames})):
        found.add(number)
        if number in chosen:
            frames.append(Frame(clip.name, clip.label_id, number, _encode(image), clip.video, clip.subject, time))
    return frames if num_frames - 1 in found and num_frames not in found else None


def _cut_person(image: PIL.Image.Image, box: Box, path: Path) -> PIL.Image.Image:
    """Return the part of a box that is in the frame."""
    left, upper = max(box.x, 0), max(box.y, 0)
    right, lower = min(box.x + box.width, image.width), min(box.y + box.height, image.height)
    if left >= right or upper >= lower:
        raise VideoError(
            f"The skeleton puts the person at x, y, width, height = {', '.join(map(str, box))}, outside of {path}, "
            f"whose frames are {image.width} x {image.height}: it belongs to another video or size."
        )
    return image.crop((left, upper, right, lower))


def _encode(image: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
