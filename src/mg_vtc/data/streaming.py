"""Stream data sets of Parquet or WebDataset shards that need not fit on the disk, and resume within a stream."""

import functools
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from datasets import ClassLabel, Features, Image, Value, load_dataset
from datasets.distributed import split_dataset_by_node
from datasets.utils.file_utils import xopen
from torch.utils.data import IterableDataset, get_worker_info

from ..files import read_regular
from .augmentation import Augmentation
from .decoding import Resizing, decode
from .image_folder import name_splits
from .labels import NUM_LISTED, canonical_id, check_class_names, normalize_name, normalize_names, read_labels
from .sources import check_source
from .table_cells import read_cell

WEBDATASET_IMAGES = ("jpg", "jpeg", "png", "webp")  # columns of a tar archive, one per extension
WEBDATASET_LABELS = ("cls", "json")
ROWS_AT_ONCE = 64  # rows whose labels are encoded together
EVEN_ENOUGH = 10  # shards per reader, from which one more or less does not matter


def load_stream(
    name: str,
    config_name: str | None = None,
    *,
    image_column: str = "image",
    label_column: str = "label",
    labels_file: str | Path | None = None,
) -> dict[str, datasets.IterableDataset]:
    """Open a data set on the Hub, or a folder of `*.parquet` or `*.tar` shards, for reading row by row.

    Rows have the columns `image`, a `datasets.Image(decode=False)`, and `label`, a `ClassLabel`. Rows with the label
    null or -1 are skipped. Split names are normalised as in `load_image_folder` ("val" becomes "validation"); in a
    folder they are taken from file names ("train-00000-of-00010.parquet") and subfolders.

    In tar shards (WebDataset), the image of a sample is the file `jpg`, `jpeg`, `png` or `webp`; its label is the
    number in `cls` or the entry "label" in `json`.

    Args:
        name: Repository id, such as "org/name", or path of the folder.
        config_name: Configuration of a data set that has several.
        image_column: Column with the images.
        label_column: Column with the classes.
        labels_file: `id,name` CSV or built-in list (see `read_labels`); labels, or the names of a `ClassLabel`, are
            then its ids ("01" is "1"). Required if the labels are not a `ClassLabel`.

    Returns:
        Split name to rows.

    Raises:
        FileNotFoundError: The data set or the labels file does not exist, or the Hub is unreachable.
        ValueError: The folder has no shards, a column is missing, two splits have the same meaning, labels have no
            names, or there are fewer than two classes. While reading rows: a label is not an id of the labels file.
    """
    check_source(name, "dataset")
    if Path(name).is_dir() and not any(path.suffix in (".parquet", ".tar") for path in Path(name).rglob("*")):
        raise ValueError(f"The folder {name} contains no shards: it needs *.parquet or *.tar files.")
    try:
        source = load_dataset(name, config_name, streaming=True)
    except (ConnectionError, FileNotFoundError) as error:
        raise FileNotFoundError(f"The data set {name!r} cannot be loaded: {error}") from error
    labels = None if labels_file is None else read_labels(labels_file)
    splits = {split: source[found] for split, found in name_splits(list(source), name).items()}
    return {
        split: _encode(rows, *_find_columns(rows, name, image_column, label_column), labels)
        for split, rows in splits.items()
    }


def _find_columns(rows: datasets.IterableDataset, name: str, image_column: str, label_column: str) -> tuple[str, str]:
    """Return the names of the image column and the label column."""
    columns = rows.column_names or []
    if "__key__" in columns:  # WebDataset
        image_column = next((column for column in (image_column, *WEBDATASET_IMAGES) if column in columns), "jpg")
        label_column = next((column for column in (label_column, *WEBDATASET_LABELS) if column in columns), "cls")
    if missing := [column for column in (image_column, label_column) if column not in columns]:
        raise ValueError(
            f"{name!r} has no column {' and no column '.join(map(repr, missing))}; its columns are {columns}. Set "
            "`image_column` and `label_column`."
        )
    return image_column, label_column


def _encode(
    rows: datasets.IterableDataset, image_column: str, label_column: str, labels: dict[str, str] | None
) -> datasets.IterableDataset:
    """Return rows with an undecoded `image` and a `label` that is a `ClassLabel`."""
    feature = rows.features[label_column]
    in_json = isinstance(feature, dict) and "label" in feature
    feature = feature["label"] if in_json else feature
    if not isinstance(feature, ClassLabel | Value):
        raise ValueError(f"Each label must be one text or number, but the column {label_column!r} is {feature}.")
    if labels is None and not isinstance(feature, ClassLabel):
        raise ValueError(
            f"The labels in {label_column!r} are {feature.dtype} without class names, and a stream cannot be searched "
            "for classes: give labels_file, a CSV with the header 'id,name', 'imigue' or 'smg'."
        )
    source_names = normalize_names(feature.names) if isinstance(feature, ClassLabel) else []
    names = source_names if labels is None else list(labels.values())
    check_class_names(names)
    label_of: dict[int | str, int] = (
        {label: label for label in range(len(names))}
        if labels is None
        else {canonical_id(class_id): label for label, class_id in enumerate(labels)}
    )
    encode_rows = functools.partial(
        _encode_rows,
        label_of=label_of,
        source_names=source_names if source_names and labels is not None else None,
        in_json=in_json,
    )
    undecoded = Image(decode=False)
    return (
        rows.select_columns([image_column, label_column])
        .cast_column(image_column, undecoded)
        .map(
            encode_rows,
            input_columns=[image_column, label_column],
            batched=True,
            batch_size=ROWS_AT_ONCE,
            remove_columns=[image_column, label_column],
            features=Features(image=undecoded, label=ClassLabel(names=names)),
        )
    )


def _encode_rows(
    images: list, labels: list, *, label_of: dict[int | str, int], source_names: list[str] | None, in_json: bool
) -> dict[str, list]:
    """Return the rows that have a label, with its class number."""
    rows: dict[str, list] = {"image": [], "label": []}
    for image, value in zip(images, labels, strict=True):
        if in_json and value is not None:
            value = value["label"]
        text = read_cell(value)
        if text in (None, "-1"):
            continue
        class_id = canonical_id(normalize_name(text) if source_names is None else source_names[value])
        if class_id not in label_of:
            known = ", ".join(map(str, list(label_of)[:NUM_LISTED]))
            raise ValueError(
                f"A row of the stream has the label {class_id!r}, which is not one of the {len(label_of)} class ids "
                f"({known}{', ...' if len(label_of) > NUM_LISTED else ''})."
            )
        rows["image"].append(image)
        rows["label"].append(label_of[class_id])
    return rows


class ImageStream(IterableDataset):
    """Decoded images from a stream of shards, for a `DataLoader` with the same `batch_size`.

    Readers (the workers of all processes) share the rows: each reads its own shards, the same ones in every pass. If
    there are too few shards for equal shares, each reader reads all shards and uses every n-th row.

    A row contains `pixel_values`, uint8 (3, image_size, image_size) with channels last in memory, `labels`, int, and
    `index`, a 32-bit hash of the encoded image. The augmentation therefore depends only on the seed, the pass and the
    image.

    Args:
        rows: Split of `load_stream`.
        resizing: Size of the pixel values, and the way to it.
        batch_size: Images per batch of one process.
        repeat: Whether to repeat passes endlessly, each in a new order, so that no process ends early; otherwise one
            pass in the order of the shards.
        shuffle_buffer_size: Number of undecoded images from which a reader draws the next one. With 0, only the order
            of the shards changes, from the second pass on. A reader reads one shard at a time: a buffer smaller than a
            shard mixes well only if the rows of a shard are in random order.
        augmentation: Augmentation applied on access; none by default.
        seed: Seed of the augmentation and, with `shuffle_buffer_size` above 0, of the order; otherwise only the pass
            determines the order.
        num_processes: Number of processes that share the rows.
        process_index: Index of this process.
        jpeg_draft: See `decode`.
        skip_corrupt_images: Whether to skip unreadable images with a warning instead of raising an error.

    Raises:
        ValueError: While reading rows: an image is unreadable, or a pass to repeat has no image.
    """

    def __init__(
        self,
        rows: datasets.IterableDataset,
        resizing: Resizing | int,
        batch_size: int,
        *,
        repeat: bool,
        shuffle_buffer_size: int = 0,
        augmentation: Augmentation = Augmentation(),  # noqa: B008
        seed: int = 0,
        num_processes: int = 1,
        process_index: int = 0,
        jpeg_draft: bool = False,
        skip_corrupt_images: bool = False,
    ) -> None:
        self.rows = rows
        self.resizing = Resizing.of(resizing)
        self.image_size = self.resizing.image_size
        self.batch_size = batch_size
        self.repeat = repeat
        self.shuffle_buffer_size = shuffle_buffer_size
        self.augmentation = augmentation
        self.seed = seed
        self.num_processes = num_processes
        self.process_index = process_index
        self.jpeg_draft = jpeg_draft
        self.skip_corrupt_images = skip_corrupt_images
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
        if self.shuffle_buffer_size > 0:
            # One shard at a time: datasets would read several in threads and wait 5 s for them after each pass.
            rows = rows.shuffle(seed=self.seed, buffer_size=self.shuffle_buffer_size, max_buffer_input_shards=1)
        return rows

    def _read(self, images: list[dict[str, Any]], labels: list[int], epoch: int) -> Iterator[dict[str, Any]]:
        decoded, kept, indices = [], [], []
        for image, label in zip(images, labels, strict=True):
            try:
                data = _read_bytes(image)
                decoded.append(decode({"bytes": data, "path": None}, self.resizing, jpeg_draft=self.jpeg_draft))
            except Exception as error:  # decoders raise errors of many types on damaged files; all are reported
                self._report(image, label, error)
                continue
            kept.append(label)
            indices.append(zlib.crc32(data))
        if not decoded:
            return
        pixel_values = torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2)  # (num_rows, 3, height, width)
        pixel_values = self.augmentation(pixel_values, seed=self.seed, epoch=epoch, indices=torch.tensor(indices))
        for pixels, label, index in zip(pixel_values, kept, indices, strict=True):
            yield {"pixel_values": pixels, "labels": label, "index": index}  # (3, height, width), int, int

    def _report(self, image: dict[str, Any] | None, label: int, error: Exception) -> None:
        """Refuse an unreadable image or, if skipping, warn at the 1st, 10th, 100th and so on."""
        name = "without a name" if image is None or image["path"] is None else repr(image["path"])
        class_name = self.rows.features["label"].names[label]
        found = f"image {name} of the class {class_name!r} cannot be read ({type(error).__name__}: {error})"
        if not self.skip_corrupt_images:
            raise ValueError(
                f"An {found}. Repair or remove it, or skip such images with `skip_corrupt_images`."
            ) from error
        self._num_bad += 1
        if str(self._num_bad).strip("0") == "1":
            warnings.warn(f"{self._num_bad} unreadable images skipped so far, the last: {found}.", stacklevel=2)


def _read_bytes(image: dict[str, Any] | None) -> bytes:
    """Return the encoded image; a row may have its path or, from a folder on the Hub, its URL instead."""
    if image is None or (image["bytes"] is None and image["path"] is None):
        raise ValueError("the row contains no image")
    if image["bytes"] is not None:
        return image["bytes"]
    if "://" not in image["path"]:
        return read_regular(image["path"])
    with xopen(image["path"], "rb") as file:
        return file.read()
