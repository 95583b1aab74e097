"""Read crop boxes for video frames from a CSV file."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...messages import abridge
from ..labels import MOST_DIGITS, canonical_id
from ..table_cells import number_rows


class Box(NamedTuple):
    """A crop box in pixels."""

    x: int
    y: int
    width: int
    height: int


def read_crops(path: str | Path) -> dict[int | str, Box]:
    """Read crop boxes from a CSV with the header `video,x,y,w,h`, in pixels from the upper left corner.

    Returns:
        Video name to its box. Numeric names become numbers ("0001" is 1).

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The header is wrong, a video occurs twice, or a line is not a valid box.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no crop file {path}.")
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            return _parse(number_rows(file), path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"The crop file {path} is not a UTF-8 CSV: {error}.") from error


def _parse(rows: Iterator[tuple[int, list[str]]], path: str | Path) -> dict[int | str, Box]:
    boxes: dict[int | str, Box] = {}
    header = [cell.strip() for cell in next(rows, (1, []))[1]]
    if header != ["video", "x", "y", "w", "h"]:
        raise ValueError(f"The first line of {path} must be 'video,x,y,w,h', but it is {abridge(','.join(header))}.")
    for line, cells in rows:
        if not cells:
            continue
        where = f"Line {line} of {path}, {abridge(','.join(cells), 80)}"
        if len(cells) != 5 or not all(cell.strip().isdecimal() and len(cell) <= MOST_DIGITS for cell in cells[1:]):
            raise ValueError(f"{where}, must be a video name and four whole numbers (pixels).")
        video = canonical_id(cells[0].strip())
        box = Box(*map(int, cells[1:]))
        if box.width == 0 or box.height == 0:
            raise ValueError(f"{where}, is an empty box: width and height must be at least 1.")
        if video in boxes:
            raise ValueError(f"{where}, is a second box for the same video: keep one.")
        boxes[video] = box
    return boxes
