"""Load data sets from the Hub or from local Parquet files, with the columns of `image_folder`."""

import warnings
from collections.abc import Collection
from pathlib import Path

from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, load_dataset

from .file_tree import find_files, has_image_suffix
from .groups import read_group_columns
from .image_folder import make_features, name_splits
from .labels import normalize_name, normalize_names, shorten, sort_ids
from .metadata import is_metadata_file
from .sources import SHARDS, check_source
from .table_cells import read_cell


def load_hub_dataset(
    name: str,
    config_name: str | None = None,
    *,
    image_column: str = "image",
    label_column: str = "label",
    clip_column: str = "clip",
    subject_column: str = "subject",
) -> DatasetDict:
    """Load a data set from the Hub or a local folder of Parquet files, with the columns of `load_image_folder`.

    Split names are normalised as in `load_image_folder` ("val" becomes "validation"); `file_name` is "<split>/<row>".
    Labels that are not a `ClassLabel` (text or numbers) become one, in id order over all splits. Rows without a label
    (null or -1, as in hidden test sets) are skipped with a warning.

    Args:
        name: Repository id, such as "org/name", or path of the folder.
        config_name: Configuration of a data set that has several.
        image_column: Column with the images.
        label_column: Column with the classes.
        clip_column: Column with the clip of each image (see `read_group_columns`).
        subject_column: Column with the subject of each image.

    Raises:
        FileNotFoundError: The data set does not exist, or the Hub is unreachable and the data set is not cached.
        ValueError: A column is missing, two splits have the same meaning, there are fewer than two classes, or for a
            reason listed in `read_group_columns`.
    """
    columns = {image_column: "image", label_column: "label"}
    found = _open(name, config_name, columns)
    splits = {split: rows.select_columns(list(columns)).rename_columns(columns) for split, rows in found.items()}
    row_names = {split: _read_row_names(rows) for split, rows in splits.items()}
    labelled = {
        split: [row for row, name in enumerate(names) if name is not None] for split, names in row_names.items()
    }
    groups = read_group_columns(found, labelled, clip_column=clip_column, subject_column=subject_column)
    features = make_features(_unite_class_names(splits, row_names), groups)
    encoded = {split: _encode_labels(rows, row_names[split], features, split) for split, rows in splits.items()}
    for group, keys in groups.items():
        for split, rows in encoded.items():
            encoded[split] = rows.add_column(group, keys[split], feature=features[group])
    return DatasetDict({split: rows.select(labelled[split]) for split, rows in encoded.items() if labelled[split]})


def select_labelled(rows: Dataset, name: str) -> Dataset:
    """Return the rows with a label; those with null or -1, as in hidden test sets, are skipped with a warning.

    Args:
        rows: Column `label`.
        name: Name of the rows in the warning.
    """
    labels = rows["label"][:]
    labelled = [row for row, label in enumerate(labels) if label is not None and label != -1]
    if len(labelled) == len(labels):
        return rows
    warnings.warn(
        f"{len(labels) - len(labelled)} of {len(labels)} rows of {name} have no label and are skipped.", stacklevel=3
    )
    return rows.select(labelled)


def _open(name: str, config_name: str | None, columns: Collection[str]) -> dict[str, Dataset]:
    """Return the rows of each split with all columns, and check that the required ones exist."""
    check_source(name, "dataset")
    files = find_files(Path(name)).files if Path(name).is_dir() else []
    if any(map(has_image_suffix, files)) and not any(
        path.suffix in SHARDS for path in files if not is_metadata_file(path)
    ):
        raise ValueError(f"{name!r} is a folder of image files: use train_dir, which reads their clips and splits.")
    try:
        source = load_dataset(name, config_name)
    except (ConnectionError, FileNotFoundError) as error:
        raise FileNotFoundError(
            f"The data set {name!r} cannot be loaded: {error}. For a local folder of class folders, use `train_dir`."
        ) from error
    found = {split: source[source_split] for split, source_split in name_splits(list(source), name).items()}
    for rows in found.values():
        if missing := sorted(set(columns) - set(rows.column_names)):
            raise ValueError(
                f"{name!r} has no column {shorten(missing)}; its columns are {shorten(rows.column_names)}. "
                "Set `image_column` and `label_column`."
            )
    return found


def _read_row_names(rows: Dataset) -> list[str | None]:
    """Return the class name of each row, None for null and -1."""
    feature = rows.features["label"]
    if not isinstance(feature, ClassLabel | Value):
        raise ValueError(f"Each label must be one text or number, but the label column is {feature}.")
    labels = [None if label == -1 else label for label in rows["label"][:]]
    if isinstance(feature, ClassLabel):
        names = normalize_names(feature.names)
        return [None if label is None else names[label] for label in labels]
    return [_read_name(label, f"row {row} of the split {rows.split}") for row, label in enumerate(labels)]


def _read_name(label: object, where: str) -> str | None:
    """Return the class name in a label, or None if it is missing."""
    if isinstance(label, bool):
        return str(label)
    try:
        name = label if isinstance(label, str) else read_cell(label)
        return None if name in (None, "-1") else normalize_name(name)
    except ValueError as error:
        raise ValueError(f"The label of {where} is not a class name: {error}") from error


def _unite_class_names(splits: dict[str, Dataset], row_names: dict[str, list[str | None]]) -> list[str]:
    """Return the declared class names of all splits, else the names in the rows in id order."""
    label_features = [rows.features["label"] for rows in splits.values()]
    if all(isinstance(feature, ClassLabel) for feature in label_features):
        declared = [normalize_name(name) for feature in label_features for name in feature.names]
        return normalize_names(dict.fromkeys(declared))
    return sort_ids(
        normalize_names(sorted({name for names in row_names.values() for name in names if name is not None}))
    )


def _encode_labels(rows: Dataset, names: list[str | None], features: Features, split: str) -> Dataset:
    """Return `rows` with encoded labels (-1 and a warning where the name is None) and `file_name`."""
    label_of: ClassLabel = features["label"]
    labels = [-1 if name is None else label_of.str2int(name) for name in names]
    rows = rows.remove_columns("label").cast_column("image", features["image"])
    rows = rows.add_column("label", labels, feature=features["label"])
    if num_left_out := names.count(None):
        warnings.warn(
            f"{num_left_out} of {len(names)} rows of the split {split} have no label and are skipped.", stacklevel=3
        )
    return rows.add_column("file_name", [f"{split}/{row}" for row in range(len(names))])
