"""Files: read only regular ones; write a file or a folder of files whole or not at all."""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

UNFINISHED = ".part"  # suffix of a file that is being written
STAGING, STAGING_LOCK = ".export-", ".lock"  # prefix of a temporary folder, and the file that its process locks


def is_special(path: Path) -> bool:
    """Return whether a path is a pipe, a socket or a device, also through a link: reading one may never end."""
    try:
        mode = path.stat().st_mode
    except OSError:  # missing, or a link that leads nowhere
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def read_regular(path: str | Path) -> bytes:
    """Return the content of a file; refuse pipes, sockets and devices instead of waiting for them.

    Raises:
        OSError: The file is missing, unreadable or not a regular file.
    """
    if is_special(Path(path)):
        raise OSError(f"{path} is a pipe, a socket or a device, not a file")
    return Path(path).read_bytes()


def check_destination(model_id: str, folder: Path, names: Sequence[str], *, overwrite: bool) -> None:
    """Refuse to write where files would be lost; call it before anything slow.

    Raises:
        ValueError: The folder is that of the model, or it has files of these names and `overwrite` is not set.
    """
    if folder.resolve() == Path(model_id).resolve():
        raise ValueError(f"{folder} is the folder of the model, whose files would be lost: choose another folder.")
    present = [name for name in names if (folder / name).exists()]
    if present and not overwrite:
        raise ValueError(
            f"{folder} already holds {', '.join(present)}: choose another `output_dir`, or set `overwrite`."
        )


def sync_folder(folder: Path) -> None:
    """Make sure that the names of the files in a folder are on the disk, where the file system can be asked for it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # of network file systems that sync files alone
            raise
    finally:
        os.close(descriptor)


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` once the block has ended; an error leaves nothing of it."""
    temporary = path.with_name(path.name + UNFINISHED)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def share_with_umask(path: Path) -> None:
    """Give a file the permissions of a new one, where it was made readable by its owner alone."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)


def _remove_abandoned(folder: Path) -> None:
    """Remove the temporary folders of exports that were killed, whose locks nobody holds."""
    for staging in folder.glob(f"{STAGING}*"):
        with suppress(OSError):  # Timeout is one
            with FileLock(staging / STAGING_LOCK, timeout=0):
                pass
            shutil.rmtree(staging)


@contextmanager
def atomic_write_folder(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Yield a temporary folder whose files move to `folder` once the block has ended; an error moves none.

    Args:
        folder: Destination, made if missing.
        names: Files of an earlier export, deleted unless the block wrote them.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    try:
        # within the folder, so that files move without a copy
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix=STAGING) as staging,
            FileLock(Path(staging, STAGING_LOCK)),
        ):
            yield Path(staging)
            paths = [path for path in Path(staging).rglob("*") if path.is_file() and path.name != STAGING_LOCK]
            written = {path.relative_to(staging).as_posix(): path for path in paths}
            for name, path in written.items():
                (folder / name).parent.mkdir(exist_ok=True)
                path.replace(folder / name)
            for name in set(names).difference(written):
                (folder / name).unlink(missing_ok=True)
    except BaseException:
        for path in missing:
            with suppress(OSError):  # files that were moved before the error stay
                path.rmdir()
        raise
