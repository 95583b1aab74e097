"""The files below a folder, through links, so that every one is used or counted."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import PIL.Image

NUM_SHOWN = 3  # of what is left out for one reason


class FileTree(NamedTuple):
    """What lies below a folder.

    Attributes:
        files: Visible files in visible folders, sorted by path; links to files are among them, broken ones too.
        hidden_images: Files with the name of an image that are hidden or in a hidden folder, sorted by path.
        circular_links: Links to a folder around them, which are not followed.
    """

    files: list[Path]
    hidden_images: list[Path]
    circular_links: list[Path]


def find_files(folder: Path) -> FileTree:
    """List the files below a folder and below the folders that are linked in it.

    Raises:
        OSError: A folder in it cannot be read.
    """
    tree = FileTree([], [], [])
    _search(folder, tree, is_hidden=False)
    return FileTree(*(sorted(paths, key=lambda path: path.parts) for paths in tree))


def is_circular(folder: Path) -> bool:
    """Return whether a folder is a link to a folder around it, which would be walked for ever."""
    return folder.is_symlink() and any(os.path.samefile(folder, parent) for parent in folder.absolute().parents)


def has_image_suffix(path: Path) -> bool:
    """Return whether a file is called as images are, in small letters or large."""
    return PIL.Image.registered_extensions().get(path.suffix.lower()) in PIL.Image.OPEN


def describe_left_out(reasons: Mapping[str, Sequence[object]]) -> str:
    """Say in one line what is left out.

    Args:
        reasons: Reason, with `{}` for the number, to what it leaves out; reasons without anything are not mentioned.
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
        found = [(Path(entry), entry.is_dir()) for entry in entries]
    for path, is_folder in found:
        hidden = is_hidden or path.name.startswith(".")
        if not is_folder:
            if not hidden:
                tree.files.append(path)
            elif has_image_suffix(path) and not path.name.startswith("._"):  # which macOS writes beside each file
                tree.hidden_images.append(path)
        elif is_circular(path):
            tree.circular_links.append(path)
        else:
            _search(path, tree, is_hidden=hidden)
