"""What is to be answered: pictures, folders, globs, videos and webcams, listed before any is read.

The names of the files of one folder are in memory at a time.
"""

import glob
import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import PIL.Image

from ..data.crops import Box, read_crops
from ..data.file_tree import is_circular
from ..data.image_folder import SYSTEM_FILES
from ..data.labels import NUM_LISTED, canonical_id, shorten, sort_ids
from ..data.metadata import FRAME_NAME
from ..data.metadata_files import is_metadata_file
from ..data.video_files import find_video_name, is_video
from .segment_files import Interval, read_segments

WEBCAM = "webcam:"
HASH_DIGITS = 16  # of SHA-256, enough to tell two apart


class Inputs(NamedTuple):
    """What is to be answered.

    Attributes:
        paths: Files, folders, globs ("**" goes through folders) or `webcam:<number>`, answered in this order.
        frames_per_clip: How many frames of a video or of a segment, evenly spaced; None for all of them.
        segments: What `read_segments` gives: the parts of videos that are clips; None where videos are whole.
        crops: What `read_crops` gives: what is cut out of the frames of videos; None where nothing is.
    """

    paths: Sequence[str]
    frames_per_clip: int | None = None
    segments: Mapping[int | str | None, Sequence[Interval]] | None = None
    crops: Mapping[int | str, Box] | None = None


class Source(NamedTuple):
    """A file to be answered.

    Attributes:
        name: From the folder on for what was found in the only input, a folder; else its path as it was given.
            Bytes that are no UTF-8, which files of answers can not hold, are written as `\\xe9`.
        path: Where it is.
        kind: "picture", "video" or "webcam"; None for a file in a folder that is none of them by its name.
        clip: Of a picture that is named `<clip>.<frame>.<extension>`, its `name` without frame and extension, so
            frames are of one clip only within a folder, as clip numbers repeat in the folders of classes. Of a video,
            its name without extension. Else None.
        frame: Number of a picture in its clip; None where its name does not tell.
        intervals: The segments of a video; None where it is whole.
        video: What a video is called in its segments.
        crop: What is cut out of the frames of a video; None where they are whole.
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
        """Return `<video>_<index>`, as the MiGA challenge calls the samples of a video."""
        return f"{self.video}_{interval.number}"

    @property
    def clips(self) -> list[str]:
        """The clips in it, in the order of the file of segments."""
        if self.intervals is not None:
            return [self.name_clip(interval) for interval in self.intervals]
        return [] if self.clip is None else [self.clip]


class Survey(NamedTuple):
    """What inputs come to.

    Attributes:
        num_samples: How many pictures and frames there are; None where there are videos, which may be any length.
        digest: Names, sizes and times of change of all files, and all that `Inputs` say, hashed.
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
    """Read what is said of inputs, one or several.

    Raises:
        FileNotFoundError: There is no such file of segments or of boxes.
        ValueError: `frames_per_clip` is below 1, or for a reason of `read_segments` or `read_crops`.
    """
    if frames_per_clip is not None and frames_per_clip < 1:
        raise ValueError(f"frames_per_clip must be 1 or more, got {frames_per_clip}.")
    several = [paths] if isinstance(paths, str | os.PathLike) else paths
    intervals = None if segments is None else read_segments(segments, first_frame=first_frame)
    crops = None if crop is None else read_crops(Path(crop))
    return Inputs([os.fspath(path) for path in several], frames_per_clip, intervals, crops)


def list_sources(inputs: Inputs) -> Iterator[Source]:
    """List files: those of a folder first, frames by clip and number, others by name; then its folders, in id order.

    Hidden files, those of file managers, and the metadata and labels of data sets are no sources. Segments and
    boxes find a video by its own name or by that of its folder; where there are segments, videos without any are left
    out.

    Raises:
        FileNotFoundError: An input is not there, or nothing is like a glob.
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
    """Look at all inputs before any is read, and warn of files of folders that are neither pictures nor videos.

    Args:
        inputs: What is to be answered.
        contiguous_clips: Whether each must be of a clip whose frames come one after another, as a vote needs.

    Raises:
        FileNotFoundError: An input is not there.
        ValueError: There is nothing to answer, segments or boxes and videos do not belong together, or clips are not
            as they must be.
    """
    num_pictures, num_videos, num_others = 0, 0, 0
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
        num_pictures += source.kind != "video"
        num_videos += source.kind == "video"
        digest.update(f"{source.name}\n{_mark(source.path)}\n".encode())
        if source.intervals is not None:
            if videos.setdefault(source.video, source.name) != source.name:
                two = f"{videos[source.video]} and {source.name}"
                raise ValueError(f"{two} are both the video {source.video!r} of the segments: keep one.")
        elif contiguous_clips and (source.clip is None or source.clip != clip or source.kind == "video"):
            _check_clip(source, clips)
            clips.add(source.clip)
            clip = source.clip
    if num_others:
        warnings.warn(
            f"{num_others} files are neither pictures nor videos by their names, and are passed over: "
            f"{', '.join(map(repr, others))}{' and more' if num_others > NUM_LISTED else ''}.",
            stacklevel=3,
        )
    _check_videos(inputs, num_pictures, num_videos, {canonical_id(video) for video in videos if video})
    if inputs.crops is not None:
        _check_crops(inputs.paths, inputs.crops)
    return Survey(None if num_videos else num_pictures, digest.hexdigest()[:HASH_DIGITS])


def _mark(path: Path) -> tuple[int, int] | None:
    """Return the size and the time of change of a file; None for a link that leads nowhere."""
    if not path.exists():
        return None
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _check_clip(source: Source, clips: set[str | None]) -> None:
    if source.clip is None:
        raise ValueError(
            f"The clip of {source.name!r} is not known, so frames can not vote: name images "
            "<clip>.<frame>.<extension>, as 0000.3.jpg, or leave --vote out for a prediction an image."
        )
    if source.clip in clips:
        raise ValueError(
            f"{source.name!r} belongs to the clip {source.clip!r}, which has ended before: give the frames of a clip "
            "one after another, or their folder, and one video of a name."
        )


def _check_videos(inputs: Inputs, num_pictures: int, num_videos: int, videos: set[int | str]) -> None:
    if inputs.segments is not None and None not in inputs.segments:
        if missing := [video for video in inputs.segments if video not in videos]:
            raise ValueError(
                f"There are segments of videos that are not among the inputs: {shorten(map(str, missing))}."
            )
    elif inputs.segments is not None and num_videos > 1:
        raise ValueError(
            f"The segments do not tell of which of the {num_videos} videos they are: add a column 'video'."
        )
    if num_videos == 0 and any(setting is not None for setting in inputs[1:]):
        raise ValueError("Segments, crop and frames_per_clip are for videos, and there is none among the inputs.")
    if num_pictures + num_videos == 0:
        raise ValueError(f"There are no pictures and no videos in {', '.join(inputs.paths)}.")


def _check_crops(paths: Sequence[str], crops: Mapping[int | str, Box]) -> None:
    """Make sure that each box is of one video, be it one without segments."""
    videos = [source for source in _list_files(paths) if source.kind == "video"]
    owners: dict[int | str, str] = {}
    for source in videos:
        video = find_video_name(source.path, crops)
        if video is not None and owners.setdefault(canonical_id(video), source.name) != source.name:
            two = f"{owners[canonical_id(video)]} and {source.name}"
            raise ValueError(f"{two} are both the video {video!r} of the boxes: keep one.")
    if unknown := [str(video) for video in crops if video not in owners]:
        raise ValueError(
            f"There are boxes of videos that are not among the inputs: {shorten(unknown)}. These are the videos: "
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
            yield _describe(Path(given), Path(given).as_posix(), default="picture")
        elif given.removeprefix(WEBCAM).isdecimal() and given.startswith(WEBCAM):
            yield _find_webcam(given)
        else:
            matches = sorted(path for path in glob.iglob(given, recursive=True) if os.path.isfile(path))
            if not matches:
                raise FileNotFoundError(f"There is no file or folder {given!r}, and no file that it is a glob of.")
            yield from (_describe(Path(match), Path(match).as_posix(), default=None) for match in matches)


def _find_webcam(given: str) -> Source:
    device = Path(f"/dev/video{given.removeprefix(WEBCAM)}")
    if not device.exists():
        present = sorted(map(str, Path("/dev").glob("video*")))
        raise FileNotFoundError(
            f"There is no webcam {given!r}, as there is no {device}; Linux has {', '.join(present) or 'none'} here. "
            "Other systems are not supported: save a picture, and give that."
        )
    return Source(given, device, "webcam")


def _walk(folder: Path, prefix: str) -> Iterator[Source]:
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in (*SYSTEM_FILES, "labels.csv"):
                continue
            if entry.is_dir() and not is_circular(Path(entry)):
                folders.append(entry.name)
            elif not is_metadata_file(Path(entry)):
                files.append(entry.name)  # a circular link among them, which is passed over with a warning
    for name in sorted(files, key=_order):
        yield _describe(folder / name, f"{prefix}{name}", default=None)
    for name in sort_ids(folders):
        yield from _walk(folder / name, f"{prefix}{name}/")


def _order(name: str) -> tuple[str, int, str]:
    match = FRAME_NAME.fullmatch(name)
    return (name, -1, name) if match is None else (match["clip"], int(match["frame"]), name)


def _describe(path: Path, name: str, default: str | None) -> Source:
    name = os.fsencode(name).decode(errors="backslashreplace")
    if is_video(path):
        return Source(name, path, "video", name.removesuffix(path.suffix))
    kind = "picture" if PIL.Image.registered_extensions().get(path.suffix.lower()) in PIL.Image.OPEN else default
    match = FRAME_NAME.fullmatch(path.name)
    if match is None:
        return Source(name, path, kind)
    return Source(name, path, kind, name.rsplit(".", 2)[0], int(match["frame"]))
