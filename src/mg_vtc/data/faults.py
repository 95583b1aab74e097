"""Which files are no readable pictures: each file is decoded once, and once more only when it has changed."""

import json
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import PIL.Image
from filelock import FileLock

from ..files import atomic_write
from .cache import cache_folder
from .image_formats import HEAD_SIZE, describe_unknown
from .pixels import to_rgb

READABLE = "readable.json"  # path to size in bytes and time of change in nanoseconds, of files that were readable


def find_faults(paths: Sequence[Path]) -> dict[Path, str]:
    """Return the unreadable files among `paths` in their order, each with its fault as `find_fault` puts it.

    Files that were found readable are remembered in `cache_folder()` by path, size and time of change, and are not
    read again. Unreadable ones are: what hindered (a permission, a network) may be gone without a change of the file.
    Of several processes one reads while the others wait, and then know what it has found readable.

    Where this can not be remembered, a warning says so.
    """
    remembered = cache_folder() / READABLE
    with ExitStack() as stack:
        with suppress(OSError):  # where nothing can be written, of which `_remember` warns
            remembered.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(f"{remembered}.lock"))
        known = _recall(remembered)
        marks = {path: _mark(path) for path in paths}  # before they are read, lest a later change goes unnoticed
        unknown = [path for path, mark in marks.items() if mark is None or known.get(str(path.absolute())) != mark]
        with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            faults = dict(zip(unknown, pool.map(find_fault, unknown), strict=True))
        readable = {str(path.absolute()): marks[path] for path, fault in faults.items() if fault is None}
        if readable:
            _remember(remembered, known | readable)
    return {path: fault for path, fault in faults.items() if fault is not None}


def find_fault(path: Path) -> str | None:
    """Return why the file cannot be made a picture in RGB, or None where it can."""
    if escape_name(path.absolute()) != str(path.absolute()):
        return "its name is not UTF-8, so no data set can hold it; rename it"
    try:
        with PIL.Image.open(path) as image:
            # A JPEG then decodes at an eighth of its size: all of the file is read, at a fraction of the cost.
            image.draft(None, (1, 1))
            to_rgb(image)
    except PIL.UnidentifiedImageError:
        with path.open("rb") as file:
            found = describe_unknown(file.read(HEAD_SIZE))
        return f"{found} ({path.stat().st_size} bytes)"
    except Exception as error:  # decoders raise errors of many types on damaged files; all are reported
        return f"{type(error).__name__}: {error}"
    return None


def escape_name(path: str | os.PathLike[str]) -> str:
    """Return a path that can be printed and written: bytes that are no UTF-8 become `\\xe9`."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _mark(path: Path) -> list[int] | None:
    """Return the size and the time of change of a file, None where there is none."""
    try:
        status = os.stat(path)
    except OSError:  # of which `find_fault` says more
        return None
    return [status.st_size, status.st_mtime_ns]


def _recall(remembered: Path) -> dict[str, list[int] | None]:
    """Return what is remembered: nothing, where the file is missing or damaged, as all can be found out anew."""
    try:
        return json.loads(remembered.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _remember(remembered: Path, readable: dict[str, list[int] | None]) -> None:
    """Write what is to be remembered, by the process that holds the lock."""
    try:
        with atomic_write(remembered) as file:
            file.write(json.dumps(readable).encode())
    except OSError as error:
        warnings.warn(
            f"{remembered} can not be written ({error}), so all files are checked again next time. "
            "Set HF_DATASETS_CACHE to a folder that can be written.",
            stacklevel=4,
        )
