"""Decode images from a stream of shards that can resume after an interruption."""

import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import datasets
import numpy as np
import torch
from datasets.distributed import split_dataset_by_node
from datasets.utils.file_utils import xopen
from torch.utils.data import IterableDataset, get_worker_info

from .augmentation import Augmentation
from .pixels import decode

EVEN_ENOUGH = 10  # shards per reader, from which one more or less does not matter


class PictureStream(IterableDataset):
    """Decoded images from a stream of shards, for a `DataLoader` with the same `batch_size`.

    Readers (the workers of all processes) share the rows: each reads its own shards, the same ones in every pass. If
    there are too few shards for equal shares, each reader reads all shards and uses every n-th row.

    A row contains `pixel_values`, uint8 (3, image_size, image_size) with channels last in memory, `labels`, int, and
    `index`, a 32-bit hash of the encoded image. The augmentation therefore depends only on the seed, the pass and the
    image.

    Args:
        rows: Split of `mg_vtc.data.shards.load_stream`.
        image_size: Height and width, in pixels.
        batch_size: Images per batch of one process.
        repeat: Whether to repeat passes endlessly, each in a new order, so that no process ends early; otherwise one
            pass in the order of the shards.
        shuffle_buffer: Number of undecoded images from which a reader draws the next one. With 0, only the order of
            the shards changes, from the second pass on. A reader reads one shard at a time: a buffer smaller than a
            shard mixes well only if the rows of a shard are in random order.
        augmentation: Augmentation applied on access; none by default.
        seed: Seed of the augmentation and, with `shuffle_buffer` above 0, of the order; otherwise only the pass
            determines the order.
        num_processes: Number of processes that share the rows.
        process_index: Index of this process.
        jpeg_draft: See `decode`.
        skip_bad_images: Whether to skip unreadable images with a warning instead of raising an error.

    Raises:
        ValueError: While reading rows: an image is unreadable, or a pass to repeat has no image.
    """

    def __init__(
        self,
        rows: datasets.IterableDataset,
        image_size: int,
        batch_size: int,
        *,
        repeat: bool,
        shuffle_buffer: int = 0,
        augmentation: Augmentation = Augmentation(),  # noqa: B008
        seed: int = 0,
        num_processes: int = 1,
        process_index: int = 0,
        jpeg_draft: bool = False,
        skip_bad_images: bool = False,
    ) -> None:
        self.rows = rows
        self.image_size = image_size
        self.batch_size = batch_size
        self.repeat = repeat
        self.shuffle_buffer = shuffle_buffer
        self.augmentation = augmentation
        self.seed = seed
        self.num_processes = num_processes
        self.process_index = process_index
        self.jpeg_draft = jpeg_draft
        self.skip_bad_images = skip_bad_images
        self._num_taken = 0  # batches
        self._num_bad = 0

    def skip_batches(self, num_batches: int) -> None:
        """Start iterations after the first `num_batches` batches of this process, to resume a run.

        With the same number of workers, the following rows and their order equal those of an uninterrupted iteration.
        Skipped images are not decoded, and at most two passes are read to find the position. Each skipped unreadable
        image moves the position one row too early.

        Args:
            num_batches: Number of batches already taken by this process.

        Raises:
            ValueError: The stream does not repeat.
        """
        if not self.repeat:
            raise ValueError("Only a repeating stream can skip batches: set repeat=True.")
        self._num_taken = num_batches

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        num_workers, worker_id = (1, 0) if worker is None else (worker.num_workers, worker.id)
        # Workers yield batches in turn, and a new DataLoader starts with worker 0.
        turn = (worker_id + self._num_taken) % num_workers
        skip = -((turn - self._num_taken) // num_workers) * self.batch_size  # rows that this turn has already yielded
        rows = self._share(self.num_processes * num_workers, self.process_index * num_workers + turn)
        epoch = 0
        while epoch == 0 or self.repeat:
            rows.set_epoch(epoch)
            num_rows = num_given = 0
            for batch in rows.iter(self.batch_size):
                start = max(skip - num_rows, 0)
                num_rows += len(batch["label"])
                for row in self._read(batch["image"][start:], batch["label"][start:], epoch):
                    num_given += 1
                    yield row
            if self.repeat and (num_rows == 0 or num_given == skip == 0):
                raise ValueError(
                    f"Worker {worker_id} of {num_workers} of process {self.process_index} of {self.num_processes} "
                    "finds no readable image in the stream: each worker of each process needs at least one."
                )
            passes, skip = divmod(
                max(skip - num_rows, 0), max(num_rows, 1)
            )  # all passes of a reader have the same length
            epoch += 1 + passes

    def _share(self, num_readers: int, reader: int) -> datasets.IterableDataset:
        """Return the rows of a reader as a new object, because workers share the epoch of the old one."""
        num_shards = self.rows.num_shards
        if num_shards % num_readers == 0 or num_shards >= EVEN_ENOUGH * num_readers:
            rows = self.rows.shard(num_readers, reader, contiguous=False)
        else:
            rows = split_dataset_by_node(self.rows, reader, num_readers, strategy="examples")
            if reader == 0 and self.repeat:  # once per run, not at each evaluation
                warnings.warn(
                    f"{num_shards} shards cannot be divided equally among {num_readers} readers (processes: "
                    f"{self.num_processes}, workers of each: {num_readers // self.num_processes}), so each reads all "
                    "shards and uses a fraction of the rows. A multiple of the number of readers is faster.",
                    stacklevel=3,
                )
        if self.shuffle_buffer > 0:
            # One shard at a time: datasets would read several in threads and wait 5 s for them after each pass.
            rows = rows.shuffle(seed=self.seed, buffer_size=self.shuffle_buffer, max_buffer_input_shards=1)
        return rows

    def _read(self, images: list[dict[str, Any]], labels: list[int], epoch: int) -> Iterator[dict[str, Any]]:
        pictures, kept, indices = [], [], []
        for image, label in zip(images, labels, strict=True):
            try:
                data = _read_bytes(image)
                pictures.append(decode({"bytes": data, "path": None}, self.image_size, jpeg_draft=self.jpeg_draft))
            except Exception as error:  # decoders raise errors of many types on damaged files; all are reported
                self._report(image, label, error)
                continue
            kept.append(label)
            indices.append(zlib.crc32(data))
        if not pictures:
            return
        pixel_values = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)  # (num_rows, 3, height, width)
        pixel_values = self.augmentation(pixel_values, seed=self.seed, epoch=epoch, indices=torch.tensor(indices))
        for picture, label, index in zip(pixel_values, kept, indices, strict=True):
            yield {"pixel_values": picture, "labels": label, "index": index}  # (3, height, width), int, int

    def _report(self, image: dict[str, Any] | None, label: int, error: Exception) -> None:
        """Refuse an unreadable image or, if skipping, warn at the 1st, 10th, 100th and so on."""
        name = "without a name" if image is None or image["path"] is None else repr(image["path"])
        class_name = self.rows.features["label"].names[label]
        found = f"image {name} of the class {class_name!r} cannot be read ({type(error).__name__}: {error})"
        if not self.skip_bad_images:
            raise ValueError(f"An {found}. Repair or remove it, or skip such images with skip_bad_images.") from error
        self._num_bad += 1
        if str(self._num_bad).strip("0") == "1":
            warnings.warn(f"{self._num_bad} unreadable images skipped so far, the last: {found}.", stacklevel=2)


def _read_bytes(image: dict[str, Any] | None) -> bytes:
    """Return the encoded image; a row may have its path or, from a folder on the Hub, its URL instead."""
    if image is None or (image["bytes"] is None and image["path"] is None):
        raise ValueError("the row contains no image")
    if image["bytes"] is not None:
        return image["bytes"]
    with xopen(image["path"], "rb") as file:
        return file.read()
