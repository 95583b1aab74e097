"""Contents of a release: the shards to prepare, and errors and skipped items."""

import hashlib
import math
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..file_tree import find_files
from ..image_folder import SPLIT_NAMES
from ..labels import canonical_id, shorten
from .annotations import FirstFrameError, LabelError, Segment, find_overlaps, read_label_file
from .boxes import Box
from .choices import FRAMES_PER_CLIP, Choices
from .frames import Clip
from .shards import ClipShard, Shard, VideoShard
from .video_names import is_video

SPLIT_FOLDERS = SPLIT_NAMES | {"validate": "validation"}  # also as ends of names
IMAGES_PER_SHARD = 2000  # of clips and of the image-level set; a killed run loses at most so many a process


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
        notes: Deviations from what was asked for.
        overlaps: Pairs of segments that share frames.
        cautions: Other warnings about the labels or splits.
    """

    layout: str
    choices: Choices
    columns: tuple[str, ...] = ()
    shards: list[Shard] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    overlaps: list[tuple[Segment, Segment]] = field(default_factory=list)
    cautions: list[str] = field(default_factory=list)

    def read_label_files(
        self,
        paths: Mapping[Path, str],
        label_ids: Mapping[int, int],
        subjects: Mapping[str, str],
        *,
        first_frame: int,
    ) -> dict[str, tuple[Path, list[Segment]]]:
        """Read label files, one per video.

        A file that is not a valid table is recorded in `errors`, and so is one that starts with frame 0 although
        `first_frame` is 1.

        Args:
            paths: File to video name. The RGB and skeleton releases may both contain a file for a video, with equal
                content.
            label_ids: See `read_label_file`.
            subjects: Video name to subject, if known.
            first_frame: See `read_label_file`.

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
                    path, name, label_ids, first_frame=first_frame, subject=subjects.get(name)
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
        skeletons: Mapping[str, list[Path]] | None = None,
    ) -> None:
        """Add the videos that have segments.

        Args:
            videos: Video name to its files; must be one file.
            segments: Output of `read_label_files`.
            splits: Video name to its split.
            crops: Output of `read_crops`.
            skeletons: Video name to its skeleton files, to crop the person.
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
                skeleton = None if skeletons is None else self._find_skeleton(name, skeletons.get(name, []))
                self._add_video(splits[name], name, paths[0], of_video, crops.get(canonical_id(name)), skeleton)
        self.left_out["videos without labels"] += len(set(videos) - set(segments))
        known = {canonical_id(name) for name in videos}
        if unknown := [str(name) for name in crops if name not in known]:
            self.errors.append(f"there are crop boxes for videos that do not exist: {shorten(unknown)}")
        has_subjects = all(segment.subject for _, of_video in segments.values() for segment in of_video)
        self.columns = ("video", "subject", "time") if has_subjects else ("video", "time")

    def add_clips(self, split: str, clips: Iterable[Clip], num_listed: int) -> None:
        """Add the clips of a split, distributed over shards of similar size.

        The hash of its name determines the shard of a clip and its place there. Clips of all classes are therefore in
        each shard, and a repaired clip changes only its own shard.

        Args:
            split: "train", "validation" or "test".
            clips: Clips that can be prepared.
            num_listed: Number of clips of the split, including missing ones.
        """
        frames_per_clip = self.choices.frames_per_clip or FRAMES_PER_CLIP
        num_shards = math.ceil(num_listed / max(IMAGES_PER_SHARD // frames_per_clip, 1))
        shards: dict[int, list[Clip]] = defaultdict(list)
        for clip in sorted(clips, key=_hash_name):
            shards[int(_hash_name(clip), 16) % num_shards].append(clip)
        for number, of_shard in sorted(shards.items()):
            self.shards.append(ClipShard(split, f"{number:05}", tuple(of_shard), frames_per_clip))

    def warn(self) -> None:
        """Warn about overlaps, cautions and a missing validation split before images are written."""
        for caution in self.cautions:
            warnings.warn(caution, stacklevel=4)
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

    def _find_skeleton(self, name: str, paths: list[Path]) -> Path | None:
        if not paths:
            self.notes.append(f"{name}: there is no skeleton; the frames are whole")
        elif len({path.stat().st_size for path in paths}) > 1:
            self.errors.append(f"{name}: its skeletons differ, {', '.join(map(str, paths))}; the first is used")
        return paths[0] if paths else None

    def _add_video(
        self, split: str, name: str, path: Path, segments: list[Segment], crop: Box | None, skeleton: Path | None
    ) -> None:
        taken = tuple(segment for segment in segments if segment.label_id in self.choices.class_names)
        self.left_out["clips that show no micro-gesture"] += len(segments) - len(taken)
        self.left_out["videos without a usable line of labels"] += not segments
        self.overlaps += find_overlaps(taken)
        if taken:
            frames_per_clip = self.choices.frames_per_clip or FRAMES_PER_CLIP
            self.shards.append(VideoShard(split, name, path, taken, frames_per_clip, crop, skeleton))


def list_files(folder: Path) -> list[Path]:
    """Return all visible files below a folder, following links, sorted by path."""
    return sorted(find_files(folder).files)


def find_split(path: Path, source: Path) -> str | None:
    """Return the split in the name of the nearest enclosing folder, such as "imigue_rgb_train", up to `source`."""
    return find_split_below(path, source) or _read_split([source.resolve().name])


def find_split_below(path: Path, source: Path) -> str | None:
    """Return the split in the name of the nearest enclosing folder below `source`."""
    return _read_split(path.relative_to(source).parent.parts[::-1])


def _read_split(folders: Iterable[str]) -> str | None:
    """Return the split that ends the name of the first such folder."""
    ends = (folder.lower().rpartition("_")[2] for folder in folders)
    return next((SPLIT_FOLDERS[end] for end in ends if end in SPLIT_FOLDERS), None)


def _hash_name(clip: Clip) -> str:
    return hashlib.sha256(clip.name.encode()).hexdigest()
