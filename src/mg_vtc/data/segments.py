"""Labelled intervals of videos, and the CSV files of the releases that tell them."""

import csv
import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from .labels import shorten

# What the columns are called in releases, in lower case without "_", to what they are called here.
COLUMNS = (
    dict.fromkeys(("class", "classid", "gestureid", "label"), "class")
    | dict.fromkeys(("startframe", "start"), "start")
    | dict.fromkeys(("endframe", "end"), "end")
    | dict.fromkeys(("videoid", "video"), "video")
    | dict.fromkeys(("subjectid", "subject"), "subject")
)
INTERVAL = ("class", "start", "end")


class LabelError(ValueError):
    """A file of labels can not be read as a whole; the message has its path and a line."""


class FirstFrameError(ValueError):
    """A file of labels begins with frame 0, where the first one is to be 1."""


@dataclass(frozen=True)
class Segment:
    """An interval of a video that shows a gesture.

    Attributes:
        video: Name of the video.
        label_id: Id of the class, as in the class names of the set.
        start_frame: Its first frame, from 0.
        end_frame: Its last frame, from 0, which belongs to it.
        index: Which one of the video's it is, from 0: its row in the file of labels.
        subject: Who is seen, or None where the release does not tell.
    """

    video: str
    label_id: int
    start_frame: int
    end_frame: int
    index: int
    subject: str | None = None

    @property
    def clip(self) -> str:
        """`<video>_<index>`, as samples are called in the MiGA challenge."""
        return f"{self.video}_{self.index}"


class Row(NamedTuple):
    """A line of a file about intervals of videos.

    Attributes:
        where: The line and its file, for messages.
        cells: What stands in each column, by the names of `COLUMNS`.
    """

    where: str
    cells: dict[str, str]


def read_label_file(
    path: str | Path, video: str, label_ids: Mapping[int, int], *, first_frame: int, subject: str | None = None
) -> tuple[list[Segment], list[str]]:
    """Read the segments of one video: lines `class,start,end`, with a header or without.

    These are `<id>_label.csv` of the MiGA release of iMiGUE and `<Sample>_finelabels.csv` of SMG. The last frame
    belongs to the segment. A header may have the columns in another order; without one the order is checked by what
    the numbers can mean.

    Args:
        path: The file.
        video: Name of the video.
        label_ids: What stands in the file for each class, to its id.
        first_frame: What the file calls the first frame of a video, 0 or 1.
        subject: Who is seen.

    Returns:
        The segments, and why lines are left out, with their numbers.

    Raises:
        LabelError: The file is no table of this form, or its columns are in another order.
        FirstFrameError: The first line is right but for its frame 0, where the first one is to be 1.
    """
    rows = read_rows(Path(path), INTERVAL, INTERVAL)
    faults = _find_faults(rows, label_ids, first_frame)
    segments = [
        _make_segment(row, video, index, label_ids, first_frame, subject)
        for index, row in enumerate(rows)
        if index not in faults
    ]
    return segments, list(faults.values())


def read_label_table(
    path: str | Path, label_ids: Mapping[int, int], *, first_frame: int
) -> tuple[dict[str, list[Segment]], list[str]]:
    """Read the segments of all videos: the file `labels_20200831.csv` of the original release of iMiGUE.

    Its columns are video_id, class, start_frame, end_frame, subject_id and win_or_lose, in this order where it has no
    header. Names of videos get four digits, as their files have them.

    Args:
        path: The file.
        label_ids: As for `read_label_file`.
        first_frame: Likewise.

    Returns:
        Name of the video to its segments, and why lines are left out.

    Raises:
        LabelError: As for `read_label_file`.
        FirstFrameError: Likewise.
    """
    rows = read_rows(Path(path), ("video", *INTERVAL, "subject"), ("video", *INTERVAL))
    faults = _find_faults(rows, label_ids, first_frame)
    segments = defaultdict(list)
    counts: dict[str, int] = defaultdict(int)
    for index, row in enumerate(rows):
        video = row.cells["video"].zfill(4)
        if index not in faults:
            subject = row.cells.get("subject") or None
            segments[video].append(_make_segment(row, video, counts[video], label_ids, first_frame, subject))
        counts[video] += 1
    return dict(segments), list(faults.values())


def find_overlaps(segments: Iterable[Segment]) -> list[tuple[Segment, Segment]]:
    """Find the segments that begin before an earlier one has ended, each with that one of these which ends last."""
    overlaps = []
    last: Segment | None = None
    for segment in sorted(segments, key=lambda segment: (segment.start_frame, segment.index)):
        if last is not None and segment.start_frame <= last.end_frame:
            overlaps.append((last, segment))
        if last is None or segment.end_frame > last.end_frame:
            last = segment
    return overlaps


def fit_segments(segments: Iterable[Segment], num_frames: int) -> tuple[list[Segment], list[str]]:
    """Return the segments as far as a video of `num_frames` has them, and what of them it does not have."""
    fitting, notes = [], []
    for segment in segments:
        frames = f"{segment.clip}: frames {segment.start_frame} to {segment.end_frame}"
        if segment.start_frame >= num_frames:
            notes.append(f"{frames} are past the end of the video, which has {num_frames}; left out")
            continue
        if segment.end_frame >= num_frames:
            notes.append(f"{frames} are partly past the end of the video, which has {num_frames}; cut there")
            segment = replace(segment, end_frame=num_frames - 1)
        fitting.append(segment)
    return fitting, notes


def read_rows(path: Path, order: Sequence[str], required: Sequence[str]) -> list[Row]:
    """Read a CSV file about intervals, with a header or without.

    Args:
        path: The file.
        order: The columns where there is no header: a first line without a number.
        required: Those that every line must have, as it must "video" where a header names it.

    Raises:
        FileNotFoundError: There is no such file.
        LabelError: The file is no CSV, it is separated by something else than commas, its numbers are not whole, or
            the header or a line lacks a column.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of labels {path}.")
    rows: list[Row] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a byte order mark first
            reader = csv.reader(file, skipinitialspace=True)
            for cells in reader:
                cells = [cell.strip() for cell in cells]
                if not any(cells):
                    continue
                if not rows and not any(cell.isdigit() for cell in cells):
                    order = _read_header(cells, required, path, reader.line_num)
                    continue
                where = f"line {reader.line_num} of {path}, {','.join(cells)!r}"
                rows.append(Row(where, dict(zip(order, cells, strict=False))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{path} is no CSV in UTF-8: {error}.") from error
    for row in rows:
        if missing := [column for column in order if column in (*required, "video") and column not in row.cells]:
            raise LabelError(f"In {row.where}, there is no {shorten(missing)}.")
    return rows


def _read_header(cells: list[str], required: Sequence[str], path: Path, line: int) -> list[str]:
    where = f"Line {line} of {path}, {','.join(cells)!r},"
    if len(cells) == 1 and (mark := next((mark for mark in ";\t|" if mark in cells[0]), None)):
        raise LabelError(f"{where} is separated by {mark!r}: separate the columns by commas.")
    if any(re.fullmatch(r"-?\d+\.\d*", cell) for cell in cells):
        raise LabelError(f"{where} has numbers with a point: classes and frames are whole numbers.")
    order = [COLUMNS.get(cell.lower().replace("_", "").replace(" ", ""), cell) for cell in cells]
    if missing := [column for column in required if column not in order]:
        raise LabelError(
            f"Line {line} of {path} is the header {','.join(cells)!r}, without a column for {shorten(missing)}."
        )
    return order


def find_fault(start: str, end: str, first_frame: int) -> str | None:
    """Return what is wrong with the first and the last frame that are written in two cells."""
    if other := [cell for cell in (start, end) if not cell.removeprefix("-").isdecimal()]:
        return f"{other[0]!r} is no whole number"
    if int(end) < int(start):
        return f"frame {end} is before frame {start}"
    if int(start) < first_frame:
        return f"there is no frame {start}, as the first one is {first_frame}" + (
            "; if this file counts from 0, say so with --first_frame 0" if int(start) == 0 else ""
        )
    return None


def _find_faults(rows: list[Row], label_ids: Mapping[int, int], first_frame: int) -> dict[int, str]:
    """Return place of a row to what is wrong with it; raise where another order of columns explains more.

    That is clear where a quarter of the lines at most makes no sense in it, and half as many as in this one at most.
    """

    def find(order: Sequence[str]) -> dict[int, str]:
        return {
            index: f"{row.where}: {fault}"
            for index, row in enumerate(rows)
            if (fault := _find_label_fault([row.cells[column] for column in order], label_ids, first_frame))
        }

    if not find(INTERVAL):
        return {}
    faults = {order: find(order) for order in itertools.permutations(INTERVAL)}  # of equals, the first is taken: ours
    best = min(faults, key=lambda order: len(faults[order]))
    if best != INTERVAL and len(faults[best]) <= min(len(rows) / 4, len(faults[INTERVAL]) / 2):
        found = [INTERVAL[best.index(column)] for column in INTERVAL]
        better = len(rows) - len(faults[best])
        raise LabelError(
            f"The columns must be {','.join(INTERVAL)}, but they seem to be {','.join(found)}, as which {better} of "
            f"{len(rows)} lines make sense, and not {len(rows) - len(faults[INTERVAL])}: "
            f"{next(iter(faults[INTERVAL].values()))}. Bring them in order."
        )
    if (
        0 in faults[INTERVAL]
        and first_frame == 1
        and _find_label_fault([rows[0].cells[column] for column in INTERVAL], label_ids, 0) is None
    ):
        raise FirstFrameError(
            f"{faults[INTERVAL][0]} (in Python, first_frame=0). If only this line is wrong, mend it or take it out."
        )
    return faults[INTERVAL]


def _find_label_fault(cells: Sequence[str], label_ids: Mapping[int, int], first_frame: int) -> str | None:
    """Return what is wrong with the class, the start and the end that are written in three cells."""
    class_number, start, end = cells
    if not class_number.removeprefix("-").isdecimal():
        return f"{class_number!r} is no whole number"
    if int(class_number) not in label_ids:
        return f"there is no class {class_number}, only {', '.join(map(str, label_ids))}"
    return find_fault(start, end, first_frame)


def _make_segment(
    row: Row, video: str, index: int, label_ids: Mapping[int, int], first_frame: int, subject: str | None
) -> Segment:
    label_id = label_ids[int(row.cells["class"])]
    start, end = int(row.cells["start"]) - first_frame, int(row.cells["end"]) - first_frame
    return Segment(video, label_id, start, end, index, subject)
