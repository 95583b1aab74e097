"""Load data sets from image folders, with the columns `image`, `label` and `file_name`.

`image` is a `datasets.Image`, decoded on access. `label` is a `ClassLabel` with the same names in all splits, in id
order. `file_name` identifies a row within its split. If all rows have them, there are string columns `clip` and
`subject`.
"""

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value

from ..messages import escape
from .corrupt_files import find_corrupt_files
from .file_tree import FileTree, describe_left_out, find_files, has_image_suffix, is_circular
from .folder_layout import find_labels_file, find_loose_images, refuse_splits, warn_of_nested_classes
from .groups import find_groups
from .labels import (
    NUM_LISTED,
    canonical_id,
    check_class_names,
    fold_name,
    normalize_name,
    normalize_names,
    read_labels,
    shorten,
    sort_ids,
)
from .metadata import MetadataTable, is_metadata_file, read_metadata, warn_of_other_tables
from .metadata_labels import LABEL, find_labels
from .sources import hint_at_folder

SPLIT_NAMES = (
    dict.fromkeys(("train", "training", "trainset", "train_set", "training_set"), "train")
    | dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation"), "validation")
    | dict.fromkeys(("valset", "val_set", "validation_set", "evalset", "eval_set"), "validation")
    | dict.fromkeys(("test", "testing", "testset", "test_set"), "test")
)
SPLITS = ("train", "validation", "test")  # splits of a data set and of a run, in this order
SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # of file managers, in lower case


class _ImageFile(NamedTuple):
    folder: str  # class folder, or the label in the metadata; empty if there is neither
    file_name: str  # POSIX path relative to the split folder
    path: Path


class _Listing(NamedTuple):
    """Contents of a split folder."""

    class_folders: list[str]  # in id order
    images: list[_ImageFile]
    loose: list[_ImageFile]  # not in a class folder
    tree: FileTree


def load_image_folder(
    image_dir: str | Path,
    labels_file: str | Path | None = None,
    *,
    label_column: str = LABEL,
    clip_column: str = "clip",
    subject_column: str = "subject",
    skip_corrupt_images: bool = False,
) -> DatasetDict:
    """Load a folder of class folders, a folder of images with metadata, or a folder of splits with either layout.

    Subfolders named train or training, val, valid, validation or dev, and test or testing (in any case) become the
    splits "train", "validation" and "test". Without such subfolders, the whole folder is the split "train".

    Args:
        image_dir: Folder to load.
        labels_file: See `load_image_folders`; by default `image_dir/labels.csv` if it exists.
        label_column: See `load_image_folders`; `image_dir` may contain a metadata file, too.
        clip_column: See `load_image_folders`.
        subject_column: See `load_image_folders`.
        skip_corrupt_images: Whether to skip unreadable files with a warning instead of raising an error.

    Raises:
        FileNotFoundError: The folder or the labels file does not exist.
        ValueError: Two subfolders are the same split, or for a reason listed in `load_image_folders`.
    """
    image_dir = Path(image_dir)
    folders = _list_folders(image_dir)
    split_folders = [folder for folder in folders if folder.lower() in SPLIT_NAMES]
    ignored_folders = [folder for folder in folders if folder not in split_folders]
    if split_folders and ignored_folders:
        images = [path for name in ignored_folders for path in find_files(image_dir / name).files]
        num_images = sum(map(has_image_suffix, images))
        warnings.warn(
            f"{image_dir} contains splits, so its other folders are ignored: {shorten(ignored_folders)}, with "
            f"{num_images} image files.",
            stacklevel=2,
        )
    if split_folders and (loose := find_loose_images(image_dir)):
        warnings.warn(f"{describe_left_out({'{} image files outside of splits are skipped': loose})}.", stacklevel=2)
    split_dirs = {split: image_dir / folder for split, folder in name_splits(split_folders, image_dir).items()}
    return load_image_folders(
        split_dirs or {"train": image_dir},
        find_labels_file(image_dir) if labels_file is None else labels_file,
        metadata_dir=image_dir,
        label_column=label_column,
        clip_column=clip_column,
        subject_column=subject_column,
        skip_corrupt_images=skip_corrupt_images,
    )


def load_image_folders(
    split_dirs: Mapping[str, str | Path],
    labels_file: str | Path | None = None,
    *,
    metadata_dir: str | Path | None = None,
    label_column: str = LABEL,
    clip_column: str = "clip",
    subject_column: str = "subject",
    skip_corrupt_images: bool = False,
) -> DatasetDict:
    """Load one image folder per split, with one list of class names for all splits.

    All files below a class folder, including linked ones, are its images, except metadata, hidden files and files of
    file managers. Alternatively, a metadata file gives the label of each image (see `find_labels`). A warning lists
    skipped image files. Rows are sorted by class, then by `file_name`, the path relative to the split folder.

    Args:
        split_dirs: Split name to folder.
        labels_file: `id,name` CSV or built-in list (see `read_labels`). Its rows are the classes, with or without
            images; class folders are its ids ("01" is "1"), and labels in metadata are its ids or names. By default,
            the first `labels.csv` next to any metadata location; without one, folders or labels are the classes.
        metadata_dir: Folder that may contain metadata, besides the split folders and parents of folders such as
            "train".
        label_column: Column of the metadata files with the labels.
        clip_column: Column of the metadata files with the clips (see `find_groups`).
        subject_column: Column of the metadata files with the subjects.
        skip_corrupt_images: Whether to skip unreadable files with a warning instead of raising an error.

    Raises:
        FileNotFoundError: A folder or the labels file does not exist.
        ValueError: A folder is a file, has neither class folders nor labels, or has no readable images; a class folder
            has no row in the labels file; there are fewer than two classes; files are unreadable; class folders are
            named like splits; or for a reason listed in `find_labels` or `find_groups`.
    """
    roots = {split: Path(split_dir) for split, split_dir in split_dirs.items()}
    listings = {split: _list_split(root) for split, root in roots.items()}
    above = [root.parent for root in roots.values() if root.name.lower() in SPLIT_NAMES]
    beside = [*roots.values(), *([] if metadata_dir is None else [Path(metadata_dir)]), *above]
    labels = _read_class_names(labels_file, beside)
    tables = _read_tables(beside, listings, (label_column, clip_column, subject_column))
    images, folders = _choose_images(roots, listings, tables, labels, label_column)
    images = _drop_unreadable(images, roots, skip_corrupt_images)
    class_names = _name_classes(
        folders=sort_ids(list(dict.fromkeys(folders))),
        filled_ids={_class_key(image.folder) for rows in images.values() for image in rows},
        labels=labels,
    )
    file_names = {image.path: image.file_name for rows in images.values() for image in rows}
    groups = find_groups(file_names, tables, clip_column=clip_column, subject_column=subject_column)
    return _make_splits(images, class_names, groups)


def _choose_images(
    roots: Mapping[str, Path],
    listings: Mapping[str, _Listing],
    tables: list[MetadataTable],
    labels: dict[str, str] | None,
    label_column: str,
) -> tuple[dict[str, list[_ImageFile]], list[str]]:
    """Return the labelled images of each split, and the folders or labels that define the classes."""
    in_metadata = find_labels(
        tables,
        {row.path: row.folder or None for one in listings.values() for row in (*one.images, *one.loose)},
        label_column=label_column,
        are_folders_named=labels is not None and _are_named(listings, labels),
    )
    if in_metadata is None:
        class_folders = {split: _check_class_folders(listing, roots[split]) for split, listing in listings.items()}
        images = {split: listing.images for split, listing in listings.items()}
        for split, root in roots.items():
            refuse_splits(root, class_folders[split], SPLIT_NAMES)
            if labels is None:
                warn_of_nested_classes(root, [row.file_name for row in images[split]])
    else:
        images = {split: _label_by_metadata(listing, in_metadata, labels) for split, listing in listings.items()}
        class_folders = {split: [row.folder for row in rows] for split, rows in images.items()}
    _warn_of_left_out(listings, images, in_metadata)
    return images, [folder for folders in class_folders.values() for folder in folders]


def _list_folders(parent: Path) -> list[str]:
    """Return the names of the visible folders in `parent`, sorted; raise if it is not a folder."""
    if not parent.exists():
        raise FileNotFoundError(f"There is no folder {parent}.{hint_at_folder(str(parent))}")
    if not parent.is_dir():
        raise ValueError(f"{parent} is a file: give the folder that contains the class folders.")
    return sorted(child.name for child in parent.iterdir() if child.is_dir() and not child.name.startswith("."))


def name_splits(names: list[str], source: str | Path) -> dict[str, str]:
    """Map canonical split names to those in `source`; keep unknown names, raise ValueError for duplicates."""
    splits: dict[str, str] = {}
    for name in names:
        split = SPLIT_NAMES.get(name.lower(), name)
        if split in splits:
            raise ValueError(
                f"{source} has two {split} splits, {splits[split]!r} and {name!r}: merge them or keep one."
            )
        splits[split] = name
    return splits


def _list_split(split_dir: Path) -> _Listing:
    """List a split folder; images are sorted by class folder in id order, then by file name."""
    folders = [folder for folder in _list_folders(split_dir) if not is_circular(split_dir / folder)]
    tree = find_files(split_dir)
    of_folder: dict[str, list[_ImageFile]] = {folder: [] for folder in sort_ids(folders)}
    for path in tree.files:
        folder, *others = path.relative_to(split_dir).parts
        if others and path.name.lower() not in SYSTEM_FILES and not is_metadata_file(path):
            of_folder[folder].append(_ImageFile(folder, "/".join([folder, *others]), path))
    images = [row for rows in of_folder.values() for row in sorted(rows, key=lambda row: row.file_name)]
    loose = [_ImageFile("", path.name, path) for path in find_loose_images(split_dir)]
    return _Listing(list(of_folder), images, loose, tree)


def _read_class_names(labels_file: str | Path | None, folders: Iterable[Path]) -> dict[str, str] | None:
    """Read the given labels file, else the first one in `folders`, if any."""
    if labels_file is None:
        labels_file = next((path for folder in folders if (path := find_labels_file(folder))), None)
    return None if labels_file is None else read_labels(labels_file)


def _read_tables(
    folders: Iterable[Path], listings: Mapping[str, _Listing], columns: tuple[str, ...]
) -> list[MetadataTable]:
    """Read the metadata files in `folders` and below the splits."""
    below = [path.parent for listing in listings.values() for path in listing.tree.files if is_metadata_file(path)]
    tables = [read_metadata(folder, columns) for folder in dict.fromkeys([*folders, *below])]
    found = [table for table in tables if table is not None]
    if not found:
        warn_of_other_tables(path for listing in listings.values() for path in listing.tree.files)
    return found


def _check_class_folders(listing: _Listing, split_dir: Path) -> list[str]:
    """Return the class folders of a split; refuse none at all and duplicate names."""
    if not listing.class_folders:
        content = "has files but no class folders" if any(split_dir.iterdir()) else "is empty"
        raise ValueError(
            f"{split_dir} {content}: put the images of each class into a folder, or give each image a row with "
            "file_name and label in a metadata.csv. Keep unlabelled images for prediction in another folder."
        )
    spelled: dict[str, str] = {}
    for folder in listing.class_folders:
        other = spelled.setdefault(normalize_name(folder), folder)
        if other != folder:
            raise ValueError(
                f"The class folders {other!r} and {folder!r} of {split_dir} have the same name: merge them."
            )
    return listing.class_folders


def _label_by_metadata(
    listing: _Listing, in_metadata: Mapping[Path, str | None], labels: dict[str, str] | None
) -> list[_ImageFile]:
    """Return the images with a label in the metadata, sorted by label, then by file name."""
    ids = {fold_name(name): class_id for class_id, name in (labels or {}).items()}
    known = {_class_key(class_id) for class_id in labels or {}}
    of_label: dict[str, list[_ImageFile]] = {}
    for row in sorted((*listing.images, *listing.loose), key=lambda row: row.file_name):
        if (label := in_metadata.get(row.path)) is not None:
            name = normalize_name(label)
            name = name if _class_key(name) in known else ids.get(fold_name(name), name)
            of_label.setdefault(name, []).append(row._replace(folder=name))
    return [row for name in sort_ids(list(of_label)) for row in of_label[name]]


def _are_named(listings: Mapping[str, _Listing], labels: dict[str, str]) -> bool:
    known = {_class_key(class_id) for class_id in labels}
    return all(_class_key(folder) in known for one in listings.values() for folder in one.class_folders)


def _warn_of_left_out(
    listings: Mapping[str, _Listing],
    images: Mapping[str, list[_ImageFile]],
    in_metadata: Mapping[Path, str | None] | None,
) -> None:
    """Warn once about all skipped image files."""
    taken = {row.path for rows in images.values() for row in rows}
    beside: list[Path] = []
    unlabelled: list[Path] = []
    unlisted: list[Path] = []
    for row in (row for listing in listings.values() for row in (*listing.images, *listing.loose)):
        if row.path not in taken:
            part = beside if in_metadata is None else unlabelled if row.path in in_metadata else unlisted
            part.append(row.path)
    reasons = {
        "{} outside of the class folders": beside,
        "{} without a label in the metadata": unlabelled,
        "{} without a row in the metadata": unlisted,
        "{} hidden": [path for listing in listings.values() for path in listing.tree.hidden_images],
        "{} linked to an enclosing folder": [path for one in listings.values() for path in one.tree.circular_links],
        "{} pipes, sockets or devices": [path for one in listings.values() for path in one.tree.special_files],
    }
    if line := describe_left_out(reasons):
        warnings.warn(f"Skipped image files and folders: {line}.", stacklevel=3)


def _class_key(folder: str) -> int | str:
    """Return the key that matches class folders to rows of the labels file."""
    return canonical_id(normalize_name(folder))


def _drop_unreadable(
    images: Mapping[str, list[_ImageFile]], roots: Mapping[str, Path], skip_corrupt_images: bool
) -> dict[str, list[_ImageFile]]:
    """Return the readable images of each split, at least one per split."""
    corrupt_paths = _find_corrupt_images(
        [image.path for split in images.values() for image in split], skip_corrupt_images
    )
    readable = {split: [row for row in rows if row.path not in corrupt_paths] for split, rows in images.items()}
    for split, rows in readable.items():
        if not rows:
            raise ValueError(f"The class folders of {roots[split]} contain no readable images.")
    return readable


def _find_corrupt_images(paths: list[Path], skip_corrupt_images: bool) -> set[Path]:
    """Return the unreadable `paths` with a warning, or raise ValueError unless `skip_corrupt_images`."""
    bad = find_corrupt_files(paths)
    if not bad:
        return set()
    listed = "\n".join(escape(f"  {path}: {fault}") for path, fault in list(bad.items())[:NUM_LISTED])
    more = f"\n  and {len(bad) - NUM_LISTED} more" if len(bad) > NUM_LISTED else ""
    found = f"{len(bad)} of {len(paths)} files are not readable images"
    if not skip_corrupt_images:
        raise ValueError(f"{found}:\n{listed}{more}\nRepair or remove them, or skip them with `skip_corrupt_images`.")
    warnings.warn(f"{found} and are skipped:\n{listed}{more}", stacklevel=4)
    return set(bad)


def _name_classes(
    folders: list[str], filled_ids: set[int | str], labels: dict[str, str] | None
) -> dict[int | str, str]:
    """Return canonical class id to class name, in id order."""
    if labels is None:
        names = {_class_key(folder): normalize_name(folder) for folder in folders}
        if empty := [name for class_id, name in names.items() if class_id not in filled_ids]:
            warnings.warn(f"Class folders without images are skipped: {shorten(empty)}.", stacklevel=3)
        filled = {class_id: name for class_id, name in names.items() if class_id in filled_ids}
        normalize_names(filled.values())  # refuses names that differ only in case
        return filled
    names = {_class_key(class_id): name for class_id, name in labels.items()}
    if unknown := [folder for folder in folders if _class_key(folder) not in names]:
        raise ValueError(
            f"Class folders without a row in the labels file: {shorten(unknown)}; ids in the file: {shorten(labels)}."
        )
    if empty := [name for class_id, name in names.items() if class_id not in filled_ids]:
        warnings.warn(f"Classes of the labels file without images: {shorten(empty)}.", stacklevel=3)
    return names


def make_features(class_names: list[str], groups: Iterable[str]) -> Features:
    """Return the columns of this module and of `groups`; raise ValueError for fewer than two classes."""
    check_class_names(class_names)
    texts = dict.fromkeys(("file_name", *groups), Value("string"))
    return Features(image=Image(), label=ClassLabel(names=class_names), **texts)


def _make_splits(
    images: Mapping[str, list[_ImageFile]],
    class_names: Mapping[int | str, str],
    groups: Mapping[str, Mapping[Path, str]],
) -> DatasetDict:
    features = make_features(list(class_names.values()), groups)
    label_of = {class_id: label for label, class_id in enumerate(class_names)}
    return DatasetDict(
        {split: _make_dataset(rows, label_of, groups, features, split) for split, rows in images.items()}
    )


def _make_dataset(
    images: list[_ImageFile],
    label_of: dict[int | str, int],
    groups: Mapping[str, Mapping[Path, str]],
    features: Features,
    split: str,
) -> Dataset:
    columns = {
        "image": [str(image.path.absolute()) for image in images],
        "label": [label_of[_class_key(image.folder)] for image in images],
        "file_name": [image.file_name for image in images],
    } | {group: [keys[image.path] for image in images] for group, keys in groups.items()}
    return Dataset.from_dict(columns, features=features, split=split)
