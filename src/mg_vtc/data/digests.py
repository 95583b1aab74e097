"""Digests of image bytes, which identify images regardless of file names."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import datasets
import pyarrow

from ..files import read_regular

CHUNK = 256  # images per batch


def digest_images(rows: datasets.Dataset) -> list[str]:
    """Return the 64-bit BLAKE2b digest, in hex, of the encoded bytes of each image.

    A file, a renamed copy and the same bytes in Parquet have the same digest. All bytes are read.
    """
    digests: list[str] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for table in rows.select_columns("image").with_format("arrow").iter(CHUNK):
            for chunk in table["image"].chunks:
                data, paths = chunk.flatten()
                digests += pool.map(_digest, data, paths.to_pylist())
    return digests


def _digest(data: pyarrow.BinaryScalar, path: str | None) -> str:
    content = data.as_buffer()
    if content is None:
        assert path is not None  # an image has either bytes or a path
        content = read_regular(path)
    return hashlib.blake2b(content, digest_size=8).hexdigest()
