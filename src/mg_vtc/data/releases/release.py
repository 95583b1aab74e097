"""Contents of a release: the shards to prepare, and errors and skipped items."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..file_tree import find_files
from ..image_folder import SPLIT_NAMES
from ..labels import canonical_id, read_labels, shorten
from .annotations import FirstFrameError, LabelError, Segment, find_overlaps, fit_segments, read_label_file
from .boxes import Box
from .frames import Frame, choose_frames, extract_frames
from .video import VideoError, count_frames
from .video_names import is_video

FORMATS = ("imagefolder", "parquet", "webdataset")
FRAMES_PER_CLIP = 8  # default for a video segment
NON_MG = {"imigue": 32, "smg": 16}  # class of each set that is not a micro-gesture


@dataclass(frozen=True)
class Choices:
    """Settings of a preparation; see `prepare_imigue`.

    Raises:
        ValueError: A setting is out of range.
    """

    data: str
    format: str
    frames_per_clip: int | None
    keep_non_mg: bool
    first_frame: int

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {self.format!r}.")
        if self.frames_per_clip is not None and self.frames_per_clip < 1:
            raise ValueError(f"frames_per_clip must be 1 or more, not {self.frames_per_clip}.")
        if self.first_frame not in (0, 1):
            raise ValueError(f"first_frame must be 0 or 1, not {self.first_frame}.")

    @property
    def class_names(self) -> dict[int, str]:
        """Names of the classes by id, in id order."""
        names = {int(label_id): name for label_id, name in read_labels(self.data).items()}
        return {
            label_id: name for label_id, name in names.items() if self.keep_non_mg or label_id != NON_MG[self.data]
        }


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
    """

    split: str
    name: str
    path: Path
    segments: tuple[Segment, ...]
    frames_per_clip: int
    crop: Box | None = None

    def read(self) -> Iterator[Frame]:
        return extract_frames(self.path, self.segments, self.frames_per_clip, self.crop)

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
        """Return a hash of the labels, the crop box and the file size, independent of the path."""
        return _hash(self.segments, self.crop, self.path.stat().st_size)


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

    def read(self) -> Iterator[Frame]:
        for image in self.images:
            yield Frame(image.clip, image.label_id, image.number, image.path.read_bytes())

    def count(self) -> int:
        return len(self.images)

    def fingerprint(self) -> str:
        """Return a hash of the names and sizes of the files, independent of their paths."""
        names = [(image.clip, image.number, image.path.stat().st_size) for image in self.images]
        return _hash(names)


@dataclass
class Release:
    """Contents of the folder of a release.

    Attributes:
        layout: Detected layout.
        choices: Settings of the preparation.
        columns: Columns known besides class, clip and frame: "video", "subject", "time".
        shards: Shards that can be prepared.
        errors: Errors of the items that cannot be prepared.
        left_out: Number of intentionally skipped items by reason.
        overlaps: Pairs of segments that share frames.
    """

    layout: str
    choices: Choices
    columns: tuple[str, ...] = ()
    shards: list[VideoShard | ImageShard] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    overlaps: list[tuple[Segment, Segment]] = field(default_factory=list)

    def read_label_files(
        self, paths: Mapping[Path, str], label_ids: Mapping[int, int], subjects: Mapping[str, str]
    ) -> dict[str, tuple[Path, list[Segment]]]:
        """Read label files, one per video.

        A file that is not a valid table is recorded in `errors`, and so is one that starts with frame 0 although
        `first_frame` is 1.

        Args:
            paths: File to video name. The RGB and skeleton releases may both contain a file for a video, with equal
                content.
            label_ids: See `read_label_file`.
            subjects: Video name to subject, if known.

        Returns:
            Video name to its label file and segments.

        Raises:
            FirstFrameError: Most files start with frame 0 although `first_frame` is 1.
        """
        segments: dict[str, tuple[Path, list[Segment]]] = {}
        from_0: list[str] = []
        of_video: list[Segment]
        errors: list[str]
        for path, name in paths.items():
            if name in segments:
                if path.read_bytes() != segments[name][0].read_bytes():
                    self.errors.append(f"{name}: {path} and {segments[name][0]} differ; the latter is used")
                continue
            of_video, errors = [], []
            try:
                of_video, errors = read_label_file(
                    path, name, label_ids, first_frame=self.choices.first_frame, subject=subjects.get(name)
                )
            except LabelError as error:
                self.errors.append(f"{name}: {error}")
            except FirstFrameError as error:
                from_0.append(f"{name}: {error}")
            segments[name] = path, of_video
            self.errors += errors
        if 2 * len(from_0) > len(segments):
            raise FirstFrameError(f"{from_0[0]} The same holds for {len(from_0)} of {len(segments)} files.")
        self.errors += from_0
        return segments

    def add_videos(
        self,
        videos: Mapping[str, list[Path]],
        segments: Mapping[str, tuple[Path, list[Segment]]],
        splits: Mapping[str, str],
        crops: Mapping[int | str, Box],
    ) -> None:
        """Add the videos that have segments.

        Args:
            videos: Video name to its files; must be one file.
            segments: Output of `read_label_files`.
            splits: Video name to its split.
            crops: Output of `read_crops`.
        """
        for name, (labels, of_video) in sorted(segments.items()):
            paths = videos.get(name, [])
            if not paths:
                beside = [path.name for path in sorted(labels.parent.iterdir()) if is_video(path)]
                found = f"; next to them is {shorten(beside)}, with another name" if beside else ""
                self.errors.append(f"{name}: there is no video for the labels in {labels}{found}")
            elif len(paths) > 1:
                self.errors.append(f"{name}: several videos have this name, keep one: {', '.join(map(str, paths))}")
            else:
                self._add_video(splits[name], name, paths[0], of_video, crops.get(canonical_id(name)))
        self.left_out["videos without labels"] += len(set(videos) - set(segments))
        known = {canonical_id(name) for name in videos}
        if unknown := [str(name) for name in crops if name not in known]:
            self.errors.append(f"there are crop boxes for videos that do not exist: {shorten(unknown)}")
        has_subjects = all(segment.subject for _, of_video in segments.values() for segment in of_video)
        self.columns = ("video", "subject", "time") if has_subjects else ("video", "time")

    def warn(self) -> None:
        """Warn about overlaps and a missing validation split before images are written."""
        if self.overlaps:
            pairs = [f"{one.clip} and {other.clip}" for one, other in self.overlaps]
            warnings.warn(
                f"{len(pairs)} pairs of segments share frames, which are used for both: {shorten(pairs)}.",
                stacklevel=4,
            )
        if self.choices.format == "webdataset" and "validation" not in {shard.split for shard in self.shards}:
            warnings.warn(
                "This release has no validation split, which training needs for a stream: to train on it, stop here "
                "and use `format=imagefolder` or `format=parquet`.",
                stacklevel=4,
            )

    def _add_video(self, split: str, name: str, path: Path, segments: list[Segment], crop: Box | None) -> None:
        taken = tuple(segment for segment in segments if segment.label_id in self.choices.class_names)
        self.left_out["clips that show no micro-gesture"] += len(segments) - len(taken)
        self.left_out["videos without a usable line of labels"] += not segments
        self.overlaps += find_overlaps(taken)
        if taken:
            frames_per_clip = self.choices.frames_per_clip or FRAMES_PER_CLIP
            self.shards.append(VideoShard(split, name, path, taken, frames_per_clip, crop))


def list_files(folder: Path) -> list[Path]:
    """Return all visible files below a folder, following links, sorted by path."""
    return sorted(find_files(folder).files)


def find_split(path: Path, source: Path) -> str | None:
    """Return the split in the name of the nearest enclosing folder, such as "imigue_rgb_train"."""
    folders = [*path.relative_to(source).parent.parts[::-1], source.resolve().name]
    names = SPLIT_NAMES | {"validate": "validation"}
    ends = (folder.lower().rpartition("_")[2] for folder in folders)
    return next((names[end] for end in ends if end in names), None)


def _hash(*values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()
