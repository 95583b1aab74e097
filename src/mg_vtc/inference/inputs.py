"""Inputs of a prediction: images, folders, globs, videos and webcams, listed before any file is read.

Only the file names of one folder are in memory at a time.
"""

import glob
import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import PIL.Image

from ..data.file_tree import is_circular, is_folder
from ..data.groups import FRAME_NAME
from ..data.image_folder import SYSTEM_FILES
from ..data.labels import NUM_LISTED, canonical_id, shorten, sort_ids
from ..data.metadata import is_metadata_file
from ..data.releases.boxes import Box, read_crops
from ..data.releases.video_names import find_video_name, is_video
from ..files import is_special
from .segment_files import Interval, read_segments

WEBCAM = "webcam:"
HASH_DIGITS = 16  # of SHA-256


class Inputs(NamedTuple):
    """Inputs of a prediction.

    Attributes:
        paths: Files, folders, globs ("**" descends into folders) or `webcam:<number>`, predicted in this order.
        frames_per_clip: Number of evenly spaced frames per video or segment; None for all frames.
        segments: Intervals of videos from `read_segments`; None for whole videos.
        crops: Boxes of videos from `read_crops`; None for whole frames.
    """

    paths: Sequence[str]
    frames_per_clip: int | None = None
    segments: Mapping[int | str | None, Sequence[Interval]] | None = None
    crops: Mapping[int | str, Box] | None = None


class Source(NamedTuple):
    """An input file.

    Attributes:
        name: Path relative to the input folder if that is the only input, else the path as given. Bytes that are not
            UTF-8 are escaped as `\\xe9`.
        path: Path of the file.
        kind: "image", "video" or "webcam"; None for a file in a folder with another extension.
        clip: For an image named `<clip>.<frame>.<extension>`, its `name` without frame and extension: clip numbers
            repeat across class folders. For a video, its name without extension. Else None.
        frame: Frame number of an image in its clip; None if its name has none.
        intervals: Segments of a video; None for a whole video.
        video: Name of a video in its segments.
        crop: Box of a video; None for whole frames.
    """

    name: str
    path: Path
    kind: str | None
    clip: str | None = None
    frame: int | None = None
    intervals: Sequence[Interval] | None = None
    video: str | None = None
    crop: Box | None = None

    def name_clip(self, interval: Interval) -> str:
        """Return `<video>_<index>`, the name of a sample in the MiGA challenge."""
        return f"{self.video}_{interval.number}"

    @property
    def clips(self) -> list[str]:
        """Names of the clips in the file, in the order of the segments."""
        if self.intervals is not None:
            return [self.name_clip(interval) for interval in self.intervals]
        return [] if self.clip is None else [self.clip]


class Survey(NamedTuple):
    """Summary of the inputs.

    Attributes:
        num_samples: Number of images; None if there are videos, whose length is unknown.
        digest: Hash of the names, sizes and modification times of all files, and of the `Inputs`.
    """

    num_samples: int | None
    digest: str


def make_inputs(
    paths: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    frames_per_clip: int | None = None,
    segments: str | os.PathLike | None = None,
    first_frame: int = 1,
    crop: str | os.PathLike | None = None,
) -> Inputs:
    """Read the segments and boxes of one or several inputs; for the arguments see `predict`.

    Raises:
        FileNotFoundError: The file of segments or boxes is not found.
        ValueError: `frames_per_clip` is below 1, or `read_segments` or `read_crops` refuses its file.
    """
    if frames_per_clip is not None and frames_per_clip < 1:
        raise ValueError(f"frames_per_clip must be 1 or more, got {frames_per_clip}.")
    several = [paths] if isinstance(paths, str | os.PathLike) else paths
    intervals = None if segments is None else read_segments(segments, first_frame=first_frame)
    crops = None if crop is None else read_crops(Path(crop))
    return Inputs([os.fspath(path) for path in several], frames_per_clip, intervals, crops)


def list_sources(inputs: Inputs) -> Iterator[Source]:
    """List files: first those of a folder (frames by clip and number, others by name), then its subfolders by id.

    Skips hidden files, files of file managers, and metadata and label files of data sets. Segments and boxes refer to
    a video by its name or the name of its folder. If there are segments, videos without any are skipped.

    Raises:
        FileNotFoundError: An input does not exist, or a glob matches no file.
    """
    for source in _list_files(inputs.paths):
        if source.kind == "video" and inputs.crops is not None:
            video = find_video_name(source.path, inputs.crops)
            source = source._replace(crop=None if video is None else inputs.crops[canonical_id(video)])
        if source.kind == "video" and inputs.segments is not None:
            video = find_video_name(source.path, inputs.segments)
            key = None if video is None else canonical_id(video)
            if key not in inputs.segments:
                continue
            source = source._replace(intervals=inputs.segments[key], video=video or Path(source.name).stem)
        yield source


def survey(inputs: Inputs, *, contiguous_clips: bool) -> Survey:
    """Check all inputs before any is read, and warn about files in folders that are neither images nor videos.

    Args:
        inputs: Inputs of the prediction.
        contiguous_clips: Whether every image must belong to a clip with consecutive frames, as `vote` requires.

    Raises:
        FileNotFoundError: An input does not exist.
        ValueError: There are no images or videos, segments or boxes do not match the videos, or a clip is unknown or
            not contiguous.
    """
    num_images, num_videos, num_others = 0, 0, 0
    others: list[str] = []
    digest = hashlib.sha256(repr(inputs).encode())
    clip: str | None = None
    clips: set[str | None] = set()
    videos: dict[str | None, str] = {}
    for source in list_sources(inputs):
        if source.kind is None:
            num_others += 1
            others += [source.name] * (num_others <= NUM_LISTED)
            continue
        num_images += source.kind != "video"
        num_videos += source.kind == "video"
        digest.update(f"{source.name}\n{_mark(source.path)}\n".encode())
        if source.intervals is not None:
            if videos.setdefault(source.video, source.name) != source.name:
                two = f"{videos[source.video]} and {source.name}"
                raise ValueError(f"{two} both match the video {source.video!r} of the segments: keep one.")
        elif contiguous_clips and (source.clip is None or source.clip != clip or source.kind == "video"):
            _check_clip(source, clips)
            clips.add(source.clip)
            clip = source.clip
    if num_others:
        warnings.warn(
            f"Skipped {num_others} files that are not images or videos: "
            f"{', '.join(map(repr, others))}{' and more' if num_others > NUM_LISTED else ''}.",
            stacklevel=3,
        )
    _check_videos(inputs, num_images, num_videos, {canonical_id(video) for video in videos if video})
    if inputs.crops is not None:
        _check_crops(inputs.paths, inputs.crops)
    return Survey(None if num_videos else num_images, digest.hexdigest()[:HASH_DIGITS])


def _mark(path: Path) -> tuple[int, int] | None:
    """Return the size and modification time of a file; None for a broken link."""
    if not path.exists():
        return None
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _check_clip(source: Source, clips: set[str | None]) -> None:
    if source.clip is None:
        raise ValueError(
            f"The clip of {source.name!r} is unknown, so its frames cannot be aggregated: name images "
            "<clip>.<frame>.<extension>, such as 0000.3.jpg, or omit `vote` for one prediction per image."
        )
    if source.clip in clips:
        raise ValueError(
            f"{source.name!r} belongs to the clip {source.clip!r}, but other files come between its frames: pass the "
            "frames of a clip consecutively, or their folder, and only one video of each name."
        )


def _check_videos(inputs: Inputs, num_images: int, num_videos: int, videos: set[int | str]) -> None:
    if inputs.segments is not None and None not in inputs.segments:
        if missing := [video for video in inputs.segments if video not in videos]:
            raise ValueError(
                f"The segments refer to videos that are not among the inputs: {shorten(map(str, missing))}."
            )
    elif inputs.segments is not None and num_videos > 1:
        raise ValueError(f"The segments do not name a video, but there are {num_videos} videos: add a column 'video'.")
    if num_videos == 0 and any(setting is not None for setting in inputs[1:]):
        raise ValueError("`segments`, `crop` and `frames_per_clip` require videos, but the inputs contain none.")
    if num_images + num_videos == 0:
        raise ValueError(f"No images or videos in {', '.join(inputs.paths)}.")


def _check_crops(paths: Sequence[str], crops: Mapping[int | str, Box]) -> None:
    """Check that each box belongs to exactly one video, with or without segments."""
    videos = [source for source in _list_files(paths) if source.kind == "video"]
    owners: dict[int | str, str] = {}
    for source in videos:
        video = find_video_name(source.path, crops)
        if video is not None and owners.setdefault(canonical_id(video), source.name) != source.name:
            two = f"{owners[canonical_id(video)]} and {source.name}"
            raise ValueError(f"{two} both match the video {video!r} of the boxes: keep one.")
    if unknown := [str(video) for video in crops if video not in owners]:
        raise ValueError(
            f"The boxes refer to videos that are not among the inputs: {shorten(unknown)}. The videos are: "
            f"{shorten(source.name for source in videos)}."
        )


def _list_files(paths: Sequence[str]) -> Iterator[Source]:
    if len(paths) == 1 and Path(paths[0]).is_dir():
        yield from _walk(Path(paths[0]), "")
        return
    for given in paths:
        if Path(given).is_dir():
            yield from _walk(Path(given), f"{Path(given).as_posix()}/")
        elif Path(given).is_file():
            yield _describe(Path(given), Path(given).as_posix(), default="image")
        elif given.removeprefix(WEBCAM).isdecimal() and given.startswith(WEBCAM):
            yield _find_webcam(given)
        else:
            if is_special(Path(given)):
                raise ValueError(f"{given} is a pipe, a socket or a device: give files or folders.")
            matches = sorted(path for path in glob.iglob(given, recursive=True) if os.path.isfile(path))
            if not matches:
                raise FileNotFoundError(f"No file or folder {given!r}, and no file matches it as a glob.")
            yield from (_describe(Path(match), Path(match).as_posix(), default=None) for match in matches)


def _find_webcam(given: str) -> Source:
    device = Path(f"/dev/video{given.removeprefix(WEBCAM)}")
    if not device.exists():
        present = sorted(map(str, Path("/dev").glob("video*")))
        raise FileNotFoundError(
            f"No webcam {given!r}: {device} does not exist; available: {', '.join(present) or 'none'}. "
            "Webcams are supported on Linux only. Elsewhere, pass a saved image."
        )
    return Source(given, device, "webcam")


def _walk(folder: Path, prefix: str) -> Iterator[Source]:
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in (*SYSTEM_FILES, "labels.csv"):
                continue
            if is_folder(entry) and not is_circular(Path(entry)):
                folders.append(entry.name)
            elif not is_metadata_file(Path(entry)):
                files.append(entry.name)  # including circular links and pipes, which are skipped with a warning
    for name in sorted(files, key=_order):
        yield _describe(folder / name, f"{prefix}{name}", default=None)
    for name in sort_ids(folders):
        yield from _walk(folder / name, f"{prefix}{name}/")


def _order(name: str) -> tuple[str, int, str]:
    match = FRAME_NAME.fullmatch(name)
    return (name, -1, name) if match is None else (match["clip"], int(match["frame"]), name)


def _describe(path: Path, name: str, default: str | None) -> Source:
    name = os.fsencode(name).decode(errors="backslashreplace")
    if is_special(path) or path.is_dir():  # a link to an enclosing folder
        return Source(name, path, None)
    if is_video(path):
        return Source(name, path, "video", name.removesuffix(path.suffix))
    kind = "image" if PIL.Image.registered_extensions().get(path.suffix.lower()) in PIL.Image.OPEN else default
    match = FRAME_NAME.fullmatch(path.name)
    if match is None:
        return Source(name, path, kind)
    return Source(name, path, kind, name.rsplit(".", 2)[0], int(match["frame"]))
