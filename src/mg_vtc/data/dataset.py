"""Torch data set of the images of a split, read from the cache or decoded on access."""

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
import torch
from torch.utils.data import Dataset

from .augmentation import Augmentation
from .cache import decode_row
from .decoding import Resizing


class ImageDataset(Dataset):
    """Map-style data set of uint8 pixel values and labels for the Trainer; collate it with `collate_images`.

    A row contains `pixel_values`, uint8 (3, image_size, image_size) with channels last in memory, `labels`, int, and
    `index`, int, its own row number. DataLoader workers, forked or spawned, map the file of `pixels`, too.

    Args:
        rows: Columns `image` (a `datasets.Image`), `label` (int), `row` (int, index into `pixels`) and, if known,
            `clip`.
        resizing: Size of the pixel values, and the way to it.
        pixels: Output of `ImageCache.open`; None to decode images on access, with equal values.
        augmentation: Augmentation applied on access; none by default.
        seed: Seed of `augmentation`.
        jpeg_draft: See `decode`; no effect on `pixels`, which are already decoded.

    Attributes:
        labels: int64 (num_rows,).
        clips: Clip of each row, (num_rows,); None if unknown.
        image_size: Height and width, in pixels.

    Raises:
        ValueError: `pixels` has another size; or, on access, an image cannot be decoded.
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        resizing: Resizing | int,
        *,
        pixels: np.memmap | None,
        augmentation: Augmentation = Augmentation(),  # noqa: B008
        seed: int = 0,
        jpeg_draft: bool = False,
    ) -> None:
        self.resizing = Resizing.of(resizing)
        self.image_size = self.resizing.image_size
        if pixels is not None and pixels.shape[1] != self.image_size:
            raise ValueError(f"image_size is {self.image_size}, but pixels contains images of size {pixels.shape[1]}.")
        self.labels = torch.tensor(rows["label"][:])  # (num_rows,)
        self.clips: list[str] | None = rows["clip"][:] if "clip" in rows.column_names else None
        self.augmentation = augmentation
        self.seed = seed
        self.jpeg_draft = jpeg_draft
        self._pixels = pixels
        if pixels is None:
            self._images = rows.select_columns("image").cast_column("image", datasets.Image(decode=False))
        else:
            self._pixel_rows = np.asarray(rows["row"][:])  # (num_rows,)
        # Shared memory: running workers see set_epoch(), too.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the augmentation, in this process and in all DataLoader workers."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Read the rows of a batch at once."""
        numbers = torch.tensor(indices)  # (batch_size,)
        labels = self.labels[numbers]  # (batch_size,)
        pixel_values = torch.from_numpy(self._read(numbers.numpy())).permute(0, 3, 1, 2)  # (batch_size, 3, H, W)
        pixel_values = self.augmentation(pixel_values, seed=self.seed, epoch=int(self._epoch), indices=numbers)
        return [
            {"pixel_values": image, "labels": label, "index": index}
            for image, label, index in zip(pixel_values, labels.tolist(), numbers.tolist(), strict=True)
        ]

    def _read(self, numbers: np.ndarray) -> np.ndarray:
        """Return the images of some rows, uint8 (batch_size, image_size, image_size, 3)."""
        if self._pixels is not None:
            return self._pixels[self._pixel_rows[numbers]]
        images = self._images[numbers.tolist()]["image"]
        return np.stack(
            [
                decode_row(row, image, self.resizing, jpeg_draft=self.jpeg_draft)
                for row, image in zip(numbers.tolist(), images, strict=True)
            ]
        )

    def __getstate__(self) -> dict[str, Any]:
        # Pickling a memory map copies its content: pass the file name to spawned workers instead.
        return self.__dict__ | {"_pixels": None if self._pixels is None else self._pixels.filename}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if state["_pixels"] is not None:
            self._pixels = np.load(state["_pixels"], mmap_mode="r", allow_pickle=False)
