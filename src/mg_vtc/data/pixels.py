"""From pictures to pixel values: decode to RGB, resize, move, normalise, collate.

Pictures stay uint8 until the batch is put together, then `normalize` makes floats of them in one pass.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from torch import Tensor


def to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    """Return the picture upright (by its EXIF orientation) and in RGB.

    16-bit grey ("I;16" and kin, and "I", as which some 16-bit files open) is scaled from 0..65535 to 0..255. All
    other modes become what Pillow's `convert("RGB")` and so the pipelines of Transformers make of them: transparency
    is dropped and the colour beneath it shows, "F" is clipped to 0..255.
    """
    image = PIL.ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        # convert() would clip at 255 and leave the picture all but white.
        grey = np.clip(np.asarray(image), 0, 65535) / 257  # (height, width), 65535 / 257 = 255
        return PIL.Image.fromarray(grey.round().astype(np.uint8)).convert("RGB")
    if image.mode == "P":
        # The same pixels as without the detour, but convert() warns of palettes that hold transparencies.
        image = image.convert("RGBA")
    return image.convert("RGB")


def find_fault(path: Path) -> str | None:
    """Return why the file cannot be made a picture in RGB, or None where it can."""
    try:
        with PIL.Image.open(path) as image:
            # A JPEG then decodes at an eighth of its size: all of the file is read, at a fraction of the cost.
            image.draft(None, (1, 1))
            to_rgb(image)
    except PIL.UnidentifiedImageError:
        return f"not an image ({path.stat().st_size} bytes)"
    except Exception as error:  # decoders raise errors of many types on damaged files; all are reported
        return f"{type(error).__name__}: {error}"
    return None


def resize(image: PIL.Image.Image, image_size: int) -> Tensor:
    """Resize an RGB picture to a square with Pillow's bilinear filter; the aspect ratio is not kept.

    Equals what `ViTImageProcessorPil` of Transformers does before it rescales and normalises.

    Returns:
        uint8 pixel values (3, image_size, image_size).
    """
    resized = image.resize((image_size, image_size), PIL.Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()


def normalize(pixel_values: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return `(pixel_values / 255 - mean) / std`.

    Args:
        pixel_values: uint8 (batch_size, 3, height, width).
        mean: A value a channel, of pixels in 0..1.
        std: A value a channel, of pixels in 0..1.

    Returns:
        float32 (batch_size, 3, height, width), with the channels last in memory, as convolutions like them.
    """
    mean_C11 = torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1)
    std_C11 = torch.tensor(std, dtype=torch.float32).view(-1, 1, 1)
    normalized = (pixel_values.float() / 255 - mean_C11) / std_C11
    return normalized.contiguous(memory_format=torch.channels_last)


def shift(pixel_values: Tensor, *, max_shift: int, seed: int, epoch: int, indices: Tensor) -> Tensor:
    """Move each picture by up to `max_shift` pixels along each axis; border pixels fill what comes free.

    The move of a picture is a pure function of (seed, epoch, index), uniform over the (2 * max_shift + 1)^2 moves:
    neither the rest of the batch nor the order or the worker matters, so a resumed run goes on with the same pictures.

    Args:
        pixel_values: uint8 (batch_size, 3, height, width).
        max_shift: Pixels, 0 or more.
        seed: Seed of the run, 0 or more.
        epoch: Number of the epoch, 0 or more.
        indices: Row of each picture in the data set, int64 (batch_size,), 0 or more.

    Returns:
        uint8 (batch_size, 3, height, width).

    Raises:
        ValueError: `max_shift` is negative.
    """
    if max_shift < 0:
        raise ValueError(f"max_shift must be 0 or more pixels, but it is {max_shift}.")
    bits = _hash(seed, epoch, indices.numpy())  # (batch_size,)
    num_corners = np.uint64(2 * max_shift + 1)
    halves = np.stack([bits >> np.uint64(32), bits & np.uint64(0xFFFFFFFF)])  # (2, batch_size), each below 2^32
    corners = (halves * num_corners >> np.uint64(32)).astype(np.int64)  # (2, batch_size), 0..2 * max_shift
    margins = ((0, 0), (0, 0), (max_shift, max_shift), (max_shift, max_shift))
    padded = torch.from_numpy(np.pad(pixel_values.numpy(), margins, mode="edge"))
    height, width = pixel_values.shape[-2:]
    crops = [
        picture[:, top : top + height, left : left + width]
        for picture, (top, left) in zip(padded, corners.T.tolist(), strict=True)
    ]
    return torch.stack(crops)


def _hash(seed: int, epoch: int, indices: np.ndarray) -> np.ndarray:
    """Return 64 well-mixed bits a row by rounds of SplitMix64 (Steele et al., OOPSLA 2014), uint64 (batch_size,)."""
    state = np.zeros(len(indices), dtype=np.uint64)
    for number in (np.uint64(seed), np.uint64(epoch), indices.astype(np.uint64)):
        state = state + number + np.uint64(0x9E3779B97F4A7C15)  # wraps modulo 2^64, as the generator asks
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return state


class PictureTransform:
    """Turns rows into pixel values when they are read; for `Dataset.with_transform`.

    Args:
        image_size: Height and width of the pixel values.
        max_shift: How far `shift` may move a picture, in pixels; 0 leaves pictures where they are.
        seed: Seed of `shift`.
    """

    def __init__(self, image_size: int, *, max_shift: int = 0, seed: int = 0) -> None:
        self.image_size = image_size
        self.max_shift = max_shift
        self.seed = seed
        # Shared memory: workers that are already running see set_epoch() too.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Choose the moves of this epoch, here and in all workers of a DataLoader."""
        self._epoch.fill_(epoch)

    def __call__(self, rows: dict[str, list]) -> dict[str, list]:
        """Transform a batch of rows.

        Args:
            rows: Columns `image` (Pillow pictures), `label` (int) and `index` (int, the row's number).

        Returns:
            `pixel_values`: uint8 tensors (3, image_size, image_size); `labels` and `index`: int.
        """
        pixel_values = torch.stack([resize(to_rgb(image), self.image_size) for image in rows["image"]])
        if self.max_shift > 0:
            indices = torch.tensor(rows["index"])
            epoch = int(self._epoch)
            pixel_values = shift(pixel_values, max_shift=self.max_shift, seed=self.seed, epoch=epoch, indices=indices)
        return {"pixel_values": list(pixel_values), "labels": rows["label"], "index": rows["index"]}


class PictureCollator:
    """Stacks rows of `PictureTransform` into a batch and normalises it.

    Args:
        mean: A value a channel, of pixels in 0..1.
        std: A value a channel, of pixels in 0..1.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean = mean
        self.std = std

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Collate rows.

        Args:
            rows: Each with `pixel_values` uint8 (3, height, width), `labels` int and `index` int.

        Returns:
            `pixel_values`: float32 (batch_size, 3, height, width); `labels` and `index`: int64 (batch_size,).
        """
        pixel_values = torch.stack([row["pixel_values"] for row in rows])  # (batch_size, 3, height, width)
        return {
            "pixel_values": normalize(pixel_values, self.mean, self.std),
            "labels": torch.tensor([row["labels"] for row in rows]),
            "index": torch.tensor([row["index"] for row in rows]),
        }
