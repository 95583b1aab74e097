"""Cache the resized pixels of all images in one memory-mapped file."""

import functools
import json
import math
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import datasets
import numpy as np
from datasets.fingerprint import Hasher
from filelock import FileLock
from tqdm.auto import tqdm

from ..files import atomic_write
from .decoding import Resizing, decode
from .digests import digest_images

DECODING = 3  # version of the output of `decode`; raise it to invalidate all caches
MARGIN = 2**30  # bytes that a cache leaves free on the disk
CHUNK = 128  # images that are decoded while as many are written


def cache_folder() -> Path:
    """Return the folder of this package in the cache of `datasets` (HF_DATASETS_CACHE)."""
    return Path(datasets.config.HF_DATASETS_CACHE) / "mg_vtc"


class ImageCache:
    """Decoded and resized images of all rows, in one file of `cache_folder()`.

    The key of the file is the digests of the images, in order, and the settings. All splits of the same rows share the
    file: pass the rows before they are split. Replaced files are decoded again, even if size and modification time are
    unchanged; moved or copied files are not.

    Args:
        rows: Rows with a `datasets.Image` in the column `image`.
        resizing: Size of the pixels, and the way to it.
        jpeg_draft: See `decode`.
        digests: Output of `digest_images` for the rows, if already known.

    Raises:
        FileNotFoundError: An image file is missing.
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        resizing: Resizing | int,
        *,
        jpeg_draft: bool = False,
        digests: Sequence[str] | None = None,
    ) -> None:
        self._rows = rows
        self._jpeg_draft = jpeg_draft
        self._resizing = Resizing.of(resizing)
        self._shape = (len(rows), self._resizing.image_size, self._resizing.image_size, 3)
        self._path = _find_path(digest_images(rows) if digests is None else digests, self._resizing, jpeg_draft)

    def describe(self) -> str | None:
        """Return a line for the user about what `open` will do.

        For example "decoding 60,514 images once: 9.1 GB in <folder>". None if the file exists or does not fit on the
        disk.
        """
        num_bytes = math.prod(self._shape)
        if self._path.exists() or _free_bytes() < num_bytes + MARGIN:
            return None
        return f"decoding {len(self._rows):,} images once: {_format_bytes(num_bytes)} in {cache_folder()}"

    def open(self) -> np.memmap | None:
        """Decode the images unless the file exists, and map the file into memory.

        The file is written atomically. One of several processes writes it while the others wait.

        Returns:
            uint8 (num_rows, image_size, image_size, 3), read-only. None, with a warning, if the disk is full or not
            writable.

        Raises:
            ValueError: An image cannot be decoded.
        """
        folder = self._path.parent
        if not self._path.exists():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with FileLock(folder / "images.lock"):
                    if not self._path.exists():  # written by the process that held the lock
                        self._write()
            except OSError as error:
                warnings.warn(
                    f"The decoded images ({_format_bytes(math.prod(self._shape))}) cannot be cached in {folder} "
                    f"({error}). Images are decoded on every read, which is slower. Set "
                    "HF_DATASETS_CACHE to a writable folder with more free space.",
                    stacklevel=2,
                )
                return None
        return np.load(self._path, mmap_mode="r", allow_pickle=False)

    def _write(self) -> None:
        """Decode the images in threads and write them; a memory map would crash on a full disk."""
        for remains in self._path.parent.glob("images-*.part"):  # left by killed processes: this one holds the lock
            remains.unlink()
        if _free_bytes() < math.prod(self._shape) + MARGIN:
            raise OSError(f"{_format_bytes(_free_bytes())} are free, and {_format_bytes(MARGIN)} must stay free")
        num_rows = self._shape[0]
        decode_numbered = functools.partial(decode_row, resizing=self._resizing, jpeg_draft=self._jpeg_draft)
        images = self._rows.select_columns("image").cast_column("image", datasets.Image(decode=False))
        with (
            atomic_write(self._path) as file,
            ThreadPoolExecutor(os.cpu_count()) as pool,
            tqdm(total=num_rows, desc="decoding", unit=" images", disable=None) as bar,
        ):
            header = {"descr": "|u1", "fortran_order": False, "shape": self._shape}
            np.lib.format.write_array_header_2_0(file, header)
            decoded: Iterator[np.ndarray] = iter(())
            for start in range(0, num_rows, CHUNK):
                chunk = images[start : start + CHUNK]["image"]
                following = pool.map(decode_numbered, range(start, start + len(chunk)), chunk)  # begins at once
                self._write_images(file, decoded, bar)
                decoded = following
            self._write_images(file, decoded, bar)

    @staticmethod
    def _write_images(file: BinaryIO, images: Iterator[np.ndarray], bar: Any) -> None:
        for image in images:
            file.write(image.data)
            bar.update()


def decode_row(row: int, image: dict[str, Any], resizing: Resizing | int, *, jpeg_draft: bool) -> np.ndarray:
    """Decode the image of a row by `decode`.

    Raises:
        ValueError: The image cannot be decoded; the message names the row and the error.
    """
    try:
        return decode(image, resizing, jpeg_draft=jpeg_draft)
    except Exception as error:  # decoders raise errors of many types on damaged files; all are reported
        name = "" if image is None or image["path"] is None else f" ({image['path']})"
        raise ValueError(f"The image of row {row}{name} cannot be decoded: {type(error).__name__}: {error}") from error


def _find_path(digests: Sequence[str], resizing: Resizing, jpeg_draft: bool) -> Path:
    """Return the path of the cache file of these images."""
    key = json.dumps([DECODING, *resizing, jpeg_draft, list(digests)])
    return cache_folder() / f"images-{resizing.image_size}-{Hasher.hash_bytes(key.encode())}.npy"


def _free_bytes() -> int:
    """Return the free bytes on the disk of the cache folder, which need not exist."""
    folder = cache_folder().absolute()
    return shutil.disk_usage(next(parent for parent in (folder, *folder.parents) if parent.exists())).free


def _format_bytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
