"""How a folder of images is laid out: its labels file, loose images, and folders that are no classes."""

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

import PIL.Image

from .file_tree import has_image_suffix
from .labels import shorten

# Folders such as "part1", "session-02", "3": numbered shares of a data set rather than gestures.
_NUMBERED = re.compile(r"[a-z]{0,12}[\s_-]*\d+", re.IGNORECASE)


def find_labels_file(folder: Path) -> Path | None:
    """Return the file `labels.csv` of a folder, in small letters or large, or None where there is none.

    Raises:
        ValueError: There are two, or one of another kind.
    """
    if not folder.is_dir():
        return None
    found = sorted(path for path in folder.iterdir() if path.stem.strip().casefold() == "labels" and path.is_file())
    tables = [path for path in found if path.suffix.lower() in (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".ods")]
    if len(tables) > 1:
        raise ValueError(f"{folder} has {' and '.join(path.name for path in tables)}: keep one, so that it is clear.")
    if tables and tables[0].suffix.lower() != ".csv":
        raise ValueError(
            f"The labels file {tables[0]} is not read: save it as labels.csv with the header 'id,name', or rename it "
            "if it is something else."
        )
    return tables[0] if tables else None


def find_loose_images(folder: Path) -> list[Path]:
    """Return the visible image files directly in a folder, sorted by path; those without a known suffix are opened."""
    files = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and not path.is_dir())
    return [path for path in files if has_image_suffix(path) or _is_image(path)]


def refuse_splits(folder: Path, class_folders: Sequence[str], split_names: Mapping[str, str]) -> None:
    """Refuse class folders that are called as splits are.

    Args:
        folder: Where they are.
        class_folders: Their names.
        split_names: Names of splits, in small letters, to what they mean.

    Raises:
        ValueError: One is called so; or all are, but for a word beside it.
    """
    splits = [name for name in class_folders if name.strip().lower() in split_names]
    if splits:
        raise ValueError(
            f"{folder} holds {shorten(splits)}, which are folders of splits rather than classes. Give train_dir "
            "without validation_dir to take them as splits, or give each folder of a split by itself; rename those "
            "that are classes."
        )
    words = {name: set(re.split(r"[\W_]+", name.lower())) & split_names.keys() for name in class_folders}
    if len(words) > 1 and all(words.values()):
        raise ValueError(
            f"{folder} holds {shorten(words)}, which are called as splits are: rename them 'train', 'validation' and "
            "'test', or give each by train_dir and validation_dir."
        )


def warn_of_nested_classes(folder: Path, file_names: Collection[str]) -> None:
    """Warn where numbered folders are taken for classes and hold equal folders that may be the classes.

    Args:
        folder: The folder of the class folders.
        file_names: Path of each picture from there on.
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
            f"{shorten(inner)} in {folder} are taken for the classes, and hold folders of equal names "
            f"({shorten(repeated)}). If these are the classes, put all pictures of a class into one folder.",
            stacklevel=4,
        )


def _is_image(path: Path) -> bool:
    try:
        with PIL.Image.open(path):
            return True
    except (OSError, ValueError, PIL.Image.DecompressionBombError):
        return False
