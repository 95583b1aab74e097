"""Inspect the layout of an image folder: labels file, loose images, and folders that are not classes."""

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

import PIL.Image

from ..files import is_special
from .file_tree import has_image_suffix
from .labels import shorten

# Folders such as "part1", "session-02", "3": numbered portions of a data set rather than gestures.
_NUMBERED = re.compile(r"[a-z]{0,12}[\s_-]*\d+", re.IGNORECASE)


def find_labels_file(folder: Path) -> Path | None:
    """Return the labels file of a folder (`labels.csv`, in any case), or None if there is none.

    Raises:
        ValueError: There is more than one labels file, or it is not a CSV.
    """
    if not folder.is_dir():
        return None
    found = sorted(path for path in folder.iterdir() if path.stem.strip().casefold() == "labels" and path.is_file())
    tables = [path for path in found if path.suffix.lower() in (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".ods")]
    if len(tables) > 1:
        raise ValueError(f"{folder} has {' and '.join(path.name for path in tables)}: keep one of them.")
    if tables and tables[0].suffix.lower() != ".csv":
        raise ValueError(
            f"The labels file {tables[0]} cannot be read: save it as labels.csv with the header 'id,name', or rename "
            "it if it is not a labels file."
        )
    return tables[0] if tables else None


def find_loose_images(folder: Path) -> list[Path]:
    """Return the visible image files directly in a folder, sorted by path; open those without an image suffix."""
    files = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and not path.is_dir())
    files = [path for path in files if not is_special(path)]  # named with those of the class folders
    return [path for path in files if has_image_suffix(path) or _is_image(path)]


def refuse_splits(folder: Path, class_folders: Sequence[str], split_names: Mapping[str, str]) -> None:
    """Refuse class folders that are named like splits.

    Args:
        folder: Parent of the class folders.
        class_folders: Names of the class folders.
        split_names: Split names in lower case, mapped to their canonical names.

    Raises:
        ValueError: A class folder has the name of a split, or all names contain one.
    """
    splits = [name for name in class_folders if name.strip().lower() in split_names]
    if splits:
        raise ValueError(
            f"{folder} contains {shorten(splits)}, which look like splits, not classes. To load them as splits, give "
            "train_dir without validation_dir, or give each split folder separately. If they are classes, rename "
            "them."
        )
    words = {name: set(re.split(r"[\W_]+", name.lower())) & split_names.keys() for name in class_folders}
    if len(words) > 1 and all(words.values()):
        raise ValueError(
            f"{folder} contains {shorten(words)}, which look like splits: rename them 'train', 'validation' and "
            "'test', or give them as train_dir and validation_dir."
        )


def warn_of_nested_classes(folder: Path, file_names: Collection[str]) -> None:
    """Warn if the class folders are numbered and contain repeated subfolders that may be the classes.

    Args:
        folder: Parent of the class folders.
        file_names: Path of each image relative to `folder`.
    """
    inner: dict[str, set[str]] = {}
    for file_name in file_names:
        outer, *others = PurePosixPath(file_name).parts
        inner.setdefault(outer, set()).add(others[0] if len(others) > 1 else "")
    names = [name for held in inner.values() for name in held]
    repeated = sorted({name for name in names if names.count(name) > 1})
    are_shares = all(_NUMBERED.fullmatch(outer) for outer in inner)
    if repeated and are_shares and not any(_NUMBERED.fullmatch(name) or not name for name in names):
        warnings.warn(
            f"{shorten(inner)} in {folder} are used as the classes, but contain subfolders with the same names "
            f"({shorten(repeated)}). If these are the classes, put all images of a class into one folder.",
            stacklevel=4,
        )


def _is_image(path: Path) -> bool:
    try:
        with PIL.Image.open(path):
            return True
    except (OSError, ValueError, PIL.Image.DecompressionBombError):
        return False
