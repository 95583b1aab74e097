"""Decode once: the resized pixels of all pictures in one file, which those who read it map into their memory."""

import functools
import json
import math
import os
import shutil
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets.fingerprint import Hasher
from filelock import FileLock
from tqdm.auto import tqdm

from ..files import atomic_write
from .digests import digest_pictures
from .pixels import decode

DECODING = 2  # version of what `decode` makes of a picture: raised, it makes all caches anew
MARGIN = 2**30  # bytes that a cache leaves free on its disk
CHUNK = 256  # pictures that are in memory while a cache is written


def cache_folder() -> Path:
    """Return the folder in the cache of `datasets` (HF_DATASETS_CACHE) that holds what this package computes once."""
    return Path(datasets.config.HF_DATASETS_CACHE) / "mg_vtc"


class PictureCache:
    """The decoded and resized pictures of all rows, in one file of `cache_folder()`.

    The file is found again by the digests of the images, in their order, and by the settings, so that another split of
    the same rows uses it too: give the rows before they are split. Files that were replaced are decoded anew, whatever
    their size and time of change; files that were moved or copied are not.

    Args:
        rows: Rows with a `datasets.Image` in the column `image`.
        image_size: Height and width, in pixels.
        jpeg_draft: As for `decode`.
        digests: What `digest_pictures` gives of the rows, where it is known already.

    Raises:
        FileNotFoundError: The file of a picture is missing.
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        image_size: int,
        *,
        jpeg_draft: bool = False,
        digests: Sequence[str] | None = None,
    ) -> None:
        self._rows = rows
        self._jpeg_draft = jpeg_draft
        self._shape = (len(rows), image_size, image_size, 3)
        self._path = _find_path(digest_pictures(rows) if digests is None else digests, image_size, jpeg_draft)

    def describe(self) -> str | None:
        """Return what `open` is going to do, as a line for the user.

        Such as "decoding 60,514 pictures once: 9.1 GB in <folder>"; None where the file exists or finds no room.
        """
        num_bytes = math.prod(self._shape)
        if self._path.exists() or _free_bytes() < num_bytes + MARGIN:
            return None
        return f"decoding {len(self._rows):,} pictures once: {_format_bytes(num_bytes)} in {cache_folder()}"

    def open(self) -> np.memmap | None:
        """Decode the pictures, unless it was done before, and map them into memory.

        The file appears under its name when it is whole. Of several processes one makes it while the others wait.

        Returns:
            uint8 (num_rows, image_size, image_size, 3), read-only. None where the disk has no room for it or can not
            be written, of which a warning says more.

        Raises:
            ValueError: A picture can not be decoded.
        """
        folder = self._path.parent
        if not self._path.exists():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with FileLock(folder / "pictures.lock"):
                    if not self._path.exists():  # by the process that held the lock
                        self._write()
            except OSError as error:
                warnings.warn(
                    f"The decoded pictures, {_format_bytes(math.prod(self._shape))}, can not be kept in {folder} "
                    f"({error}), so pictures are decoded each time they are read, which is slower. Set "
                    "HF_DATASETS_CACHE to a folder with more room.",
                    stacklevel=2,
                )
                return None
        return np.load(self._path, mmap_mode="r", allow_pickle=False)

    def _write(self) -> None:
        """Decode the pictures in threads and write them; written, not mapped, since a map on a full disk kills."""
        for remains in self._path.parent.glob("pictures-*.part"):  # of processes that were killed: this has the lock
            remains.unlink()
        if _free_bytes() < math.prod(self._shape) + MARGIN:
            raise OSError(f"{_format_bytes(_free_bytes())} are free, of which {_format_bytes(MARGIN)} stay free")
        num_rows, image_size = self._shape[:2]
        decode_numbered = functools.partial(decode_row, image_size=image_size, jpeg_draft=self._jpeg_draft)
        images = self._rows.select_columns("image").cast_column("image", datasets.Image(decode=False))
        with (
            atomic_write(self._path) as file,
            ThreadPoolExecutor(os.cpu_count()) as pool,
            tqdm(total=num_rows, desc="decoding", unit=" pictures", disable=None) as bar,
        ):
            header = {"descr": "|u1", "fortran_order": False, "shape": self._shape}
            np.lib.format.write_array_header_2_0(file, header)
            for start in range(0, num_rows, CHUNK):
                chunk = images[start : start + CHUNK]["image"]
                for picture in pool.map(decode_numbered, range(start, start + len(chunk)), chunk):
                    file.write(picture.data)
                    bar.update()


def decode_row(row: int, image: dict[str, Any], image_size: int, *, jpeg_draft: bool) -> np.ndarray:
    """Return what `decode` makes of the picture of a row.

    Raises:
        ValueError: The picture can not be decoded; it tells the row and the fault.
    """
    try:
        return decode(image, image_size, jpeg_draft=jpeg_draft)
    except Exception as error:  # decoders raise errors of many types on damaged files; all are reported
        name = "" if image is None or image["path"] is None else f" ({image['path']})"
        raise ValueError(
            f"The picture of row {row}{name} can not be decoded: {type(error).__name__}: {error}"
        ) from error


def _find_path(digests: Sequence[str], image_size: int, jpeg_draft: bool) -> Path:
    """Return where the cache of these images is or would be."""
    key = json.dumps([DECODING, image_size, jpeg_draft, list(digests)])
    return cache_folder() / f"pictures-{image_size}-{Hasher.hash_bytes(key.encode())}.npy"


def _free_bytes() -> int:
    """Return how many bytes are free on the disk of the cache, whose folder may be missing yet."""
    folder = cache_folder().absolute()
    return shutil.disk_usage(next(parent for parent in (folder, *folder.parents) if parent.exists())).free


def _format_bytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
