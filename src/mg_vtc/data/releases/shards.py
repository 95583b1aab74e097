"""Shards of a release: the units that are prepared at once, and that appear only when complete."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..labels import shorten
from .annotations import Segment, fit_segments
from .boxes import Box
from .frames import Clip, Frame, choose_frames, extract_clip, extract_frames
from .skeletons import MARGIN, MIN_CONFIDENCE, MIN_KEYPOINTS, find_person, read_skeletons
from .video import VideoError, count_frames


@dataclass
class Findings:
    """Findings of a shard while it is read.

    Attributes:
        notes: Deviations from the labels.
        errors: Errors of clips that cannot be prepared; the other clips of the shard are.
    """

    notes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class VideoShard:
    """A video and its segments.

    Attributes:
        split: "train", "validation" or "test".
        name: Name of the video and of the shard.
        path: Video file.
        segments: Segments of the video.
        frames_per_clip: Number of frames per segment.
        crop: Box to crop from each frame.
        skeleton: OpenPose skeletons of the video, to crop the person of each segment.
    """

    split: str
    name: str
    path: Path
    segments: tuple[Segment, ...]
    frames_per_clip: int
    crop: Box | None = None
    skeleton: Path | None = None

    def read(self, findings: Findings) -> Iterator[Frame]:
        people = {} if self.skeleton is None else self._find_people(self.skeleton, findings)
        return extract_frames(self.path, self.segments, self.frames_per_clip, self.crop, people)

    def fit(self) -> tuple["VideoShard", list[str]]:
        """Return the shard without segments beyond the end of the video, and notes about those."""
        segments, notes = fit_segments(self.segments, count_frames(self.path))
        if not segments:
            raise VideoError(f"{self.path} ends before all segments: {shorten(notes)}.")
        return replace(self, segments=tuple(segments)), notes

    def count(self) -> int:
        return sum(
            len(choose_frames(segment.start_frame, segment.end_frame, self.frames_per_clip))
            for segment in self.segments
        )

    def fingerprint(self) -> str:
        """Return a hash of the labels, the crop and the file sizes, independent of the paths."""
        facts: list[object] = [self.segments, self.crop, self.path.stat().st_size]
        if self.skeleton is not None:
            facts += [self.skeleton.stat().st_size, MIN_CONFIDENCE, MARGIN, MIN_KEYPOINTS]
        return _hash(*facts)

    def _find_people(self, skeleton: Path, findings: Findings) -> dict[Segment, Box]:
        """Return the box of the person in each segment; note the segments without one."""
        keypoints = read_skeletons(skeleton)
        if not len(keypoints):
            findings.notes.append(f"{self.name}: the skeleton {skeleton} is empty; the frames are whole")
            return {}
        people = {}
        for segment in self.segments:
            box = find_person(keypoints, segment.start_frame, segment.end_frame)
            if box is None:
                findings.notes.append(f"{segment.clip}: the skeleton {skeleton} shows no person; the frames are whole")
            else:
                people[segment] = box
        return people


@dataclass(frozen=True)
class ClipShard:
    """A portion of the cut clips of a split.

    Attributes:
        split: "train", "validation" or "test".
        name: Name of the shard within its split.
        clips: Its clips.
        frames_per_clip: Number of frames per clip.
    """

    split: str
    name: str
    clips: tuple[Clip, ...]
    frames_per_clip: int

    def read(self, findings: Findings) -> Iterator[Frame]:
        for clip in self.clips:
            try:
                yield from extract_clip(clip, self.frames_per_clip)
            except VideoError as error:
                findings.errors.append(f"{clip.name}: {error}")

    def count(self) -> int:
        """Return the number of images, if no clip is shorter."""
        return len(self.clips) * self.frames_per_clip

    def fingerprint(self) -> str:
        """Return a hash of the labels and file sizes, independent of the paths."""
        facts = [(clip.name, clip.label_id, clip.video, clip.subject) for clip in self.clips]
        return _hash(facts, [clip.path.stat().st_size for clip in self.clips])


@dataclass(frozen=True)
class ReleaseImage:
    """A JPEG file of the image-level set."""

    path: Path
    clip: str  # "<class>/<clip>", because clip numbers repeat in classes
    label_id: int
    number: int


@dataclass(frozen=True)
class ImageShard:
    """A portion of the clips of a split.

    Attributes:
        split: "train", "validation" or "test".
        name: Name of the shard within its split.
        images: Images of its clips.
    """

    split: str
    name: str
    images: tuple[ReleaseImage, ...]

    def read(self, findings: Findings) -> Iterator[Frame]:
        for image in self.images:
            yield Frame(image.clip, image.label_id, image.number, image.path.read_bytes())

    def count(self) -> int:
        return len(self.images)

    def fingerprint(self) -> str:
        """Return a hash of the names and sizes of the files, independent of their paths."""
        names = [(image.clip, image.number, image.path.stat().st_size) for image in self.images]
        return _hash(names)


Shard = VideoShard | ClipShard | ImageShard


def _hash(*values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()
