"""List the files below a folder, following links."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import PIL.Image

from ..files import is_special

NUM_SHOWN = 3  # paths shown per reason


class FileTree(NamedTuple):
    """Files below a folder.

    Attributes:
        files: Visible files in visible folders, sorted by path, including links to files, even broken ones.
        hidden_images: Image files, by name, that are hidden or in a hidden folder, sorted by path.
        circular_links: Links to an enclosing folder, which are not followed.
        special_files: Pipes, sockets and devices, visible or not, which are not opened.
    """

    files: list[Path]
    hidden_images: list[Path]
    circular_links: list[Path]
    special_files: list[Path]


def find_files(folder: Path) -> FileTree:
    """List the files below a folder, including linked folders.

    Raises:
        OSError: A folder cannot be read.
    """
    tree = FileTree([], [], [], [])
    _search(folder, tree, is_hidden=False)
    return FileTree(*(sorted(paths, key=lambda path: path.parts) for paths in tree))


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry of a folder is a folder or a link to one; a link to itself is not."""
    try:
        return entry.is_dir()
    except OSError:  # too many levels of links
        return False


def is_circular(folder: Path) -> bool:
    """Return whether a folder is a link to an enclosing folder."""
    return folder.is_symlink() and any(os.path.samefile(folder, parent) for parent in folder.absolute().parents)


def has_image_suffix(path: Path) -> bool:
    """Return whether a file has an image suffix, in upper or lower case."""
    return PIL.Image.registered_extensions().get(path.suffix.lower()) in PIL.Image.OPEN


def describe_left_out(reasons: Mapping[str, Sequence[object]]) -> str:
    """Return one line that lists the skipped paths by reason.

    Args:
        reasons: Reason, with `{}` for the number, to its paths; reasons without paths are omitted.
    """
    parts = []
    for reason, paths in reasons.items():
        if paths:
            more = ", ..." if len(paths) > NUM_SHOWN else ""
            shown = ", ".join(repr(str(path)) for path in paths[:NUM_SHOWN])
            parts.append(f"{reason.replace('{}', str(len(paths)))} ({shown}{more})")
    return "; ".join(parts)


def _search(folder: Path, tree: FileTree, *, is_hidden: bool) -> None:
    with os.scandir(folder) as entries:
        found = [(Path(entry), is_folder(entry)) for entry in entries]
    for path, is_directory in found:
        hidden = is_hidden or path.name.startswith(".")
        if not is_directory:
            if is_special(path):
                tree.special_files.append(path)
            elif not hidden:
                tree.files.append(path)
            elif has_image_suffix(path) and not path.name.startswith("._"):  # resource forks of macOS
                tree.hidden_images.append(path)
        elif is_circular(path):
            tree.circular_links.append(path)
        else:
            _search(path, tree, is_hidden=hidden)
