"""Intervals of videos to predict, read from CSV files."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..data.file_tree import find_files
from ..data.labels import canonical_id
from ..data.releases.annotations import INTERVAL, find_interval_error, read_rows

LABEL_FILE = "_label.csv"  # of one video, as in the MiGA release: `<video>_label.csv`


class Interval(NamedTuple):
    """Frames of a video that form one clip.

    Attributes:
        number: Index of the interval in its video, from 0: its row in the file.
        start_frame: First frame, from 0.
        end_frame: Last frame, inclusive.
    """

    number: int
    start_frame: int
    end_frame: int


def read_segments(path: str | os.PathLike, *, first_frame: int = 1) -> dict[int | str | None, list[Interval]]:
    """Read intervals of videos.

    A file with a header has the columns `start_frame` and `end_frame` (for aliases see `COLUMNS`) and, for several
    videos, `video`; other columns are ignored. A file without a header has the columns class, start and end, like the
    label files of the MiGA release; the class is ignored. A file named `<video>_label.csv` belongs to that video. In a
    folder, all files of such names are read; identical copies are read once.

    Args:
        path: File or folder.
        first_frame: Number of the first frame of a video in the files, 0 or 1; by default as in `prepare_imigue`.

    Returns:
        Intervals by video, in the order of the file. The key is an int if the name is a number ("0001" is 1), and
        None if the file names no video.

    Raises:
        FileNotFoundError: The file does not exist, or the folder has no label files.
        ValueError: `first_frame` is not 0 or 1, a row is invalid, two files cover one video, or there are no segments.
    """
    if first_frame not in (0, 1):
        raise ValueError(f"first_frame must be 0 or 1, got {first_frame}.")
    path = Path(path)
    files = [file for file in find_files(path).files if file.name.endswith(LABEL_FILE)] if path.is_dir() else [path]
    if not path.exists() or not files:
        raise FileNotFoundError(f"No file of segments {path}, and no folder of this name with *{LABEL_FILE} files.")
    segments: dict[int | str | None, list[Interval]] = {}
    origins: dict[int | str | None, Path] = {}
    known: set[tuple[str, bytes]] = set()  # the release has copies of some label files
    for file in files:
        content = file.name, file.read_bytes()
        if content in known:
            continue
        known.add(content)
        for video, start, end in _read_intervals(file, first_frame):
            if origins.setdefault(video, file) != file:
                raise ValueError(f"Both {origins[video]} and {file} have segments of the video {video!r}: keep one.")
            intervals = segments.setdefault(video, [])
            intervals.append(Interval(len(intervals), start, end))
    if not segments:
        raise ValueError(f"No segments in {path}.")
    return segments


def _read_intervals(path: Path, first_frame: int) -> Iterator[tuple[int | str | None, int, int]]:
    """Yield the video, the first and the last frame (from 0) of each row."""
    of_file = canonical_id(path.name.removesuffix(LABEL_FILE)) if path.name.endswith(LABEL_FILE) else None
    for where, cells in read_rows(path, INTERVAL, ("start", "end")):
        if fault := find_interval_error(cells["start"], cells["end"], first_frame):
            raise ValueError(f"In {where}: {fault}.")
        video = canonical_id(cells["video"]) if "video" in cells else of_file
        yield video, int(cells["start"]) - first_frame, int(cells["end"]) - first_frame
