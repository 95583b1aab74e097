"""Data sets from folders of pictures, with the columns `image`, `label` and `file_name`.

`image` is a `datasets.Image` (decoded when a row is read), `label` a `ClassLabel` whose names are in id order and the
same in all splits, and `file_name` a string that identifies the row within its split. Where they are known of all rows
of all splits, there are the columns `clip` and `subject`, strings.
"""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value

from .faults import find_faults
from .labels import NUM_LISTED, canonical_id, check_class_names, read_labels, shorten, sort_ids
from .metadata import find_groups

SPLIT_NAMES = (
    dict.fromkeys(("train", "training"), "train")
    | dict.fromkeys(("val", "valid", "validation", "dev"), "validation")
    | dict.fromkeys(("test", "testing"), "test")
)
PARTS = ("train", "validation", "test")  # of a data set and of a run, in this order
SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # left by file managers; compared in lower case


class _Picture(NamedTuple):
    folder: str  # the class folder
    file_name: str  # posix path relative to the folder of the split
    path: Path


def load_image_folder(
    image_dir: str | Path,
    labels_file: str | Path | None = None,
    *,
    clip_column: str = "clip",
    subject_column: str = "subject",
    skip_bad_images: bool = False,
) -> DatasetDict:
    """Load a folder of class folders, or a folder of splits that hold class folders.

    Sub-folders named train or training, val, valid, validation or dev, and test or testing (in any case) are the
    splits "train", "validation" and "test"; where there are none, the whole folder is the split "train".

    Args:
        image_dir: The folder. Files directly in it or directly in the folder of a split are no rows.
        labels_file: The `id,name` CSV, or "imigue" (see `read_labels`); by default `image_dir/labels.csv` where it is.
        clip_column: As for `load_image_folders`; there may be a metadata file in `image_dir`, too.
        subject_column: Likewise.
        skip_bad_images: Whether unreadable files are left out with a warning instead of refused.

    Raises:
        FileNotFoundError: The folder or the labels file does not exist.
        ValueError: Two sub-folders are the same split, or for one of the reasons of `load_image_folders`.
    """
    image_dir = Path(image_dir)
    folders = _list_folders(image_dir)
    split_folders = [folder for folder in folders if folder.lower() in SPLIT_NAMES]
    ignored_folders = [folder for folder in folders if folder not in split_folders]
    if split_folders and ignored_folders:
        warnings.warn(
            f"{image_dir} holds splits, so its other folders are ignored: {shorten(ignored_folders)}.", stacklevel=2
        )
    split_dirs = {split: image_dir / folder for split, folder in name_splits(split_folders, image_dir).items()}
    if labels_file is None and (image_dir / "labels.csv").is_file():
        labels_file = image_dir / "labels.csv"
    return load_image_folders(
        split_dirs or {"train": image_dir},
        labels_file,
        metadata_dir=image_dir,
        clip_column=clip_column,
        subject_column=subject_column,
        skip_bad_images=skip_bad_images,
    )


def load_image_folders(
    split_dirs: Mapping[str, str | Path],
    labels_file: str | Path | None = None,
    *,
    metadata_dir: str | Path | None = None,
    clip_column: str = "clip",
    subject_column: str = "subject",
    skip_bad_images: bool = False,
) -> DatasetDict:
    """Load one folder of class folders for each split, with one list of class names for all of them.

    All files below a class folder are its pictures, save hidden files and those of file managers; `find_faults`
    finds the unreadable ones. Rows are sorted by class, then by `file_name`, the path from the split's folder on.

    Args:
        split_dirs: Split name to folder.
        labels_file: The `id,name` CSV, or "imigue" (see `read_labels`). Class folders are then ids ("01" is "1"), and
            its rows are the classes, with or without pictures. By default the first `labels.csv` in a split's folder;
            where there is none, the class folders' names are the classes.
        metadata_dir: A folder above those of the splits that may hold a metadata file, as each of them may.
        clip_column: The column of the metadata files that tells the clips (see `find_groups`).
        subject_column: The column of the metadata files that tells the subjects.
        skip_bad_images: Whether unreadable files are left out with a warning instead of refused.

    Raises:
        FileNotFoundError: A folder or the labels file does not exist.
        ValueError: A folder is a file, has no class folders or no readable pictures, a class folder has no row in the
            labels file, there are fewer than two classes, files are unreadable, or for a reason of `find_groups`.
    """
    if labels_file is None:
        found = [Path(split_dir) / "labels.csv" for split_dir in split_dirs.values()]
        labels_file = next((path for path in found if path.is_file()), None)
    labels = None if labels_file is None else read_labels(labels_file)
    class_folders = {split: _find_class_folders(Path(split_dir)) for split, split_dir in split_dirs.items()}
    pictures = _find_pictures(split_dirs, class_folders, skip_bad_images)
    class_names = _name_classes(
        folders=sort_ids([folder for folders in class_folders.values() for folder in folders]),
        filled_ids={canonical_id(picture.folder) for rows in pictures.values() for picture in rows},
        labels=labels,
    )
    file_names = {picture.path: picture.file_name for rows in pictures.values() for picture in rows}
    folders = [Path(folder) for folder in (metadata_dir, *split_dirs.values()) if folder is not None]
    groups = find_groups(file_names, folders, clip_column=clip_column, subject_column=subject_column)
    features = make_features(list(class_names.values()), groups)
    label_of = {class_id: label for label, class_id in enumerate(class_names)}
    return DatasetDict(
        {split: _make_dataset(rows, label_of, groups, features, split) for split, rows in pictures.items()}
    )


def _list_folders(parent: Path) -> list[str]:
    """Return the names of the visible folders in `parent`, sorted as text; raise where it is not a folder."""
    if not parent.exists():
        raise FileNotFoundError(f"There is no folder {parent}.")
    if not parent.is_dir():
        raise ValueError(f"{parent} is a file: give the folder that holds the class folders.")
    return sorted(child.name for child in parent.iterdir() if child.is_dir() and not child.name.startswith("."))


def name_splits(names: list[str], source: str | Path) -> dict[str, str]:
    """Return split name to the name it has in `source`; names without a known meaning stay."""
    splits: dict[str, str] = {}
    for name in names:
        split = SPLIT_NAMES.get(name.lower(), name)
        if split in splits:
            raise ValueError(f"{source} has two {split} splits, {splits[split]!r} and {name!r}: keep or join one.")
        splits[split] = name
    return splits


def _find_class_folders(split_dir: Path) -> list[str]:
    folders = _list_folders(split_dir)
    if not folders:
        content = "has files but no class folders" if any(split_dir.iterdir()) else "is empty"
        raise ValueError(
            f"{split_dir} {content}: each class needs a folder with its pictures. "
            "Pictures without a class are for prediction; keep them elsewhere."
        )
    return sort_ids(folders)


def _list_pictures(split_dir: Path, folder: str) -> list[_Picture]:
    """Return the pictures below a class folder, sorted by file name as text."""
    pictures = []
    for path in (split_dir / folder).rglob("*"):
        parts = path.relative_to(split_dir).parts
        if (
            not path.is_dir()  # so that a broken link is found unreadable, not passed over
            and not any(part.startswith(".") for part in parts)
            and path.name.lower() not in SYSTEM_FILES
        ):
            pictures.append(_Picture(folder, "/".join(parts), path))
    return sorted(pictures, key=lambda picture: picture.file_name)


def _find_pictures(
    split_dirs: Mapping[str, str | Path], class_folders: Mapping[str, list[str]], skip_bad_images: bool
) -> dict[str, list[_Picture]]:
    """Return the readable pictures of each split, of which there must be some, sorted by class and file name."""
    pictures = {
        split: [picture for folder in folders for picture in _list_pictures(Path(split_dirs[split]), folder)]
        for split, folders in class_folders.items()
    }
    bad_paths = _find_bad_images([picture.path for split in pictures.values() for picture in split], skip_bad_images)
    pictures = {split: [row for row in rows if row.path not in bad_paths] for split, rows in pictures.items()}
    for split, rows in pictures.items():
        if not rows:
            raise ValueError(f"The class folders of {split_dirs[split]} hold no readable pictures.")
    return pictures


def _find_bad_images(paths: list[Path], skip_bad_images: bool) -> set[Path]:
    """Return the unreadable ones of `paths` with a warning, or raise ValueError unless `skip_bad_images`."""
    bad = find_faults(paths)
    if not bad:
        return set()
    listed = "\n".join(f"  {path}: {fault}" for path, fault in list(bad.items())[:NUM_LISTED])
    more = f"\n  and {len(bad) - NUM_LISTED} more" if len(bad) > NUM_LISTED else ""
    found = f"{len(bad)} of {len(paths)} files are not readable pictures"
    if not skip_bad_images:
        raise ValueError(f"{found}:\n{listed}{more}\nMend or remove them, or leave them out with --skip_bad_images.")
    warnings.warn(f"{found} and are left out:\n{listed}{more}", stacklevel=4)
    return set(bad)


def _name_classes(
    folders: list[str], filled_ids: set[int | str], labels: dict[str, str] | None
) -> dict[int | str, str]:
    """Return canonical class id to class name in id order.

    Args:
        folders: The class folders of all splits, in id order.
        filled_ids: Canonical ids of the folders with a picture.
        labels: Class id to class name, or None if the folders' names are the class names.
    """
    if labels is None:
        names = {canonical_id(folder): folder for folder in folders}
        if empty := [name for class_id, name in names.items() if class_id not in filled_ids]:
            warnings.warn(f"Class folders without a picture are left out: {shorten(empty)}.", stacklevel=3)
        return {class_id: name for class_id, name in names.items() if class_id in filled_ids}
    names = {canonical_id(class_id): name for class_id, name in labels.items()}
    if unknown := [folder for folder in folders if canonical_id(folder) not in names]:
        raise ValueError(
            f"Class folders without a row in the labels file: {shorten(unknown)}; the file's ids: {shorten(labels)}."
        )
    if empty := [name for class_id, name in names.items() if class_id not in filled_ids]:
        warnings.warn(f"Classes of the labels file without a picture: {shorten(empty)}.", stacklevel=3)
    return names


def make_features(class_names: list[str], groups: Iterable[str]) -> Features:
    """Return the columns of this module and those of `groups`; `check_class_names` refuses fewer than two."""
    check_class_names(class_names)
    texts = dict.fromkeys(("file_name", *groups), Value("string"))
    return Features(image=Image(), label=ClassLabel(names=class_names), **texts)


def _make_dataset(
    pictures: list[_Picture],
    label_of: dict[int | str, int],
    groups: Mapping[str, Mapping[Path, str]],
    features: Features,
    split: str,
) -> Dataset:
    columns = {
        "image": [str(picture.path.absolute()) for picture in pictures],
        "label": [label_of[canonical_id(picture.folder)] for picture in pictures],
        "file_name": [picture.file_name for picture in pictures],
    } | {group: [keys[picture.path] for picture in pictures] for group, keys in groups.items()}
    return Dataset.from_dict(columns, features=features, split=split)
