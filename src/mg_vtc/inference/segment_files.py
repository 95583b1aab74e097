"""Which intervals of videos are to be answered, from CSV files."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..data.file_tree import find_files
from ..data.labels import canonical_id
from ..data.segments import INTERVAL, find_fault, read_rows

LABEL_FILE = "_label.csv"  # of one video, as in the MiGA release: `<video>_label.csv`


class Interval(NamedTuple):
    """Frames of a video that are one clip.

    Attributes:
        number: Which one of its video's it is, from 0: its row in the file.
        start_frame: The first frame, from 0.
        end_frame: The last frame, which belongs to it.
    """

    number: int
    start_frame: int
    end_frame: int


def read_segments(path: str | os.PathLike, *, first_frame: int = 1) -> dict[int | str | None, list[Interval]]:
    """Read intervals of videos.

    A file has a header with the columns `start_frame` and `end_frame` and, for several videos, `video` (or as else
    these are called in `COLUMNS`); more columns do not matter. A file without header has the columns class, start and
    end, as the label files of the MiGA release do; the class does not matter. It is of the video that its name tells,
    where that is `<video>_label.csv`. Of a folder, all such files in it are read, equal ones of a name once.

    Args:
        path: The file or folder.
        first_frame: What the files call the first frame of a video, 0 or 1; by default as in `prepare_imigue`.

    Returns:
        Name of the video (a number where it is one, so that "0001" is 1; None where the file does not tell) to its
        intervals, in the order of the file.

    Raises:
        FileNotFoundError: There is no such file, or none in the folder.
        ValueError: `first_frame` is another number, or a line is not as it must be.
    """
    if first_frame not in (0, 1):
        raise ValueError(f"first_frame must be 0 or 1, got {first_frame}.")
    path = Path(path)
    files = [file for file in find_files(path).files if file.name.endswith(LABEL_FILE)] if path.is_dir() else [path]
    if not path.exists() or not files:
        raise FileNotFoundError(f"There is no file of segments {path}, and no *{LABEL_FILE} in a folder of this name.")
    segments: dict[int | str | None, list[Interval]] = {}
    origins: dict[int | str | None, Path] = {}
    known: set[tuple[str, bytes]] = set()  # the release has label files both with the videos and with the skeletons
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
        raise ValueError(f"There are no segments in {path}.")
    return segments


def _read_intervals(path: Path, first_frame: int) -> Iterator[tuple[int | str | None, int, int]]:
    """Yield the video, the first and the last frame, from 0, of each row."""
    of_file = canonical_id(path.name.removesuffix(LABEL_FILE)) if path.name.endswith(LABEL_FILE) else None
    for where, cells in read_rows(path, INTERVAL, ("start", "end")):
        if fault := find_fault(cells["start"], cells["end"], first_frame):
            raise ValueError(f"In {where}: {fault}.")
        video = canonical_id(cells["video"]) if "video" in cells else of_file
        yield video, int(cells["start"]) - first_frame, int(cells["end"]) - first_frame
