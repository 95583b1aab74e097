"""First images of a training as the model saw them: a JPEG of tiles, whose comment has their classes.

Classes are in the comment, not drawn, so that the report can show names of any script.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image

from ..files import atomic_write

MOST_SHOWN, NUM_COLUMNS = 16, 4
LONGEST_NAME = 80  # characters; a comment holds 65,533 bytes


class SeenImage(NamedTuple):
    """Image of a training batch.

    Attributes:
        image: RGB image.
        shares: Names of the classes in it with their shares, which sum to 1; two for mixed images.
    """

    image: PIL.Image.Image
    shares: list[tuple[str, float]]


def write_first_batch(path: Path, images: np.ndarray, shares: Sequence[list[tuple[str, float]]]) -> None:
    """Write the first images of a batch, at most `MOST_SHOWN`.

    Args:
        path: File to write, a JPEG.
        images: uint8 (batch_size, side, side, 3).
        shares: Classes of each image, as in `SeenImage`.
    """
    images, shares = images[:MOST_SHOWN], shares[:MOST_SHOWN]
    side = images.shape[1]
    rows = -(-len(images) // NUM_COLUMNS)
    sheet = np.full((rows * side, min(len(images), NUM_COLUMNS) * side, 3), 255, dtype=np.uint8)
    for number, image in enumerate(images):
        top, left = number // NUM_COLUMNS * side, number % NUM_COLUMNS * side
        sheet[top : top + side, left : left + side] = image
    cut = [[(name[:LONGEST_NAME], share) for name, share in of_image] for of_image in shares]
    comment = json.dumps({"side": side, "shares": cut}).encode()
    with atomic_write(path) as file:
        PIL.Image.fromarray(sheet).save(file, format="JPEG", quality=90, subsampling=0, comment=comment)


def read_first_batch(path: Path) -> list[SeenImage]:
    """Read what `write_first_batch` wrote.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        with PIL.Image.open(path) as sheet:
            comment = json.loads(sheet.info["comment"])
            sheet.load()
        side, columns = comment["side"], sheet.width // comment["side"]
        corners = [(n % columns * side, n // columns * side) for n in range(len(comment["shares"]))]
        tiles = [sheet.crop((left, top, left + side, top + side)) for left, top in corners]
        shares = [[(str(name), float(share)) for name, share in of_image] for of_image in comment["shares"]]
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise ValueError(f"{path} is damaged, so the report has no first batch: delete the file.") from error
    return [SeenImage(tile, of_image) for tile, of_image in zip(tiles, shares, strict=True)]
