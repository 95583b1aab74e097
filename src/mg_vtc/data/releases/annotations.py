"""Read labelled intervals of videos from the CSV files of the releases."""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ...messages import abridge
from ..labels import MOST_DIGITS, shorten
from ..table_cells import number_rows

# Column names of the releases, in lower case without "_", to the names used here.
COLUMNS = (
    dict.fromkeys(("class", "classid", "gestureid", "label"), "class")
    | dict.fromkeys(("startframe", "start"), "start")
    | dict.fromkeys(("endframe", "end"), "end")
    | dict.fromkeys(("videoid", "video"), "video")
    | dict.fromkeys(("subjectid", "subject"), "subject")
)
INTERVAL = ("class", "start", "end")
MOST_FRAMES = 1_000_000  # of an interval, nine hours at 30 frames a second; all their numbers are in memory


class LabelError(ValueError):
    """A label file cannot be read at all; the message contains its path and a line."""


class FirstFrameError(ValueError):
    """A label file starts with frame 0 although the first frame is 1."""


@dataclass(frozen=True)
class Segment:
    """An interval of a video that shows a gesture.

    Attributes:
        video: Name of the video.
        label_id: Id of the class, as in the class names of the set.
        start_frame: First frame, from 0.
        end_frame: Last frame, from 0, inclusive.
        index: Index among the segments of the video, from 0: the row in the label file.
        subject: Id of the person shown, or None if unknown.
    """

    video: str
    label_id: int
    start_frame: int
    end_frame: int
    index: int
    subject: str | None = None

    @property
    def clip(self) -> str:
        """`<video>_<index>`, the sample name of the MiGA challenge."""
        return f"{self.video}_{self.index}"


class Row(NamedTuple):
    """A line of a file about intervals of videos.

    Attributes:
        where: The line and its file, for messages.
        cells: Content of each column, by the names of `COLUMNS`.
    """

    where: str
    cells: dict[str, str]


def read_label_file(
    path: str | Path, video: str, label_ids: Mapping[int, int], *, first_frame: int, subject: str | None = None
) -> tuple[list[Segment], list[str]]:
    """Read the segments of one video: lines `class,start,end`, with or without a header.

    Such files are `<id>_label.csv` of the MiGA release of iMiGUE and `<Sample>_finelabels.csv` of SMG. The last frame
    is inclusive. A header may list the columns in any order; without one, a file of which half of
    the lines or more are invalid is refused.

    Args:
        path: Label file.
        video: Name of the video.
        label_ids: Class numbers in the file to class ids.
        first_frame: Number of the first frame of a video in the file, 0 or 1.
        subject: Id of the person shown.

    Returns:
        The segments, and the reasons for skipped lines, with line numbers.

    Raises:
        LabelError: The file is not such a table, or its columns are in another order.
        FirstFrameError: The first line is valid except for frame 0, although `first_frame` is 1.
    """
    rows = read_rows(Path(path), INTERVAL, INTERVAL)
    errors = _find_errors(rows, label_ids, first_frame)
    segments = [
        _make_segment(row, video, index, label_ids, first_frame, subject)
        for index, row in enumerate(rows)
        if index not in errors
    ]
    return segments, list(errors.values())


def read_label_table(
    path: str | Path, label_ids: Mapping[int, int], *, first_frame: int
) -> tuple[dict[str, list[Segment]], list[str]]:
    """Read the segments of all videos from `labels_20200831.csv` of the original iMiGUE release.

    Its columns are video_id, class, start_frame, end_frame, subject_id and win_or_lose, in this order if there is no
    header. Video names are padded to four digits, as in the file names.

    Args:
        path: Label file.
        label_ids: See `read_label_file`.
        first_frame: See `read_label_file`.

    Returns:
        Video name to its segments, and the reasons for skipped lines.

    Raises:
        LabelError: See `read_label_file`.
        FirstFrameError: See `read_label_file`.
    """
    rows = read_rows(Path(path), ("video", *INTERVAL, "subject"), ("video", *INTERVAL))
    errors = _find_errors(rows, label_ids, first_frame)
    segments = defaultdict(list)
    counts: dict[str, int] = defaultdict(int)
    for index, row in enumerate(rows):
        video = row.cells["video"].zfill(4)
        if index not in errors:
            subject = row.cells.get("subject") or None
            segments[video].append(_make_segment(row, video, counts[video], label_ids, first_frame, subject))
        counts[video] += 1
    return dict(segments), list(errors.values())


def find_overlaps(segments: Iterable[Segment]) -> list[tuple[Segment, Segment]]:
    """Find the segments that start before an earlier one ends, each paired with the earlier one that ends last."""
    overlaps = []
    last: Segment | None = None
    for segment in sorted(segments, key=lambda segment: (segment.start_frame, segment.index)):
        if last is not None and segment.start_frame <= last.end_frame:
            overlaps.append((last, segment))
        if last is None or segment.end_frame > last.end_frame:
            last = segment
    return overlaps


def fit_segments(segments: Iterable[Segment], num_frames: int) -> tuple[list[Segment], list[str]]:
    """Return the segments cut to a video of `num_frames`, and notes about the missing frames."""
    fitting, notes = [], []
    for segment in segments:
        frames = f"{segment.clip}: frames {segment.start_frame} to {segment.end_frame}"
        if segment.start_frame >= num_frames:
            notes.append(f"{frames} are beyond the end of the video, which has {num_frames}; skipped")
            continue
        if segment.end_frame >= num_frames:
            notes.append(f"{frames} are partly beyond the end of the video, which has {num_frames}; cut there")
            segment = replace(segment, end_frame=num_frames - 1)
        fitting.append(segment)
    return fitting, notes


def read_rows(path: Path, order: Sequence[str], required: Sequence[str]) -> list[Row]:
    """Read a CSV file about intervals, with or without a header.

    Args:
        path: CSV file.
        order: Columns if there is no header. A first line without numbers is a header.
        required: Columns that every line must have, in addition to "video" if a header names it.

    Raises:
        FileNotFoundError: The file does not exist.
        LabelError: The file is not a CSV, is not separated by commas, has decimal numbers, or lacks a column.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no label file {path}.")
    rows: list[Row] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a byte order mark
            for line, cells in number_rows(file):
                cells = [cell.strip() for cell in cells]
                if not any(cells):
                    continue
                if not rows and not any(cell.isdigit() for cell in cells):
                    order = _read_header(cells, required, path, line)
                    continue
                where = f"line {line} of {path}, {abridge(','.join(cells), 80)}"
                rows.append(Row(where, dict(zip(order, cells, strict=False))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{path} is not a UTF-8 CSV: {error}.") from error
    for row in rows:
        if missing := [column for column in order if column in (*required, "video") and column not in row.cells]:
            raise LabelError(f"In {row.where}, the column {shorten(missing)} is missing.")
    return rows


def _read_header(cells: list[str], required: Sequence[str], path: Path, line: int) -> list[str]:
    where = f"Line {line} of {path}, {abridge(','.join(cells), 80)},"
    if len(cells) == 1 and (mark := next((mark for mark in ";\t|" if mark in cells[0]), None)):
        raise LabelError(f"{where} is separated by {mark!r}: separate the columns by commas.")
    if any(re.fullmatch(r"-?\d+\.\d*", cell) for cell in cells):
        raise LabelError(f"{where} has decimal numbers: classes and frames must be whole numbers.")
    order = [COLUMNS.get(cell.lower().replace("_", "").replace(" ", ""), cell) for cell in cells]
    if missing := [column for column in required if column not in order]:
        raise LabelError(
            f"Line {line} of {path} is the header {abridge(','.join(cells), 80)}, without a column for "
            f"{shorten(missing)}."
        )
    return order


def find_interval_error(start: str, end: str, first_frame: int) -> str | None:
    """Return the error in the first and last frame of an interval, given as text, or None."""
    for cell in (start, end):
        if not cell.removeprefix("-").isdecimal():
            return f"{abridge(cell)} is not a whole number"
        if len(cell) > MOST_DIGITS:
            return f"{cell[:MOST_DIGITS]}... is too large for the number of a frame"
    if int(end) < int(start):
        return f"frame {end} is before frame {start}"
    if int(end) - int(start) >= MOST_FRAMES:
        return f"frames {start} to {end} are more than {MOST_FRAMES:,}"
    if int(start) < first_frame:
        return f"there is no frame {start}, because the first frame is {first_frame}" + (
            "; if this file counts from 0, set `first_frame=0`" if int(start) == 0 else ""
        )
    return None


def _find_errors(rows: list[Row], label_ids: Mapping[int, int], first_frame: int) -> dict[int, str]:
    """Return row index to error; raise if half of the lines or more are invalid, or frames
    are counted from 0."""

    def find(row: Row, first_frame: int) -> str | None:
        return _find_label_error([row.cells[column] for column in INTERVAL], label_ids, first_frame)

    errors = {
        index: f"{row.where}: {error}"
        for index, row in enumerate(rows)
        if (error := find(row, first_frame)) is not None
    }
    if 0 in errors and first_frame == 1 and find(rows[0], 0) is None:
        raise FirstFrameError(f"{errors[0]}. If only this line is wrong, correct or remove it.")
    if len(errors) > 1 and len(errors) >= len(rows) / 2:  # labels in another order must not be taken for these
        raise LabelError(
            f"{len(errors)} of {len(rows)} lines are not {','.join(INTERVAL)}, such as {next(iter(errors.values()))}. "
            "Correct them and, without a header, the order of the columns."
        )
    return errors


def _find_label_error(cells: Sequence[str], label_ids: Mapping[int, int], first_frame: int) -> str | None:
    """Return the error in the class, start and end of a row, or None."""
    class_number, start, end = cells
    if not class_number.removeprefix("-").isdecimal() or len(class_number) > MOST_DIGITS:
        return f"{abridge(class_number)} is not a whole number"
    if int(class_number) not in label_ids:
        return f"there is no class {class_number}, only {', '.join(map(str, label_ids))}"
    return find_interval_error(start, end, first_frame)


def _make_segment(
    row: Row, video: str, index: int, label_ids: Mapping[int, int], first_frame: int, subject: str | None
) -> Segment:
    label_id = label_ids[int(row.cells["class"])]
    start, end = int(row.cells["start"]) - first_frame, int(row.cells["end"]) - first_frame
    return Segment(video, label_id, start, end, index, subject)
