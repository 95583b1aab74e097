"""Find data leakage between splits: shared clips, identical files and near duplicates.

Near duplicates are found in two steps. A perceptual hash selects candidates: 63 bits, each of which says whether a low
frequency of the cosine transform of the grey image is above the median (C. Zauner, "Implementation and Benchmarking of
Perceptual Image Hash Functions", 2010). Drawings on a plain background often have similar hashes, so the pixels of the
candidates are compared as well.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import datasets
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from .cache import decode_row
from .decoding import Resizing

SIZE = 32  # height and width of the compared thumbnails, in pixels
MAX_DISTANCE = 10  # largest number of different bits of two hashes
MAX_DIFFERENCE = 0.2  # largest `measure_difference` of near duplicates
MIN_CONTRAST = 4  # standard deviation in grey levels; images below it are not compared
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # weights of red, green and blue, ITU-R BT.601
NUM_CANDIDATES = 16  # nearest training images whose pixels are compared
CHUNK = 256  # images, or rows of the distance matrix, in memory at once
PHRASES = {
    "same_clip": "are from the same clips as training images",
    "same_bytes": "are byte-identical to training images",
    "near_duplicate": "are near duplicates of training images",
}


class Leakage(NamedTuple):
    """Images of one split with a match in the training split.

    Attributes:
        kind: "same_clip", "same_bytes" or "near_duplicate".
        split: Name of the split, such as "validation".
        pairs: File name of each such image and of a matching training image.
    """

    kind: str
    split: str
    pairs: list[tuple[str, str]]

    def describe(self) -> str:
        """Return a line for the user; requires at least one pair."""
        one, other = self.pairs[0]
        return f"{len(self.pairs)} {self.split} images {PHRASES[self.kind]} (such as {one!r} and {other!r})."


def describe_leakage(counts: Mapping[str, int]) -> str:
    """Return the number of images of each kind of leakage as text; empty if there are none."""
    return ", ".join(f"{count} {PHRASES[kind]}" for kind, count in counts.items() if count)


class _Prints(NamedTuple):
    """Data that images are compared by."""

    thumbnails: np.ndarray  # uint8 (num_rows, 3, SIZE, SIZE)
    hashes: np.ndarray  # uint64 (num_rows,)
    has_content: np.ndarray  # bool (num_rows,)


def find_leakage(
    splits: Mapping[str, datasets.Dataset],
    digests: Mapping[str, list[str]],
    pixels: Mapping[str, np.ndarray | None],
    resizing: Resizing | int,
    *,
    jpeg_draft: bool = False,
) -> list[Leakage]:
    """Compare the training split with every other split.

    Finds copies saved again at another size or quality, slightly brighter or darker, or with a narrow border cropped
    (mostly up to 2 % on each side). Does not find copies that were rotated, mirrored, cropped further or converted to
    grey.

    Args:
        splits: "train" and other splits, with the columns `image`, `file_name`, `clip` if clips are known, and `row`
            if `pixels` are given.
        digests: Output of `digest_images` for each split.
        pixels: Decoded images that the column `row` of a split indexes, uint8 (num_images, height, width, 3); None to
            decode the images.
        resizing: Size of decoded images, and the way to it.
        jpeg_draft: See `decode`.

    Returns:
        One entry per kind for each other split, in its order, possibly without pairs; no "same_clip" if clips are
        unknown. Byte-identical images are not counted as near duplicates.

    Raises:
        ValueError: An image cannot be decoded.
    """
    prints = {name: _take_prints(rows, pixels[name], resizing, jpeg_draft) for name, rows in splits.items()}
    names = {name: rows["file_name"][:] for name, rows in splits.items()}
    leakage = []
    for split in [name for name in splits if name != "train"]:
        found = {}
        if "clip" in splits["train"].column_names:
            found["same_clip"] = _match(splits[split]["clip"][:], splits["train"]["clip"][:])
        found["same_bytes"] = _match(digests[split], digests["train"])
        near = _find_near_duplicates(prints[split], prints["train"])
        found["near_duplicate"] = {row: other for row, other in near.items() if row not in found["same_bytes"]}
        for kind, matches in found.items():
            pairs = [(names[split][row], names["train"][other]) for row, other in matches.items()]
            leakage.append(Leakage(kind, split, pairs))
    return leakage


def measure_difference(images: Tensor, others: Tensor) -> Tensor:
    """Measure the largest local difference that a shift by one pixel does not explain.

    Brightness and contrast of each channel are normalised first. The difference of a pixel is its distance from the
    range of the 3 x 3 pixels at its place in the other image. An image shifted by one pixel of 32 therefore differs
    little, but another mouth in the same face differs. The mean square is taken over windows of 8 x 8 pixels.

    Args:
        images: uint8 (num_pairs, 3, SIZE, SIZE).
        others: uint8 (num_pairs, 3, SIZE, SIZE).

    Returns:
        float32 (num_pairs,), the root of the largest mean square of any window, in standard deviations of an image.
        Symmetric; 0 for identical images.
    """
    squares = torch.zeros(len(images))
    for one, other in ((images, others), (others, images)):
        scale = _Scale.of(other)
        values = _Scale.of(one).apply(one)  # (num_pairs, 3, SIZE, SIZE)
        above = values - scale.apply(_spread(other, torch.maximum))
        below = scale.apply(_spread(other, torch.minimum)) - values
        outside = (
            (above.clamp(min=0) + below.clamp(min=0)).square().mean(1, keepdim=True)
        )  # (num_pairs, 1, SIZE, SIZE)
        squares = torch.maximum(squares, avg_pool2d(outside, 8, stride=4).flatten(1).amax(1))  # (num_pairs,)
    return squares.sqrt()


def hash_images(thumbnails: np.ndarray) -> np.ndarray:
    """Return the perceptual hashes of uint8 images (num_images, 3, SIZE, SIZE), uint64 (num_images,)."""
    grey = np.tensordot(thumbnails, LUMA, (1, 0))  # (num_images, SIZE, SIZE)
    places, frequencies = np.arange(SIZE), np.arange(8)[:, None]
    cosines = np.cos(np.pi / SIZE * (places + 0.5) * frequencies).astype(np.float32)  # (8, SIZE)
    spectrum = (cosines @ grey @ cosines.T).reshape(len(grey), 64)  # (num_images, 64)
    spectrum[:, 0] = -np.inf  # ignore the mean: its bit is always 0
    bits = spectrum > np.median(spectrum[:, 1:], axis=1, keepdims=True)  # (num_images, 64)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


class _Scale(NamedTuple):
    """Mean and deviation that normalise brightness and contrast of each channel."""

    mean: Tensor  # (num_pairs, 3, 1, 1)
    deviation: Tensor  # (num_pairs, 3, 1, 1)

    @classmethod
    def of(cls, images: Tensor) -> "_Scale":
        values = images.float()
        # Limits the noise of a plain channel.
        return cls(values.mean((2, 3), keepdim=True), values.std((2, 3), keepdim=True) + MIN_CONTRAST)

    def apply(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.deviation


def _spread(images: Tensor, extreme: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return the largest or smallest value of the 3 x 3 pixels around each; same shape and type."""
    for axis in (-2, -1):
        size = images.shape[axis]
        pairs = extreme(images.narrow(axis, 0, size - 1), images.narrow(axis, 1, size - 1))
        first, last = pairs.narrow(axis, 0, 1), pairs.narrow(axis, size - 2, 1)  # border pixels have one neighbour
        images = extreme(torch.cat([first, pairs], axis), torch.cat([pairs, last], axis))
    return images


def _take_prints(
    rows: datasets.Dataset, pixels: np.ndarray | None, resizing: Resizing | int, jpeg_draft: bool
) -> _Prints:
    thumbnails = np.empty((len(rows), 3, SIZE, SIZE), dtype=np.uint8)
    start = 0
    for batch in _read_images(rows, pixels, resizing, jpeg_draft):
        channels_first = torch.from_numpy(batch).permute(0, 3, 1, 2)  # (batch_size, 3, height, width)
        small = interpolate(channels_first, (SIZE, SIZE), mode="bilinear", antialias=True)
        thumbnails[start : start + len(batch)] = small.numpy()
        start += len(batch)
    batches = [thumbnails[first : first + CHUNK] for first in range(0, len(thumbnails), CHUNK)]
    has_content = np.concatenate([batch.std((2, 3)).max(1) >= MIN_CONTRAST for batch in batches])  # (num_rows,)
    hashes = np.concatenate([hash_images(batch) for batch in batches])  # (num_rows,)
    return _Prints(thumbnails, hashes, has_content)


def _read_images(
    rows: datasets.Dataset, pixels: np.ndarray | None, resizing: Resizing | int, jpeg_draft: bool
) -> Iterator[np.ndarray]:
    """Yield the images in order, uint8 (batch_size, height, width, 3)."""
    if pixels is not None:
        numbers = np.asarray(rows["row"][:])  # (num_rows,)
        for start in range(0, len(numbers), CHUNK):
            yield pixels[numbers[start : start + CHUNK]]
        return
    images = _undecoded(rows)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(rows), CHUNK):
            batch = images[start : start + CHUNK]["image"]
            decoded = pool.map(
                lambda row, image: decode_row(row, image, resizing, jpeg_draft=jpeg_draft),
                range(start, start + len(batch)),
                batch,
            )
            yield np.stack(list(decoded))


def _undecoded(rows: datasets.Dataset) -> datasets.Dataset:
    return rows.select_columns("image").cast_column("image", datasets.Image(decode=False))


def _match(keys: list, train_keys: list) -> dict[int, int]:
    """Return row to the first training row with the same key."""
    first_rows = {key: row for row, key in reversed(list(enumerate(train_keys)))}
    return {row: first_rows[key] for row, key in enumerate(keys) if key in first_rows}


def _find_near_duplicates(prints: _Prints, train_prints: _Prints) -> dict[int, int]:
    """Return row to a near duplicate among the training rows with the nearest hashes."""
    rows, train_rows = np.flatnonzero(prints.has_content), np.flatnonzero(train_prints.has_content)
    train_hashes = train_prints.hashes[train_rows]  # (num_train_rows,)
    found: dict[int, int] = {}
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        distances = np.bitwise_count(prints.hashes[chunk, None] ^ train_hashes)  # (chunk_size, num_train_rows)
        places, train_places = np.nonzero(distances <= MAX_DISTANCE)  # (num_candidates,), by row
        order = np.lexsort((distances[places, train_places], places))  # nearest first within a row
        candidates, train_candidates = chunk[places[order]], train_rows[train_places[order]]  # (num_candidates,)
        rank = np.arange(len(candidates)) - np.searchsorted(candidates, candidates)  # rank within the row
        for turn in range(NUM_CANDIDATES):
            open_pairs = (rank == turn) & ~np.isin(candidates, list(found))  # (num_candidates,)
            if not open_pairs.any():
                break
            pair = candidates[open_pairs], train_candidates[open_pairs]
            differences = measure_difference(
                torch.from_numpy(prints.thumbnails[pair[0]]), torch.from_numpy(train_prints.thumbnails[pair[1]])
            )
            near = (differences <= MAX_DIFFERENCE).numpy()  # (num_open_pairs,)
            found |= dict(zip(pair[0][near].tolist(), pair[1][near].tolist(), strict=True))
    return dict(sorted(found.items()))
