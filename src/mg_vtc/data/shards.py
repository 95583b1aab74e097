"""Shards of a data set that need not fit on the disk, Parquet or WebDataset, opened for reading row by row."""

import functools
from pathlib import Path

from datasets import ClassLabel, Features, Image, IterableDataset, Value, load_dataset

from .cells import read_cell
from .image_folder import name_splits
from .labels import NUM_LISTED, canonical_id, check_class_names, normalize_name, normalize_names, read_labels
from .lookup import check_source

WEBDATASET_IMAGES = ("jpg", "jpeg", "png", "webp")  # columns of a tar archive, which has one an extension
WEBDATASET_LABELS = ("cls", "json")
ROWS_AT_ONCE = 64  # whose labels are encoded together


def load_stream(
    name: str,
    config_name: str | None = None,
    *,
    image_column: str = "image",
    label_column: str = "label",
    labels_file: str | Path | None = None,
) -> dict[str, IterableDataset]:
    """Open a data set of the Hub, or a folder of `*.parquet` or `*.tar` shards, for reading row by row.

    Rows have the columns `image`, a `datasets.Image(decode=False)`, and `label`, a `ClassLabel`. Rows whose label is
    null or -1 are left out. Split names are those of `load_image_folder` where they mean the same ("val" is
    "validation"); in a folder they are found in file names ("train-00000-of-00010.parquet") and sub-folders.

    In tar shards (WebDataset) the picture is the file `jpg`, `jpeg`, `png` or `webp` of a sample, its label the number
    in `cls` or the entry "label" in `json`.

    Args:
        name: Repository id, such as "org/name", or path of the folder.
        config_name: Which configuration, for a data set that has several.
        image_column: The column that holds the pictures.
        label_column: The column that holds the classes.
        labels_file: The `id,name` CSV, "imigue" or "smg" (see `read_labels`). Labels, or the names of a `ClassLabel`,
            are then its ids ("01" is "1"). It is needed where the labels are no `ClassLabel`.

    Returns:
        Split name to rows.

    Raises:
        FileNotFoundError: There is no such data set, or the Hub cannot be reached; there is no such labels file.
        ValueError: The folder has no shards, a column is missing, two splits have one meaning, labels have no names,
            or there are fewer than two classes. While rows are read: a label is no id of the labels file.
    """
    if Path(name).is_dir() and not any(path.suffix in (".parquet", ".tar") for path in Path(name).rglob("*")):
        raise ValueError(f"The folder {name} holds no shards: it needs *.parquet or *.tar files.")
    check_source(name, "dataset")
    try:
        source = load_dataset(name, config_name, streaming=True)
    except (ConnectionError, FileNotFoundError) as error:
        raise FileNotFoundError(f"The data set {name!r} cannot be loaded: {error}") from error
    labels = None if labels_file is None else read_labels(labels_file)
    splits = {split: source[found] for split, found in name_splits(list(source), name).items()}
    return {
        split: _encode(rows, *_find_columns(rows, name, image_column, label_column), labels)
        for split, rows in splits.items()
    }


def _find_columns(rows: IterableDataset, name: str, image_column: str, label_column: str) -> tuple[str, str]:
    """Return the columns of the picture and of the label."""
    columns = rows.column_names or []
    if "__key__" in columns:  # WebDataset
        image_column = next((column for column in (image_column, *WEBDATASET_IMAGES) if column in columns), "jpg")
        label_column = next((column for column in (label_column, *WEBDATASET_LABELS) if column in columns), "cls")
    if missing := [column for column in (image_column, label_column) if column not in columns]:
        raise ValueError(
            f"{name!r} has no column {' and no column '.join(map(repr, missing))}; its columns are {columns}. Set "
            "image_column and label_column."
        )
    return image_column, label_column


def _encode(
    rows: IterableDataset, image_column: str, label_column: str, labels: dict[str, str] | None
) -> IterableDataset:
    """Return rows with an undecoded `image` and a `label` that is a `ClassLabel`."""
    feature = rows.features[label_column]
    in_json = isinstance(feature, dict) and "label" in feature
    feature = feature["label"] if in_json else feature
    if not isinstance(feature, ClassLabel | Value):
        raise ValueError(f"The labels must be one text or number a row, but {label_column!r} is {feature}.")
    if labels is None and not isinstance(feature, ClassLabel):
        raise ValueError(
            f"The labels in {label_column!r} are {feature.dtype} without class names, and a stream can not be read "
            "through to find its classes: give labels_file, a CSV with the header 'id,name', 'imigue' or 'smg'."
        )
    source_names = normalize_names(feature.names) if isinstance(feature, ClassLabel) else []
    names = source_names if labels is None else list(labels.values())
    check_class_names(names)
    label_of: dict[int | str, int] = (
        {label: label for label in range(len(names))}
        if labels is None
        else {canonical_id(class_id): label for label, class_id in enumerate(labels)}
    )
    encode_rows = functools.partial(
        _encode_rows,
        label_of=label_of,
        source_names=source_names if source_names and labels is not None else None,
        in_json=in_json,
    )
    undecoded = Image(decode=False)
    return (
        rows.select_columns([image_column, label_column])
        .cast_column(image_column, undecoded)
        .map(
            encode_rows,
            input_columns=[image_column, label_column],
            batched=True,
            batch_size=ROWS_AT_ONCE,
            remove_columns=[image_column, label_column],
            features=Features(image=undecoded, label=ClassLabel(names=names)),
        )
    )


def _encode_rows(
    images: list, labels: list, *, label_of: dict[int | str, int], source_names: list[str] | None, in_json: bool
) -> dict[str, list]:
    """Return the rows that have a label, with its number.

    Args:
        images: Undecoded pictures.
        labels: What the source holds for them.
        label_of: Canonical id to number of the class.
        source_names: Ids that the numbers of the source stand for, or None where they are ids.
        in_json: Whether what the source holds is a dictionary with the label in it.
    """
    rows: dict[str, list] = {"image": [], "label": []}
    for image, value in zip(images, labels, strict=True):
        if in_json and value is not None:
            value = value["label"]
        text = read_cell(value)
        if text in (None, "-1"):
            continue
        class_id = canonical_id(normalize_name(text) if source_names is None else source_names[value])
        if class_id not in label_of:
            known = ", ".join(map(str, list(label_of)[:NUM_LISTED]))
            raise ValueError(
                f"A row of the stream has the label {class_id!r}, which is none of the {len(label_of)} ids of classes "
                f"({known}{', ...' if len(label_of) > NUM_LISTED else ''})."
            )
        rows["image"].append(image)
        rows["label"].append(label_of[class_id])
    return rows
