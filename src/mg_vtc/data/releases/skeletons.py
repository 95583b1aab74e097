"""Read the OpenPose skeletons of a video, and find the box of the person.

A skeleton file has a line per frame with x, y in pixels and confidence of each keypoint: 137 of the body, face and
hands, or a part of them. The MiGA release has 35, the body and the finger tips. A header of names or column numbers
and a first column with the number of the frame are optional.
"""

import io
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from .boxes import Box
from .video import VideoError

NUM_KEYPOINTS = (25, 35, 137)  # of the body, of body and finger tips, of body, face and hands
# Where OpenPose sees little, it puts keypoints at random with a low confidence. One of them enlarges the box, while a
# missing one hardly makes it smaller, because its neighbours are there.
MIN_CONFIDENCE = 0.3
# Keypoints are the centres of joints and eyes: the crown of a head is about this far above the eyes, as a fraction of
# the longer side of the box of a person who sits.
MARGIN = 0.15
MIN_KEYPOINTS = 5  # in a segment, as those of a face alone; below, there is no person


def read_skeletons(path: Path) -> np.ndarray:
    """Read a skeleton file.

    Returns:
        float64 (num_frames, num_keypoints, 3) with x, y and confidence; NaN for empty cells. An empty line is a frame
        without keypoints, except at the end. No frames if the file is empty.

    Raises:
        VideoError: The file is not such a table.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise VideoError(f"The skeleton {path} is not a UTF-8 CSV: {error}.") from error
    rows = lines[1:] if lines and _is_header(lines[0].strip().split(",")) else lines
    if not rows:
        return np.empty((0, 0, 3))
    empty_row = "," * rows[-1].count(",")  # the last row is not empty
    data = "".join(f"{row if row.strip() else empty_row}\n" for row in rows).encode()
    try:
        table = pyarrow.csv.read_csv(io.BytesIO(data), pyarrow.csv.ReadOptions(autogenerate_column_names=True))
        values = np.column_stack([column.cast(pa.float64()).to_numpy() for column in table.columns])
    except pa.ArrowException as error:
        raise VideoError(f"The skeleton {path} is not a CSV of numbers: {error}") from error
    has_index = values.shape[1] % 3
    num_keypoints = values.shape[1] // 3
    if has_index > 1 or num_keypoints not in NUM_KEYPOINTS:
        raise VideoError(
            f"The skeleton {path} has {values.shape[1]} columns: x, y and confidence of "
            f"{', '.join(map(str, NUM_KEYPOINTS[:-1]))} or {NUM_KEYPOINTS[-1]} keypoints are needed."
        )
    return values[:, has_index:].reshape(len(values), num_keypoints, 3)


def find_person(keypoints: np.ndarray, start_frame: int, end_frame: int) -> Box | None:
    """Find the box of the confident keypoints in a segment, with a margin.

    Args:
        keypoints: Output of `read_skeletons`.
        start_frame: First frame, from 0.
        end_frame: Last frame, inclusive.

    Returns:
        The box, which may extend beyond the frame; None if there are too few keypoints.
    """
    frames = keypoints[start_frame : end_frame + 1]  # (num_frames, num_keypoints, 3)
    is_seen = (frames[..., 2] >= MIN_CONFIDENCE) & np.isfinite(frames).all(axis=-1)  # (num_frames, num_keypoints)
    if is_seen.any(axis=0).sum() < MIN_KEYPOINTS:
        return None
    points = frames[is_seen][:, :2]  # (num_seen, 2)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    margin = MARGIN * max(right - left, bottom - top)
    x, y = math.floor(left - margin), math.floor(top - margin)
    return Box(x, y, math.ceil(right + margin) - x + 1, math.ceil(bottom + margin) - y + 1)


def _is_header(cells: list[str]) -> bool:
    """Return whether a line has names or the numbers of the columns, maybe after an empty cell.

    Other empty cells are those of keypoints that are missing.
    """
    cells = cells[1:] if not cells[0] else cells
    try:
        numbers = [float(cell.strip() or "nan") for cell in cells]
    except ValueError:
        return True
    return bool(numbers) and numbers == list(range(len(numbers)))
