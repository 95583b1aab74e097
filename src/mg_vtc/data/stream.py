"""Decoded pictures from a stream of shards, which goes on where a run was interrupted."""

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

EVEN_ENOUGH = 10  # shards a reader, from where it does not matter that some readers have one more


class PictureStream(IterableDataset):
    """Decoded pictures of a stream of shards, for a `DataLoader` with the same `batch_size`.

    Readers, which are the workers of all processes, share the rows: each has its own shards, the same in all passes.
    Where there are too few shards for equal shares, each reads all of them and takes every n-th row.

    A row is `pixel_values`, uint8 (3, image_size, image_size) with the channels last in memory, `labels`, int, and
    `index`, a 32-bit hash of the encoded picture, so that the augmentation depends on nothing but the seed, the pass
    and the picture.

    Args:
        rows: A split of `mg_vtc.data.shards.load_stream`.
        image_size: Height and width, in pixels.
        batch_size: Pictures a batch of one process.
        repeat: Whether passes follow each other without end, each in another order, so that no process of several ends
            before the others; or one pass in the order of the shards.
        shuffle_buffer: Of how many undecoded pictures a reader draws the next one; 0 only changes the order of the
            shards, from the second pass on. A reader reads one shard after the other, so a buffer that is smaller than
            a shard mixes well only where the rows of a shard are in random order.
        augmentation: What happens to the pictures when they are read; by default nothing.
        seed: Seed of the augmentation and, where `shuffle_buffer` is above 0, of the order; else the pass alone
            decides it.
        num_processes: How many processes share the rows.
        process_index: Which of them this is.
        jpeg_draft: As for `decode`.
        skip_bad_images: Whether unreadable pictures are left out with a warning instead of refused.

    Raises:
        ValueError: While rows are read: a picture is unreadable, or a pass that is to be repeated has no picture.
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
        """Let iterations begin as if `num_batches` of this process had been taken, to go on with a run.

        The rows that follow, and their order, are those of an iteration that was not interrupted, with the same number
        of workers. No skipped picture is decoded, and at most two passes are read to find the place. Where pictures
        were left out as unreadable, the place is that many rows too early.

        Raises:
            ValueError: The stream does not repeat.
        """
        if not self.repeat:
            raise ValueError("Only a stream that repeats can go on after some batches: set repeat=True.")
        self._num_taken = num_batches

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        num_workers, worker_id = (1, 0) if worker is None else (worker.num_workers, worker.id)
        # Batches come from the workers in turn, and a new DataLoader begins with worker 0.
        turn = (worker_id + self._num_taken) % num_workers
        skip = -((turn - self._num_taken) // num_workers) * self.batch_size  # rows: batches, rounded up, of this turn
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
                    "finds no readable picture in the stream: there must be one for each worker of each process."
                )
            passes, skip = divmod(max(skip - num_rows, 0), max(num_rows, 1))  # all passes of a reader are as long
            epoch += 1 + passes

    def _share(self, num_readers: int, reader: int) -> datasets.IterableDataset:
        """Return the rows of a reader; a new object, as workers share the epoch of the old one in memory."""
        num_shards = self.rows.num_shards
        if num_shards % num_readers == 0 or num_shards >= EVEN_ENOUGH * num_readers:
            rows = self.rows.shard(num_readers, reader, contiguous=False)
        else:
            rows = split_dataset_by_node(self.rows, reader, num_readers, strategy="examples")
            if reader == 0 and self.repeat:  # once a run, not at each evaluation
                warnings.warn(
                    f"The shards, {num_shards}, make no equal shares for {num_readers} readers (processes: "
                    f"{self.num_processes}, workers of each: {num_readers // self.num_processes}), so each reads all "
                    "shards and takes its share of the rows. A multiple of the readers is read faster.",
                    stacklevel=3,
                )
        if self.shuffle_buffer > 0:
            # From one shard at a time: datasets reads several in threads, which it waits 5 s for at the end of a pass.
            rows = rows.shuffle(seed=self.seed, buffer_size=self.shuffle_buffer, max_buffer_input_shards=1)
        return rows

    def _read(self, images: list[dict[str, Any]], labels: list[int], epoch: int) -> Iterator[dict[str, Any]]:
        """Yield decoded rows."""
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
        """Refuse an unreadable picture or, where they are left out, warn of the 1st, 10th, 100th and so on."""
        name = "without a name" if image is None or image["path"] is None else repr(image["path"])
        class_name = self.rows.features["label"].names[label]
        found = f"picture {name} of the class {class_name!r} can not be read ({type(error).__name__}: {error})"
        if not self.skip_bad_images:
            raise ValueError(
                f"A {found}. Mend or remove it, or leave such pictures out with skip_bad_images."
            ) from error
        self._num_bad += 1
        if str(self._num_bad).strip("0") == "1":
            warnings.warn(f"{self._num_bad} unreadable so far, left out: a {found}.", stacklevel=2)


def _read_bytes(image: dict[str, Any] | None) -> bytes:
    """Return the encoded picture; a row may hold its path or, from a folder of the Hub, its address instead."""
    if image is None or (image["bytes"] is None and image["path"] is None):
        raise ValueError("the row holds no picture")
    if image["bytes"] is not None:
        return image["bytes"]
    with xopen(image["path"], "rb") as file:
        return file.read()
