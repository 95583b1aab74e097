"""Data sets from folders of pictures and from the Hub, all with the columns `image`, `label` and `file_name`.

`image` is a `datasets.Image` (decoded when a row is read), `label` a `ClassLabel` whose names are in id order and the
same in all splits, and `file_name` a string that identifies the row within its split.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value, load_dataset

from .faults import find_faults
from .labels import NUM_LISTED, canonical_id, check_class_names, read_labels, shorten, sort_ids

SPLIT_NAMES = (
    dict.fromkeys(("train", "training"), "train")
    | dict.fromkeys(("val", "valid", "validation", "dev"), "validation")
    | dict.fromkeys(("test", "testing"), "test")
)
SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # left by file managers; compared in lower case


class _Picture(NamedTuple):
    folder: str  # the class folder
    file_name: str  # posix path relative to the folder of the split
    path: Path


def load_image_folder(
    image_dir: str | Path, labels_file: str | Path | None = None, *, skip_bad_images: bool = False
) -> DatasetDict:
    """Load a folder of class folders, or a folder of splits that hold class folders.

    Sub-folders named train or training, val, valid, validation or dev, and test or testing (in any case) are the
    splits "train", "validation" and "test"; where there are none, the whole folder is the split "train".

    Args:
        image_dir: The folder. Files directly in it or directly in the folder of a split are no rows and are ignored.
        labels_file: The `id,name` CSV, or "imigue" (see `read_labels`); by default `image_dir/labels.csv` where it is.
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
    return load_image_folders(split_dirs or {"train": image_dir}, labels_file, skip_bad_images=skip_bad_images)


def load_image_folders(
    split_dirs: Mapping[str, str | Path], labels_file: str | Path | None = None, *, skip_bad_images: bool = False
) -> DatasetDict:
    """Load one folder of class folders for each split, with one list of class names for all of them.

    All files below a class folder are its pictures, save hidden files and those of file managers; `find_faults`
    finds the unreadable ones. Rows are sorted by class, then by `file_name`, the path from the split's folder on.

    Args:
        split_dirs: Split name to folder.
        labels_file: The `id,name` CSV, or "imigue" (see `read_labels`). Class folders are then ids ("01" is "1"), and
            its rows are the classes, with or without pictures. By default the first `labels.csv` in a split's folder;
            where there is none, the class folders' names are the classes.
        skip_bad_images: Whether unreadable files are left out with a warning instead of refused.

    Raises:
        FileNotFoundError: A folder or the labels file does not exist.
        ValueError: A folder is a file, has no class folders or no readable pictures, a class folder has no row in the
            labels file, there are fewer than two classes, or files are unreadable.
    """
    if labels_file is None:
        found = [Path(split_dir) / "labels.csv" for split_dir in split_dirs.values()]
        labels_file = next((path for path in found if path.is_file()), None)
    labels = None if labels_file is None else read_labels(labels_file)
    class_folders = {split: _find_class_folders(Path(split_dir)) for split, split_dir in split_dirs.items()}
    pictures = {
        split: [picture for folder in folders for picture in _list_pictures(Path(split_dirs[split]), folder)]
        for split, folders in class_folders.items()
    }
    bad_paths = _find_bad_images([picture.path for split in pictures.values() for picture in split], skip_bad_images)
    pictures = {split: [row for row in rows if row.path not in bad_paths] for split, rows in pictures.items()}
    for split, rows in pictures.items():
        if not rows:
            raise ValueError(f"The class folders of {split_dirs[split]} hold no readable pictures.")
    class_names = _name_classes(
        folders=sort_ids([folder for folders in class_folders.values() for folder in folders]),
        filled_ids={canonical_id(picture.folder) for rows in pictures.values() for picture in rows},
        labels=labels,
    )
    features = _make_features(list(class_names.values()))
    label_of = {class_id: label for label, class_id in enumerate(class_names)}
    return DatasetDict({split: _make_dataset(rows, label_of, features, split) for split, rows in pictures.items()})


def load_hub_dataset(
    name: str, config_name: str | None = None, *, image_column: str = "image", label_column: str = "label"
) -> DatasetDict:
    """Load a data set of the Hub, or a local folder of Parquet files, with the columns of this module.

    Split names are those of `load_image_folder` where they mean the same ("val" is "validation"), `file_name` is
    "<split>/<row>". Labels that are not a `ClassLabel` (text or numbers) become one, in id order over all splits. Rows
    without a label (null or -1, as in hidden test sets) are left out with a warning.

    Args:
        name: Repository id, such as "org/name", or path of the folder.
        config_name: Which configuration, for a data set that has several.
        image_column: The column that holds the pictures.
        label_column: The column that holds the classes.

    Raises:
        FileNotFoundError: There is no such data set, or the Hub cannot be reached and the cache does not have it.
        ValueError: A column is missing, two splits have one meaning, or there are fewer than two classes.
    """
    try:
        source = load_dataset(name, config_name)
    except (ConnectionError, FileNotFoundError) as error:
        raise FileNotFoundError(
            f"There is no data set {name!r} on this disk or on a Hub within reach ({error}). "
            "For a folder of class folders on this disk use --train_dir."
        ) from error
    columns = {image_column: "image", label_column: "label"}
    splits = {}
    for split, source_split in name_splits(list(source), name).items():
        rows = source[source_split]
        if missing := sorted(set(columns) - set(rows.column_names)):
            raise ValueError(
                f"{name!r} has no column {shorten(missing)}; its columns are {shorten(rows.column_names)}. "
                "Set image_column and label_column."
            )
        splits[split] = rows.select_columns(list(columns)).rename_columns(columns)
    row_names = {split: _read_row_names(rows) for split, rows in splits.items()}
    features = _make_features(_unite_class_names(splits, row_names))
    encoded = {split: _encode_labels(rows, row_names[split], features, split) for split, rows in splits.items()}
    return DatasetDict({split: rows for split, rows in encoded.items() if len(rows)})


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
    warnings.warn(f"{found} and are left out:\n{listed}{more}", stacklevel=3)
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


def _make_features(class_names: list[str]) -> Features:
    check_class_names(class_names)
    return Features(image=Image(), label=ClassLabel(names=class_names), file_name=Value("string"))


def _make_dataset(pictures: list[_Picture], label_of: dict[int | str, int], features: Features, split: str) -> Dataset:
    columns = {
        "image": [str(picture.path.absolute()) for picture in pictures],
        "label": [label_of[canonical_id(picture.folder)] for picture in pictures],
        "file_name": [picture.file_name for picture in pictures],
    }
    return Dataset.from_dict(columns, features=features, split=split)


def _read_row_names(rows: Dataset) -> list[str | None]:
    """Return the class name of each row of a Hub data set, None for null and -1."""
    feature = rows.features["label"]
    if not isinstance(feature, ClassLabel | Value):
        raise ValueError(f"The labels must be one text or number a row, but they are {feature}.")
    labels = [None if label == -1 else label for label in rows["label"][:]]
    if isinstance(feature, ClassLabel):
        return [None if label is None else feature.names[label] for label in labels]
    return [None if label is None else str(label) for label in labels]


def _unite_class_names(splits: dict[str, Dataset], row_names: dict[str, list[str | None]]) -> list[str]:
    """Return the declared class names of all splits, or where they declare none, those of the rows in id order."""
    label_features = [rows.features["label"] for rows in splits.values()]
    if all(isinstance(feature, ClassLabel) for feature in label_features):
        return list(dict.fromkeys(name for feature in label_features for name in feature.names))
    return sort_ids(list({name for names in row_names.values() for name in names if name is not None}))


def _encode_labels(rows: Dataset, names: list[str | None], features: Features, split: str) -> Dataset:
    """Return `rows` with the columns of `features`, without the rows whose name is None."""
    label_of: ClassLabel = features["label"]
    labelled = [row for row, name in enumerate(names) if name is not None]
    labels = [-1 if name is None else label_of.str2int(name) for name in names]
    rows = rows.remove_columns("label").cast_column("image", features["image"])
    rows = rows.add_column("label", labels, feature=features["label"])
    rows = rows.add_column("file_name", [f"{split}/{row}" for row in range(len(names))])
    if len(labelled) < len(names):
        warnings.warn(
            f"{len(names) - len(labelled)} of {len(names)} rows of the split {split} have no label and are left out.",
            stacklevel=3,
        )
        rows = rows.select(labelled)
    return rows
