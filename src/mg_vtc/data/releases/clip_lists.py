"""Read lists of cut clips: lines `name label`, or a CSV."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ...messages import abridge
from ..labels import shorten
from ..table_cells import number_rows
from .video_names import VIDEO_SUFFIXES

NAMES = ("name", "file_name", "filename", "file", "path", "video_name", "clip")  # headers of a CSV, in lower case
LABELS = ("label", "class", "class_id", "label_id", "action")
OPTIONAL = ("split", "subject", "video")


class ListedClip(NamedTuple):
    """A line of a list.

    Attributes:
        where: The line and its file, for messages.
        name: Name of the video, with its folders and suffix as far as they are given.
        label: Id or name of the class.
        split: As written; empty, like the following, if the list does not give it.
        subject: Id of the person shown.
        video: Name of the recording.
    """

    where: str
    name: str
    label: str
    split: str = ""
    subject: str = ""
    video: str = ""

    @property
    def key(self) -> str:
        """The name without the suffix of a video, with "/" between folders."""
        return strip_suffix(clean_name(self.name))


def clean_name(name: str) -> str:
    """Return a name with "/" between folders."""
    return name.replace("\\", "/").removeprefix("./")


def strip_suffix(name: str) -> str:
    """Return a name without the suffix of a video."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in VIDEO_SUFFIXES else name


def read_pairs(path: Path) -> tuple[list[ListedClip], list[str]]:
    """Read the lines `name label`, separated by white space; the label may contain spaces.

    Returns:
        The lines, and the errors of the others.

    Raises:
        ValueError: The file is not UTF-8.
    """
    clips, errors = [], []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        where = f"line {number} of {path}, {abridge(line, 80)}"
        words = line.split(maxsplit=1)
        if len(words) == 2:
            clips.append(ListedClip(where, words[0], words[1].strip()))
        elif words:
            errors.append(f"{where}: not a name and a label, separated by a space")
    return clips, errors


def read_list(path: Path) -> tuple[list[ListedClip], list[str]]:
    """Read a CSV with a header, or lines `name label` if the first line has no comma.

    The CSV has a column of `NAMES`, one of `LABELS`, and optionally those of `OPTIONAL`. A cell of the split may be
    empty.

    Returns:
        See `read_pairs`.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is not UTF-8, the header lacks a column, or double quotes are wrong.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no list of clips {path}.")
    text = _read_text(path)
    if "," not in text.lstrip().partition("\n")[0]:
        return _refuse_spaced_names(*read_pairs(path))
    try:
        rows = list(number_rows(io.StringIO(text)))
    except csv.Error as error:
        raise ValueError(f"The list of clips {path} is not a CSV: {error}.") from error
    (_, header), *others = [(line, [cell.strip() for cell in cells]) for line, cells in rows if cells]
    columns = [cell.lower() for cell in header]
    places = {"name": _find(columns, NAMES), "label": _find(columns, LABELS)}
    if missing := [column for column, place in places.items() if place is None]:
        raise ValueError(
            f"The first line of the list {path} is {abridge(','.join(header), 80)}, without a column for "
            f"{shorten(missing)}: name the columns such as name,label,split,subject."
        )
    places |= {column: columns.index(column) for column in OPTIONAL if column in columns}
    clips, errors = [], []
    for line, cells in others:
        where = f"line {line} of {path}, {abridge(','.join(cells), 80)}"
        if not any(cells):
            continue
        found = {column: cells[place] for column, place in places.items() if place is not None and place < len(cells)}
        if len(cells) == len(header) and all(cell for column, cell in found.items() if column != "split"):
            clips.append(ListedClip(where, **found))
        else:
            errors.append(f"{where}: not {','.join(header)}, or a cell is empty")
    return clips, errors


def drop_repeated(clips: Iterable[ListedClip], errors: list[str]) -> list[ListedClip]:
    """Return each listed clip once; a clip with two labels or splits is recorded in `errors` and left out."""
    of_key: dict[str, list[ListedClip]] = {}
    for clip in clips:
        of_key.setdefault(clip.key, []).append(clip)
    kept = []
    for key, listed in of_key.items():
        if len({clip[2:] for clip in listed}) == 1:
            kept.append(listed[0])
        else:
            errors.append(f"{key}: {listed[0].where}, and {listed[1].where}, contradict each other; keep one")
    return kept


def _refuse_spaced_names(clips: list[ListedClip], errors: list[str]) -> tuple[list[ListedClip], list[str]]:
    """Move lines such as `my clip.mp4 9`, whose label would be "clip.mp4 9", to the errors."""
    kept = []
    for clip in clips:
        if any(strip_suffix(word) != word for word in clip.label.split()):
            errors.append(f"{clip.where}: a name with spaces needs a CSV with a header, such as name,label")
        else:
            kept.append(clip)
    return kept, errors


def _find(columns: list[str], names: Iterable[str]) -> int | None:
    return next((columns.index(name) for name in names if name in columns), None)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"The list of clips {path} is not UTF-8 ({error}): save it as UTF-8.") from error
