"""What is found in a release of a data set: parts that are prepared as a whole, and what is wrong or left out."""

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from .crops import Box
from .file_tree import find_files
from .frames import Frame, choose_frames, extract_frames
from .image_folder import SPLIT_NAMES
from .labels import canonical_id, read_labels, shorten
from .segments import FirstFrameError, LabelError, Segment, find_overlaps, fit_segments, read_label_file
from .video import VideoError, count_frames
from .video_files import is_video

FORMATS = ("imagefolder", "parquet", "webdataset")
FRAMES_PER_CLIP = 8  # of a segment of a video, where it is not said
NON_MG = {"imigue": 32, "smg": 16}  # the class of each set that is no micro-gesture


@dataclass(frozen=True)
class Choices:
    """What a user chooses of a preparation; see `prepare_imigue`.

    Raises:
        ValueError: A choice is out of range.
    """

    data: str
    to: str
    frames_per_clip: int | None
    keep_non_mg: bool
    first_frame: int

    def __post_init__(self) -> None:
        if self.to not in FORMATS:
            raise ValueError(f"to must be {', '.join(FORMATS)}, not {self.to!r}.")
        if self.frames_per_clip is not None and self.frames_per_clip < 1:
            raise ValueError(f"frames_per_clip must be 1 or more, not {self.frames_per_clip}.")
        if self.first_frame not in (0, 1):
            raise ValueError(f"first_frame must be 0 or 1, not {self.first_frame}.")

    @property
    def class_names(self) -> dict[int, str]:
        """Id of a class to its name, in id order."""
        names = {int(label_id): name for label_id, name in read_labels(self.data).items()}
        return {
            label_id: name for label_id, name in names.items() if self.keep_non_mg or label_id != NON_MG[self.data]
        }


@dataclass(frozen=True)
class VideoPart:
    """A video and its segments.

    Attributes:
        split: "train", "validation" or "test".
        name: Of the video, and of the part within its split.
        path: The file.
        segments: What is shown in it.
        frames_per_clip: How many frames of each segment are taken.
        crop: What is cut out of each frame.
    """

    split: str
    name: str
    path: Path
    segments: tuple[Segment, ...]
    frames_per_clip: int
    crop: Box | None = None

    def read(self) -> Iterator[Frame]:
        return extract_frames(self.path, self.segments, self.frames_per_clip, self.crop)

    def fit(self) -> tuple["VideoPart", list[str]]:
        """Return the part without what is past the end of the video, and what that was."""
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
        """Return what changes with the labels, the box and the file, but not with the place of the file."""
        return _hash(self.segments, self.crop, self.path.stat().st_size)


@dataclass(frozen=True)
class Picture:
    """A JPEG file of the image-level set."""

    path: Path
    clip: str  # "<class>/<clip>", as clip numbers repeat in classes
    label_id: int
    number: int


@dataclass(frozen=True)
class PicturePart:
    """A share of the clips of a split.

    Attributes:
        split: "train", "validation" or "test".
        name: Of the part within its split.
        pictures: Those of its clips.
    """

    split: str
    name: str
    pictures: tuple[Picture, ...]

    def read(self) -> Iterator[Frame]:
        for picture in self.pictures:
            yield Frame(picture.clip, picture.label_id, picture.number, picture.path.read_bytes())

    def count(self) -> int:
        return len(self.pictures)

    def fingerprint(self) -> str:
        """Return what changes with the names and the sizes of the files, but not with their place."""
        names = [(picture.clip, picture.number, picture.path.stat().st_size) for picture in self.pictures]
        return _hash(names)


@dataclass
class Release:
    """What a folder holds of a data set.

    Attributes:
        layout: Which layout was found.
        choices: What the user wants of it.
        columns: What is known of each picture besides its class, clip and frame: "video", "subject", "time".
        parts: What can be prepared.
        faults: What can not, and why.
        left_out: What is not to be prepared, and how much of it.
        overlaps: Pairs of segments that share frames.
    """

    layout: str
    choices: Choices
    columns: tuple[str, ...] = ()
    parts: list[VideoPart | PicturePart] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    overlaps: list[tuple[Segment, Segment]] = field(default_factory=list)

    def read_label_files(
        self, paths: Mapping[Path, str], label_ids: Mapping[int, int], subjects: Mapping[str, str]
    ) -> dict[str, tuple[Path, list[Segment]]]:
        """Read files that have the labels of a video each.

        A file that is no such table is a fault, and so is one that begins with frame 0 against the choice.

        Args:
            paths: File to name of its video. The RGB and the skeleton release may have one each, which are the same.
            label_ids: As for `read_label_file`.
            subjects: Name of a video to who is seen, where that is known.

        Returns:
            Name of a video to where its segments are told, and these.

        Raises:
            FirstFrameError: Most of the files begin with frame 0 against the choice.
        """
        segments: dict[str, tuple[Path, list[Segment]]] = {}
        from_0: list[str] = []
        of_video: list[Segment]
        faults: list[str]
        for path, name in paths.items():
            if name in segments:
                if path.read_bytes() != segments[name][0].read_bytes():
                    self.faults.append(f"{name}: {path} and {segments[name][0]} differ; the latter is used")
                continue
            of_video, faults = [], []
            try:
                of_video, faults = read_label_file(
                    path, name, label_ids, first_frame=self.choices.first_frame, subject=subjects.get(name)
                )
            except LabelError as error:
                self.faults.append(f"{name}: {error}")
            except FirstFrameError as error:
                from_0.append(f"{name}: {error}")
            segments[name] = path, of_video
            self.faults += faults
        if 2 * len(from_0) > len(segments):
            raise FirstFrameError(f"{from_0[0]} So begin {len(from_0)} of {len(segments)} files.")
        self.faults += from_0
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
            videos: Name to the files of this name, of which there must be one.
            segments: As from `read_label_files`.
            splits: Name of a video to its split.
            crops: As from `read_crops`.
        """
        for name, (labels, of_video) in sorted(segments.items()):
            paths = videos.get(name, [])
            if not paths:
                beside = [path.name for path in sorted(labels.parent.iterdir()) if is_video(path)]
                found = f"; beside them lies {shorten(beside)}, which is not called so" if beside else ""
                self.faults.append(f"{name}: there is no video for the labels in {labels}{found}")
            elif len(paths) > 1:
                self.faults.append(f"{name}: two videos of one name, keep one: {', '.join(map(str, paths))}")
            else:
                self._add_video(splits[name], name, paths[0], of_video, crops.get(canonical_id(name)))
        self.left_out["videos without labels"] += len(set(videos) - set(segments))
        known = {canonical_id(name) for name in videos}
        if unknown := [str(name) for name in crops if name not in known]:
            self.faults.append(f"boxes are told of videos that there are not: {shorten(unknown)}")
        told = all(segment.subject for _, of_video in segments.values() for segment in of_video)
        self.columns = ("video", "subject", "time") if told else ("video", "time")

    def warn(self) -> None:
        """Warn of what a user may want to know before pictures are written."""
        if self.overlaps:
            pairs = [f"{one.clip} and {other.clip}" for one, other in self.overlaps]
            warnings.warn(
                f"{len(pairs)} pairs of segments share frames, which are then pictures of both: {shorten(pairs)}.",
                stacklevel=4,
            )
        if self.choices.to == "webdataset" and "validation" not in {part.split for part in self.parts}:
            warnings.warn(
                "This release names no validation split, which train.py needs of a stream: stop here and give "
                "--to imagefolder or --to parquet, if it is to be trained on.",
                stacklevel=4,
            )

    def _add_video(self, split: str, name: str, path: Path, segments: list[Segment], crop: Box | None) -> None:
        taken = tuple(segment for segment in segments if segment.label_id in self.choices.class_names)
        self.left_out["clips that show no micro-gesture"] += len(segments) - len(taken)
        self.left_out["videos without a usable line of labels"] += not segments
        self.overlaps += find_overlaps(taken)
        if taken:
            frames_per_clip = self.choices.frames_per_clip or FRAMES_PER_CLIP
            self.parts.append(VideoPart(split, name, path, taken, frames_per_clip, crop))


def list_files(folder: Path) -> list[Path]:
    """Return all files below a folder, through links, but hidden ones, sorted by path."""
    return sorted(find_files(folder).files)


def find_split(path: Path, source: Path) -> str | None:
    """Return the split that the nearest folder around a file names, such as "imigue_rgb_train"."""
    folders = [*path.relative_to(source).parent.parts[::-1], source.resolve().name]
    names = SPLIT_NAMES | {"validate": "validation"}
    ends = (folder.lower().rpartition("_")[2] for folder in folders)
    return next((names[end] for end in ends if end in names), None)


def _hash(*values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()
