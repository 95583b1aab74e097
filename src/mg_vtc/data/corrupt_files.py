"""Find corrupt image files: each file is decoded once, and again only after it has changed."""

import json
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import PIL.Image
from filelock import FileLock

from ..files import atomic_write, read_regular
from .cache import cache_folder
from .decoding import to_rgb
from .image_formats import open_image

READABLE = "readable.json"  # path of each readable file to its size in bytes and modification time in nanoseconds


def find_corrupt_files(paths: Sequence[Path]) -> dict[Path, str]:
    """Return the unreadable files among `paths`, in order, each with its error (see `find_error`).

    Readable files are remembered in `cache_folder()` by path, size and modification time, and are not read again.
    Unreadable files are: the cause (permissions, network) may disappear without a change of the file. One of several
    processes reads while the others wait for its results.

    Warns if the results cannot be saved.
    """
    remembered = cache_folder() / READABLE
    with ExitStack() as stack:
        with suppress(OSError):  # not writable: `_remember` warns
            remembered.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(f"{remembered}.lock"))
        known = _recall(remembered)
        marks = {path: _mark(path) for path in paths}  # before reading, to notice later changes
        unknown = [path for path, mark in marks.items() if mark is None or known.get(str(path.absolute())) != mark]
        with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # `open_image` refuses them
            errors = dict(zip(unknown, pool.map(find_error, unknown), strict=True))
        readable = {str(path.absolute()): marks[path] for path, fault in errors.items() if fault is None}
        if readable:
            _remember(remembered, known | readable)
    return {path: fault for path, fault in errors.items() if fault is not None}


def find_error(path: Path) -> str | None:
    """Return why the file cannot be decoded to an RGB image, or None if it can."""
    if escape_name(path.absolute()) != str(path.absolute()):
        return "its name is not UTF-8, which data sets cannot store; rename it"
    try:
        data = read_regular(path)
        with open_image(data) as image:
            # Decodes a JPEG at 1/8 of its size: reads the whole file at a fraction of the cost.
            image.draft(None, (1, 1))
            to_rgb(image)
    except PIL.UnidentifiedImageError as error:
        return f"{error} ({len(data)} bytes)"
    except Exception as error:  # decoders raise errors of many types on damaged files; all are reported
        return f"{type(error).__name__}: {error}"
    return None


def escape_name(path: str | os.PathLike[str]) -> str:
    r"""Return a printable path: bytes that are not UTF-8 become `\xe9`."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _mark(path: Path) -> list[int] | None:
    """Return size and modification time of a file, or None if it does not exist."""
    try:
        status = os.stat(path)
    except OSError:  # reported by `find_error`
        return None
    return [status.st_size, status.st_mtime_ns]


def _recall(remembered: Path) -> dict[str, list[int] | None]:
    """Return the saved results; empty if the file is missing or damaged."""
    try:
        return json.loads(remembered.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _remember(remembered: Path, readable: dict[str, list[int] | None]) -> None:
    try:
        with atomic_write(remembered) as file:
            file.write(json.dumps(readable).encode())
    except OSError as error:
        warnings.warn(
            f"{remembered} cannot be written ({error}), so all files are checked again next time. "
            "Set HF_DATASETS_CACHE to a writable folder.",
            stacklevel=4,
        )
