"""What is to be answered: pictures, folders, globs, videos and webcams, listed and read one at a time.

The names of the files of one folder are in memory at a time, and one picture.
"""

import glob
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image

from ..data.image_folder import SYSTEM_FILES
from ..data.labels import NUM_LISTED, sort_ids
from ..data.metadata import FRAME_NAME, METADATA_FILES
from ..data.pixels import decode

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv")
DESCRIPTIONS = (*METADATA_FILES, "labels.csv")  # which lie beside pictures


class Source(NamedTuple):
    """A file to be answered.

    Attributes:
        name: From the folder on for what was found in the only input, a folder; else its path as it was given.
        path: Where it is.
        kind: "picture" or "video"; None for a file in a folder that is neither by its name.
        clip: Of a picture that is named `<clip>.<frame>.<extension>`, its `name` without frame and extension, so
            frames are of one clip only within a folder, as clip numbers repeat in the folders of classes. Of a video,
            its name without extension. Else None.
        frame: Number of a picture in its clip; None where its name does not tell.
    """

    name: str
    path: Path
    kind: str | None
    clip: str | None
    frame: int | None


class Sample(NamedTuple):
    """A picture or a frame to be answered.

    Attributes:
        file: Name of its source.
        clip: What it is a frame of; None where that is not known.
        frame: Its number: of a picture as its name tells, of a frame of a video from 0 on; None where not known.
        time: Seconds since the beginning of a video; None for pictures.
    """

    file: str
    clip: str | None
    frame: int | None
    time: float | None


ReadPixels = Callable[[int], np.ndarray]  # image_size to uint8 (image_size, image_size, 3)


class Survey(NamedTuple):
    """What inputs come to.

    Attributes:
        num_samples: How many pictures and frames there are; None where there are videos, which may be any length.
        passed_over: The first `NUM_LISTED` files of folders that are neither pictures nor videos by their names.
        num_passed_over: How many there are of these.
        digest: Names, sizes and times of change of all files, hashed.
    """

    num_samples: int | None
    passed_over: list[str]
    num_passed_over: int
    digest: str


def list_sources(inputs: Sequence[str]) -> Iterator[Source]:
    """List files: those of a folder first, frames by clip and number, others by name; then its folders, in id order.

    Hidden files, those of file managers, and the metadata and labels of data sets are no sources.

    Args:
        inputs: Files, folders or globs, in whose order the sources come; "**" of a glob goes through folders.

    Raises:
        FileNotFoundError: An input is not there, or nothing is like a glob.
    """
    if len(inputs) == 1 and Path(inputs[0]).is_dir():
        yield from _walk(Path(inputs[0]), "")
        return
    for given in inputs:
        if Path(given).is_dir():
            yield from _walk(Path(given), f"{Path(given).as_posix()}/")
        elif Path(given).is_file():
            yield _describe(Path(given), Path(given).as_posix(), default="picture")
        else:
            matches = sorted(path for path in glob.iglob(given, recursive=True) if os.path.isfile(path))
            if not matches:
                raise FileNotFoundError(f"There is no file or folder {given!r}, and no file that it is a glob of.")
            yield from (_describe(Path(match), Path(match).as_posix(), default=None) for match in matches)


def survey(inputs: Sequence[str], *, contiguous_clips: bool) -> Survey:
    """Look at all inputs before any is read.

    Args:
        inputs: As for `list_sources`.
        contiguous_clips: Whether each must be of a clip whose frames come one after another, as a vote needs.

    Raises:
        FileNotFoundError: An input is not there.
        ValueError: There is nothing to answer, or clips are not as they must be.
    """
    num_pictures, is_finite, passed_over, num_passed_over = 0, True, [], 0
    digest = hashlib.sha256()
    clip: str | None = None
    ended: set[str | None] = set()
    for source in list_sources(inputs):
        if source.kind is None:
            num_passed_over += 1
            passed_over += [source.name] * (num_passed_over <= NUM_LISTED)
            continue
        num_pictures += source.kind == "picture"
        is_finite &= source.kind == "picture"
        status = os.stat(source.path, follow_symlinks=True) if source.path.exists() else None
        mark = status and (status.st_size, status.st_mtime_ns)
        digest.update(f"{source.name}\n{mark}\n".encode())
        if contiguous_clips and source.clip != clip:
            _check_clip(source, ended)
            ended.add(clip)
            clip = source.clip
    if is_finite and num_pictures == 0:
        raise ValueError(f"There are no pictures and no videos in {', '.join(inputs)}.")
    return Survey(num_pictures if is_finite else None, passed_over, num_passed_over, digest.hexdigest())


def _check_clip(source: Source, ended: set[str | None]) -> None:
    if source.clip is None:
        raise ValueError(
            f"The clip of {source.name!r} is not known, so frames can not vote: pictures must be named "
            "<clip>.<frame>.<extension>, as 0000.3.jpg."
        )
    if source.clip in ended:
        raise ValueError(
            f"The frames of clip {source.clip!r} do not come one after another: {source.name!r} comes after those of "
            "other clips. Give the folder instead, or the files in the order of the clips."
        )


def read_samples(inputs: Sequence[str], *, jpeg_draft: bool = False) -> Iterator[tuple[Sample, ReadPixels]]:
    """List pictures and frames in the order of `list_sources`, each with what gives its pixels.

    A picture is decoded when it is called, which raises errors of many types on damaged files.

    Args:
        inputs: As for `list_sources`.
        jpeg_draft: As for `decode`.
    """
    for source in list_sources(inputs):
        if source.kind == "picture":
            image = {"path": str(source.path), "bytes": None}
            read = partial(decode, image, jpeg_draft=jpeg_draft)
            yield Sample(source.name, source.clip, source.frame, None), read


def _walk(folder: Path, prefix: str) -> Iterator[Source]:
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in SYSTEM_FILES or entry.name in DESCRIPTIONS:
                continue
            # a link to a folder is passed over as a file: it may lead round in a circle
            (folders if entry.is_dir(follow_symlinks=False) else files).append(entry.name)
    for name in sorted(files, key=_order):
        yield _describe(folder / name, f"{prefix}{name}", default=None)
    for name in sort_ids(folders):
        yield from _walk(folder / name, f"{prefix}{name}/")


def _order(name: str) -> tuple[str, int, str]:
    match = FRAME_NAME.fullmatch(name)
    return (name, -1, name) if match is None else (match["clip"], int(match["frame"]), name)


def _describe(path: Path, name: str, default: str | None) -> Source:
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return Source(name, path, "video", name.removesuffix(path.suffix), None)
    kind = "picture" if PIL.Image.registered_extensions().get(suffix) in PIL.Image.OPEN else default
    match = FRAME_NAME.fullmatch(path.name)
    if match is None:
        return Source(name, path, kind, None, None)
    return Source(name, path, kind, name.removesuffix(path.name) + match["clip"], int(match["frame"]))
