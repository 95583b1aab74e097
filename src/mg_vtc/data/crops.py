"""What is cut out of the frames of videos, from a CSV file."""

import csv
from pathlib import Path
from typing import NamedTuple

from .labels import canonical_id


class Box(NamedTuple):
    """A part of a picture, in pixels."""

    x: int
    y: int
    width: int
    height: int


def read_crops(path: str | Path) -> dict[int | str, Box]:
    """Read the boxes to cut out: a CSV with the header `video,x,y,w,h`, in pixels from the upper left corner.

    Returns:
        Name of the video (a number where it is one, so that "0001" is 1) to its box.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It has another header, a video twice, or a line is no box within a picture.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file of boxes {path}.")
    boxes: dict[int | str, Box] = {}
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, skipinitialspace=True)
        header = [cell.strip() for cell in next(reader, [])]
        if header != ["video", "x", "y", "w", "h"]:
            raise ValueError(f"The first line of {path} must be 'video,x,y,w,h', but it is {','.join(header)!r}.")
        for cells in filter(None, reader):
            where = f"Line {reader.line_num} of {path}, {','.join(cells)!r}"
            if len(cells) != 5 or not all(cell.strip().isdecimal() for cell in cells[1:]):
                raise ValueError(f"{where}, must be a video and four whole numbers of pixels.")
            video = canonical_id(cells[0].strip())
            box = Box(*map(int, cells[1:]))
            if box.width == 0 or box.height == 0:
                raise ValueError(f"{where}, is an empty box.")
            if video in boxes:
                raise ValueError(f"{where}, is a second box of this video.")
            boxes[video] = box
    return boxes
